"""PostedFiles: the application reads a form with its files, and nothing of a form that is refused."""

from __future__ import annotations

import hashlib
import html
import io
import itertools
import logging
import re
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oss_wsgi import PostedFiles, Upload
from oss_wsgi.bucket import StoredObject
from oss_wsgi.exceptions import (
    BucketRefusedError,
    BucketUnreachableError,
    CallableFailedError,
    NotAuthorizedError,
    NotStoredError,
    UnverifiedError,
)
from oss_wsgi.wsgi.questions import HOLD_KEY, WouldWaitError

from ..support.browser_form import BOUNDARY, CONTENT_TYPE, File, browser_form

PHOTO = File("photo.png", "image/png", b"\x89PNG\r\n\x1a\n\0bytes")
TEXT = "text of a person\r\n"
NEVER = "nothing of it reaches the application"


class Bucket:
    """A bucket in memory, which counts what it is asked."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.read_from: list[int] = []
        self.piece = 7

    def put(self, key: str, data: bytes) -> str:
        self.objects[key] = data
        return etag_of(data)

    def head(self, key: str) -> StoredObject | None:
        self.asked.append(key)
        data = self.objects.get(key)
        return None if data is None else StoredObject(key, len(data), etag_of(data), 0.0)

    def read(self, key: str, etag: str, start: int) -> Iterator[bytes]:
        self.read_from.append(start)
        data = self.objects.get(key)
        if data is None or etag_of(data) != etag:
            raise NotStoredError("not_stored", "the object was replaced")
        for begin in range(start, len(data), self.piece):
            yield data[begin : begin + self.piece]


def etag_of(data: bytes) -> str:
    return hashlib.md5(data).hexdigest().upper()


class Site:
    """An application behind PostedFiles, its bucket, and the signed IDs of its uploads, which are only numbers."""

    def __init__(self, *, user: str | None = "eric") -> None:
        self.bucket = Bucket()
        self.uploads: dict[str, Upload] = {}
        self.user = user
        self.calls: list[dict[str, Any]] = []
        self.status = ""
        self.application = PostedFiles(self.legacy, self.open_signed_id, self.bucket, user_of=self.user_of)
        self.view: Callable[[dict[str, Any]], object] = lambda environ: environ["wsgi.input"].read()
        self.seen: Any = None

    def legacy(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.calls.append(environ)
        self.seen = self.view(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"saved"]

    def user_of(self, environ: dict[str, Any], uploads: Any) -> str | None:
        return self.user

    def open_signed_id(self, text: str) -> Upload:
        if text not in self.uploads:
            raise UnverifiedError("signed_id_malformed", "the text is not a signed ID")
        return self.uploads[text]

    def upload(self, file: File, *, user: str | None = "eric", **more: Any) -> str:
        """Store a file, and return its signed ID."""
        number = f"signed-id-{len(self.uploads)}"
        key = f"user/eric/{number}"
        etag = self.bucket.put(key, file.data)
        attributes: dict[str, Any] = {"filename": file.name, "mime_type": file.type, "size": len(file.data)}
        self.uploads[number] = Upload(bucket="b", object=key, etag=etag, user=user, **{**attributes, **more})
        return number

    def post(self, body: bytes, content_type: str = CONTENT_TYPE, *, stream: Any = None, **more: Any) -> str:
        """Post a body, and return what the response says; the status is in ``status``."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/save",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body) if stream is None else stream,
            **more,
        }

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            self.status, self.headers = status, dict(headers)

        response = self.application(environ, start_response)
        try:
            return b"".join(response).decode()
        finally:
            getattr(response, "close", lambda: None)()

    def post_entries(self, entries: Any, *names: str, **more: Any) -> str:
        """Post a form that lists these names."""
        marker = ",".join(quote(name, safe="") for name in names)
        return self.post(browser_form([("oss_wsgi.files", marker), *entries]), **more)

    def refused(self, status: int, reason: str, caplog: pytest.LogCaptureFixture) -> bool:
        """Return whether a form was refused with this status and reason, before the application was called."""
        lines = [record.getMessage() for record in caplog.records]
        return (
            self.calls == []
            and self.status.startswith(str(status))
            and any(f"status={status} reason={reason} " in line for line in lines)
        )


class Pipe(io.RawIOBase):
    """A body as a socket has it: it cannot be read again, returns less than is asked for, and never ends by itself."""

    def __init__(self, body: bytes, most: int = 1000) -> None:
        self._body = io.BytesIO(body)
        self._most = most
        self.count = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "a read without a size would wait for ever"
        data = self._body.read(min(size, self._most))
        assert data or size == 0 or self._body.tell() < len(self._body.getvalue()), "a read behind the end waits"
        self.count += len(data)
        return data


# What the application reads.


def test_a_signed_id_is_read_as_the_file_that_the_browser_would_have_posted() -> None:
    site = Site()
    entries: list[Any] = [("title", TEXT), ("photo", PHOTO), ("tags", "a"), ("tags", "b")]
    body = browser_form(entries)
    entries[1] = ("photo", site.upload(PHOTO))
    assert site.post_entries(entries, "photo") == "saved"
    assert site.seen == body
    assert site.calls[0]["CONTENT_LENGTH"] == str(len(body))
    assert site.bucket.asked == ["user/eric/signed-id-0"], "one HEAD a file"


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
types = st.sampled_from(["image/png", "text/plain; charset=utf-8", ""])
files = st.builds(File, texts, types, st.one_of(st.binary(max_size=50), st.just(b"\r\n--x" * 30_000)))
stored = st.builds(File, texts, types, st.one_of(st.binary(max_size=50), st.just(b"\r\n--" + BOUNDARY.encode())))


