"""Uppy 5 and 6, unmodified, upload in parts: however it goes, the application hears of a file once."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from oss_wsgi import DirectUpload, PublicKeyStore, Settings, Upload
from oss_wsgi.endpoints.static import StaticSite
from oss_wsgi.local import CORSRule, LocalOSS, LocalOSSServer
from oss_wsgi.serving import make_server

from ..upload_page import expect

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.slow

MEGABYTE = 1024 * 1024
TIMEOUT = 120_000
CONTENT = bytes(range(256)) * (6 * MEGABYTE // 256)  # two parts; the Golden Retriever keeps it whole


class WatchedOSS(LocalOSS):
    """A local OSS that fails, outdates and holds parts by their number, as the test says."""

    def __init__(self, **options: Any) -> None:
        self.skew = threading.local()
        super().__init__(clock=lambda: time.time() + getattr(self.skew, "seconds", 0), test_mode=True, **options)
        self.sent: list[str] = []
        self.failing: dict[str, int] = {}
        self.outdated: dict[str, int] = {}
        self.held: set[str] = set()
        self.arrived = threading.Event()
        self.release = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match = re.search(r"partNumber=([0-9]+)", environ.get("QUERY_STRING", ""))
        self.skew.seconds = 0
        if environ["REQUEST_METHOD"] == "PUT" and match is not None:
            number = match[1]
            self.sent.append(number)
            if self.failing.get(number):
                self.failing[number] -= 1
                environ["HTTP_X_OSS_LOCAL_FAULT"] = "slow_down"
            if self.outdated.get(number):
                self.outdated[number] -= 1
                self.skew.seconds = 7200
            if number in self.held:
                self.held.discard(number)
                self.arrived.set()
                self.release.wait(60)
        return super().__call__(environ, start_response)


class Site:
    """The pages, the application, its bucket, and what may be held back on the way of a complete request."""

    def __init__(self, url: str, oss: WatchedOSS, pages: Path) -> None:
        self.url = url
        self.oss = oss
        self.uploads: list[Upload] = []
        self.requests: list[str] = []
        self.hold_completes = 0
        self.lose_completes = 0
        self.completes = threading.Semaphore(0)
        self.release = threading.Event()
        policy = f"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' blob: {oss.url}"
        settings = Settings(
            bucket=oss.bucket,
            region=oss.region,
            host=oss.host,
            access_key_id=oss.access_key_id,
            access_key_secret=oss.access_key_secret,
            callback_url=f"{url}/oss/callback",
            allow_anonymous=True,
            multipart=True,
            ticket_secret=("a ticket secret for tests and nothing else",),
        )
        keys = PublicKeyStore({oss.public_key_url: oss.public_key_pem})
        pages_site = StaticSite(pages, content_security_policy=policy)
        self.direct_upload = DirectUpload(pages_site, settings, on_upload=self.save, public_keys=keys)

    def save(self, upload: Upload) -> dict[str, Any]:
        self.uploads.append(upload)
        return {"number": len(self.uploads)}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/oss/s3/"):
            step = re.sub(r"multipart/[^/]+", "multipart/ID", path.removeprefix("/oss/s3/"))
            self.requests.append(f"{environ['REQUEST_METHOD']} {step}")
        if not path.endswith("/complete"):
            return self.direct_upload(environ, start_response)
        if self.hold_completes:
            self.hold_completes -= 1
            self.completes.release()
            assert self.release.wait(60)
        body = self.direct_upload(environ, start_response)
        if self.lose_completes:
            self.lose_completes -= 1
            self.completes.release()
            assert self.release.wait(60)
        return body

    @property
    def bucket(self) -> Any:
        return self.oss.storage.bucket(self.oss.bucket)

    @property
    def objects(self) -> list[Any]:
        return list(self.bucket.newest(100)[0])

    @property
    def unfinished(self) -> int:
        return len(self.bucket.uploads()[0])

    def content(self) -> bytes:
        (stored,) = self.objects
        opened = self.bucket.open(stored.key)
        with opened[1] as file:
            content: bytes = file.read()
        return content


@pytest.fixture
def site(pages: Path, tmp_path: Path) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        rule = CORSRule([url], allowed_methods=("GET", "HEAD", "POST", "PUT"))
        oss = stack.enter_context(WatchedOSS(directory=tmp_path / "objects", key_bits=1024, cors_rules=[rule]))
        storage = LocalOSSServer(oss)
        storage.start()
        stack.callback(storage.stop)
        site = Site(url, oss, pages)
        server = make_server(site, [listener], max_request_body_size=MEGABYTE, threads=8)
        thread = threading.Thread(target=server.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.drain, 0)
        stack.callback(site.release.set)
        stack.callback(oss.release.set)
        yield site


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(params=["uppy_5_parts", "uppy_6_parts"])
def uppy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_page(context: BrowserContext, site: Site, uppy: str) -> Callable[..., Page]:
    """Return a function that opens the page of an Uppy; its options are those of ``uppy_parts.js``."""

    def open_page(options: str = "always=yes") -> Page:
        page = context.new_page()
        page.goto(f"{site.url}/page.html?client={uppy}&{options}")
        page.wait_for_function("window.uppy !== undefined")
        return page

    return open_page


def choose(page: Page, content: bytes | Path = CONTENT) -> None:
    payload: Any = content
    if isinstance(content, bytes):
        payload = {"name": "film.mp4", "mimeType": "video/mp4", "buffer": content}
    page.locator("input[type=file]").set_input_files(payload, timeout=TIMEOUT)


def expect_report(page: Page, text: str) -> None:
    expect(page.locator("output")).to_contain_text(text, timeout=TIMEOUT)


def wait_until(condition: Callable[[], object], page: Page) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        page.wait_for_timeout(20)


def expect_one_film(site: Site, content: bytes = CONTENT) -> None:
    """One object with all bytes, nothing unfinished, and one handler call, of an upload in parts."""
    assert site.content() == content
    assert site.unfinished == 0
    assert [(upload.size, upload.operation) for upload in site.uploads] == [(len(content), "CompleteMultipartUpload")]


def test_a_small_file_goes_by_form(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("")
    choose(page)
    expect_report(page, "upload-success 200")
    assert site.content() == CONTENT
    assert [(upload.operation, upload.mime_type) for upload in site.uploads] == [("PostObject", "video/mp4")]
    assert site.requests == ["GET params"]


def test_a_file_goes_in_parts_and_the_answer_comes_back(open_page: Callable[..., Page], site: Site, uppy: str) -> None:
    page = open_page()
    choose(page)
    expect_report(page, "upload-success 200")
    if uppy == "uppy_5_parts":  # Uppy 6 keeps location and key alone
        expect_report(page, '{"Status":"Ok","number":1}')
    expect_one_film(site)
    assert site.uploads[0].mime_type == "video/mp4"
    assert sorted(site.oss.sent) == ["1", "2"]


def test_300_mb_go_in_parts_by_uppys_own_choice(open_page: Callable[..., Page], site: Site, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    with film.open("wb") as file:
        file.truncate(300 * MEGABYTE)
    page = open_page("")
    choose(page, film)
    expect_report(page, "upload-success 200")
    assert [(upload.size, upload.operation) for upload in site.uploads] == [(300 * MEGABYTE, "CompleteMultipartUpload")]
    assert len(site.oss.sent) == 60
    assert (site.unfinished, len(site.objects)) == (0, 1)


def test_a_part_that_fails_twice_is_sent_again(open_page: Callable[..., Page], site: Site) -> None:
    site.oss.failing = {"2": 2}
    page = open_page()
    choose(page)
    expect_report(page, "upload-success 200")
    assert site.oss.sent.count("2") == 3
    expect_one_film(site)


def test_pause_and_resume(open_page: Callable[..., Page], site: Site) -> None:
    site.oss.held = {"2"}
    page = open_page()
    choose(page)
    assert site.oss.arrived.wait(60)
    wait_until(lambda: page.evaluate("uppy.getFiles()[0].progress.bytesUploaded") >= 5 * MEGABYTE, page)
    page.evaluate("uppy.pauseAll()")
    site.oss.release.set()
    page.wait_for_timeout(300)
    assert site.uploads == []
    page.evaluate("uppy.resumeAll()")
    expect_report(page, "upload-success 200")
    assert site.oss.sent.count("1") == 1
    expect_one_film(site)


def test_cancel_leaves_nothing_in_the_bucket(open_page: Callable[..., Page], site: Site) -> None:
    site.oss.held = {"2"}
    page = open_page()
    choose(page)
    assert site.oss.arrived.wait(60)
    assert site.unfinished == 1
    page.evaluate("uppy.cancelAll()")
    wait_until(lambda: site.unfinished == 0, page)
    site.oss.release.set()
    assert "DELETE multipart/ID" in site.requests
    assert (site.objects, site.unfinished, site.uploads) == ([], 0, [])


def test_a_url_that_has_expired_ends_in_an_error_and_retry_ends_well(
    open_page: Callable[..., Page], site: Site, uppy: str
) -> None:
    site.oss.outdated = {"2": 1}
    page = open_page()
    choose(page)
    expect_report(page, "upload-error")
    assert site.uploads == []
    page.evaluate("uppy.retryAll()")
    expect_report(page, "upload-success 200")
    assert site.oss.sent.count("1") == (2 if uppy == "uppy_5_parts" else 1), "Uppy 5 aborts and begins anew"
    wait_until(lambda: site.unfinished == 0, page)
    expect_one_film(site)


def restore(page: Page) -> None:
    """Let the Golden Retriever go on with what it has kept, as the button of the dashboard does."""
    expect_report(page, "restored")
    page.evaluate("uppy.emit('restore-confirmed')")


def wait_for_memory(page: Page) -> None:
    """Wait until the Golden Retriever has written the file and the upload's ID, which it does now and then."""
    wait_until(lambda: page.evaluate("uppy.getFiles()[0].s3Multipart?.uploadId !== undefined"), page)
    page.wait_for_timeout(1500)


