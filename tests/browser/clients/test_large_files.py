"""The examples of large files: each library uploads in parts as our pages in docs/ say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from oss_wsgi import SDKBucket

from ..upload_page import expect
from .parts_site import MEGABYTE, PartsSite, serving_parts

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.slow

TOKEN = "CAISexample+Token/With=Padding=="
CONTENT = bytes(range(256)) * (17 * MEGABYTE // 256)  # two parts of 16 MiB
TIMEOUT = 120_000


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("film") / "film.mp4"
    path.write_bytes(CONTENT)
    return path


def choose(page: Page, film: Path, selector: str = "input[type=file]") -> None:
    page.locator(selector).first.set_input_files(film, timeout=TIMEOUT)


def open_client(context: BrowserContext, site: PartsSite, client: str) -> Page:
    page = context.new_page()
    page.goto(f"{site.url}/page.html?client={client}")
    return page


def expect_report(page: Page, text: str) -> None:
    expect(page.locator("output")).to_contain_text(text, timeout=TIMEOUT)


@pytest.mark.parametrize("version", ["5", "6"])
def test_uppy_uploads_from_its_dashboard(
    context: BrowserContext, parts_site: PartsSite, film: Path, version: str
) -> None:
    page = open_client(context, parts_site, f"large_uppy_{version}")
    lines: list[str] = []
    page.on("console", lambda message: lines.append(message.text))
    choose(page, film, ".uppy-Dashboard-input")
    page.locator(".uppy-StatusBar-actionBtn--upload").click(timeout=TIMEOUT)
    expect(page.locator(".uppy-StatusBar-statusPrimary")).to_contain_text("Complete", timeout=TIMEOUT)
    assert parts_site.content() == CONTENT
    assert len(parts_site.uploads) == 1
    assert any("film.mp4" in line for line in lines)


def test_the_example_of_uppy_5_logs_the_answer_of_a_small_file_and_no_error(
    context: BrowserContext, parts_site: PartsSite
) -> None:
    parts_site.answer = {"name": "cat"}
    page = open_client(context, parts_site, "large_uppy_5")
    lines: list[str] = []
    page.on("console", lambda message: lines.append(f"{message.type} {message.text}"))
    small = {"name": "cat.png", "mimeType": "image/png", "buffer": b"meow"}
    page.locator(".uppy-Dashboard-input").first.set_input_files(small)  # type: ignore[arg-type]
    page.locator(".uppy-StatusBar-actionBtn--upload").click(timeout=TIMEOUT)
    expect(page.locator(".uppy-StatusBar-statusPrimary")).to_contain_text("Complete", timeout=TIMEOUT)
    assert [line for line in lines if line.startswith("error")] == []
    assert any("cat.png" in line and "undefined" not in line for line in lines), lines


REPORTS = {
    "large_antd": 'done {"Status":"Ok","number":1,"signed_id":"a-proof"}',
    "large_filepond": "processed a-proof",
    "large_element_plus": 'success {"Status":"Ok","number":1,"signed_id":"a-proof"}',
}


@pytest.mark.parametrize("client", REPORTS)
def test_each_library_uploads_by_the_thirty_lines(
    context: BrowserContext, parts_site: PartsSite, film: Path, client: str
) -> None:
    parts_site.answer = {"signed_id": "a-proof"}
    page = open_client(context, parts_site, client)
    choose(page, film)
    expect_report(page, REPORTS[client])
    assert parts_site.content() == CONTENT
    assert [upload.operation for upload in parts_site.uploads] == ["CompleteMultipartUpload"]
    assert parts_site.oss.sent == ["1", "2"]


@pytest.mark.parametrize("client", REPORTS)
def test_a_part_that_fails_is_reported_and_nothing_stays(
    context: BrowserContext, parts_site: PartsSite, film: Path, client: str
) -> None:
    parts_site.oss.failing = {"2": 1}
    page = open_client(context, parts_site, client)
    choose(page, film)
    expect_report(page, "error OSS did not take part 2: 503")
    assert (parts_site.objects, parts_site.unfinished, parts_site.uploads) == ([], 0, [])


def test_filepond_cancels(context: BrowserContext, parts_site: PartsSite, film: Path) -> None:
    parts_site.oss.held = {"2"}
    page = open_client(context, parts_site, "large_filepond")
    choose(page, film)
    assert parts_site.oss.arrived.wait(60)
    with page.expect_response(lambda response: response.request.method == "DELETE"):
        page.locator(".filepond--action-abort-item-processing").click(force=True)
    parts_site.oss.release.set()
    assert (parts_site.objects, parts_site.unfinished, parts_site.uploads) == ([], 0, [])


@pytest.fixture
def temporary(pages: Path, tmp_path: Path) -> Iterator[PartsSite]:
    """Return a site whose access key has a token of STS."""
    with serving_parts(pages, tmp_path / "objects", security_token=TOKEN) as running:
        yield running


def test_ali_oss_uploads_with_temporary_keys_and_our_server_asks_oss_what_came(
    context: BrowserContext, temporary: PartsSite, film: Path
) -> None:
    parts_site = temporary
    films: list[dict[str, Any]] = []
    lock = threading.Lock()
    oss = parts_site.oss
    inner = parts_site.direct_upload
    bucket = SDKBucket(inner.settings, clock=lambda: 0.0)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path not in ("/sts", "/films"):
            return inner(environ, start_response)
        members = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        answer: dict[str, Any] = {
            "key": members.get("key") or f"films/{members['filename']}",
            "region": "oss-cn-hangzhou",
            "bucket": oss.bucket,
            "endpoint": f"http://{urlsplit(oss.url).netloc}",
            "accessKeyId": oss.access_key_id,
            "accessKeySecret": oss.access_key_secret,
            "stsToken": TOKEN,
        }
        if path == "/films":
            stored = bucket.head(members["key"])
            assert stored is not None
            answer = {"size": stored.size, "type": stored.content_type}
            with lock:
                films.append(answer)
        body = json.dumps(answer).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    parts_site.direct_upload = application  # type: ignore[assignment]
    try:
        page = open_client(context, parts_site, "large_ali_oss")
        choose(page, film)
        expect_report(page, f'uploaded {{"size":{len(CONTENT)},"type":"video/mp4"}}')
    finally:
        bucket.close()
    assert parts_site.content() == CONTENT
    assert parts_site.oss.sent != []
    assert parts_site.uploads == [], "nobody reports it: the application asked OSS itself"
    assert len(films) == 1
