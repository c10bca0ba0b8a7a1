"""The parser reads every request with the same result as stock waitress, but for the rules that `as_ours` names."""

from __future__ import annotations

import itertools
import os
import random
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waitress.adjustments import Adjustments
from waitress.parser import HTTPRequestParser
from waitress.utilities import BadRequest, RequestHeaderFieldsTooLarge

from oss_wsgi.serving.parser import (
    MAX_CACHED_NAMES,
    MAX_HEADER_LINES,
    Names,
    RequestParser,
    read_plain_request,
)

from ..support.linear import MARGIN, slowdown

ADJUSTMENTS = Adjustments(max_request_header_size=4096, max_request_body_size=100)
BOTH, NO_CHUNKS = "Content-Length together with Transfer-Encoding", "Transfer-Encoding without chunks"
MALFORMED = "Malformed target"
MISSING, SEVERAL, INVALID = "Host is missing", "More than one Host", "Host is invalid"
PLAIN_HOST = re.compile(r"[A-Za-z0-9.-]*(:[0-9]*)?")
PARTS = (
    *("command", "request_uri", "version", "path", "query", "url_scheme"),
    *("headers", "content_length", "chunked", "expect_continue", "completed", "empty"),
)


def feed(parser: Any, data: bytes, piece: int = 1_000_000) -> int:
    """Let a parser read pieces of these bytes until its request is complete; return how many bytes it consumed."""
    taken = 0
    while taken < len(data) and not parser.completed:
        taken += parser.received(data[taken : taken + piece])
    return taken


def outcome(parser_class: Any, data: bytes, piece: int = 1_000_000) -> dict[str, Any]:
    """Return what a parser makes of a request: bytes consumed, the error, the parts and the body."""
    parser = parser_class(ADJUSTMENTS)
    taken = feed(parser, data, piece)
    if parser.error is not None:
        return {"taken": taken, "error": type(parser.error), "says": str(parser.error.body)}
    body = parser.get_body_stream().read() if parser.completed else None
    if parser.completed:
        parser.expect_continue = False  # see test_100_continue_is_not_asked_without_a_body
    return {"taken": taken, "body": body, **{part: getattr(parser, part, None) for part in PARTS}}


