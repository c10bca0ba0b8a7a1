"""The diagnosis names the server and the line to add, and never a value."""

from __future__ import annotations

from typing import Any

import pytest
import webtest

from oss_wsgi import CallbackGuard, CallbackVerifier
from oss_wsgi.testing import CallbackSigner
from oss_wsgi.wsgi.diagnosis import (
    missed_path,
    missing_authorization,
    missing_key_url,
    server_name,
    several_values,
    wrong_signature,
)

URL = {"HTTP_X_OSS_PUB_KEY_URL": "c3dvcmRmaXNo"}
APACHE = {"SERVER_SOFTWARE": "Apache/2.4.71 (Debian)", "GATEWAY_INTERFACE": "CGI/1.1"}

MOD_WSGI = {"mod_wsgi.version": (5, 0)}


SIGNATURE = "swordfish" * 9 + "AAAAA=="


def stream_of(module: str) -> Any:
    """Return an input stream whose class is in this module."""
    return type("InputStream", (), {"__module__": module})()


@pytest.mark.parametrize(
    ("environ", "name", "fix"),
    [
        ({**MOD_WSGI, "mod_wsgi.process_group": "app"}, "Apache mod_wsgi (daemon)", "WSGIPassAuthorization On"),
        (
            {**APACHE, **MOD_WSGI, "mod_wsgi.process_group": ""},
            "Apache mod_wsgi (embedded)",
            "WSGIPassAuthorization On",
        ),
        ({**APACHE, "wsgi.run_once": True}, "Apache CGI", "CGIPassAuth On"),
        (
            {**APACHE, "wsgi.input": stream_of("flup.server.fcgi_base")},
            "Apache mod_fcgid",
            "FcgidPassHeader Authorization",
        ),
        ({"SERVER_SOFTWARE": "Apache/2.4 mod_fcgid/2.3.9"}, "Apache mod_fcgid", "FcgidPassHeader Authorization"),
        ({**APACHE, "wsgi.input": stream_of("flipflop")}, "Apache mod_fcgid", "FcgidPassHeader Authorization"),
        (
            {**APACHE, "SERVER_SOFTWARE": "Apache/2.4 mod_fcgid/2.3.9", "wsgi.run_once": True},
            "Apache CGI",
            "CGIPassAuth On",
        ),
        ({**APACHE, "SCRIPT_FILENAME": "proxy:fcgi://127.0.0.1:9000/x"}, "Apache mod_proxy_fcgi", "CGIPassAuth On"),
        ({**APACHE, "SCRIPT_FILENAME": "proxy:scgi://127.0.0.1:9000/x"}, "Apache mod_proxy_scgi", "SetEnvIf"),
        (
            {**APACHE, "SCRIPT_FILENAME": "proxy:uwsgi://h/", "uwsgi.version": b"2"},
            "Apache mod_proxy_uwsgi",
            "proxy in front",
        ),
        ({"uwsgi.version": b"2.0.28"}, "uWSGI", "proxy in front"),
        ({**APACHE, "passenger.hijack": True}, "Phusion Passenger", "proxy in front"),
        ({"gunicorn.socket": None, "SERVER_SOFTWARE": "gunicorn/27"}, "gunicorn", "proxy_set_header"),
        ({"waitress.client_disconnected": None}, "waitress", "RequestHeader unset"),
        ({"asgi.scope": {}}, "an ASGI server", "proxy in front"),
        ({"SERVER_SOFTWARE": "WSGIServer/0.2 CPython/3.11"}, "wsgiref", "proxy in front"),
        ({"SERVER_SOFTWARE": "Cheroot/11"}, "cheroot", "proxy in front"),
        ({"SERVER_SOFTWARE": "nginx/1.26"}, "nginx", "proxy in front"),
        ({"SERVER_SOFTWARE": "lighttpd/1.4"}, "lighttpd", "proxy in front"),
        ({"SERVER_SOFTWARE": "Caddy/2.6"}, "Caddy", "proxy in front"),
        ({"SERVER_SOFTWARE": "Granian"}, "granian", "proxy in front"),
        ({"SERVER_SOFTWARE": "gevent/26"}, "gevent", "proxy in front"),
        ({"SERVER_SOFTWARE": "Rocket3 2026"}, "Rocket", "proxy in front"),
        ({"werkzeug.socket": None}, "werkzeug", "proxy in front"),
        ({"eventlet.input": None}, "eventlet", "proxy in front"),
        ({"paste.httpserver.thread_pool": None}, "Paste", "proxy in front"),
        ({"aiohttp.request": None}, "aiohttp", "proxy in front"),
        ({"wsgi.input": stream_of("twisted.web.wsgi")}, "Twisted", "proxy in front"),
        (
            {"SERVER_SOFTWARE": "WSGIServer/0.2", "wsgi.input": stream_of("django.core.handlers.wsgi")},
            "Django runserver",
            "proxy in front",
        ),
        ({"SCGI": "1"}, "an SCGI gateway", "proxy in front"),
        ({"AJP_LOCAL_ADDR": "127.0.0.1"}, "an AJP gateway", "proxy in front"),
        ({}, "an unknown server", "if it passes Authorization to applications, a proxy in front"),
    ],
)
def test_the_server_is_named_with_its_fix(environ: dict[str, Any], name: str, fix: str) -> None:
    sentence = missing_authorization({**URL, **environ})
    assert server_name(environ) == name
    assert name in sentence
    assert fix in sentence
    assert "swordfish" not in sentence
    assert "c3dv" not in sentence


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HTTP_AUTHORIZATION": ""}, "a rule sets HTTP_AUTHORIZATION, but it is empty"),
        ({"REDIRECT_HTTP_AUTHORIZATION": " "}, "a rule sets REDIRECT_HTTP_AUTHORIZATION, but it is empty"),
        ({"HTTP_AUTHORIZATION": "%{HTTP:Authorization}"}, "SetEnv does not expand it, use SetEnvIf"),
        ({"X_HTTP_AUTHORIZATION": "(null)"}, "X_HTTP_AUTHORIZATION holds `(null)`"),
        ({"HTTP_X_AUTHORIZATION": "swordfish"}, 'trusted_keys=["HTTP_X_AUTHORIZATION"]'),
        ({"HTTP_X_HTTP_AUTHORIZATION": "swordfish"}, 'trusted_keys=["HTTP_X_HTTP_AUTHORIZATION"]'),
        ({"HTTP_X_ORIGINAL_AUTHORIZATION": "swordfish"}, 'trusted_keys=["HTTP_X_ORIGINAL_AUTHORIZATION"]'),
        ({"HTTP_X_AUTHORIZATION": "(null)"}, "HTTP_X_AUTHORIZATION holds `(null)`"),
        ({"HTTP_X_AUTHORIZATION": ""}, "a rule sets HTTP_X_AUTHORIZATION, but it is empty"),
        ({"REMOTE_USER": SIGNATURE}, 'trusted_keys=["REMOTE_USER"]'),
        ({"REDIRECT_REMOTE_USER": SIGNATURE}, 'trusted_keys=["REDIRECT_REMOTE_USER"]'),
        ({**APACHE, "SCRIPT_URL": "/x"}, "a <VirtualHost> does not inherit"),
    ],
)
def test_an_unusable_or_misplaced_value_is_explained(environ: dict[str, Any], expected: str) -> None:
    sentence = missing_authorization({**URL, **environ})
    assert expected in sentence
    assert ("(null)" in sentence) == ("(null)" in expected)
    assert "swordfish" not in sentence


