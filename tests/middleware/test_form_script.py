"""FormScript: which responses are pages, what comes after them, and what their policies allow then."""

from __future__ import annotations

import itertools
import sys
import wsgiref.util
import wsgiref.validate
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi.middleware.form_script import MAX_FIRST, FormScript

OSS = "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
LINE = b'<script type="module" src="/oss/upload.js" data-forms></script>'
PAGE = b"<!DOCTYPE html>\n<title>old</title><form></form>"

Headers = list[tuple[str, str]]


def page(
    *pieces: bytes, status: str = "200 OK", content_type: str = "text/html", **headers: str
) -> Callable[..., list[bytes]]:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        start_response(status, [("Content-Type", content_type), *named])
        return list(pieces or [PAGE])

    return app


def get(app: Any, *, src: str = "/oss/upload.js", **environ: Any) -> tuple[str, dict[str, str], bytes]:
    """Return the status, the headers and the body that a server gets from the application behind the middleware."""
    full: dict[str, Any] = {}
    wsgiref.util.setup_testing_defaults(full)
    full.update(environ)
    if isinstance(full.get("QUERY_STRING"), type(None)):
        full["QUERY_STRING"] = ""
    started: list[tuple[str, Headers]] = []
    sent: list[bytes] = []

    def start_response(status: str, headers: Headers, exc_info: Any = None) -> Any:
        if exc_info is not None and sent:
            raise exc_info[1].with_traceback(exc_info[2])
        started.append((status, headers))
        return sent.append

    body = FormScript(app, src, origins=[OSS])(full, start_response)
    try:
        for piece in body:
            assert started
            sent.append(piece)
    finally:
        if hasattr(body, "close"):
            body.close()
    status, headers = started[-1]
    return status, dict(headers), b"".join(sent)


def test_a_page_ends_with_the_line_and_its_length_is_right() -> None:
    _, headers, body = get(page(PAGE, Content_Length=str(len(PAGE))))
    assert body == PAGE + LINE
    assert headers == {"Content-Type": "text/html", "Content-Length": str(len(PAGE + LINE))}


def test_a_page_in_place_of_a_response_that_the_server_knows_is_passed_on() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "application/json")])
        try:
            raise KeyError
        except KeyError:
            start_response("500 Broken", [("Content-Type", "text/html")], sys.exc_info())
        return [PAGE]

    assert get(app) == ("500 Broken", {"Content-Type": "text/html"}, PAGE)


BEGINNINGS = [
    b"<html><body>",
    b"<!doctype html>x",
    b"\xef\xbb\xbf\r\n <!DOCTYPE HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'>x",
    b"<!-- made by hand --> <!-- in 2005 --><HTML lang=de>",
    b"<?xml version='1.0'?>\n<!DOCTYPE html>x",
    b"<!-- <html> --><html>",
]
OTHER_BEGINNINGS = [
    b"",
    b"<div>a fragment of HTMX with <html> in it</div>",
    b"text <!doctype html>",
    b"<htmlx>",
    b"<!-- only a comment with <html> in it",
    b"<!-- a long comment " + b"." * MAX_FIRST + b"--><html>",
    "<!doctype html>".encode("utf-16"),
    "<!doctype html>".encode("utf-16-be"),
]


@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_page_begins_with_html_or_a_doctype(beginning: bytes) -> None:
    assert get(page(beginning, b" more"))[2] == beginning + b" more" + LINE


@pytest.mark.parametrize("beginning", OTHER_BEGINNINGS)
def test_what_begins_otherwise_stays_as_it_is(beginning: bytes) -> None:
    assert get(page(beginning, b" more", Content_Length="99"))[1:] == (
        {"Content-Type": "text/html", "Content-Length": "99"},
        beginning + b" more",
    )