class ByID(NamedTuple):
    file: File


@given(
    st.lists(st.tuples(texts, st.one_of(st.text(max_size=40), files, stored.map(ByID)))),
    st.sampled_from(["UTF-8", "GBK", "Big5", "Shift_JIS", "ISO-2022-JP"]),
    st.lists(st.integers(0, 3), max_size=5),
    st.booleans(),
)
def test_any_form_is_read_byte_for_byte_as_without_us(
    entries: list[tuple[str, Any]], charset: str, ways: list[int], has_pipe: bool
) -> None:
    site = Site()
    of_ids = {name for name, value in entries if isinstance(value, ByID)}
    fields = {as_sent(name) for name in of_ids}
    entries = [(name, value) for name, value in entries if not isinstance(value, str) or as_sent(name) not in fields]
    marker = ",".join(quote(name, safe="") for name in sorted(of_ids)) + f";charset={charset}"
    ids = [(name, site.upload(value.file) if isinstance(value, ByID) else value) for name, value in entries]
    body = browser_form([("oss_wsgi.files", marker), *ids], charset=charset.lower())

    def read(environ: dict[str, Any]) -> bytes:
        stream = environ["wsgi.input"]
        steps: list[Callable[[], bytes]] = [
            lambda: stream.read(5),
            lambda: stream.readline(),
            lambda: stream.readline(3),
            lambda: b"".join(stream.readlines(9)),
        ]
        return b"".join(
            [*(steps[way]() for way in ways), next(iter(stream), b""), *stream, stream.read(), stream.read(1)]
        )

    site.view = read
    site.post(body, stream=Pipe(body) if has_pipe else None)
    as_files = [(name, value.file if isinstance(value, ByID) else value) for name, value in entries]
    expected = browser_form(as_files, charset=charset.lower())
    assert site.seen == expected
    assert site.calls[0]["CONTENT_LENGTH"] == str(len(expected))


def as_sent(name: str) -> str:
    """Return the same text for two names that are sent as the same bytes, in any of the charsets above."""
    return html.unescape(re.sub(r"\r\n|\r|\n", "%0D%0A", name).replace('"', "%22"))


NASTY = File('a"; b\\c\r\nX-Evil: 1%22 照片 \U0001f600.png', "image/png", b"\r\n--not the boundary\r\n" * 9000)


def all_of(file: Any) -> bytes:
    """Read and close a file of a parser."""
    with file:
        data: bytes = file.read()
    return data


def with_werkzeug(environ: dict[str, Any]) -> object:
    from werkzeug.wrappers import Request

    with Request(environ) as request:
        files = request.files.items(multi=True)
        read = [(name, file.filename, file.mimetype, all_of(file.stream)) for name, file in files]
        return list(request.form.items(multi=True)), read


def with_webob(environ: dict[str, Any]) -> object:
    import webob

    request = webob.Request(environ)
    read = [
        (name, value) if isinstance(value, str | bytes) else (name, value.filename, value.type, all_of(value.file))
        for name, value in request.POST.items()
    ]
    request.body_file_raw.close()
    return read


def with_django(environ: dict[str, Any]) -> object:
    from django.conf import settings

    if not settings.configured:
        settings.configure(USE_TZ=True)
    from django.core.files.uploadhandler import MemoryFileUploadHandler, TemporaryFileUploadHandler
    from django.http.multipartparser import MultiPartParser

    handlers = [MemoryFileUploadHandler(), TemporaryFileUploadHandler()]
    fields, files = MultiPartParser(environ, environ["wsgi.input"], handlers, "utf-8").parse()
    read = {name: [(file.name, file.content_type, all_of(file)) for file in files.getlist(name)] for name in files}
    return dict(fields.lists()), read


def with_multipart(environ: dict[str, Any]) -> object:
    import multipart

    fields, files = multipart.parse_form_data(environ)
    read = [(name, file.filename, file.content_type, all_of(file.file)) for name, file in files.iterallitems()]
    return list(fields.iterallitems()), read


@pytest.mark.parametrize("view", [with_werkzeug, with_webob, with_django, with_multipart])
def test_parsers_return_the_same_as_without_us(view: Callable[[dict[str, Any]], object]) -> None:
    empty, big = File("empty.txt", "text/plain", b""), File("big.bin", "", b"x" * 3_000_000)
    posted = [("title", TEXT), ("a[]", PHOTO), ("b", NASTY), ("a[]", big), ("none", File("", "", b"")), ("a[]", empty)]
    site = Site()
    site.view = view
    site.bucket.piece = 65_536
    site.post(browser_form(posted))
    expected, site.seen = site.seen, None
    by_id = [(name, site.upload(file) if isinstance(file, File) and file.name else file) for name, file in posted]
    site.post_entries(by_id, "b", "a[]")
    assert site.seen == expected
    assert "照片" in str(expected)


def test_webob_reads_a_body_that_other_middleware_has_made_seekable() -> None:
    site = Site()
    site.view = with_webob
    site.post_entries([("photo", site.upload(PHOTO))], "photo", **{"webob.is_body_seekable": True})
    assert site.seen == [("photo", PHOTO.name, PHOTO.type, PHOTO.data)]


