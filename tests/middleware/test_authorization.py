"""AuthorizationPassthrough: the header is restored from keys that only a server can set."""

from __future__ import annotations

import base64
from typing import Any

import flask
import pytest
import webtest
from flask_httpauth import HTTPBasicAuth, HTTPTokenAuth, MultiAuth

from oss_wsgi import AuthorizationPassthrough

from ..recorded.ways import BODY, CALLBACKS, Recorded

BARE = "kQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVg="


def seen(environ: dict[str, Any], **options: Any) -> dict[str, Any]:
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
def test_the_header_is_restored_from_every_key_of_servers(key: str) -> None:
    environ = seen({key: BARE})
    assert environ["HTTP_AUTHORIZATION"] == BARE
    assert environ["oss_wsgi.authorization_source"] == key


def test_a_usable_header_is_never_changed() -> None:
    environ = seen({"HTTP_AUTHORIZATION": BARE, "REDIRECT_HTTP_AUTHORIZATION": "other", "Authorization": "third"})
    assert environ["HTTP_AUTHORIZATION"] == BARE
    assert "oss_wsgi.authorization_source" not in environ


@pytest.mark.parametrize("junk", ["", " \t", "(null)", "$0", "$1", "%{HTTP:Authorization}"])
def test_an_unexpanded_placeholder_does_not_hide_the_value(junk: str) -> None:
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
def test_a_key_that_clients_can_set_is_used_only_if_trusted(key: str) -> None:
    assert "HTTP_AUTHORIZATION" not in seen({key: BARE})
    environ = seen({key: BARE}, trusted_keys=[key])
    assert environ["HTTP_AUTHORIZATION"] == BARE
    assert environ["oss_wsgi.authorization_source"] == key


def test_a_trusted_key_comes_after_the_servers_own() -> None:
    environ = seen({"HTTP_X_AUTHORIZATION": "copy", "Authorization": BARE}, trusted_keys=["HTTP_X_AUTHORIZATION"])
    assert environ["HTTP_AUTHORIZATION"] == BARE


def test_without_a_value_the_environ_is_unchanged() -> None:
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


def site() -> flask.Flask:
    """Make an application independent of this package, where Flask-HTTPAuth checks a password or a token."""
    app = flask.Flask(__name__)
    basic, token = HTTPBasicAuth(), HTTPTokenAuth(scheme="Bearer")
    basic.verify_password(lambda user, password: user if (user, password) == ("eric", "sword:fish") else None)
    token.verify_token(lambda text: "robot" if text == "abc.def_123" else None)
    both = MultiAuth(basic, token)

    @app.post("/<path:path>")
    @both.login_required
    def who(path: str) -> Any:
        return str(both.current_user())

    return app


def credentials(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


GIVEN = [recorded for recorded in CALLBACKS if recorded.family == "recipes" and "{A}" in recorded.values.values()]
TRUSTED = ("HTTP_X_AUTHORIZATION", "REMOTE_USER")


def by_keys(recorded: Recorded) -> str:
    return " ".join(sorted(key for key, value in recorded.values.items() if value == "{A}"))


@pytest.mark.parametrize("recorded", {by_keys(each): each for each in GIVEN}.values(), ids=by_keys)
def test_flask_httpauth_works_with_apaches_recipes(recorded: Recorded) -> None:
    """One recipe for each set of keys that hold the value: the others differ in what nobody reads here."""
    trusted = [key for key in TRUSTED if key in recorded.values]
    bare = webtest.TestApp(site())
    helped = webtest.TestApp(AuthorizationPassthrough(site(), trusted_keys=trusted))

    def post(client: webtest.TestApp, value: str) -> Any:
        # Not the path, which flup may break.
        own = ("wsgi.input", "SCRIPT_NAME", "PATH_INFO")
        environ = {key: text for key, text in recorded.environ(a=value).items() if key not in own}
        return client.post("/who", BODY, extra_environ=environ, expect_errors=True)

    assert post(helped, credentials("eric:sword:fish")).text == "eric"
    assert post(helped, "Bearer abc.def_123").text == "robot"
    for wrong in (credentials("eric:guess"), "Bearer abc", credentials("robot:abc.def_123"), BARE):
        response = post(helped, wrong)
        assert response.status_int == 401
        assert "WWW-Authenticate" in response.headers
    without = 200 if recorded.values.get("HTTP_AUTHORIZATION") == "{A}" else 401
    assert post(bare, credentials("eric:sword:fish")).status_int == without


def test_without_credentials_the_application_refuses_as_before() -> None:
    client = webtest.TestApp(AuthorizationPassthrough(site()))
    assert client.post("/a", expect_errors=True).status_int == 401
    spoofed = {"X-Authorization": credentials("eric:sword:fish"), "Redirect-Http-Authorization": "Bearer abc.def_123"}
    assert client.post("/a", headers=spoofed, expect_errors=True).status_int == 401


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ([b"HTTP_X_AUTHORIZATION"], TypeError, "which are texts"),
        ([1], TypeError, "which are texts"),
        ([""], TypeError, "which are texts"),
        (["X-Authorization"], ValueError, "is 'HTTP_X_AUTHORIZATION'"),
    ],
)
def test_trusted_keys_that_would_never_match_are_refused(keys: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        AuthorizationPassthrough(lambda environ, start_response: [], trusted_keys=keys)


def test_a_key_of_servers_own_may_be_named_too() -> None:
    assert seen({"HTTP-AUTHORIZATION": BARE}, trusted_keys=["HTTP-AUTHORIZATION"])["HTTP_AUTHORIZATION"] == BARE
