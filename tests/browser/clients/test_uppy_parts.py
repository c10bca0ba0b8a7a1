"""Uppy 5 and 6, unmodified, upload in parts: however it goes, the application hears of a file once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from oss_wsgi.endpoints.slots import SLOTS
from oss_wsgi.wsgi.responses import THREADS_KEY

from ..upload_page import expect, wait_until
from .parts_site import MEGABYTE, PartsSite

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.slow

TIMEOUT = 120_000
CONTENT = bytes(range(256)) * (6 * MEGABYTE // 256)  # two parts; the Golden Retriever keeps it whole


@pytest.fixture(params=["uppy_5_parts", "uppy_6_parts"])
def uppy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def open_page(context: BrowserContext, parts_site: PartsSite, uppy: str) -> Callable[..., Page]:
    """Return a function that opens the page of an Uppy; its options are those of ``uppy_parts.js``."""

    def open_page(options: str = "always=yes") -> Page:
        page = context.new_page()
        page.goto(f"{parts_site.url}/page.html?client={uppy}&{options}")
        page.wait_for_function("window.uppy !== undefined")
        return page

    return open_page


CHOOSE = """(input, size) => {
  const content = new Uint8Array(size);
  for (let index = 0; index < size; index++) content[index] = index;
  const chosen = new DataTransfer();
  chosen.items.add(new File([content], "film.mp4", { type: "video/mp4" }));
  input.files = chosen.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}"""


def choose(page: Page, size: int = len(CONTENT)) -> None:
    """Choose a file with the beginning of CONTENT, made in the page: Playwright's driver takes a second to send it."""
    page.locator("input[type=file]").evaluate(CHOOSE, size)


def store_first_part(page: Page, parts_site: PartsSite) -> None:
    """Choose a file, and wait until its first part is answered and its second one has arrived, which the site holds."""
    parts_site.oss.held = {"2"}
    with page.expect_event("requestfinished", lambda request: "partNumber=1&" in request.url, timeout=TIMEOUT):
        choose(page)
    assert parts_site.oss.arrived.wait(60)


def expect_report(page: Page, text: str) -> None:
    expect(page.locator("output")).to_contain_text(text, timeout=TIMEOUT)


def expect_one_film(parts_site: PartsSite, content: bytes = CONTENT) -> None:
    """One object with all bytes, nothing unfinished, and one handler call, of an upload in parts."""
    assert parts_site.content() == content
    assert parts_site.unfinished == 0
    assert [(upload.size, upload.operation) for upload in parts_site.uploads] == [
        (len(content), "CompleteMultipartUpload")
    ]


def test_a_small_file_goes_by_form(open_page: Callable[..., Page], parts_site: PartsSite) -> None:
    page = open_page("")
    choose(page)
    expect_report(page, "upload-success 200")
    assert parts_site.content() == CONTENT
    assert [(upload.operation, upload.mime_type) for upload in parts_site.uploads] == [("PostObject", "video/mp4")]
    assert parts_site.requests == ["GET params"]


def test_a_file_goes_in_parts_and_the_answer_comes_back(
    open_page: Callable[..., Page], parts_site: PartsSite, uppy: str
) -> None:
    page = open_page()
    choose(page)
    expect_report(page, "upload-success 200")
    if uppy == "uppy_5_parts":  # Uppy 6 keeps location and key alone
        expect_report(page, '{"Status":"Ok","number":1,"signed_id":"')
    expect_one_film(parts_site)
    assert parts_site.uploads[0].mime_type == "video/mp4"
    assert sorted(parts_site.oss.sent) == ["1", "2"]


