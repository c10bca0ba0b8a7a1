"""PostedFiles behind servers, with the real SDK and a local OSS: large files, broken connections, and validators."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from wsgiref.validate import validator

import pytest
import webtest

from local_oss import LocalOSS, LocalOSSServer
from oss_wsgi import PostedFiles, SDKBucket, Settings, Upload
from oss_wsgi.testing.local_oss import environ_for

from ..support.browser_form import CONTENT_TYPE, File, browser_form
from ..support.server_thread import running
from ..support.server_threads import serving_application, serving_oss

pytestmark = pytest.mark.slow

SIZE = 40 << 20
KEY = "user/eric/照 片.bin"


@pytest.fixture
def oss(tmp_path: Path) -> Iterator[LocalOSSServer]:
    with serving_oss(LocalOSS(directory=tmp_path / "objects", key_bits=512)) as server:
        yield server


class Site:
    def __init__(self, oss: LocalOSSServer, folder: Path) -> None:
        environ = environ_for(oss.oss, folder)
        self.bucket = SDKBucket(Settings.from_environ(environ), clock=time.time, timeout=60.0)
        self.upload = Upload()
        self.oss = oss
        self.application = PostedFiles(digest, lambda text: self.upload, self.bucket, user_of=lambda *_: None)

    def put(self, data: bytes) -> None:
        with self.oss.oss.storage.bucket(self.oss.oss.bucket).incoming() as incoming:
            incoming.write(data)
            stored = incoming.commit(KEY, "text/plain", {}, now=time.time())
        self.upload = Upload(object=KEY, etag=stored.etag, size=len(data), filename="a.bin", mime_type="text/plain")


@pytest.fixture
def site(oss: LocalOSSServer, tmp_path: Path) -> Iterator[Site]:
    site = Site(oss, tmp_path)
    yield site
    site.bucket.close()


def digest(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer with the length and the digest of the body, of which no more is read than there is."""
    left, sha = int(environ["CONTENT_LENGTH"]), hashlib.sha256()
    while left:
        piece = environ["wsgi.input"].read(min(left, 1 << 20))
        assert piece, "the body ends early"
        left -= len(piece)
        sha.update(piece)
    body = f"{environ['CONTENT_LENGTH']} {sha.hexdigest()}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def expected(data: bytes, *others: tuple[str, Any]) -> bytes:
    body = browser_form([("photo", File("a.bin", "text/plain", data)), *others])
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def post(url: str, body: bytes, headers: dict[str, str]) -> bytes:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("POST", "/save", body, {"Content-Type": CONTENT_TYPE, **headers})
        return connection.getresponse().read()
    finally:
        connection.close()


@contextmanager
def our_server(application: Any) -> Iterator[str]:
    with running(application, in_loop=False) as server:
        yield f"http://127.0.0.1:{server.effective_port}"


@pytest.mark.parametrize("serving", [our_server, serving_application])
def test_a_server_posts_a_large_file_that_it_never_received(site: Site, serving: Any) -> None:
    data = bytes(range(256)) * (SIZE // 256)
    site.put(data)
    real = ("real", File("b.bin", "", b"\r\n--x" * 200_000))
    body = browser_form([("oss_wsgi.files", "photo"), ("photo", "signed-id"), real])
    with serving(site.application) as url:
        assert post(url, body, {}) == expected(data, real)
        assert b"no field of this name" not in post(url, browser_form([("oss_wsgi.files", "x")]), {})
        assert post(url, browser_form([("a", "b")]), {})


def test_a_connection_to_oss_that_breaks_goes_on_with_a_range(site: Site) -> None:
    data = bytes(range(256)) * 8192
    site.put(data)
    ranges: list[str | None] = []
    application = site.oss.oss

    def breaking(environ: dict[str, Any], start_response: Any) -> Any:
        response = application(environ, start_response)
        if environ["REQUEST_METHOD"] != "GET":
            return response
        ranges.append(environ.get("HTTP_RANGE"))
        assert environ["HTTP_IF_MATCH"] == f'"{site.upload.etag}"'
        return part_of(response) if len(ranges) < 4 else response

    def part_of(response: Any) -> Iterator[bytes]:
        try:
            yield next(iter(response))
        finally:
            response.close()

    site.oss.oss = breaking  # type: ignore[assignment]
    body = browser_form([("oss_wsgi.files", "photo"), ("photo", "signed-id")])
    try:
        with serving_application(site.application) as url:
            assert post(url, body, {}) == expected(data)
    finally:
        site.oss.oss = application
    assert ranges[0] is None and all(text and text.startswith("bytes=") for text in ranges[1:])
    assert len(ranges) == 4


def test_validators_find_nothing_in_what_is_passed_on_and_in_a_refusal(site: Site) -> None:
    site.put(b"hello")
    site.application = PostedFiles(
        validator(digest), lambda text: site.upload, site.bucket, user_of=lambda environ, uploads: None
    )
    client = webtest.TestApp(validator(site.application))

    def answer(*entries: tuple[str, str], status: int = 200) -> bytes:
        body = browser_form(entries)
        request = webtest.TestRequest.blank("/save", method="POST", body=body, content_type=CONTENT_TYPE)
        data: bytes = client.do_request(request, status=status).body
        return data

    assert answer(("oss_wsgi.files", "photo"), ("photo", "signed-id")) == expected(b"hello")
    assert answer(("a", "b" * 1000)).startswith(str(len(browser_form([("a", "b" * 1000)]))).encode())
    assert answer(("oss_wsgi.files", "a"), status=400).startswith(b"<!DOCTYPE html>")
