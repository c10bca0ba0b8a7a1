"""GET {prefix}/signature?method=put: its parameters, its refusals, and what observers and metrics learn of it."""

from __future__ import annotations

from typing import Any

import pytest
import webtest

from oss_wsgi import DirectUpload, Grant, RateLimit, Settings
from oss_wsgi.exceptions import CredentialsError

from .test_signature import CLOCK, SETTINGS

PUT = {"filename": "a.png", "size": "5", "content_type": "image/png", "method": "put"}


def client(settings: dict[str, Any] | None = None, **options: Any) -> webtest.TestApp:
    values = {**vars(SETTINGS), "allow_anonymous": "authorize" not in options, **(settings or {})}
    return webtest.TestApp(DirectUpload(lambda environ, start: [], Settings(**values), clock=CLOCK, **options))


def sign(app: webtest.TestApp, *left_out: str, status: int = 200, headers: Any = None, **changed: str) -> Any:
    query = {name: value for name, value in {**PUT, **changed}.items() if name not in left_out}
    return app.get("/oss/signature", query, headers=headers, status=status)


def test_a_put_is_json_and_not_cached() -> None:
    response = sign(client())
    assert list(response.json) == ["method", "url", "headers", "fields", "expire", "key"]
    assert (response.content_type, response.headers["Cache-Control"]) == ("application/json", "no-store")
    assert response.json["expire"] == int(CLOCK()) + 300


@pytest.mark.parametrize("spelling", ["put", "PUT", "Put"])
def test_the_methods_case_does_not_matter(spelling: str) -> None:
    assert sign(client(), method=spelling).json["method"] == "PUT"


@pytest.mark.parametrize("changed", [{"method": "post"}, {"method": "POST"}])
def test_post_is_the_form(changed: dict[str, str]) -> None:
    assert "policy" in sign(client(), **changed).json["fields"]


@pytest.mark.parametrize("method", ["", "get", "multipart"])
def test_another_method_is_400(method: str) -> None:
    error = sign(client(), method=method, status=400).json["error"]
    assert error == {"code": "method_malformed", "message": "The method must be post, which is the default, or put."}


@pytest.mark.parametrize(
    ("left_out", "code", "said"),
    [
        (["filename"], "filename_required", "add filename to"),
        (["size"], "size_required", "add size to"),
        (["content_type"], "content_type_required", "add content_type to"),
        (["size", "content_type"], "size_required", "add size, content_type to"),
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


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"size": "-1"}, 400, "size_malformed"),
        ({"filename": ""}, 400, "filename_malformed"),
        ({"content_type": "png"}, 400, "content_type_malformed"),
        ({"content_type": "image/gif"}, 403, "content_type_not_allowed"),
        ({"size": "11"}, 403, "size_not_allowed"),
        ({"size": "1"}, 403, "size_not_allowed"),
    ],
)
def test_what_a_form_is_refused_for_a_put_is_too(changed: dict[str, str], status: int, code: str) -> None:
    grant = Grant(min_size=2, max_size=10, content_types=["image/png"])
    for method in ("put", "post"):
        response = sign(client(authorize=lambda request: grant), **{**changed, "method": method}, status=status)
        assert response.json["error"]["code"] == code


def test_the_gate_is_that_of_forms() -> None:
    foreign = {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"}
    assert sign(client(), headers=foreign, status=403).json["error"]["code"] == "origin_foreign"
    assert sign(client(authorize=lambda request: None), status=403)
    assert sign(client({"allow_anonymous": False}), status=403)
    app = client(rate_limit=RateLimit(1, 60, clock=CLOCK))
    sign(app)
    assert int(sign(app, status=429).headers["Retry-After"]) > 0


def test_without_credentials_it_is_503() -> None:
    class Provider:
        def get_credentials(self) -> Any:
            raise CredentialsError("none now")

    assert sign(client(credentials=Provider()), status=503)


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        (Grant(metadata={"title": "中"}), "x-oss-meta-title is a header of a PUT"),
        (Grant(content_disposition='inline; filename="中"'), "Content-Disposition is a header of a PUT"),
        (Grant(metadata={"a": "b" * 8000}), "8 KB"),
        (Grant(custom={"a": "b" * 4000}), "The custom variables have"),
    ],
)
def test_a_grant_that_no_put_can_carry_is_refused_with_the_reason_in_the_log(
    grant: Grant, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert sign(client(authorize=lambda request: grant), status=403).json["error"]["code"] == "forbidden"
    assert "reason=grant_refused" in caplog.text
    assert said in caplog.text


def test_observers_learn_of_a_put_without_its_signature() -> None:
    issued: list[tuple[Grant, Any]] = []
    grant = Grant(user="eric")
    app = client(authorize=lambda request: grant, on_issued=lambda grant, facts: issued.append((grant, facts)))
    signed = sign(app).json
    sign(app, method="post")
    (put_grant, put), (_, form) = issued
    assert put_grant is grant
    assert (put["upload_method"], put["object"], put["expires"]) == ("PUT", signed["key"], signed["expire"])
    assert put["url"] == form["url"] == "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
    assert "upload_method" not in form
