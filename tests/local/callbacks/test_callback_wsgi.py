import logging

import pytest
from webtest.lint import middleware as lint

from oss_wsgi.local.callbacks.message import CallbackReply, CallbackRequest
from oss_wsgi.local.callbacks.parameters import parse_callback_url
from oss_wsgi.local.callbacks.transports import WSGITransport, callback_environ

HEADERS = [
    ("Host", "other.example"),
    ("Content-Length", "3"),
    ("Content-Type", "application/json"),
    ("Authorization", "c2ln"),
    ("x-oss-pub-key-url", "a2V5"),
    ("x-oss-additional-headers", ""),
]


def request(url="https://app.example:8443/a%20b/%E4%B8%AD+?c=%2F+d"):
    return CallbackRequest(parse_callback_url(url), HEADERS, b"abc")


def test_the_environ_is_what_a_server_would_make_of_the_request():
    environ = callback_environ(request())
    strings = {name: value for name, value in environ.items() if "." not in name}
    assert strings == {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/a%20b/%E4%B8%AD+?c=%2F+d",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/中+".encode().decode("latin-1"),
        "QUERY_STRING": "c=%2F+d",
        "SERVER_NAME": "app.example",
        "SERVER_PORT": "8443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": "3",
        "CONTENT_TYPE": "application/json",
        "HTTP_HOST": "other.example",
        "HTTP_AUTHORIZATION": "c2ln",
        "HTTP_X_OSS_PUB_KEY_URL": "a2V5",
        "HTTP_X_OSS_ADDITIONAL_HEADERS": "",
    }
    assert environ["wsgi.url_scheme"] == "https"
    assert environ["wsgi.input"].read() == b"abc"


def test_the_answer_is_collected_and_closed_under_the_linter(recorder):
    recorder.body = b"{}"
    reply = WSGITransport(lint(recorder))(request())
    assert reply == CallbackReply(200, {"content-type": "application/json", "content-length": "2"}, b"{}")
    assert recorder.closed == 1


def test_an_answer_by_write_is_collected():
    def app(environ, start_response):
        write = start_response("200 OK", [("Content-Length", "2")])
        write(b"{")
        return [b"}"]

    assert WSGITransport(app)(request()).body == b"{}"


def test_start_response_may_come_with_the_first_part():
    def app(environ, start_response):
        start_response("418 Teapot", [])
        yield b""

    assert WSGITransport(app)(request()).status == 418


def crashes(environ, start_response):
    raise RuntimeError("boom")


def crashes_later(environ, start_response):
    start_response("200 OK", [])
    yield b"{"
    raise RuntimeError("boom")


def stays_silent(environ, start_response):
    return []


@pytest.mark.parametrize("app", [crashes, crashes_later, stays_silent])
def test_an_application_that_fails_answers_500(app, caplog):
    with caplog.at_level(logging.ERROR, "oss_wsgi.local"):
        assert WSGITransport(app)(request()) == CallbackReply(500)
    assert len(caplog.records) == 1