def test_the_golden_retriever_goes_on_after_a_reload(open_page: Callable[..., Page], site: Site) -> None:
    site.oss.held = {"2"}
    page = open_page("always=yes&remember=yes")
    choose(page)
    assert site.oss.arrived.wait(60)
    wait_for_memory(page)
    page.reload()
    site.oss.release.set()
    restore(page)
    expect_report(page, "upload-success 200")
    assert site.requests.count("POST multipart") == 1
    assert site.oss.sent.count("1") == 1
    expect_one_film(site)


def test_an_answer_that_was_lost_is_asked_for_after_a_reload(open_page: Callable[..., Page], site: Site) -> None:
    site.lose_completes = 1
    page = open_page("always=yes&remember=yes")
    choose(page)
    assert site.completes.acquire(timeout=60)
    assert len(site.uploads) == 1
    wait_for_memory(page)
    page.reload()
    site.release.set()
    restore(page)
    expect_report(page, "upload-success 200")
    assert site.requests.count("POST multipart/ID/complete") == 2
    expect_one_film(site)


def test_a_second_tab_ends_the_same_upload(open_page: Callable[..., Page], site: Site) -> None:
    site.hold_completes = 2
    first = open_page("always=yes&remember=yes")
    choose(first)
    assert site.completes.acquire(timeout=60)
    wait_for_memory(first)
    second = open_page("always=yes&remember=yes")
    restore(second)
    wait_until(lambda: site.completes.acquire(blocking=False), second)
    site.release.set()
    for page in (first, second):
        expect_report(page, "upload-success 200")
    assert sorted(site.oss.sent) == ["1", "2"]
    expect_one_film(site)