def assert_same(data: bytes, piece: int = 1_000_000) -> None:
    ours = outcome(RequestParser, data, piece)
    assert not (ours.get("path") or "").startswith("//"), "waitress cuts further slashes for PATH_INFO"
    refusal = ours.get("says")
    if refusal == BOTH:
        assert b"content-length" in data.lower()
        assert b"transfer-encoding" in data.lower()
        return
    if refusal == NO_CHUNKS:
        assert b"transfer-encoding" in data.lower()
        assert not outcome(HTTPRequestParser, data, piece)["chunked"]
        return
    if refusal in (MISSING, SEVERAL):
        assert hosts(data) == 0 if refusal == MISSING else hosts(data) > 1
        return
    try:
        theirs = outcome(HTTPRequestParser, data, piece)
    except ValueError:  # urlsplit's, which waitress lets through for a malformed target in absolute form
        assert refusal == MALFORMED
        return
    if refusal in (INVALID, MALFORMED):
        parser = HTTPRequestParser(ADJUSTMENTS)
        parser.parse_header(data.lstrip().partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        if refusal == INVALID:
            assert PLAIN_HOST.fullmatch(parser.headers.get("HOST", "")) is None
        elif parser.proxy_scheme:
            assert parser.proxy_netloc[:1] in ("", ":") or PLAIN_HOST.fullmatch(parser.proxy_netloc) is None
        else:
            assert parser.path != "*"
            assert not parser.path.startswith("/")
        return
    assert ours == as_ours(theirs)
    if refusal is None and ours["command"] is not None:
        assert hosts(data) == 1 or (hosts(data) == 0 and ours["version"] < "1.1")


def hosts(data: bytes) -> int:
    """Return how many lines of a header have the name Host."""
    lines = data.lstrip().partition(b"\r\n\r\n")[0].split(b"\r\n")
    return sum(line.lower().startswith(b"host:") for line in lines[1:])


def as_ours(theirs: dict[str, Any]) -> dict[str, Any]:
    """Return what waitress makes of a request as we pass it on: one slash, one option of Connection, the target's host.

    Beside that we refuse what it reads: a length together with an encoding, and another number of hosts than one.
    """
    if "error" in theirs:
        return theirs
    theirs = {**theirs, "headers": dict(theirs["headers"])}
    headers, target = theirs["headers"], theirs["request_uri"] or ""
    if (theirs["path"] or "").startswith("//"):
        theirs["path"] = "/" + theirs["path"].lstrip("/")
    if "," in headers.get("CONNECTION", ""):
        options = [each.strip(" \t").lower() for each in headers["CONNECTION"].split(",")]
        wanted = [each for each in ("close", "keep-alive") if each in options]
        headers["CONNECTION"] = [*wanted, headers["CONNECTION"]][0]
    if not target.startswith("//") and (netloc := urlsplit(target).netloc):
        headers["HOST"] = netloc
    return theirs


START = b"GET / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
HEADER = b"GET /oss/signature?filename=a.png&x=%41 HTTP/1.1\r\nHost: example.com\r\nAccept: a, b;q=0.1\r\n\r\n"


def test_a_plain_request_is_read() -> None:
    plain = read_plain_request(HEADER)
    assert plain is not None
    assert plain == (
        "GET",
        "/oss/signature?filename=a.png&x=%41",
        "/oss/signature",
        "filename=a.png&x=%41",
        {"HOST": "example.com", "ACCEPT": "a, b;q=0.1"},
        0,
    )
    assert_same(HEADER)


PLAIN = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a%2Fb%e7%8c%ab/;p=1?q=%zz HTTP/1.1\r\nhost: x\r\n\r\n",
    b"POST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 100,
    b"GET /%2Fevil/path HTTP/1.1\r\nHost: a\r\n\r\n",
    *(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (size - 32) + b"\r\n\r\n" for size in (4095, 4096)),
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: h2c\r\n\r\n",
    b'GET /?a?b HTTP/1.1\r\nHost: a\r\nReferer: http://x/#y\r\nCookie: a="b c"; d=e:f\r\n\r\n',
)
NOT_PLAIN = (
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \xb2\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nX: a\r\n Content-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nX: a\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    b"GET http://other.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET //evil/path HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX:  a\r\nY: a\t \r\nZ: \r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000 + b"\r\n\r\n",
    # What RequestParser makes quick to read.
    START + b"X:" + b" " * 40 + b"a b\r\nY:" + b"\t" * 20 + b"\r\n" + b" " * 30 + b"c\xff\r\n\r\n",
    START + b"X:" + b"\r\n " * 20 + b"\r\nY: a:" + b" " * 20 + b"\xff\r\n\r\n",
    b"GET http://a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET\r\nX: a\r\n\r\n",
    b"GET a\rb c\r\n\r\n",
)


@pytest.mark.parametrize("data", [*PLAIN, *NOT_PLAIN])
def test_a_request_is_read_as_waitress_reads_it_whether_it_is_plain_or_left_to_waitress(data: bytes) -> None:
    header = data[: data.index(b"\r\n\r\n") + 4]
    is_short = len(header) <= ADJUSTMENTS.max_request_header_size
    assert not is_short or (read_plain_request(header) is not None) is (data in PLAIN)
    for piece in (1, 7, 1_000_000):
        assert_same(data, piece)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    "lines",
    [
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "content-length: 5\r\ntransfer-encoding:chunked",
        "Content-Length: 5\r\nTransfer-Encoding:",
        "Content-Length: 0\r\nTRANSFER-ENCODING: chunked",
    ],
)
def test_a_length_together_with_an_encoding_is_refused(lines: str, version: str) -> None:
    """RFC 9112 section 6.3: a proxy that believes the other of the two sees another request."""
    for piece in (1, 1_000_000):
        data = f"POST / HTTP/{version}\r\n{lines}\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode()
        ours = outcome(RequestParser, data, piece)
        assert (ours["error"], ours["says"]) == (BadRequest, BOTH)