@given(
    content=st.sampled_from([*BEGINNINGS, *OTHER_BEGINNINGS, PAGE]),
    cuts=st.lists(st.integers(0, 40), max_size=8),
    written=st.integers(0, 9),
    is_lazy=st.booleans(),
    has_length=st.booleans(),
)
def test_it_does_not_matter_how_the_application_makes_its_body(
    content: bytes, cuts: list[int], written: int, is_lazy: bool, has_length: bool
) -> None:
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pieces = [content[begin:end] for begin, end in itertools.pairwise(places)]
    length = [("Content-Length", str(len(content)))] if has_length else []

    def body(start_response: Any) -> Iterator[bytes]:
        write = start_response("200 OK", [("Content-Type", "TEXT/HTML; charset=gbk"), *length])
        for piece in pieces[:written]:
            write(piece)
        yield from pieces[written:]

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return body(start_response) if is_lazy else iter(list(body(start_response)))

    _, headers, sent = get(app)
    expected = content if content in OTHER_BEGINNINGS else content + LINE
    assert sent == expected
    assert headers.get("Content-Length") == (str(len(expected)) if has_length else None)


@pytest.mark.parametrize(("first", "line"), [(b"<html>", [(LINE, 4)]), (b"<p>", []), (b"text", [])])
def test_nothing_is_read_ahead(first: bytes, line: list[tuple[bytes, int]]) -> None:
    made: list[bytes] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        for piece in (first, b"a", b"", b"b"):
            made.append(piece)
            yield piece

    body = FormScript(app, "/oss/upload.js", origins=[])({"REQUEST_METHOD": "GET"}, lambda *_: None)
    seen = [(piece, len(made)) for piece in body]
    assert seen == [(first, 1), (b"a", 2), (b"", 3), (b"b", 4), *line]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content_Encoding": "gzip"},
        {"Content_Disposition": "Attachment; filename=a.html"},
        {"Content_Disposition": "attachment"},
        {"content_type": "text/plain"},
        {"content_type": "application/xhtml+xml"},
        {"status": "206 Partial Content", "Content_Range": "bytes 0-9/99"},
        {"status": "204 No Content"},
        {"status": "304 Not Modified"},
    ],
)
def test_encoded_and_partial_responses_and_attachments_stay_as_they_are(headers: dict[str, str]) -> None:
    status, seen, body = get(page(PAGE, **{"ETag": '"1"', "Content_Security_Policy": "default-src 'none'", **headers}))
    assert (status, body) == (headers.get("status", "200 OK"), PAGE)
    assert (seen["ETag"], seen["Content-Security-Policy"]) == ('"1"', "default-src 'none'")


@pytest.mark.parametrize("headers", [{"Content_Disposition": "inline"}, {"Content_Encoding": "identity"}])
def test_an_inline_page_is_a_page(headers: dict[str, str]) -> None:
    assert get(page(**headers))[2] == PAGE + LINE


@pytest.mark.parametrize("status", ["404 Not Found", "422 Unprocessable Content", "500 Internal Server Error"])
def test_a_page_with_an_error_is_a_page(status: str) -> None:
    assert get(page(status=status))[::2] == (status, PAGE + LINE)


def test_head_has_no_length_and_otherwise_the_headers_of_get() -> None:
    headers = {"ETag": '"1"', "Content_Security_Policy": "default-src 'self'"}
    seen = [
        get(page(*pieces, Content_Length="47", **headers), REQUEST_METHOD=method)
        for method, pieces in (("GET", [PAGE]), ("HEAD", [b""]))
    ]
    assert int(seen[0][1].pop("Content-Length")) == 47 + len(LINE)
    assert seen[1] == (*seen[0][:2], b"")


def test_what_tells_the_bytes_of_a_body_is_left_out() -> None:
    of_bytes = {"Content_MD5": "x", "Digest": "x", "Repr_Digest": "x", "Content_Digest": "x", "Accept_Ranges": "bytes"}
    _, headers, _ = get(page(PAGE, ETag='"1"', Last_Modified="then", **of_bytes))
    assert headers == {"Content-Type": "text/html", "ETag": 'W/"1"', "Last-Modified": "then"}
    assert get(page(PAGE, ETag='W/"1"'))[1]["ETag"] == 'W/"1"'


def test_the_line_leads_below_the_mount() -> None:
    _, _, body = get(page(), SCRIPT_NAME='/sh"op\xc3\xa4')
    assert b'src="/sh%22op%C3%A4/oss/upload.js"' in body
    assert b'src="https://a.example/upload.js?a&amp;b"' in get(
        page(), src="https://a.example/upload.js?a&b", SCRIPT_NAME="/shop"
    )[2]  # fmt: skip