def test_a_real_file_beside_a_signed_id_is_spooled_where_the_server_has_not_done_so() -> None:
    site, real = Site(), File("real.bin", "", b"\r\n--" * 400_000)
    body = browser_form([("oss_wsgi.files", "a"), ("a", site.upload(PHOTO)), ("a", real)])
    tracemalloc.start()
    try:
        site.view = lambda environ: (tracemalloc.get_traced_memory()[0], environ["wsgi.input"].read())[1]
        site.post(body, stream=Pipe(body, 100_000))
        assert site.seen == browser_form([("a", PHOTO), ("a", real)])
    finally:
        tracemalloc.stop()


def test_an_upload_without_a_name_or_a_type_has_those_that_browsers_take() -> None:
    for attributes, filename, content_type in [
        ({"filename": None}, b"signed-id-0", b"image/png"),
        ({"filename": None, "object": "a/"}, b"blob", b"image/png"),
        ({"mime_type": None}, b"photo.png", b"application/octet-stream"),
        ({"mime_type": "text/plain\r\nX-Evil: 1"}, b"photo.png", b"application/octet-stream"),
    ]:
        site = Site()
        signed_id = site.upload(PHOTO)
        upload = site.uploads[signed_id] = replace(site.uploads[signed_id], **attributes)
        site.bucket.objects[upload.object or ""] = PHOTO.data
        site.post_entries([("photo", signed_id)], "photo")
        assert b'; filename="%s"\r\nContent-Type: %s\r\n\r\n' % (filename, content_type) in site.seen


def test_positions_tell_signed_ids_from_texts_of_the_same_field() -> None:
    site = Site()
    entries: list[Any] = [("a", PHOTO), ("photo", "old.png"), ("photo", PHOTO), ("photo", NASTY), ("photo", NASTY)]
    body = browser_form(entries)
    entries[2], entries[4] = [("photo", site.upload(file)) for file in (PHOTO, NASTY)]
    assert site.post(browser_form([("oss_wsgi.files", "photo:1:3"), *entries])) == "saved"
    assert site.seen == body


def test_a_marker_that_lists_nothing_is_taken_out() -> None:
    site = Site()
    assert site.post_entries([("title", TEXT)]) == "saved"
    assert site.seen == browser_form([("title", TEXT)])
    assert site.post_entries([]) == "saved"
    assert site.seen == browser_form([])


# What is read of other requests.

MARKED = browser_form([("oss_wsgi.files", "photo"), ("photo", "signed-id-0")])


@pytest.mark.parametrize(
    "changes",
    [
        {"REQUEST_METHOD": "PUT"},
        {"REQUEST_METHOD": "GET"},
        {"CONTENT_TYPE": "multipart/mixed; boundary=" + BOUNDARY},
        {"CONTENT_TYPE": "application/x-www-form-urlencoded"},
        {"CONTENT_TYPE": ""},
        {"CONTENT_LENGTH": ""},
        {"CONTENT_LENGTH": "-1"},
        {"CONTENT_LENGTH": "1e3"},
        {"CONTENT_LENGTH": "\uff11\uff12"},
        {"CONTENT_LENGTH": "9" * 5000},
        {"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
    ],
)
def test_nothing_is_read_of_another_request(changes: dict[str, Any]) -> None:
    site, stream = Site(), Pipe(MARKED)
    site.view = lambda environ: (stream.count, environ["wsgi.input"] is stream)
    site.post(MARKED, stream=stream, **changes)
    assert site.seen == (0, True)


def test_of_a_form_without_the_marker_512_bytes_are_read_and_given_again() -> None:
    site, body = Site(), browser_form([("title", "x" * 2000), ("oss_wsgi.files", "title")])
    stream = Pipe(body, len(body))
    site.view = lambda environ: (stream.count, environ["wsgi.input"].read(len(body)))
    site.post(body, stream=stream)
    assert site.seen == (512, body)
    seekable = io.BytesIO(b"before" + body)
    seekable.seek(6)
    site.view = lambda environ: (environ["wsgi.input"] is seekable, environ["wsgi.input"].read())
    site.post(body, stream=seekable)
    assert site.seen == (True, body)
    short = browser_form([("a", "b")])
    site.view = lambda environ: environ["wsgi.input"].read(len(short))
    site.post(short, stream=Pipe(short + b"of the next request"))
    assert site.seen == short


class Stream:
    """An input with the methods that PEP 3333 asks for, and no others."""

    def __init__(self, body: bytes) -> None:
        stream = io.BytesIO(body)
        self.read, self.readline, self.readlines, self.__iter__ = (
            stream.read, stream.readline, stream.readlines, stream.__iter__
        )  # fmt: skip


steps = st.tuples(st.sampled_from(["read", "readline", "readlines"]), st.one_of(st.none(), st.integers(-1, 700)))


@example("x" * 500, 0, [("readline", None), ("readline", None), ("readline", None), ("readline", 450)])
@given(st.sampled_from(["", "\n" * 9, "x" * 300, "x" * 500]), st.integers(0, 3), st.lists(steps, max_size=6))
def test_a_form_without_the_marker_is_read_in_any_way_as_without_us(
    value: str, size: int, ways: list[tuple[str, int | None]]
) -> None:
    site, body = Site(), browser_form([("title", value), ("x", "a\nb" * (100 * size))])

    def read(environ: dict[str, Any]) -> list[Any]:
        stream = environ["wsgi.input"]
        return [*(getattr(stream, name)(size) for name, size in ways), list(stream), stream.read()]

    site.view = read
    site.post(body, stream=Stream(body))
    assert site.seen == read({"wsgi.input": io.BytesIO(body)})


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(browser_form([("a", "b"), ("oss_wsgi.files", "photo"), ("photo", "x")]), id="not first"),
        pytest.param(b"preamble\r\n" + MARKED, id="preamble"),
        pytest.param(b"\r\n" + MARKED, id="line break before it"),
        pytest.param(MARKED.replace(b"\r\n", b"\n"), id="LF"),
        pytest.param(MARKED.replace(b'oss_wsgi.files"', b'oss_wsgi.files"; filename="x"', 1), id="a file"),
        pytest.param(MARKED.replace(b'"oss_wsgi.files"', b'"x"; a="oss_wsgi.files"', 1), id="another parameter"),
        pytest.param(MARKED.replace(BOUNDARY.encode(), b"other"), id="another boundary"),
        pytest.param(browser_form([("title", "oss_wsgi.files")]), id="a value"),
        pytest.param(MARKED.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 500 + b"\r\n\r\n", 1), id="after 512 bytes"),
        pytest.param(MARKED[:80], id="cut"),
    ],
)
def test_a_marker_that_is_not_the_first_field_is_an_ordinary_field(body: bytes) -> None:
    site = Site()
    assert site.post(body) == "saved"
    assert site.seen == body
    assert "oss_wsgi.posted_files" not in site.calls[0]