@pytest.mark.parametrize("version", ["1.0", "1.2"])
@pytest.mark.parametrize("value", ["", " ,", "chunked", "identity"])
def test_an_encoding_that_does_not_count_is_refused(value: str, version: str) -> None:
    """RFC 9112 section 6.1: to a proxy that believes it, the body is no further request."""
    data = f"POST / HTTP/{version}\r\nHost: a\r\nTransfer-Encoding:{value}\r\n\r\n".encode()
    for piece in (1, 1_000_000):
        ours = outcome(RequestParser, data, piece)
        assert (ours["error"], ours["says"]) == (BadRequest, NO_CHUNKS)


def test_an_encoding_without_a_value_is_refused() -> None:
    data = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"
    assert outcome(RequestParser, data)["says"] == NO_CHUNKS


@pytest.mark.parametrize("target", ["http://a]/", "http://[a/", "http://a:80]b;c?d=e#f"])
def test_a_malformed_target_is_refused(target: str) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert outcome(RequestParser, head)["says"] == MALFORMED
    assert_same(head)


HOSTS = ["", "a", "A.example:80", "a:", "127.0.0.1:8000", "[::1]:80", "[v1.a:b]", "a_b", "a%20b", "xn--x!$&'()*+,;=~"]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], MISSING),
        (["X-Host: a"], MISSING),
        (["Host: a", "Host: a"], SEVERAL),
        (["host: a", "X: y", "HOST: b"], SEVERAL),
        (["Host: a", "Host:"], SEVERAL),
        *(([f"Host: {host}"], None) for host in HOSTS),
        ([f"hOsT:\t{HOSTS[1]} "], None),
        *(
            ([f"Host: {host}"], INVALID)
            for host in (
                "a b",
                "a/b",
                "user@a",
                "a:80:80",
                "a:b",
                "::1",
                "[::1",
                "[g]",
                "a%2",
                "a?b",
                "a#b",
                "\xe9",
                "a, b",
            )
        ),
    ],
)
def test_a_request_names_one_valid_host(lines: list[str], says: str | None) -> None:
    """RFC 9112 section 3.2; HTTP/1.0 may name none, and the host of an absolute target counts."""
    for version, target, piece in itertools.product(
        ("1.0", "1.1", "1.2"), ("/", "*", "http://b:81/?q"), (1, 1_000_000)
    ):
        expected = None if version == "1.0" and says == MISSING else says
        head = "\r\n".join([f"GET {target} HTTP/{version}", *lines, "", ""]).encode("latin-1")
        ours = outcome(RequestParser, head, piece)
        assert (ours.get("error"), ours.get("says")) == (expected and BadRequest, expected)
        if expected is None and "//" in target:
            assert ours["headers"]["HOST"] == "b:81"


@pytest.mark.parametrize(
    "target",
    [
        *("http://user@a/", "http://a b/", "http://a:b/", "x://a\\b/", "http:///", "http://:80/", "http:/a", "http:"),
        *("a", "a:80", "1:80", ":80", "?a", "**", "mailto:a"),
    ],
)
def test_a_target_is_a_path_or_a_url_with_a_valid_host(target: str) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert outcome(RequestParser, head)["error"] is BadRequest
    assert_same(head)


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        (["Connection: TE, close"], "close"),
        (["Connection: Close,TE"], "close"),
        (["connection: TE", "Connection: close"], "close"),
        (["Connection: keep-alive,\tclose"], "close"),
        (["Connection: ,close,"], "close"),
        (["Connection: Keep-Alive, Upgrade"], "keep-alive"),
        (["Connection: TE", "Connection: Keep-Alive"], "keep-alive"),
        (["Connection: TE, Upgrade"], "TE, Upgrade"),
        (["Connection: closed, close-it"], "closed, close-it"),
        (["Connection: Close"], "Close"),
        (["Connection: Upgrade"], "Upgrade"),
    ],
)
def test_of_a_list_the_option_is_left_that_says_whether_the_connection_stays(lines: list[str], left: str) -> None:
    for version in ("1.0", "1.1"):
        head = "\r\n".join([f"GET / HTTP/{version}", "Host: a", *lines, "", ""]).encode()
        assert outcome(RequestParser, head)["headers"]["CONNECTION"] == left