def test_a_response_that_is_no_page_keeps_its_body() -> None:
    body = [b"a file"]

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "image/png")])
        return body

    assert FormScript(app, "/x", origins=[])({"REQUEST_METHOD": "GET"}, lambda *_: None) is body


@pytest.mark.parametrize("first", [b"<html>", b"<ht", b"text"])
def test_the_body_is_closed(first: bytes) -> None:
    closed: list[bool] = []

    class Body(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Any) -> Body:
        start_response("200 OK", [("Content-Type", "text/html")])
        return Body([first])

    get(app)
    assert closed == [True]


def failing(before: bytes, *, replaces: bool = True) -> Callable[..., Iterator[bytes]]:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/html"), ("Content-Length", "5")])
        if before:
            yield before
        try:
            raise ValueError("broken")
        except ValueError:
            headers = [("Content-Type", "text/html"), ("X-Error", "1")]
            start_response("500 Broken", headers, sys.exc_info() if replaces else None)
        yield b"<html>sorry"

    return app


@pytest.mark.parametrize("before", [b"", b"<ht"])
def test_an_error_page_replaces_a_response_that_was_not_sent(before: bytes) -> None:
    status, headers, body = get(failing(before))
    assert (status, headers) == ("500 Broken", {"Content-Type": "text/html", "X-Error": "1"})
    assert body == b"<html>sorry" + LINE


def test_an_error_after_the_first_bytes_is_the_servers() -> None:
    with pytest.raises(ValueError, match="broken"):
        get(failing(b"<html>"))


def test_a_second_response_without_an_error_is_refused() -> None:
    with pytest.raises(AssertionError, match="second time"):
        get(failing(b"", replaces=False))


def test_an_error_of_the_application_is_not_handled() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        get(app)


def test_it_keeps_the_rules_of_wsgi() -> None:
    validator: Any = wsgiref.validate.validator
    headers = [("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))]

    @validator
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", headers)
        return [PAGE]

    environ: dict[str, Any] = {}
    wsgiref.util.setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""
    body = validator(FormScript(app, "/oss/upload.js", origins=[]))(environ, lambda *_: lambda data: None)
    assert b"".join(body) == PAGE + LINE
    body.close()


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", ""),
        ("img-src *", "img-src *"),
        ("default-src 'self'", f"default-src 'self'; connect-src 'self' {OSS}"),
        ("default-src 'none'", f"default-src 'none'; script-src 'self'; connect-src 'self' {OSS}"),
        ("connect-src 'none'; img-src *", f"connect-src 'self' {OSS}; img-src *"),
        (f"connect-src {OSS} 'SELF'", f"connect-src {OSS} 'SELF'"),
        ("script-src https://cdn.example", "script-src https://cdn.example 'self'"),
        ("script-src 'sha256-AAAA'", "script-src 'sha256-AAAA' 'self'"),
        ("script-src 'none'", "script-src 'self'"),
        (
            "default-src a.example; script-src 'self'; connect-src b.example;",
            f"default-src a.example; script-src 'self'; connect-src b.example 'self' {OSS};",
        ),
        ("script-src 'self'; SCRIPT-SRC-ELEM 'none'", "script-src 'self'; script-src-elem 'self'"),
        ("connect-src a.example; connect-src b.example", f"connect-src a.example 'self' {OSS}; connect-src b.example"),
        ("sandbox allow-scripts allow-same-origin allow-forms", "sandbox allow-scripts allow-same-origin allow-forms"),
        ("require-trusted-types-for 'script'; trusted-types x", "require-trusted-types-for 'script'; trusted-types x"),
        ("img-src *, default-src 'self'", f"img-src *, default-src 'self'; connect-src 'self' {OSS}"),
    ],
)
def test_a_policy_allows_the_module_and_the_bucket_and_nothing_else(policy: str, expected: str) -> None:
    for name in ("Content-Security-Policy", "Content-Security-Policy-Report-Only"):
        _, headers, body = get(page(**{name: policy}))
        assert (headers[name], body) == (expected, PAGE + LINE)


