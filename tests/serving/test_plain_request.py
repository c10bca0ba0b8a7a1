"""The quick way to read a header gives what waitress gives, or leaves the header to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser

from oss_wsgi.serving import parser
from oss_wsgi.serving.parser import RequestParser, read

ADJUSTMENTS = Adjustments(max_request_header_size=4096, max_request_body_size=100)
PARTS = (
    *("command", "request_uri", "version", "path", "query", "fragment", "proxy_scheme", "proxy_netloc", "url_scheme"),
    *("headers", "connection_close", "content_length", "chunked", "expect_continue", "completed", "empty"),
)


def parsed(parser_class: Any, data: bytes, piece: int = 1_000_000) -> dict[str, Any]:
    """Say what became of a request: how much of it was taken, the error, the parts, and the body."""
    parser = parser_class(ADJUSTMENTS)
    taken = 0
    while taken < len(data) and not parser.completed:
        taken += parser.received(data[taken : taken + piece])
    if parser.error is not None:
        return {"taken": taken, "error": type(parser.error), "says": str(parser.error.body)}
    body = parser.get_body_stream().read() if parser.completed else None
    if parser.completed:
        parser.expect_continue = False  # see test_request_parser
    return {"taken": taken, "body": body, **{part: getattr(parser, part, None) for part in PARTS}}


def same(data: bytes, piece: int = 1_000_000) -> None:
    assert parsed(RequestParser, data, piece) == parsed(HTTPRequestParser, data, piece)


HEADER = (
    b"GET /oss/signature?filename=a.png&x=%41 HTTP/1.1\r\n"
    b"Host: example.com\r\nX-Empty:\r\nAccept: a, b;q=0.1\t \r\n\r\n"
)


def test_a_plain_request_is_read() -> None:
    plain = read(HEADER)
    assert plain is not None
    assert plain == (
        "GET",
        "/oss/signature?filename=a.png&x=%41",
        "/oss/signature",
        "filename=a.png&x=%41",
        {"HOST": "example.com", "X_EMPTY": "", "ACCEPT": "a, b;q=0.1"},
        0,
    )
    same(HEADER)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /a%2Fb%e7%8c%ab/;p=1?q=%zz HTTP/1.1\r\nhost:x\r\n\r\n",
        b"POST /oss/callback HTTP/1.1\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 0005\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n" + b"x" * 100,
        b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: keep-alive, upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET /?a?b HTTP/1.1\r\nReferer: http://x/#y\r\nCookie: a=\"b c\"; d=e:f\r\n\r\n",
    ],
)
def test_what_is_plain_is_read_as_waitress_reads_it(data: bytes) -> None:
    assert read(data[: data.index(b"\r\n\r\n") + 4]) is not None
    same(data)


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\n Content-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nX: a\r\n Content-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent_Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length\x00: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nX: a\rContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nX: a\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nX: \x0bContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\nhello",
        b"POST / HTTP/1.1\r\ntransfer-encoding:\tchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        b"GET http://other.example/ HTTP/1.1\r\n\r\n",
        b"GET //evil/path HTTP/1.1\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\n\r\n",
        b"GET /a?b#c HTTP/1.1\r\n\r\n",
        b"GET /\xe7\x8c\xab HTTP/1.1\r\n\r\n",
        b"GET /a\x7f HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET /  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1 \r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"CONNECT example.com:80 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: \xff\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
    ],
)
def test_what_is_not_plain_is_left_to_waitress(data: bytes) -> None:
    header = data[: data.index(b"\r\n\r\n") + 4]
    assert read(header) is None or len(header) > ADJUSTMENTS.max_request_header_size
    same(data)


NAMES = st.sampled_from(
    ["Host", "Content-Length", "content-length", "Transfer-Encoding", "Connection", "X_A", "X", "", " A"]
)
VALUES = st.one_of(
    st.sampled_from(["5", "0", "05", "5 ", "\t5", "chunked", "close", "keep-alive", "", "a, b", "\x0b5", "\xa05", "é"]),
    st.text(st.characters(max_codepoint=255), max_size=8),
)
LINES = st.lists(st.tuples(NAMES, st.sampled_from([":", ": ", " :", ""]), VALUES).map("".join), max_size=4)
TARGETS = st.text(st.sampled_from("/?#%4a:&=.;@[]*\"<é \t"), max_size=10)
BREAKS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n "])


@settings(max_examples=1500, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "Get", "G T", ""]),
    target=st.one_of(TARGETS.map("/{}".format), TARGETS),
    version=st.sampled_from([" HTTP/1.1", " HTTP/1.1", " HTTP/1.0", " HTTP/1.1 ", ""]),
    lines=LINES,
    line_break=BREAKS,
    body=st.sampled_from([b"", b"hello", b"0\r\n\r\n", b"hello!GET / HTTP/1.1\r\n\r\n"]),
    piece=st.sampled_from([3, 30, 1_000_000]),
)
def test_whatever_comes_is_read_as_waitress_reads_it(
    method: str, target: str, version: str, lines: list[str], line_break: str, body: bytes, piece: int
) -> None:
    head = line_break.join([f"{method} {target}{version}", *lines])
    same(head.encode("latin-1") + b"\r\n\r\n" + body, piece)


def test_long_lines_are_not_kept() -> None:
    kept = parser._kept_field.cache_info().currsize
    same(b"GET / HTTP/1.1\r\nX-" + b"a" * 100 + b": 1\r\n\r\n")
    same(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 100 + b"\r\n\r\n")
    assert parser._kept_field.cache_info().currsize == kept
    same(b"GET / HTTP/1.1\r\nX-Not-So-Long: 1\r\n\r\n")
    assert parser._kept_field.cache_info().currsize == kept + 1