@pytest.mark.parametrize(
    ("boundary", "parameter"),
    [
        ("x", "boundary=x"),
        ("a b:c=?/(d)'+_,-.", 'charset=utf-8; Boundary="a b:c=?/(d)\'+_,-."'),
        ("x" * 200, "boundary=" + "x" * 200),
        ("--", 'foo="; boundary=wrong"; boundary=--'),
        (".*[", "boundary=.*[ ; a=b"),
    ],
)
def test_a_boundary_may_be_quoted_odd_or_long(boundary: str, parameter: str) -> None:
    site = Site()
    sent = [("oss_wsgi.files", "photo"), ("photo", site.upload(PHOTO)), ("a", "--b")]
    body = browser_form(sent, boundary=boundary)
    assert site.post(body, f"Multipart/Form-Data; {parameter}") == "saved"
    assert site.seen == browser_form([("photo", PHOTO), ("a", "--b")], boundary=boundary)


def test_headers_of_parts_may_be_folded_in_any_case_and_order_and_parts_may_be_nested() -> None:
    site = Site()
    signed_id = site.upload(PHOTO)
    line = f"--{BOUNDARY}"
    inner = "--in\r\nContent-Disposition: attachment; filename=a\r\n\r\nx\r\n--in--"
    lines = [
        line, "CONTENT-TYPE: text/plain", "content-disposition:form-data;name=oss_wsgi.files", "", "photo",
        line + " \t", "Content-Disposition: form-data;", '\tname="photo"', "", signed_id,
        line, "", "without headers",
        line, 'Content-Disposition: form-data; name="mixed"', "Content-Type: multipart/mixed; boundary=in", "", inner,
        line + "x", line[1:], "--" + line, line + "--x",
        line + "--", "epilogue", line, "", "x",
    ]  # fmt: skip
    body = "\r\n".join(lines).encode()
    assert site.post(body) == "saved"
    start, end = body.index(b"Content-Disposition: form-data;\r\n"), body.index(f"\r\n{line}\r\n\r\nwithout".encode())
    head = b'Content-Disposition: form-data; name="photo"; filename="photo.png"\r\nContent-Type: image/png\r\n\r\n'
    first = body.index(f"{line} \t".encode())
    assert site.seen == body[first:start] + head + PHOTO.data + body[end:]


def test_values_may_hold_what_looks_like_a_boundary() -> None:
    site = Site()
    values = ["--" + BOUNDARY, "x\r\n--" + BOUNDARY + "x", "\r\n--" + BOUNDARY[:-1] + "\r\n", "a--" + BOUNDARY + "--"]
    values = ["x" + value for value in values]
    entries = [("a", value) for value in values]
    assert site.post_entries([*entries, ("photo", site.upload(PHOTO))], "photo") == "saved"
    assert site.seen == browser_form([*entries, ("photo", PHOTO)])


def test_names_are_compared_as_browsers_escape_them() -> None:
    site, name = Site(), 'a"b%22,;=\n\r\\照'
    assert site.post_entries([(name, site.upload(PHOTO)), ("a", "b")], name) == "saved"
    assert site.seen == browser_form([(name, PHOTO), ("a", "b")])
    assert list(site.calls[0]["oss_wsgi.posted_files"].uploads) == [name]


def test_of_an_object_no_more_is_read_than_its_size() -> None:
    site = Site()
    signed_id = site.upload(PHOTO)
    more = itertools.repeat(b"x", 10)
    pieces = itertools.chain([PHOTO.data[:3], PHOTO.data[3:] + b"more"], more)
    site.bucket.read = lambda key, etag, start: pieces  # type: ignore[method-assign]
    site.post_entries([("photo", signed_id)], "photo")
    assert site.seen == browser_form([("photo", PHOTO)])
    assert len(list(more)) == 10, "a stream that never ends is not read on"


def test_a_page_in_gbk_says_so_in_the_marker() -> None:
    site, file = Site(), File("照片\U0001f600.png", "image/png", b"x")
    sent = [("oss_wsgi.files", quote("文件", safe="") + ";charset=GBK"), ("文件", site.upload(file)), ("名", "照")]
    assert site.post(browser_form(sent, charset="gbk")) == "saved"
    assert site.seen == browser_form([("文件", file), ("名", "照")], charset="gbk")
    assert list(site.calls[0]["oss_wsgi.posted_files"].uploads) == ["文件"]


# What is refused.