def test_more_than_100_mb_go_in_parts_by_uppys_own_choice(
    open_page: Callable[..., Page], parts_site: PartsSite, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    with film.open("wb") as file:
        file.truncate(101 * MEGABYTE)
    page = open_page("")
    page.locator("input[type=file]").set_input_files(film)
    expect_report(page, "upload-success 200")
    assert [(upload.size, upload.operation) for upload in parts_site.uploads] == [
        (101 * MEGABYTE, "CompleteMultipartUpload")
    ]
    assert len(parts_site.oss.sent) == 21
    assert (parts_site.unfinished, len(parts_site.objects)) == (0, 1)


@pytest.mark.parametrize("size", [0, 1, 5 * MEGABYTE, 5 * MEGABYTE + 1])
def test_small_files_too_go_in_parts_where_the_page_says_so(
    open_page: Callable[..., Page], parts_site: PartsSite, uppy: str, size: int
) -> None:
    page = open_page()
    choose(page, size)
    expect_report(page, "upload-success 200")
    assert (parts_site.content(), parts_site.unfinished) == (CONTENT[:size], 0)
    by_form = uppy == "uppy_6_parts" and size == 0  # whatever the page says
    operation = "PostObject" if by_form else "CompleteMultipartUpload"
    assert [(upload.size, upload.operation, upload.mime_type) for upload in parts_site.uploads] == [
        (size, operation, "video/mp4")
    ]


def test_pause_and_resume(open_page: Callable[..., Page], parts_site: PartsSite) -> None:
    page = open_page()
    store_first_part(page, parts_site)
    page.evaluate("uppy.pauseAll()")
    parts_site.oss.release.set()
    page.wait_for_timeout(300)
    assert parts_site.uploads == []
    page.evaluate("uppy.resumeAll()")
    expect_report(page, "upload-success 200")
    assert parts_site.oss.sent.count("1") == 1
    expect_one_film(parts_site)


def test_cancel_leaves_nothing_in_the_bucket(open_page: Callable[..., Page], parts_site: PartsSite) -> None:
    parts_site.oss.held = {"2"}
    page = open_page()
    choose(page)
    assert parts_site.oss.arrived.wait(60)
    assert parts_site.unfinished == 1
    page.evaluate("uppy.cancelAll()")
    wait_until(lambda: parts_site.unfinished == 0, page)
    parts_site.oss.release.set()
    assert "DELETE multipart/ID" in parts_site.requests
    assert (parts_site.objects, parts_site.unfinished, parts_site.uploads) == ([], 0, [])


def test_a_url_that_has_expired_ends_in_an_error_and_retry_ends_well(
    open_page: Callable[..., Page], parts_site: PartsSite, uppy: str
) -> None:
    parts_site.oss.outdated = {"2": 1}
    page = open_page()
    choose(page)
    expect_report(page, "upload-error")
    assert parts_site.uploads == []
    page.evaluate("uppy.retryAll()")
    expect_report(page, "upload-success 200")
    # Uppy 5 aborts and begins anew, perhaps before the first part is there.
    assert parts_site.oss.sent.count("1") in ({1, 2} if uppy == "uppy_5_parts" else {1})
    wait_until(lambda: parts_site.unfinished == 0, page)
    expect_one_film(parts_site)


def test_six_files_at_once_all_arrive(open_page: Callable[..., Page], parts_site: PartsSite) -> None:
    """Uppy begins them at the same moment, and one address holds two slots: the others wait in the server's loop."""
    page = open_page()
    page.evaluate(
        """() => [1, 2, 3, 4, 5, 6].forEach((size) =>
            uppy.addFile({ name: `film-${size}.mp4`, type: "video/mp4", data: new Blob(["x".repeat(size)]) }))"""
    )
    expect(page.locator("output")).to_contain_text(re.compile("(upload-success 200.*){6}", re.DOTALL), timeout=TIMEOUT)
    assert sorted(upload.size or 0 for upload in parts_site.uploads) == [1, 2, 3, 4, 5, 6]
    assert parts_site.unfinished == 0


@contextmanager
def all_slots() -> Iterator[None]:
    """Hold all slots of this process, so that each request that needs one is refused."""
    with ExitStack() as stack:
        for number in range(50):
            stack.enter_context(SLOTS.hold({"REMOTE_ADDR": f"held-{number}", THREADS_KEY: 100}))
        yield


@pytest.mark.parametrize("uppy", ["patient_uppy_5", "patient_uppy_6"])
def test_with_our_example_uppy_asks_again_while_the_server_is_busy(
    open_page: Callable[..., Page], parts_site: PartsSite
) -> None:
    """The loop has given up a request after five tries: the sixth is Uppy's own."""
    parts_site.hold_completes = 1
    page = open_page()
    with all_slots():
        choose(page)
        wait_until(lambda: parts_site.requests.count("POST multipart") > 5, page)
    wait_until(lambda: parts_site.completes.acquire(blocking=False), page)
    with all_slots():
        parts_site.release.set()
        wait_until(lambda: parts_site.requests.count("POST multipart/ID/complete") > 5, page)
    expect_report(page, "upload-success 200")
    expect_one_film(parts_site)


def restore(page: Page) -> None:
    """Let the Golden Retriever restore its files, as the button of the dashboard does."""
    expect_report(page, "restored")
    page.evaluate("uppy.emit('restore-confirmed')")


REMEMBERED = """async () => {
  const database = await new Promise((resolve) => {
    indexedDB.open("uppy-blobs").onsuccess = ({ target }) => resolve(target.result);
  });
  const all = (name) => new Promise((resolve) => {
    if (!database.objectStoreNames.contains(name)) return resolve([]);
    database.transaction(name).objectStore(name).getAll().onsuccess = ({ target }) => resolve(target.result);
  });
  const [files, states] = [await all("files"), await all("metadata")];
  database.close();
  const texts = [...states.map(({ metadata }) => metadata), ...Object.values(localStorage)];
  return files.length > 0 && texts.some((text) => text.includes('"uploadId"'));
}"""


def wait_for_memory(page: Page) -> None:
    """Wait until the Golden Retriever has stored the file and the upload's ID, which it does from time to time."""
    wait_until(lambda: page.evaluate("uppy.getFiles()[0].s3Multipart?.uploadId !== undefined"), page)
    page.wait_for_timeout(1500)
    wait_until(lambda: page.evaluate(REMEMBERED), page)


def test_the_golden_retriever_goes_on_after_a_reload(open_page: Callable[..., Page], parts_site: PartsSite) -> None:
    page = open_page("always=yes&remember=yes")
    store_first_part(page, parts_site)
    wait_for_memory(page)
    page.reload()
    parts_site.oss.release.set()
    restore(page)
    expect_report(page, "upload-success 200")
    assert parts_site.requests.count("POST multipart") == 1
    assert parts_site.oss.sent.count("1") == 1
    expect_one_film(parts_site)


def test_an_answer_that_was_lost_is_asked_for_after_a_reload(
    open_page: Callable[..., Page], parts_site: PartsSite
) -> None:
    parts_site.lose_completes = 1
    page = open_page("always=yes&remember=yes")
    choose(page)
    assert parts_site.completes.acquire(timeout=60)
    assert len(parts_site.uploads) == 1
    wait_for_memory(page)
    page.reload()
    parts_site.release.set()
    restore(page)
    expect_report(page, "upload-success 200")
    assert parts_site.requests.count("POST multipart/ID/complete") == 2
    expect_one_film(parts_site)


def test_a_second_tab_ends_the_same_upload(open_page: Callable[..., Page], parts_site: PartsSite) -> None:
    parts_site.hold_completes = 2
    first = open_page("always=yes&remember=yes")
    choose(first)
    assert parts_site.completes.acquire(timeout=60)
    wait_for_memory(first)
    second = open_page("always=yes&remember=yes")
    restore(second)
    wait_until(lambda: parts_site.completes.acquire(blocking=False), second)
    parts_site.release.set()
    for page in (first, second):
        expect_report(page, "upload-success 200")
    assert sorted(parts_site.oss.sent) == ["1", "2"]
    expect_one_film(parts_site)
