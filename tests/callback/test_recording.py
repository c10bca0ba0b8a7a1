"""Recordings: JSON and raw requests are read, and the environ is that of a server that changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from oss_wsgi.callback.recording import Recording
from oss_wsgi.exceptions import LengthRequiredError
from oss_wsgi.wsgi.environ import read_body, request_target

RAW = b"POST /a%20b?x=1 HTTP/1.1\r\nHost: app.example.com\r\nX-Oss-Tag: CALLBACK\r\nContent-Length: 3\r\n\r\na=b"
MEMBERS = {"target": "/oss/callback", "headers": {"Content-Type": "text/plain"}, "body": "a=b", "received": 12.5}


def json_of(**members: Any) -> str:
    return json.dumps({**MEMBERS, **members})


@pytest.mark.parametrize("body", [b"object=a", '{"a": "中"}'.encode(), b"\xff\x00", b""])
def test_json_round_trips(body: bytes) -> None:
    recording = Recording("/oss/callback?a=b", {"Authorization": "x"}, body, 12.5)
    assert Recording.from_json(recording.to_json()) == recording
    assert Recording.from_json(recording.to_json().encode()) == recording


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "null", "nonsense", "{" * 100_000, '{"target": "/", "headers": {}, "body": ' + "[" * 100_000),
        *(json_of(target=1), json_of(target="\ud800"), json_of(headers=[]), json_of(body=1), json_of(body="\ud800")),
        *(json_of(received="soon"), json_of(received=1e999), json_of(received=10**400)),
        '{"target": "/", "headers": {}, "body_base64": "YQ==*"}',
    ],
)
def test_other_json_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="JSON object of target, headers and body"):
        Recording.from_json(text)


def test_a_raw_request_is_read() -> None:
    recording = Recording.from_http(RAW + b"\n")
    assert (recording.method, recording.target, recording.body) == ("POST", "/a%20b?x=1", b"a=b")
    assert recording.headers["x-oss-tag"] == "CALLBACK"
    assert Recording.from_http(RAW.replace(b"HTTP/1.1", b"HTTP/1.0")) == recording
    assert Recording.from_http(RAW.replace(b"\r\n", b"\n")).headers == recording.headers


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"hello", b"hello\r\n\r\n", b"GET / HTTP/1.1", b"GET / HTTP/1.1\r\nHost: a"),
        *(b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"GET / HTTP/1.1\r\n: no name\r\n\r\n"),
    ],
)
def test_what_is_not_http_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(ValueError, match="raw request"):
        Recording.from_http(data)


@pytest.mark.parametrize("length", [b"\xb2", b"three", b"9" * 5000], ids=["no digit", "no number", "too long"])
def test_a_length_that_is_none_cuts_nothing(length: bytes) -> None:
    assert Recording.from_http(RAW.replace(b"Length: 3", b"Length: " + length)).body == b"a=b"


def test_json_without_a_time_was_received_at_an_unknown_one() -> None:
    recording = Recording.from_json('{"target": "/cb", "headers": {"Content-Type": "text/plain"}, "body": "a=b"}')
    assert recording == Recording("/cb", {"Content-Type": "text/plain"}, b"a=b")
    assert recording.received == 0
    environ = recording.environ()
    assert (environ["REQUEST_METHOD"], environ["SCRIPT_NAME"], environ["CONTENT_TYPE"]) == ("POST", "", "text/plain")


def test_the_environ_is_that_of_the_request() -> None:
    environ = Recording.from_http(RAW.replace(b"POST", b"PUT")).environ()
    assert environ["REQUEST_METHOD"] == "PUT"
    assert environ["PATH_INFO"] == "/a b"
    assert environ["QUERY_STRING"] == "x=1"
    assert environ["HTTP_X_OSS_TAG"] == "CALLBACK"
    assert (request_target(environ), read_body(environ, 9)) == (b"/a%20b?x=1", b"a=b")


def test_a_mount_moves_to_script_name() -> None:
    environ = Recording("/%E4%B8%AD/oss/callback", {}, b"").environ("/中")
    assert environ["SCRIPT_NAME"].encode("latin-1").decode() == "/中"
    assert environ["PATH_INFO"] == "/oss/callback"


def test_the_bytes_of_a_raw_target_are_kept() -> None:
    environ = Recording.from_http(RAW.replace(b"%20", b"\xff")).environ()
    assert request_target(environ) == b"/a\xffb?x=1"


def test_the_bytes_of_a_raw_header_are_kept() -> None:
    environ = Recording.from_http(RAW.replace(b"CALLBACK", "Å猫".encode())).environ()
    assert environ["HTTP_X_OSS_TAG"].encode("latin-1") == "Å猫".encode()


def test_a_header_that_came_twice_is_joined() -> None:
    raw = RAW.replace(b"X-Oss-Tag: CALLBACK", b"X-Oss-Tag: a\r\nx-oss-tag: b")
    assert Recording.from_http(raw).environ()["HTTP_X_OSS_TAG"] == "a,b"
    headers = {"X-Oss-Tag": "a", "x-oss-tag ": " b"}
    assert Recording("/", headers, b"").environ()["HTTP_X_OSS_TAG"] == "a,b"


@pytest.mark.parametrize("name", ["Content-Length", "content-length "])
def test_json_has_the_length_of_its_body(name: str) -> None:
    recording = Recording.from_json(json_of(headers={name: "99"}))
    assert read_body(recording.environ(), 9) == b"a=b"


def test_a_raw_request_without_a_length_has_none() -> None:
    with pytest.raises(LengthRequiredError):
        read_body(Recording.from_http(RAW.replace(b"Content-Length", b"X-Length")).environ(), 9)