def refusals() -> Iterator[Any]:
    def row(name: str, change: Callable[[str], bytes], reason: str = "form_malformed", status: int = 400) -> Any:
        return pytest.param(change, status, reason, id=name)

    def form(*entries: tuple[str, Any], marker: str = "photo") -> bytes:
        return browser_form([("oss_wsgi.files", marker), *entries])

    yield row("no signed ID", lambda signed: form(("photo", "../../etc/passwd")), "signed_id_malformed")
    yield row("an empty one", lambda signed: form(("photo", "")), "signed_id_malformed")
    yield row("one of two", lambda signed: form(("photo", signed), ("photo", "x")), "signed_id_malformed")
    yield row("a long one", lambda signed: form(("photo", "x" * 4001)))
    yield row("a field that is missing", lambda signed: form(("title", signed)))
    yield row("a listed field with a real file only", lambda signed: form(("photo", PHOTO)))
    yield row("two markers", lambda signed: form(("photo", signed), ("oss_wsgi.files", "photo")))
    yield row("a second marker that is a file", lambda signed: form(("photo", signed), ("oss_wsgi.files", PHOTO)))
    yield row("a marker that lists itself", lambda signed: form(("oss_wsgi.files", signed), marker="oss_wsgi.files"))
    yield row("a name that is no UTF-8", lambda signed: form(("photo", signed), marker="photo,%FF"))
    yield row("half an escape", lambda signed: form(("photo", signed), marker="photo%2"))
    yield row("no escape", lambda signed: form(("photo", signed), marker="photo,照片"))
    yield row("a position without a part", lambda signed: form(("photo", signed), marker="photo:0:1"))
    yield row("a position with a real file", lambda signed: form(("photo", PHOTO), ("photo", signed), marker="photo:0"))
    yield row("a position that is no number", lambda signed: form(("photo", signed), marker="photo:x"))
    yield row("a position with a text", lambda signed: form(("photo", "x"), marker="photo:0"), "signed_id_malformed")
    yield row("an unknown charset", lambda signed: form(("photo", signed), marker="photo;charset=utf-7"))
    yield row("a charset that is missing", lambda signed: form(("photo", signed), marker="photo;charset="))
    yield row("another parameter", lambda signed: form(("photo", signed), marker="photo;encoding=utf-8"))
    yield row("a marker without an end", lambda signed: form(("photo", signed), marker="x" * 70_000))
    yield row("too many files", lambda signed: form(*[("photo", signed)] * 1001))
    yield row("no last delimiter", lambda signed: form(("photo", signed))[:-4])
    yield row("huge headers", lambda signed: form((f"x{'y' * 20_000}", "z"), ("photo", signed)))
    yield row("headers without an end", lambda signed: form(("photo", signed)).replace(b'o"\r\n\r\n', b'o"\r\n'))
    yield row("nothing between two delimiters", lambda signed: form(("photo", signed)).replace(b"--\r\n", b"\r\n" * 2))


@pytest.mark.parametrize(("change", "status", "reason"), list(refusals()))
@pytest.mark.parametrize("has_pipe", [False, True])
def test_a_malformed_form_is_refused_with_a_sentence(
    change: Callable[[str], bytes], status: int, reason: str, has_pipe: bool, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site()
    signed_id = site.upload(PHOTO)
    body = change(signed_id)
    page = site.post(body, stream=Pipe(body) if has_pipe else None)
    assert site.refused(status, reason, caplog), NEVER
    assert "choose the files again" in page
    assert signed_id not in page + caplog.text
    assert site.bucket.asked == []


def test_a_body_that_ends_early_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Pipe):
        def read(self, size: int = -1) -> bytes:
            return super().read(size) or self.end()

        def end(self) -> bytes:
            raise ConnectionResetError

    class Short(io.RawIOBase):
        def __init__(self, body: bytes) -> None:
            self.read = io.BytesIO(body).read  # type: ignore[method-assign]

    site = Site()
    body = browser_form([("oss_wsgi.files", "photo"), ("photo", site.upload(PHOTO)), ("a", "x" * 1000)])
    for stream in (io.BytesIO(body[:-1]), Short(body[:-1]), Short(body[:700])):
        site.post(body, stream=stream)
        assert site.refused(400, "form_malformed", caplog), NEVER
        caplog.clear()
    with_epilogue = body + b"epilogue" * 20
    for stream in (io.BytesIO(with_epilogue), Short(with_epilogue)):
        site.post(with_epilogue, stream=stream, CONTENT_LENGTH=str(len(with_epilogue) + 1))
        assert site.refused(400, "form_malformed", caplog), "the epilogue is a part of the body"
        caplog.clear()
    for count in (20, 700):
        site.post(body, stream=Broken(body[:count]))
        assert site.refused(400, "body_truncated", caplog), NEVER
        caplog.clear()
    site.post(body, CONTENT_LENGTH=str(len(body) - 100))
    assert site.refused(400, "form_malformed", caplog), "the length ends before the form does"


