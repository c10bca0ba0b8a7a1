"""SignatureEndpoint fails closed: no odd request, authorize or switch leads to a signature."""

from __future__ import annotations

from typing import Any

import pytest
import webob
import webob.exc

from oss_wsgi import DirectUpload, Grant, Settings

from .test_signature import SETTINGS, RootClient, client, conditions


def unsigned(response: Any) -> bool:
    return response.status_int >= 400 and b"policy" not in response.body and b"signature" not in response.body


class Pretender:
    """Says that it is a Grant."""

    @property
    def __class__(self) -> type:  # type: ignore[override]
        return Grant


def test_an_object_that_imitates_a_grant_signs_nothing() -> None:
    with pytest.raises(AttributeError):
        RootClient(authorize=lambda request: Pretender()).get("?filename=a")


@pytest.mark.parametrize("wrong", [False, "", 7, Grant()])
def test_an_uncallable_authorize_signs_nothing(wrong: Any) -> None:
    assert unsigned(RootClient(authorize=wrong, allow_anonymous=True).get())


@pytest.mark.parametrize("error", [Exception("swordfish"), StopIteration()])
def test_authorize_that_raises_signs_nothing_and_tells_the_client_nothing(error: Exception) -> None:
    def authorize(request: webob.Request) -> Grant:
        raise error

    response = RootClient(authorize=authorize).get()
    assert unsigned(response)
    assert "swordfish" not in response.text


def test_a_subclass_of_grant_is_held_to_its_limits() -> None:
    class Mine(Grant):
        note = "ours"

    answer = RootClient(authorize=lambda request: Mine(dir="mine/", max_size=3)).get("?filename=a&size=3").json
    assert ["content-length-range", 3, 3] in conditions(answer)
    assert answer["dir"] == "mine/"
    assert unsigned(RootClient(authorize=lambda request: Mine(max_size=3)).get("?filename=a&size=4"))


@pytest.mark.parametrize("query", ["?allow_anonymous=on", "?filename=a&filename=a", "?%66ilename=a", "?" + "x&" * 99])
def test_no_query_is_signed_where_nobody_is_allowed(query: str) -> None:
    app = RootClient(allow_anonymous=False).app
    for method in ("GET", "HEAD"):
        response = app.request(f"/sign{query}", method=method, expect_errors=True)
        assert response.status_int in (400, 403)
        assert b"policy" not in response.body


@pytest.mark.parametrize(
    "headers",
    [
        {"X-HTTP-Method-Override": "GET"},
        {"Remote-User": "admin", "X-Forwarded-User": "admin"},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"Sec-Fetch-Site": "same-origin"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_header_is_signed_where_nobody_is_allowed(headers: dict[str, str], method: str) -> None:
    def authorize(request: webob.Request) -> Grant | None:
        return Grant(user=request.remote_user) if request.remote_user else None

    for options in ({"allow_anonymous": False}, {"authorize": authorize, "allow_anonymous": False}):
        assert unsigned(RootClient(**options).app.request("/sign", method=method, headers=headers, expect_errors=True))


@pytest.mark.parametrize("method", ["POST", "get", "GETS", "GE", "TRACE"])
def test_no_other_method_is_signed(method: str) -> None:
    started: list[Any] = []
    environ = {"REQUEST_METHOD": method, "SCRIPT_NAME": "/sign", "PATH_INFO": "", "QUERY_STRING": ""}
    # Called bare: webtest's lint knows no such methods.
    body = b"".join(client().app(environ, lambda *arguments: started.extend(arguments[:2])))
    assert b"policy" not in body
    assert (started[0], dict(started[1])["Allow"]) == ("405 Method Not Allowed", "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("odd", ["on", "", 0, 1, None])
def test_allow_anonymous_must_be_a_bool(odd: Any) -> None:
    with pytest.raises(TypeError, match="allow_anonymous must be True or False"):
        RootClient(allow_anonymous=odd)


def test_authorize_is_called_though_the_variable_is_on() -> None:
    settings = Settings(**{**vars(SETTINGS), "allow_anonymous": True})
    statuses: list[str] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/oss/signature", "QUERY_STRING": ""
    }  # fmt: skip
    application = DirectUpload(lambda environ, start: [], settings, authorize=lambda request: None)
    body = b"".join(application(environ, lambda status, headers, exc_info=None: statuses.append(status)))
    assert statuses == ["403 Forbidden"]
    assert b"policy" not in body