def test_every_policy_of_a_page_allows_them() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        policies = [("content-security-policy", "connect-src 'self'"), ("Content-Security-Policy", "connect-src *")]
        start_response("200 OK", [("Content-Type", "text/html"), *policies])
        return [PAGE]

    seen: list[Headers] = []
    b"".join(
        FormScript(app, "/x", origins=[OSS])(
            {"REQUEST_METHOD": "GET"}, lambda status, headers: seen.append(headers) or (lambda data: None)
        )
    )
    assert seen[0][1:] == [
        ("content-security-policy", f"connect-src 'self' {OSS}"),
        ("Content-Security-Policy", f"connect-src * 'self' {OSS}"),
    ]


NONCE = LINE.replace(b" data-forms", b' data-forms nonce="a+/9_-=="')


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("script-src 'nonce-a+/9_-=='", "script-src 'nonce-a+/9_-=='"),
        ("script-src 'strict-dynamic' 'nonce-a+/9_-==' x", "script-src 'strict-dynamic' 'nonce-a+/9_-==' x"),
        ("default-src 'nonce-a+/9_-=='", f"default-src 'nonce-a+/9_-=='; connect-src 'nonce-a+/9_-==' 'self' {OSS}"),
        ("script-src 'nonce-a+/9_-==', script-src x", "script-src 'nonce-a+/9_-==', script-src x 'self'"),
        (
            "script-src 'nonce-a+/9_-==', script-src 'nonce-b'",
            "script-src 'nonce-a+/9_-==', script-src 'nonce-b' 'self'",
        ),
    ],
)
def test_the_line_carries_the_nonce_of_the_page(policy: str, expected: str) -> None:
    _, headers, body = get(page(Content_Security_Policy=policy))
    assert (headers["Content-Security-Policy"], body) == (expected, PAGE + NONCE)


@pytest.mark.parametrize(
    "policy",
    [
        "script-src 'strict-dynamic' 'sha256-AAAA'",
        "script-src 'nonce-a', script-src 'strict-dynamic' 'nonce-b'",
        "sandbox",
        "sandbox allow-scripts allow-forms",
    ],
)
def test_a_page_that_lets_no_script_of_its_site_run_stays_as_it_is(policy: str) -> None:
    headers = {"Content_Length": "5", "ETag": '"1"', "Content_Security_Policy": policy}
    expected = {name.replace("_", "-"): value for name, value in headers.items()}
    for method in ("GET", "HEAD"):
        _, seen, body = get(page(PAGE, **headers), REQUEST_METHOD=method)
        assert ({name: seen[name] for name in expected}, body) == (expected, PAGE)
    _, _, body = get(page(PAGE, Content_Security_Policy_Report_Only=policy))
    assert b"data-forms" in body


_SOURCES = st.lists(
    st.sampled_from(["'self'", "'none'", "'unsafe-inline'", "*", "https:", "a.example", "'nonce-x'", "'sha256-A'", OSS])
)
_DIRECTIVE = st.builds(
    lambda name, sources: " ".join([name, *sources]),
    st.sampled_from(["default-src", "script-src", "connect-src", "img-src", "Script-Src-Elem", "form-action", "", " "]),
    _SOURCES,
)


@given(policy=st.lists(_DIRECTIVE).map(";".join))
def test_no_policy_loses_a_directive_or_gets_more_than_it_needs(policy: str) -> None:
    _, headers, body = get(page(Content_Security_Policy=policy))
    before, after = _directives(policy), _directives(headers["Content-Security-Policy"])
    assert LINE[:40] in body
    for name in before.keys() | after.keys():
        given_, now = before.get(name), after[name]
        if given_ is None:
            assert name in ("connect-src", "script-src")
            given_ = before["default-src"]
        added = set(now) - set(given_)
        allowed = {"connect-src": {"'self'", OSS}, "script-src": {"'self'"}, "script-src-elem": {"'self'"}}
        assert added <= allowed.get(name, set())
        assert set(given_) - set(now) <= ({"'none'"} if added or name in allowed else set())
    effective = after.get("connect-src", after.get("default-src"))
    assert effective is None or {"'self'", OSS} <= set(effective)


def _directives(policy: str) -> dict[str, list[str]]:
    directives: dict[str, list[str]] = {}
    for text in policy.split(";"):
        words = text.split()
        if words:
            directives.setdefault(words[0].lower(), words[1:])
    return directives