@pytest.mark.parametrize(
    "environ",
    [{"REMOTE_USER": "eric"}, {"HTTP_X_AUTHORIZATION": "(null)"}, {"HTTP_HTTP_AUTHORIZATION": SIGNATURE}],
)
def test_a_key_without_a_copy_of_the_value_is_not_offered(environ: dict[str, Any]) -> None:
    assert "trusted_keys" not in missing_authorization({**URL, **environ})


def test_mod_rewrite_is_blamed_only_where_nothing_else_explains_it() -> None:
    assert "VirtualHost" not in missing_authorization({**URL, **APACHE, "SCRIPT_URL": "/", "HTTP_AUTHORIZATION": ""})
    for environ in (APACHE, {"gunicorn.socket": None, "SCRIPT_URL": "/"}):
        assert "VirtualHost" not in missing_authorization({**URL, **environ})


def test_without_both_headers_it_is_no_callback() -> None:
    assert "not a callback of OSS" in missing_authorization({"mod_wsgi.version": (5, 0)})


def test_without_the_key_url_the_server_is_not_to_blame() -> None:
    assert "waitress" in missing_key_url({"waitress.client_disconnected": None})
    assert "not a callback of OSS" in missing_key_url({})


def test_a_header_with_several_values_is_explained() -> None:
    assert "gunicorn" in several_values({"gunicorn.socket": None})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"PATH_INFO": "/a"}, "rebuilt from PATH_INFO", id="no raw target"),
        pytest.param({"REQUEST_URI": "/a%20b?x", "PATH_INFO": "/a b"}, "fits PATH_INFO", id="plain"),
        pytest.param({"RAW_URI": "//a/./b", "PATH_INFO": "/a/b"}, "fits PATH_INFO", id="merged slashes"),
        pytest.param({"RAW_PATH_INFO": "/a", "PATH_INFO": "/a"}, "from RAW_PATH_INFO and fits", id="eventlet"),
        pytest.param({"asgi.scope": {"raw_path": b"/a"}, "PATH_INFO": "/a"}, "from asgi.scope and fits", id="ASGI"),
        pytest.param({"RAW_URI": "/a/b/x/../c", "PATH_INFO": "/a/b/c"}, "fits PATH_INFO", id="resolved dot segments"),
        pytest.param({"REQUEST_URI": "/m/a", "SCRIPT_NAME": "/m", "PATH_INFO": "/a"}, "fits PATH_INFO", id="a mount"),
        pytest.param({"REQUEST_URI": "/a%20b", "PATH_INFO": "/a%20b"}, "fits PATH_INFO", id="left encoded"),
        pytest.param(
            {"REQUEST_URI": "/a", "SCRIPT_NAME": "/app.wsgi", "PATH_INFO": "/a", "REDIRECT_URL": "/a"},
            "fits PATH_INFO",
            id="a front controller",
        ),
        pytest.param(
            {"REQUEST_URI": "/b", "SCRIPT_NAME": "/app.wsgi", "PATH_INFO": "/a", "REDIRECT_URL": "/a"},
            "not the end of the path",
            id="a front controller of another path",
        ),
        pytest.param({"RAW_URI": "/a", "gunicorn.socket": None}, "the server is gunicorn", id="the server's name"),
        pytest.param({"REQUEST_URI": "/b", "PATH_INFO": "/a"}, "not the end of the path in REQUEST_URI", id="moved"),
        pytest.param(
            {"REQUEST_URI": "/a%20b/c", "SCRIPT_NAME": "/a b/c", "PATH_INFO": "c", "SERVER_SOFTWARE": "nginx/1.26.3"},
            "fastcgi_param PATH_INFO $fastcgi_script_name;",
            id="nginx and flup",
        ),
        pytest.param(
            {
                "REQUEST_URI": "/a%20b/c",
                "SCRIPT_NAME": "/a b/c",
                "PATH_INFO": "c",
                "SCRIPT_FILENAME": "proxy:fcgi://127.0.0.1:9000/a%20b/c",
            },
            'ProxyFCGISetEnvIf "true" PATH_INFO "%{reqenv:SCRIPT_NAME}"',
            id="mod_proxy_fcgi and flup",
        ),
        pytest.param(
            {"REQUEST_URI": "/a%20b/c", "SCRIPT_NAME": "/a b/c", "PATH_INFO": "c"}, "not the end of the path", id="flup"
        ),
    ],
)
def test_a_wrong_signature_says_where_the_target_came_from(environ: dict[str, Any], expected: str) -> None:
    assert expected in wrong_signature(environ)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"REQUEST_URI": "/app", "PATH_INFO": "/app"}, None, id="another path was asked for"),
        pytest.param({"REQUEST_URI": "/b/a/c", "PATH_INFO": "/b/a/c"}, None, id="a longer path was asked for"),
        pytest.param({"PATH_INFO": "http://h/a"}, "of the path in the request", id="a whole URL"),
        pytest.param({"REQUEST_URI": "/app", "PATH_INFO": "/b"}, "routing by PATH_INFO is broken", id="no part of it"),
        pytest.param({"REQUEST_URI": "/a/c?x", "PATH_INFO": "/c"}, "only the end of the path", id="stripped"),
        pytest.param({"SCRIPT_NAME": "/a/c", "PATH_INFO": ""}, "only the end of the path", id="all in SCRIPT_NAME"),
        pytest.param(
            {"SCRIPT_NAME": "/a/c", "PATH_INFO": "", "SERVER_SOFTWARE": "nginx/1.26.3"},
            "fastcgi_param PATH_INFO $fastcgi_script_name;",
            id="nginx",
        ),
    ],
)
def test_a_missed_path_is_explained_only_where_routing_is_wrong(environ: dict[str, Any], expected: str | None) -> None:
    explanation = missed_path(environ, "/a/c")
    assert explanation is None if expected is None else expected in str(explanation)


def test_the_guard_logs_the_diagnosis(caplog: pytest.LogCaptureFixture) -> None:
    signer = CallbackSigner()
    guard = webtest.TestApp(CallbackGuard(lambda environ, start_response: [], CallbackVerifier(signer.public_keys)))
    headers = signer.headers("/c", b"x=1")
    hidden = {name: value for name, value in headers.items() if name != "Authorization"}
    for headers_sent, expected in (
        (hidden, "WSGIPassAuthorization On"),
        ({**headers, "Authorization": "a, b"}, "OSS sends the header once and bare"),
        (signer.headers("/other", b"x=1"), "rebuilt from PATH_INFO"),
    ):
        caplog.clear()
        environ = {"mod_wsgi.version": (5, 0), "mod_wsgi.process_group": ""}
        assert (
            guard.post("/c", b"x=1", headers=headers_sent, extra_environ=environ, expect_errors=True).status_int == 403
        )
        (record,) = caplog.records
        assert expected in record.getMessage()
