"""AuthorizationPassthrough, by the rules of the hosting survey."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import webtest

from oss_wsgi import AuthorizationPassthrough

BARE = "kQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVg="


def seen(environ: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Give the environ that the wrapped application sees."""
    caught: dict[str, Any] = {}

    def app(inner: dict[str, Any], start_response: Any) -> list[bytes]:
        caught.update(inner)
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return []

    webtest.TestApp(AuthorizationPassthrough(app, **options)).get("/", extra_environ=environ)
    return caught


@pytest.mark.parametrize(
    "key",
    [
        "REDIRECT_HTTP_AUTHORIZATION",
        "REDIRECT_REDIRECT_HTTP_AUTHORIZATION",
        "REDIRECT_" * 10 + "HTTP_AUTHORIZATION",
        "Authorization",
        "HTTP-AUTHORIZATION",
        "X_HTTP_AUTHORIZATION",
    ],
)
@pytest.mark.parametrize("value", [BARE, "Basic dXNlcjpwYXNz", "Bearer abc.def"])
def test_the_header_comes_back_from_every_key_that_only_a_server_sets(key: str, value: str) -> None:
    environ = seen({key: value})
    assert environ["HTTP_AUTHORIZATION"] == value
    assert environ["oss_wsgi.authorization_source"] == key


def test_a_usable_header_is_never_touched() -> None:
    environ = seen({"HTTP_AUTHORIZATION": BARE, "REDIRECT_HTTP_AUTHORIZATION": "other", "Authorization": "third"})
    assert environ["HTTP_AUTHORIZATION"] == BARE
    assert "oss_wsgi.authorization_source" not in environ


@pytest.mark.parametrize("junk", ["", " \t", "(null)", "$1", "%{HTTP:Authorization}"])
def test_what_a_configuration_failed_to_fill_does_not_shadow_the_value(junk: str) -> None:
    environ = seen({"HTTP_AUTHORIZATION": junk, "REDIRECT_HTTP_AUTHORIZATION": f" {BARE}\r\n"})
    assert environ["HTTP_AUTHORIZATION"] == BARE
    assert environ["oss_wsgi.authorization_source"] == "REDIRECT_HTTP_AUTHORIZATION"


def test_fewer_redirects_win() -> None:
    environ = seen({"REDIRECT_REDIRECT_HTTP_AUTHORIZATION": "two", "REDIRECT_HTTP_AUTHORIZATION": "one"})
    assert environ["HTTP_AUTHORIZATION"] == "one"


@pytest.mark.parametrize(
    "key",
    [
        "HTTP_X_AUTHORIZATION",
        "HTTP_X_HTTP_AUTHORIZATION",
        "HTTP_X_FORWARDED_AUTHORIZATION",
        "HTTP_REDIRECT_HTTP_AUTHORIZATION",
        "HTTP_HTTP_AUTHORIZATION",
        "HTTP_AUTHORIZATION_",
        "REMOTE_USER",
        "REDIRECT_REMOTE_USER",
        "REDIRECT_" * 11 + "HTTP_AUTHORIZATION",
    ],
)
def test_keys_that_a_client_can_set_count_only_when_trusted(key: str) -> None:
    assert "HTTP_AUTHORIZATION" not in seen({key: BARE})
    environ = seen({key: BARE}, trusted_keys=[key])
    assert environ["HTTP_AUTHORIZATION"] == BARE
    assert environ["oss_wsgi.authorization_source"] == key


def test_a_trusted_key_comes_after_the_servers_own() -> None:
    environ = seen({"HTTP_X_AUTHORIZATION": "copy", "Authorization": BARE}, trusted_keys=["HTTP_X_AUTHORIZATION"])
    assert environ["HTTP_AUTHORIZATION"] == BARE


def test_without_any_value_the_environ_stays_as_it_is() -> None:
    assert "HTTP_AUTHORIZATION" not in seen({})


def test_the_callers_environ_is_not_changed() -> None:
    environ = {"REDIRECT_HTTP_AUTHORIZATION": BARE}
    AuthorizationPassthrough(lambda inner, start_response: [inner["HTTP_AUTHORIZATION"].encode()])(
        environ, lambda *args: None
    )
    assert environ == {"REDIRECT_HTTP_AUTHORIZATION": BARE}


def test_a_text_for_the_trusted_keys_is_refused() -> None:
    with pytest.raises(TypeError, match="sequence of environ keys"):
        AuthorizationPassthrough(lambda environ, start_response: [], trusted_keys="HTTP_X_AUTHORIZATION")


def test_it_serves_an_application_with_basic_authentication() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        scheme, _, text = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        user = base64.b64decode(text).decode().partition(":")[0] if scheme == "Basic" else "nobody"
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [user.encode()]

    client = webtest.TestApp(AuthorizationPassthrough(app))
    hidden = {"REDIRECT_HTTP_AUTHORIZATION": "Basic " + base64.b64encode(b"eric:secret").decode()}
    assert client.get("/", extra_environ=hidden).text == "eric"
    assert client.get("/").text == "nobody"
