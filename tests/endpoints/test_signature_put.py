"""GET {prefix}/signature?method=put: its parameters, its refusals, and what observers and metrics learn of it."""

from __future__ import annotations

from typing import Any

import pytest
import webtest

from oss_wsgi import DirectUpload, Grant, Metrics, Settings

from .test_signature import CLOCK, SETTINGS

PUT = {"filename": "a.png", "size": "5", "content_type": "image/png", "method": "put"}


def client(settings: dict[str, Any] | None = None, **options: Any) -> webtest.TestApp:
    values = {**vars(SETTINGS), "allow_anonymous": "authorize" not in options, **(settings or {})}
    return webtest.TestApp(DirectUpload(lambda environ, start: [], Settings(**values), clock=CLOCK, **options))


def sign(app: webtest.TestApp, *left_out: str, status: int = 200, headers: Any = None, **changed: str) -> Any:
    query = {name: value for name, value in {**PUT, **changed}.items() if name not in left_out}
    return app.get("/oss/signature", query, headers=headers, status=status)


@pytest.mark.parametrize("spelling", ["put", "PUT"])
def test_a_put_is_json_and_not_cached(spelling: str) -> None:
    response = sign(client(), method=spelling)
    assert list(response.json) == ["method", "url", "headers", "fields", "expire", "key"]
    assert (response.content_type, response.headers["Cache-Control"]) == ("application/json", "no-store")
    assert response.json["expire"] == int(CLOCK()) + 300


@pytest.mark.parametrize("method", ["", "get", "multipart"])
def test_another_method_is_400(method: str) -> None:
    error = sign(client(), method=method, status=400).json["error"]
    assert error == {"code": "method_malformed", "message": "The method must be post, which is the default, or put."}


@pytest.mark.parametrize(
    ("left_out", "code", "said"),
    [
        (["content_type"], "content_type_required", "add content_type to"),
        (["filename", "size", "content_type"], "filename_required", "add filename, size, content_type to"),
    ],
)
def test_400_names_what_is_missing(left_out: list[str], code: str, said: str) -> None:
    error = sign(client(), *left_out, status=400).json["error"]
    assert error["code"] == code
    assert error["message"].startswith("A PUT needs filename, size and content_type: ")
    assert said in error["message"]


def test_an_empty_type_is_a_missing_one() -> None:
    assert sign(client(), content_type="", status=400).json["error"]["code"] == "content_type_required"


def test_a_grants_own_key_does_not_make_the_filename_unnecessary() -> None:
    app = client(authorize=lambda request: Grant(key="u/a.png"))
    assert sign(app, "filename", status=400).json["error"]["code"] == "filename_required"
    assert sign(app, filename="b.png").json["key"] == "u/a.png"


def test_what_a_form_is_refused_for_a_put_is_too() -> None:
    app = client(authorize=lambda request: Grant(max_size=10))
    for method in ("put", "post"):
        assert sign(app, size="-1", method=method, status=400).json["error"]["code"] == "size_malformed"
        assert sign(app, size="11", method=method, status=403).json["error"]["code"] == "size_not_allowed"


def test_a_grant_that_no_put_can_carry_is_refused_with_the_reason_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    app = client(authorize=lambda request: Grant(metadata={"title": "中"}))
    assert sign(app, status=403).json["error"]["code"] == "forbidden"
    assert "reason=grant_refused" in caplog.text
    assert "x-oss-meta-title is a header of a PUT" in caplog.text


def test_observers_learn_of_a_put_without_its_signature() -> None:
    issued: list[tuple[Grant, Any]] = []
    grant = Grant(user="eric")
    app = client(authorize=lambda request: grant, on_issued=lambda grant, facts: issued.append((grant, facts)))
    signed = sign(app).json
    sign(app, method="Post")
    (put_grant, put), (_, form) = issued
    assert put_grant is grant
    assert (put["upload_method"], put["object"], put["expires"]) == ("PUT", signed["key"], signed["expire"])
    assert put["url"] == form["url"] == "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
    assert "upload_method" not in form


def test_metrics_count_forms_and_puts_together_and_by_method() -> None:
    metrics = Metrics()
    app = client(metrics=metrics)
    for method in ("put", "put", "post"):
        sign(app, method=method)
    sign(app, "size", status=400)

    def value(name: str, **labels: str) -> float | None:
        found: float | None = metrics.registry.get_sample_value(f"oss_wsgi_signatures_{name}_total", labels)
        return found

    assert value("issued") == 3
    assert (value("by_method", method="put"), value("by_method", method="post")) == (2, 1)
    assert value("refused", reason="size_required") == 1