@pytest.mark.parametrize(("user", "owner"), [("mallory", "eric"), (None, "eric"), ("mallory", None), ("Eric", "eric")])
def test_the_files_of_another_user_are_refused(
    user: str | None, owner: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(user=user)
    own = site.upload(PHOTO, user=user)
    page = site.post_entries([("a", own), ("photo", site.upload(PHOTO, user=owner))], "photo", "a")
    assert site.refused(403, "signed_id_other_user", caplog), NEVER
    assert "Log in" in page
    assert site.bucket.asked == []
    assert getattr(caplog.records[-1], "user", None) == user, "who sends the form"


def test_uploads_without_a_user_are_for_a_form_without_one() -> None:
    site = Site(user=None)
    assert site.post_entries([("photo", site.upload(PHOTO, user=None))], "photo") == "saved"


def test_who_sends_the_form_is_asked_once_without_a_body() -> None:
    site = Site()
    asked: list[Any] = []

    def user_of(environ: dict[str, Any], uploads: Any) -> str:
        form = (environ["wsgi.input"].read(), environ["CONTENT_LENGTH"])
        asked.append((environ["HTTP_COOKIE"], form, [upload.filename for upload in uploads]))
        return "eric"

    site.application = PostedFiles(site.legacy, site.open_signed_id, site.bucket, user_of=user_of)
    site.post_entries([("a", site.upload(PHOTO)), ("b", site.upload(NASTY))], "b", "a", HTTP_COOKIE="c=1")
    assert asked == [("c=1", (b"", "0"), [PHOTO.name, NASTY.name])]
    site.post_entries([("title", TEXT)])
    assert len(asked) == 1


def test_what_user_of_raises_refuses_the_form(caplog: pytest.LogCaptureFixture) -> None:
    for error, status, reason in [
        (NotAuthorizedError("not_authorized", "authorize returned None"), 403, "signed_id_other_user"),
        (CallableFailedError("authorize_failed", "authorize raised KeyError"), 500, "authorize_failed"),
    ]:

        def user_of(environ: Any, uploads: Any, error: Exception = error) -> str:
            raise error from KeyError("cause")

        site = Site()
        site.application = PostedFiles(site.legacy, site.open_signed_id, site.bucket, user_of=user_of)
        site.post_entries([("photo", site.upload(PHOTO))], "photo")
        assert site.refused(status, reason, caplog), NEVER
        assert ("KeyError: 'cause'" in caplog.text) == (status == 500)
        caplog.clear()


@pytest.mark.parametrize("reason", ["signed_id_expired", "signed_id_altered"])
def test_a_signed_id_that_proves_nothing_is_refused(reason: str, caplog: pytest.LogCaptureFixture) -> None:
    def open_signed_id(text: str) -> Upload:
        raise UnverifiedError(reason, "a hint")

    site = Site()
    site.application = PostedFiles(site.legacy, open_signed_id, site.bucket, user_of=site.user_of)
    page = site.post_entries([("photo", site.upload(PHOTO))], "photo")
    assert site.refused(400, reason, caplog), NEVER
    assert ("Too much time has passed" in page) == (reason == "signed_id_expired")


def test_an_object_that_was_replaced_or_deleted_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    for change, reason in [
        (lambda site: site.bucket.put("user/eric/signed-id-1", b"other"), "posted_file_replaced"),
        (lambda site: site.bucket.objects.pop("user/eric/signed-id-1"), "posted_file_deleted"),
    ]:
        site = Site()
        entries = [("photo", site.upload(PHOTO)), ("other", site.upload(NASTY))]
        change(site)
        page = site.post_entries(entries, "photo", "other")
        assert site.refused(409, reason, caplog), NEVER
        assert "changed or deleted" in page
        assert site.bucket.read_from == []


def test_a_bucket_that_cannot_be_asked_is_503(caplog: pytest.LogCaptureFixture) -> None:
    site = Site()
    signed_id = site.upload(PHOTO)

    def head(key: str) -> StoredObject | None:
        raise BucketUnreachableError("bucket_unreachable", "no answer")

    site.bucket.head = head  # type: ignore[method-assign]
    assert "Wait a minute" in site.post_entries([("photo", signed_id)], "photo")
    assert site.refused(503, "bucket_unreachable", caplog), NEVER
    assert site.headers["Retry-After"] == "10"


def test_a_refusal_is_a_page_in_the_language_of_the_person() -> None:
    site = Site()
    page = site.post_entries([("photo", "x")], "photo")
    assert site.headers["Content-Type"] == "text/html; charset=utf-8"
    assert site.headers["Content-Length"] == str(len(page))
    assert page.startswith("<!DOCTYPE html>") and '<html lang="en">' in page
    page = site.post_entries([("photo", "x")], "photo", HTTP_ACCEPT_LANGUAGE="zh-CN,zh;q=0.9,en;q=0.8")
    assert '<html lang="zh">' in page and "重新选择文件" in page and "choose" not in page


def test_at_most_eight_objects_are_asked_for_at_once_and_each_once() -> None:
    site, lock = Site(), threading.Lock()
    running: list[int] = [0]
    most: list[int] = [0]
    started = threading.Event()
    head = site.bucket.head

    def counted(key: str) -> StoredObject | None:
        with lock:
            running[0] += 1
            most[0] = max(running[0], most[0])
            if running[0] == 8:
                started.set()
        started.wait(30)
        with lock:
            running[0] -= 1
            return head(key)

    site.bucket.head = counted  # type: ignore[method-assign]
    entries = [("a", site.upload(File(f"{number}", "", b"%d" % number))) for number in range(20)]
    assert site.post_entries([*entries, entries[0]], "a") == "saved"
    assert most == [8]
    assert sorted(site.bucket.asked) == sorted(f"user/eric/signed-id-{number}" for number in range(20))


# Reading from OSS.


def breaking(site: Site, times: int, error: Exception | None) -> None:
    """Let the connection break so many times, after some bytes; without an error OSS sends too few."""
    read, left = site.bucket.read, [times]

    def broken(key: str, etag: str, start: int) -> Iterator[bytes]:
        for count, piece in enumerate(read(key, etag, start)):
            if count == 1 and left[0]:
                left[0] -= 1
                if error is None:
                    return
                raise error
            yield piece

    site.bucket.read = broken  # type: ignore[method-assign]


BREAKS = [BucketUnreachableError("bucket_unreachable", "reset"), ConnectionResetError("secret"), None]


@pytest.mark.parametrize("error", BREAKS)
def test_reading_goes_on_where_a_connection_broke(error: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    site, file = Site(), File("a", "", bytes(range(100)))
    signed_id = site.upload(file)
    breaking(site, 3, error)
    site.post_entries([("a", signed_id)], "a")
    assert site.seen == browser_form([("a", file)])
    assert site.bucket.read_from == [0, 7, 14, 21]
    assert caplog.text.count("stopped at byte") == 3 and "secret" not in caplog.text
    reason = "unreachable: reset" if isinstance(error, BucketUnreachableError) else "ConnectionResetError"
    assert (reason if error else "fewer bytes than the object has") in caplog.text


@pytest.mark.parametrize("error", BREAKS)
def test_after_three_tries_reading_raises(error: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    site, file = Site(), File("a", "", bytes(range(100)))
    signed_id = site.upload(file)
    breaking(site, 99, error)

    def view(environ: dict[str, Any]) -> str:
        stream = environ["wsgi.input"]
        for _ in range(2):  # a parser that reads on must not take the error for the end
            with pytest.raises(OSError, match="stopped at byte 28 of 100"):
                stream.read()
        return "raised"

    site.view = view
    site.post_entries([("a", signed_id)], "a")
    assert site.seen == "raised"
    assert site.bucket.read_from == [0, 7, 14, 21]
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "'user/eric/signed-id-0'" in record.getMessage() and record.path == "/save"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "error", [NotStoredError("not_stored", "replaced"), BucketRefusedError("bucket_refused", "no right")]
)
def test_an_object_that_is_gone_is_not_asked_for_again(error: Exception) -> None:
    site = Site()
    signed_id = site.upload(File("a", "", bytes(range(100))))
    breaking(site, 99, error)
    with pytest.raises(OSError, match="stopped at byte 7 of 100"):
        site.post_entries([("a", signed_id)], "a")
    assert site.bucket.read_from == [0]


def test_nothing_is_read_from_oss_before_the_application_reads_and_reading_ends_with_the_response() -> None:
    site, closed = Site(), []

    def read(key: str, etag: str, start: int) -> Iterator[bytes]:
        try:
            yield from [b"x"] * 100
        finally:
            closed.append(key)

    def view(environ: dict[str, Any]) -> object:
        before = list(closed)
        while b"octet-stream\r\n" not in (environ["wsgi.input"].readline()):
            assert before == []
        return environ["wsgi.input"].read(3)

    signed_id = site.upload(File("a", "", b"x" * 100))
    site.bucket.read = read  # type: ignore[method-assign]
    site.view = view
    site.post_entries([("a", signed_id)], "a")
    assert site.seen == b"\r\nx"
    assert closed == ["user/eric/signed-id-0"]
    with pytest.raises(ValueError, match="closed"):
        site.calls[0]["wsgi.input"].read()


def test_an_application_that_raises_leaves_nothing_open() -> None:
    site = Site()

    def view(environ: dict[str, Any]) -> object:
        raise KeyError("a bug")

    site.view = view
    body = browser_form([("oss_wsgi.files", "a"), ("a", site.upload(PHOTO))])
    with pytest.raises(KeyError):
        site.post(body, stream=Pipe(body))
    assert site.calls[0]["wsgi.input"].closed


def test_a_file_of_any_size_costs_no_more_memory_than_a_small_one() -> None:
    def peak(size: int) -> int:
        site = Site()
        signed_id = site.upload(File("a", "", b"x"))
        site.uploads[signed_id] = replace(site.uploads[signed_id], size=size)
        piece = b"x" * 65_536
        site.bucket.head = lambda key: StoredObject(key, size, etag_of(b"x"), 0.0)  # type: ignore[method-assign]
        site.bucket.read = lambda key, etag, start: iter([piece] * (size // len(piece)))  # type: ignore[method-assign]

        def view(environ: dict[str, Any]) -> int:
            count = 0
            while data := environ["wsgi.input"].read(65_536):
                count += len(data)
            return count

        site.view = view
        tracemalloc.start()
        try:
            site.post_entries([("a", signed_id)], "a")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(256 << 20) < peak(65_536) + (1 << 20)


def test_delimiters_are_found_wherever_the_form_is_cut_into_pieces() -> None:
    """A body is read in pieces of 64 KiB: the second field's end comes to lie on each byte around the first cut."""
    before = len(browser_form([("oss_wsgi.files", "photo"), ("a", "")])) - len(f"\r\n--{BOUNDARY}--\r\n")
    for size in range(65_536 - before - 150, 65_536 - before + 10):
        site = Site()
        entries: list[Any] = [("a", "x" * size), ("photo", PHOTO), ("b", "")]
        expected = browser_form(entries)
        entries[1] = ("photo", site.upload(PHOTO))
        site.bucket.piece = 1000
        site.post_entries(entries, "photo")
        assert site.seen == expected


def test_a_form_may_have_ten_thousand_parts() -> None:
    site = Site()
    signed_ids = [site.upload(File(f"{number}", "", b"%d" % number)) for number in range(200)]
    others = [(f"n{number}", "v") for number in range(10_000)]
    assert site.post_entries([*others, *(("a", signed) for signed in signed_ids)], "a") == "saved"
    assert site.seen.count(b"filename=") == 200 and site.seen.count(b'name="n') == 10_000


# What an application finds in its environ, and what a server is told.


def test_the_application_may_have_the_objects_in_place_of_their_bytes() -> None:
    site = Site()
    site.view = lambda environ: None
    ids = [site.upload(PHOTO), site.upload(NASTY), site.upload(File("c", "", b""))]
    entries = [("title", TEXT), ("a", ids[0]), ("real", PHOTO), ("b", ids[1]), ("a", ids[2])]
    files: Any = None

    def view(environ: dict[str, Any]) -> list[bytes]:
        nonlocal files
        files = environ["oss_wsgi.posted_files"]
        stream, length = files.without_files()
        first = stream.read(60)
        again, same = files.without_files()
        body = again.read()
        assert (first + stream.read(), length) == (body, len(body)) == (body, same)
        assert site.bucket.read_from == []
        return [body, environ["wsgi.input"].read()]

    site.view = view
    site.post_entries(entries, "a", "b")
    assert site.seen[0] == browser_form([("title", TEXT), ("real", PHOTO)])
    assert site.seen[1].count(b"filename=") == 4
    first, second, third = (site.uploads[signed_id] for signed_id in ids)
    assert files.uploads == {"a": [first, third], "b": [second]}
    assert b"".join(files.open(first)) == PHOTO.data
    assert b"".join(files.open(second, start=1000)) == NASTY.data[1000:]
    assert list(files.open(third)) == list(files.open(first, start=len(PHOTO.data))) == []


def test_the_application_may_have_the_form_with_numbered_empty_files() -> None:
    site = Site()
    ids = [site.upload(PHOTO), site.upload(NASTY)]

    def view(environ: dict[str, Any]) -> list[bytes]:
        stream, length, uploads = environ["oss_wsgi.posted_files"].with_empty_files(7000)
        assert uploads == [site.uploads[signed_id] for signed_id in ids]
        body = stream.read()
        assert length == len(body) and site.bucket.read_from == []
        return [body]

    site.view = view
    site.post_entries([("a", ids[0]), ("real", PHOTO), ("a", ids[1])], "a")
    first, second = (file._replace(data=b"") for file in (PHOTO, NASTY))
    expected = browser_form([("a", first), ("real", PHOTO), ("a", second)]).split(
        b'Content-Disposition: form-data; name="a"'
    )
    numbered = [
        b'Content-Length: 700%d\r\nContent-Disposition: form-data; name="a"%b' % pair
        for pair in enumerate(expected[1:])
    ]
    assert site.seen[0] == b"".join([expected[0], *numbered])


def test_a_form_never_waits_in_a_servers_loop_nor_in_a_thread_of_callbacks() -> None:
    class Legacy:
        def __init__(self, site: Site) -> None:
            self.site = site

        def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
            return self.site.legacy(environ, start_response)

        def is_nonblocking(self, method: str, path: str, headers: Any) -> bool:
            return True

        def is_callback(self, method: str, path: str, headers: Any) -> bool:
            return (method, path, headers.get("X_OSS_PUB_KEY_URL")) == ("POST", "/callback", "key")

    site = Site()
    site.application = PostedFiles(Legacy(site), site.open_signed_id, site.bucket, user_of=site.user_of)
    assert site.application.is_nonblocking("POST", "/", {})  # type: ignore[attr-defined]
    body, stream = MARKED, Pipe(MARKED)
    with pytest.raises(WouldWaitError):
        site.post(body, stream=stream, **{HOLD_KEY: print})
    assert stream.count == 0
    site.post(b"a=b", "application/x-www-form-urlencoded", **{HOLD_KEY: print})
    assert site.seen == b"a=b"
    site.view = lambda environ: environ["wsgi.input"].read(len(MARKED))
    site.post(body, stream=stream, PATH_INFO="/callback", HTTP_X_OSS_PUB_KEY_URL="key")
    assert site.seen == MARKED, "OSS's reports are no forms"


def test_a_flask_application_may_leave_the_files_in_oss() -> None:
    import flask
    from werkzeug.formparser import FormDataParser

    class WithoutFiles(FormDataParser):
        def parse(self, stream: Any, mimetype: Any, content_length: Any, options: Any = None) -> Any:
            if "oss_wsgi.posted_files" in flask.request.environ:
                stream, content_length = flask.request.environ["oss_wsgi.posted_files"].without_files()
            return super().parse(stream, mimetype, content_length, options)

    class Request(flask.Request):
        form_data_parser_class = WithoutFiles

    app = flask.Flask(__name__)
    app.request_class = Request
    site = Site()
    seen: list[Any] = []

    @app.post("/save")
    def save() -> str:
        files = flask.request.environ.get("oss_wsgi.posted_files")
        uploads = [upload.object for upload in files.uploads["photo"]] if files else []
        seen.append((flask.request.form["title"], list(flask.request.files), uploads))
        return "saved"

    site.application = PostedFiles(app.wsgi_app, site.open_signed_id, site.bucket, user_of=site.user_of)
    more: dict[str, Any] = {"SERVER_NAME": "a", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}
    assert site.post_entries([("title", "x"), ("photo", site.upload(PHOTO))], "photo", **more) == "saved"
    assert site.post(browser_form([("title", "y"), ("photo", PHOTO)]), **more) == "saved"
    assert seen == [("x", [], ["user/eric/signed-id-0"]), ("y", ["photo"], [])]
    assert site.bucket.read_from == []