@pytest.mark.parametrize("chunks", [b"1;" + b"x" * 10_000, b"0\r\n" + b"X: y\r\n" * 2_000])
def test_what_surrounds_chunks_is_bounded(chunks: bytes) -> None:
    """waitress keeps the line before a chunk, and the trailer, however long they become."""
    ours = RequestParser(Adjustments(max_request_header_size=4096, max_request_body_size=1 << 30))
    ours.received(CHUNKED)
    assert feed(ours, chunks, 100) < 6000
    assert isinstance(ours.error, BadRequest)


NAMES = st.sampled_from(
    [
        "Host",
        "Host",
        "host",
        "Content-Length",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "X_A",
        "X",
        "",
        " A",
    ]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            "5",
            "0",
            "05",
            "5x",
            "5 ",
            "\t5",
            "chunked",
            "close",
            "keep-alive",
            "",
            "a, b",
            "\x0b5",
            "\xa05",
            "é",
            "TE, Close",
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=8),
)
LINES = st.lists(st.tuples(NAMES, st.sampled_from([":", ": ", " :", ""]), VALUES).map("".join), max_size=4)
TARGETS = st.text(st.sampled_from('/?#%4a:&=.;@[]*"<é \t'), max_size=10)
BREAKS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n "])


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "Get", "G T", ""]),
    target=st.one_of(TARGETS.map("/{}".format), TARGETS),
    version=st.sampled_from([" HTTP/1.1", " HTTP/1.1", " HTTP/1.0", " HTTP/1.1 ", ""]),
    has_host=st.booleans(),
    lines=LINES,
    line_break=BREAKS,
    body=st.sampled_from([b"", b"hello", b"0\r\n\r\n", b"hello!GET / HTTP/1.1\r\n\r\n"]),
    piece=st.sampled_from([3, 30, 1_000_000]),
)
def test_any_request_is_read_as_waitress_reads_it(
    method: str,
    target: str,
    version: str,
    has_host: bool,
    lines: list[str],
    line_break: str,
    body: bytes,
    piece: int,
) -> None:
    head = line_break.join([f"{method} {target}{version}", *(["Host: a"] if has_host else []), *lines])
    assert_same(head.encode("latin-1") + b"\r\n\r\n" + body, piece)


def test_clients_cannot_grow_the_cache_of_names() -> None:
    names = Names(str.upper)
    assert names["x" * 10_000] == "X" * 10_000
    assert len(names) == 0
    for number in range(2 * MAX_CACHED_NAMES):
        assert names[f"x{number}"] == f"X{number}"
        assert 0 < len(names) <= MAX_CACHED_NAMES


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.mark.parametrize("piece", [1, 40, 1_000_000])
def test_a_body_in_pieces_is_never_taken_for_a_request(piece: int) -> None:
    head = b"POST /oss/callback HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
    for data in (head + SMUGGLED, head + SMUGGLED + SMUGGLED):
        assert_same(data, piece)
    for cut in range(len(head), len(head + SMUGGLED)):
        ours = RequestParser(ADJUSTMENTS)
        taken = feed(ours, (head + SMUGGLED)[:cut])
        taken += feed(ours, (head + SMUGGLED + SMUGGLED)[taken:])
        assert (taken, ours.get_body_stream().read()) == (len(head + SMUGGLED), SMUGGLED)


@pytest.mark.parametrize("length", ["", "Content-Length: 0\r\n", "Content-Length: 5000\r\n"])
def test_100_continue_is_not_asked_without_a_body(length: str) -> None:
    """Stock waitress asks, and then reads the next request as the body."""
    ours = RequestParser(ADJUSTMENTS)
    ours.received(f"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{length}\r\n".encode())
    assert (ours.completed, ours.expect_continue, ours.error is not None) == (True, False, "5000" in length)


