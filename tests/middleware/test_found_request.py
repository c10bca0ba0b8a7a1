"""What a view sees of a recovered upload: data made from the upload, and nothing about the person who asks."""

from __future__ import annotations

import io
from typing import Any

import pytest

from oss_wsgi import Upload
from oss_wsgi.middleware.found_request import FoundRequest
from oss_wsgi.wsgi.facts import FACTS_KEY, facts_of

UPLOAD = Upload(
    object="u/猫.png",
    size=5,
    user="eric",
    members={"filename": "u/猫.png", "size": "5", "x:n": 7, "x:m": "a b"},
    recovered=True,
)
#: What servers, gateways, middleware and frameworks put into the environ of a person who is logged in.
LOGIN = {
    "HTTP_COOKIE": "session=1",
    "HTTP_AUTHORIZATION": "Basic x",
    "HTTP_X_REMOTE_USER": "mallory",
    "HTTP_X_FORWARDED_USER": "mallory",
    "HTTP_X_FORWARDED_FOR": "203.0.113.7",
    "REDIRECT_HTTP_AUTHORIZATION": "Basic x",
    "REDIRECT_REMOTE_USER": "mallory",
    "REMOTE_USER": "mallory",
    "REMOTE_ADDR": "203.0.113.7",
    "REMOTE_IDENT": "mallory",
    "AUTH_TYPE": "Basic",
    "SSL_CLIENT_S_DN": "CN=mallory",
    "SSL_CLIENT_CERT": "-----BEGIN",
    "OIDC_CLAIM_sub": "mallory",
    "MELLON_user": "mallory",
    "beaker.session": {"user": "mallory"},
    "werkzeug.session": {"user": "mallory"},
    "repoze.who.identity": {"user": "mallory"},
    "paste.auth_tkt.set_user": print,
    "webob.adhoc_attrs": {"user": "mallory"},
    "asgi.scope": {"user": "mallory"},
    "oss_wsgi.authorization_source": "REDIRECT_HTTP_AUTHORIZATION",
    "RAW_URI": "/oss/recover?token=1",
    "REQUEST_URI": "/oss/recover?token=1",
}


def request(**more: Any) -> dict[str, Any]:
    """Return the environ of a page's request, as waitress makes it."""
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "/site/oss/recover",
        "PATH_INFO": "",
        "QUERY_STRING": "token=1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "2",
        "SERVER_NAME": "app",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "waitress",
        "HTTP_HOST": "app.example.com",
        "HTTP_X_REQUEST_ID": "page-7",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(b"{}"),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **more,
    }


def seen(environ: dict[str, Any] | None) -> dict[str, Any]:
    """Return the environ in which a view gets an upload: for a page's request, or for a sweep."""
    return FoundRequest("/oss/callback", "https://app.example.com/site/oss/callback")(UPLOAD, environ)


def test_nothing_of_the_asking_persons_request_reaches_the_handler() -> None:
    asked = request(**LOGIN)
    assert not LOGIN.keys() & seen(asked).keys()
    assert seen(asked).keys() == seen(request()).keys(), "whatever else is in the request"
    assert "mallory" not in str(seen(asked))


def test_a_sweep_and_a_page_bring_the_same_keys() -> None:
    assert seen(request()).keys() - seen(None).keys() == {"HTTP_X_REQUEST_ID", FACTS_KEY}
    assert seen(None).keys() <= seen(request()).keys()


def test_urls_and_log_lines_can_be_made_from_what_is_passed() -> None:
    asked = request(REMOTE_ADDR="203.0.113.7")
    facts = facts_of(asked)
    environ = seen(asked)
    passed = ("HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme", "wsgi.errors", "HTTP_X_REQUEST_ID")
    assert [environ[name] for name in passed] == [asked[name] for name in passed]
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/site/oss/callback", "", "")
    assert environ[FACTS_KEY] is facts
    assert facts.fields()["address"] == "203.0.113.7", "for the log"


@pytest.mark.parametrize(
    ("path", "url", "expected"),
    [
        ("/oss/callback", None, ("/oss/callback", "http", "localhost", "80", "localhost")),
        (
            "/oss/callback",
            "https://app.example.com/site/oss/callback",
            ("/site/oss/callback", "https", "app.example.com", "443", "app.example.com"),
        ),
        (
            "/oss/callback",
            "http://app.example.com:8080/elsewhere",
            ("/oss/callback", "http", "app.example.com", "8080", "app.example.com:8080"),
        ),
        (
            "/猫/callback".encode().decode("latin-1"),
            "http://app.example.com/%E7%8C%AB/callback",
            ("/猫/callback".encode().decode("latin-1"), "http", "app.example.com", "80", "app.example.com"),
        ),
        (
            "/猫/callback".encode().decode("latin-1"),
            None,
            ("/猫/callback".encode().decode("latin-1"), "http", "localhost", "80", "localhost"),
        ),
    ],
    ids=["no URL", "behind a proxy", "another path", "Chinese", "Chinese without a URL"],
)
def test_without_a_request_the_callbacks_url_says_where_it_arrives(
    path: str, url: str | None, expected: tuple[str, ...]
) -> None:
    found = FoundRequest(path, url)(UPLOAD)
    names = ("SCRIPT_NAME", "wsgi.url_scheme", "SERVER_NAME", "SERVER_PORT", "HTTP_HOST")
    assert tuple(found[name] for name in names) == expected
    assert (found["SERVER_PROTOCOL"], found["wsgi.version"], found["PATH_INFO"]) == ("HTTP/1.1", (1, 0), "")
    flags = ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once")
    assert [found[name] for name in flags] == [True, True, False]
    assert found["wsgi.errors"].writable()


@pytest.mark.parametrize("environ", [None, request()], ids=["sweep", "page"])
def test_method_and_body_are_those_of_a_callback(environ: dict[str, Any] | None) -> None:
    found = seen(environ)
    body = found["wsgi.input"].read()
    assert (found["REQUEST_METHOD"], found["CONTENT_LENGTH"]) == ("POST", str(len(body)))
    assert found["CONTENT_TYPE"] == "application/x-www-form-urlencoded"
    assert body == b"filename=u%2F%E7%8C%AB.png&size=5&x:m=a%20b"
