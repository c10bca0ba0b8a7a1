"""Large files in parts: they go on after failures, pauses, reloads, and nothing of a cancelled one stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .axe import findings
from .test_recovering import Stand, stand
from .upload_page import UploadPage, expect, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from .conftest import OpenPage

PART = 1024 * 1024
PARTS = "**/examplebucket/**partNumber=*"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path, multipart=True, part_size=PART) as running:
        yield running


@pytest.fixture
def page(open_page: OpenPage, running: Stand) -> UploadPage:
    page = open_page(running)
    expect(page.page.locator("#limits")).to_be_visible()
    return page


def large(folder: Path, size: int, name: str = "film.bin") -> Path:
    path = folder / name
    path.write_bytes(bytes(number % 251 for number in range(4096)) * (size // 4096) + b"x" * (size % 4096))
    return path


def wait_for_half(page: UploadPage) -> None:
    """Wait until three of the file's six parts are stored and the page's progress shows it.

    The page's policy lets no `wait_for_function` evaluate.
    """
    shown = "document.querySelector('li progress').value"
    wait_until(lambda: len(page.stored_parts) >= 3 and page.page.evaluate(shown) >= 0.5, page.page)


#: The bytes of a file that the page has noted as stored: it goes on from them after a reload.
NOTED = """() => new Promise((resolve) => {
  indexedDB.open("oss-wsgi-uploads").onsuccess = ({ target: { result: database } }) => {
    const all = database.transaction("oss-wsgi-uploads").objectStore("oss-wsgi-uploads").getAll();
    all.onsuccess = () => resolve(all.result[0]?.sent);
    database.close();
  };
})"""


def uploads_of(running: Stand) -> list[Any]:
    return list(running.oss.storage.bucket(running.oss.bucket).uploads())


def test_a_large_file_goes_in_parts(page: UploadPage, running: Stand, tmp_path: Path) -> None:
    size = 3 * PART + 17
    path = large(tmp_path, size)
    sent: list[str] = []
    page.page.on("request", lambda request: sent.append(request.method) if "partNumber" in request.url else None)
    page.upload(path)
    expect(page.row("film.bin")).to_contain_text("Done")
    assert sent.count("PUT") == -(-size // PART)
    assert page.answer("film.bin")["number"] == 1
    assert page.stored("film.bin") == path.read_bytes()
    assert [upload.size for upload in running.uploads] == [size]


def test_a_paused_file_goes_on_where_it_was(page: UploadPage, running: Stand, tmp_path: Path) -> None:
    held: list[Route] = []
    puts: list[str] = []

    def hold(route: Route) -> None:
        if route.request.method != "PUT":
            route.continue_()
        elif len(puts) < 3:
            puts.append(route.request.url)
            route.continue_()
        else:
            held.append(route)

    page.page.route(PARTS, hold)
    path = large(tmp_path, 6 * PART)
    page.upload(path)
    wait_for_half(page)
    page.button("Pause", of="film.bin").click()
    expect(page.row("film.bin")).to_contain_text("50% · 3.1 MB of 6.3 MB")
    expect(page.summary).to_contain_text("1 paused")
    page.page.unroute(PARTS)
    sent: list[str] = []
    page.page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
    page.button("Continue", of="film.bin").click()
    expect(page.row("film.bin")).to_contain_text("Done")
    assert len(sent) == 3
    assert page.stored("film.bin") == path.read_bytes()
    assert len(running.uploads) == 1


def test_of_a_cancelled_file_nothing_stays(page: UploadPage, running: Stand, tmp_path: Path) -> None:
    held: list[Route] = []
    page.page.route(PARTS, lambda route: held.append(route) if route.request.method == "PUT" else route.continue_())
    page.upload(large(tmp_path, 4 * PART))
    expect(page.row("film.bin")).to_contain_text("Sending")
    expect(page.button("Pause", of="film.bin")).to_be_visible()
    assert len(uploads_of(running)) == 1
    with page.page.expect_response(lambda response: response.request.method == "DELETE"):
        page.button("Cancel", of="film.bin").click()
    expect(page.row("film.bin")).to_contain_text("Cancelled")
    assert uploads_of(running) == []
    assert running.objects == []
    page.page.unroute(PARTS)
    page.button("Retry", of="film.bin").click()
    expect(page.row("film.bin")).to_contain_text("Done")


def interrupt(page: UploadPage, path: Path) -> None:
    """Reload the page when three of the file's parts are stored."""
    counted: list[str] = []

    def hold(route: Route) -> None:
        if route.request.method != "PUT":
            route.continue_()
        elif len(counted) < 3:
            counted.append(route.request.url)
            route.continue_()

    page.page.route(PARTS, hold)
    page.upload(path)
    wait_for_half(page)
    wait_until(lambda: page.page.evaluate(NOTED) == 3 * PART, page.page)
    page.page.on("dialog", lambda dialog: dialog.accept())
    page.page.reload()
    page.page.unroute(PARTS)
    expect(page.page.locator("#limits")).to_be_visible()


def test_after_a_reload_the_same_file_is_offered_to_go_on(page: UploadPage, running: Stand, tmp_path: Path) -> None:
    path = large(tmp_path, 6 * PART)
    interrupt(page, path)
    page.choose(path)
    row = page.row("film.bin")
    expect(row).to_contain_text("50% of this file are already in storage.")
    expect(page.spoken).to_contain_text("film.bin: a part of it is already in storage.")
    expect(page.upload_button).to_be_disabled()
    page.upload_button.click(force=True)
    expect(page.button("Continue", of="film.bin")).to_be_focused()
    assert row.get_attribute("data-state") == "queued", "it never goes on silently"
    sent: list[str] = []
    page.page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
    page.button("Continue", of="film.bin").click()
    expect(row).to_contain_text("Done")
    assert len(sent) == 3
    assert page.stored("film.bin") == path.read_bytes()
    assert len(running.uploads) == 1
    page.choose(path)
    expect(page.row("film.bin")).to_have_count(2)
    expect(page.upload_button).to_be_enabled()


def test_a_file_that_changes_while_it_is_sent_is_refused(page: UploadPage, running: Stand, tmp_path: Path) -> None:
    page.expects("net::ERR_")
    held: list[Route] = []
    page.page.route(PARTS, lambda route: held.append(route) if route.request.method == "PUT" else route.continue_())
    path = large(tmp_path, 6 * PART)
    page.upload(path)
    expect(page.button("Pause", of="film.bin")).to_be_visible()
    page.button("Pause", of="film.bin").click()
    page.page.unroute(PARTS)
    path.write_bytes(b"changed")
    page.button("Continue", of="film.bin").click()
    expect(page.row("film.bin")).to_contain_text("This file can no longer be read. It may have been moved or changed")
    assert running.objects == []


def test_axe_finds_nothing_where_a_file_is_paused_or_offered(
    open_page: OpenPage, running: Stand, tmp_path: Path, axe: str
) -> None:
    page = open_page(running, bypass_csp=True)
    expect(page.page.locator("#limits")).to_be_visible()
    path = large(tmp_path, 6 * PART)
    interrupt(page, path)
    page.choose(path)
    expect(page.button("Continue", of="film.bin")).to_be_visible()
    assert findings(page.page, axe) == []
    page.page.route(PARTS, lambda route: None if route.request.method == "PUT" else route.continue_())
    page.button("Continue", of="film.bin").click()
    page.button("Pause", of="film.bin").click()
    expect(page.row("film.bin")).to_have_attribute("data-state", "paused")
    assert findings(page.page, axe) == []