def test_100_continue_is_asked_for_a_body() -> None:
    ours = RequestParser(ADJUSTMENTS)
    ours.received(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert (ours.completed, ours.expect_continue) == (False, True)


# `.ci/run` sets this to 200,000.
MUTATIONS = int(os.environ.get("PARSER_MUTATIONS", "10000"))
SEEDS = (
    HEADER,
    b"POST /oss/callback HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"GET http://a:80/b;c?d=e#f HTTP/1.0\r\nConnection: keep-alive\r\nX: a\r\n b\r\n\r\n",
    b"\r\nGET /%e7%8c%ab?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Y_Z: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
)
FRAGMENTS = (
    *(b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"\0", b"\x0b", b"\x85", b"\xff", b"0", b"5", b"-", b"+"),
    *(b"_", b"%", b"//", b"#", b"?", b","),
    *(b" " * 20, b"X:" + b"\r\n\t" * 20, b"://", b"a://1"),
    *(b"Host: a\r\n", b"Host:", b"Connection: TE, close\r\n", b"[::1]:80", b"@"),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0", b"HTTP/1.1", b"\r\n\r\n"),
)


def mutated(choose: random.Random) -> bytes:
    data = bytearray(choose.choice(SEEDS))
    for _ in range(choose.randint(1, 4)):
        at = choose.randrange(len(data) + 1)
        to = min(len(data), at + choose.randint(0, 6))
        match choose.randrange(5):
            case 0:
                data[at:at] = choose.choice(FRAGMENTS)
            case 1:
                del data[at:to]
            case 2:
                data[at:to] = choose.choice(FRAGMENTS)
            case 3:
                data[at:at] = data[choose.randrange(len(data) + 1) :][: choose.randint(1, 30)]
            case 4:
                data[at:to] = bytes(choose.randrange(256) for _ in range(to - at))
    return bytes(data)


@pytest.mark.slow
def test_mutated_requests_are_read_as_waitress_reads_them() -> None:
    choose = random.Random(14)
    for _ in range(MUTATIONS):
        assert_same(mutated(choose), choose.choice((2, 20, 1_000_000)))


def repeated(text: bytes, before: bytes, after: bytes) -> Any:
    """Return a function that repeats a text to about a given length."""
    return lambda length: before + text * (length // len(text)) + after


HOSTILE = {
    "blanks before a value": repeated(b" ", START + b"X:", b"\xff\r\n\r\n"),
    "blanks before a bad value": repeated(b"\t ", START + b"X:", b"\0\r\n\r\n"),
    "continued blanks": repeated(b"\r\n ", START + b"X:", b"\r\n\r\n"),
    "blanks in a value": repeated(b" ", START + b"X: a", b"\0\r\n\r\n"),
    "blanks and words": repeated(b"a \t", START + b"X: ", b"\0\r\n\r\n"),
    "the same field": repeated(b"X:\r\n", START, b"\r\n"),
    "many fields": lambda length: START + b"".join(b"X%d:\r\n" % n for n in range(length // 8)) + b"\r\n",
    "a continued field": repeated(b" x\r\n", START + b"X:\r\n", b"\r\n"),
    "a port": repeated(b"1", b"GET a://", b" X\r\n\r\n"),
    "a host": repeated(b"a", b"GET a://", b" \r\n\r\n"),
    "schemes": repeated(b"a://", b"GET ", b" HTTP/x\r\n\r\n"),
    "a method": repeated(b"G", b"", b"\r\n\r\n"),
    "escapes": repeated(b"%4", b"GET /", b" HTTP/1.0\r\n\r\n"),
    "encodings": repeated(b"chunked,", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ", b"\r\n\r\n"),
    "chunks": repeated(b"1\r\na\r\n", CHUNKED, b""),
    "extensions of a chunk": repeated(b";a", CHUNKED + b"1", b"\0\r\n"),
    "quotes in an extension": repeated(b'\\"', CHUNKED + b'1;a="', b"\r\n"),
    "a trailer": repeated(b"X: y\r\n", CHUNKED + b"0\r\n", b""),
}
LARGE = Adjustments(max_request_header_size=1 << 20, max_request_body_size=1 << 20)


@pytest.mark.slow
@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_time_grows_with_the_length_of_hostile_requests(hostile: Any) -> None:
    def read(data: bytes) -> None:
        for piece in (16, 1 << 20):
            feed(RequestParser(LARGE), data, piece)

    assert slowdown(read, hostile) < MARGIN


@pytest.mark.parametrize("line", [b"X%d: a\r\n", b"X%d: \xff\r\n"])
def test_lines_of_a_header_are_bounded(line: bytes) -> None:
    for count, error in ((MAX_HEADER_LINES - 3, None), (MAX_HEADER_LINES + 1, RequestHeaderFieldsTooLarge)):
        ours = RequestParser(LARGE)
        ours.received(START + b"".join(line % number for number in range(count)) + b"\r\n")
        assert ours.completed
        assert type(ours.error) is (error or type(None))


def with_body_limit() -> Adjustments:
    adjustments = Adjustments(max_request_header_size=4096, max_request_body_size=100)
    adjustments.body_limit = lambda method, path: {"/complete": 999, "/short": 50}.get(path[path.rfind("/") :])
    return adjustments


@pytest.mark.parametrize(
    ("path", "length", "is_refused"),
    [
        ("/a", 99, False),
        ("/a", 100, True),
        ("/a/complete", 100, False),
        ("/a/complete", 999, False),
        ("/a/complete", 1000, True),
        ("/a/complete?x=/b", 999, False),
        ("/b?x=/complete", 100, True),
    ],
)
def test_the_application_says_how_long_a_body_may_be(path: str, length: int, is_refused: bool) -> None:
    for piece, header in ((1, ""), (10_000, ""), (1, "X_Under: not plain\r\n"), (10_000, "X_Under: not plain\r\n")):
        parser = RequestParser(with_body_limit())
        data = f"POST {path} HTTP/1.1\r\nHost: a\r\n{header}Content-Length: {length}\r\n\r\n".encode() + b"x" * length
        feed(parser, data, piece)
        assert (parser.error is not None) is is_refused
        if not is_refused:
            assert parser.get_body_stream().read() == b"x" * length


@pytest.mark.slow
@given(
    pieces=st.lists(
        st.sampled_from([b"1\r\na\r\n", b"03\r\nb\r\n\r\n", b"2;a=b\r\ncc\r\n", b"\r\n", b"A\r\n"]), max_size=9
    ),
    end=st.sampled_from([b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"1\r\nab\r\n", b"g\r\n", b"-1\r\n", b"1 \r\na\r\n", b""]),
    size=st.integers(1, 40),
)
def test_chunks_are_read_as_waitress_reads_them(pieces: list[bytes], end: bytes, size: int) -> None:
    data = b"".join(pieces) + end
    ours, theirs = RequestParser(LARGE), HTTPRequestParser(LARGE)
    for each in (ours, theirs):
        each.received(CHUNKED)
        feed(each, data, size)
    assert (ours.completed, type(ours.error)) == (theirs.completed, type(theirs.error))
    assert ours.body_rcv.getbuf().get() == theirs.body_rcv.getbuf().get()


def test_a_body_that_comes_after_its_header_may_be_shorter_than_others() -> None:
    for length, is_refused in ((50, False), (51, True)):
        parser = RequestParser(with_body_limit())
        parser.received(b"POST /a/short HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % length)
        assert (parser.error is not None) is is_refused


def test_a_body_in_chunks_is_bounded_by_its_path_too() -> None:
    for path, is_refused in (("/a", True), ("/a/complete", False)):
        parser = RequestParser(with_body_limit())
        data = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n12C\r\n".encode()
        feed(parser, data + b"x" * 300 + b"\r\n" + (b"" if is_refused else b"0\r\n\r\n"))
        assert parser.completed
        assert (parser.error is not None) is is_refused
