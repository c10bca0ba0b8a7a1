"""MetricsEndpoint, and that it is there only when it is asked for."""

from __future__ import annotations

from typing import Any

import webtest

from oss_wsgi import DirectUpload, Metrics, MetricsEndpoint, Settings

SETTINGS = Settings(bucket="examplebucket", region="cn-hangzhou", access_key_id="id", access_key_secret="secret")


def client(**options: Any) -> webtest.TestApp:
    return webtest.TestApp(DirectUpload(lambda environ, start: [], SETTINGS, **options))


def test_it_answers_get_and_head_at_its_own_root_only() -> None:
    endpoint = MetricsEndpoint(Metrics())
    app = webtest.TestApp(lambda environ, start: endpoint({**environ, "PATH_INFO": ""}, start))
    answer = app.get("/")
    assert answer.content_type == "text/plain"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "# TYPE oss_wsgi_signatures_issued_total counter" in answer.text
    head = app.head("/")
    assert (head.body, head.content_length) == (b"", answer.content_length)
    assert app.post("/", expect_errors=True).headers["Allow"] == "GET, HEAD"
    assert webtest.TestApp(endpoint).get("/x", expect_errors=True).status_int == 404


def test_it_is_off_unless_asked_for() -> None:
    assert client().get("/oss/metrics", expect_errors=True).status_int == 404
    metrics = Metrics()
    assert client(metrics=metrics, serve_metrics=False).get("/oss/metrics", expect_errors=True).status_int == 404
    assert "oss_wsgi_" in client(metrics=Metrics()).get("/oss/metrics").text


def test_what_it_tells_may_come_from_a_disk_so_that_the_loop_does_not_wait_for_it() -> None:
    app = DirectUpload(lambda environ, start: [], SETTINGS, metrics=Metrics())
    assert not app.is_nonblocking("GET", "/oss/metrics", {})
    assert app.is_nonblocking("GET", "/oss/signature", {}), "counting waits for nothing"
