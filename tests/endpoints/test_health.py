"""HealthEndpoint."""

from __future__ import annotations

import webtest

from oss_wsgi import HealthEndpoint


def test_it_answers_get_and_head_at_its_own_root_only() -> None:
    endpoint = HealthEndpoint()
    app = webtest.TestApp(lambda environ, start: endpoint({**environ, "PATH_INFO": ""}, start))
    assert app.get("/").json == {"status": "ok"}
    assert app.head("/").body == b""
    assert app.post("/", expect_errors=True).headers["Allow"] == "GET, HEAD"
    assert webtest.TestApp(endpoint).get("/x", expect_errors=True).status_int == 404
