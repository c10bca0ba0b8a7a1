"""examples/components: Ant Design and Element Plus send by our module, with its retries, parts and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..upload_page import expect
from .parts_site import MEGABYTE, PartsSite

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.slow

TIMEOUT = 60_000
SMALL = b"meow"
LARGE = bytes(range(256)) * (17 * MEGABYTE // 256)
DONE = {"components_antd": "done", "components_element_plus": "success"}


def send(context: BrowserContext, site: PartsSite, client: str, folder: Path, content: bytes = SMALL) -> Page:
    page = context.new_page()
    page.goto(f"{site.url}/page.html?client={client}")
    chosen = folder / "cat.png"
    chosen.write_bytes(content)
    page.locator("input[type=file]").first.set_input_files(chosen, timeout=TIMEOUT)
    return page


def expect_report(page: Page, text: str) -> None:
    expect(page.locator("output")).to_contain_text(text, timeout=TIMEOUT)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["a form", "parts"])
@pytest.mark.parametrize("client", DONE)
def test_a_file_is_stored_and_the_component_has_the_answer(
    context: BrowserContext, parts_site: PartsSite, tmp_path: Path, client: str, content: bytes
) -> None:
    page = send(context, parts_site, client, tmp_path, content)
    expect_report(page, f'{DONE[client]} {{"Status":"Ok","number":1,"signed_id":"')
    expect_report(page, "percent 100")
    assert parts_site.content() == content
    operation = "PostObject" if content is SMALL else "CompleteMultipartUpload"
    assert [upload.operation for upload in parts_site.uploads] == [operation]


@pytest.mark.parametrize(
    ("locale", "sentence"),
    [
        ("zh-CN", "文件已在存储空间中，无需再次发送"),
        ("en-US", "The file is in storage, so there is no need to send it again"),
    ],
)
@pytest.mark.parametrize("client", DONE)
def test_a_file_whose_callback_failed_is_an_error_in_the_language_of_the_browser(
    browser: Browser, parts_site: PartsSite, tmp_path: Path, client: str, locale: str, sentence: str
) -> None:
    parts_site.oss.fail_next("callback_status", status=500, times=None)
    with browser.new_context(locale=locale) as context:
        page = send(context, parts_site, client, tmp_path)
        expect_report(page, f"error {sentence}")
        expect(page.locator("output")).not_to_contain_text(DONE[client])


@pytest.mark.parametrize("client", DONE)
def test_a_refused_file_says_why(browser: Browser, parts_site: PartsSite, tmp_path: Path, client: str) -> None:
    inner = parts_site.direct_upload
    body = b'{"error": {"code": "forbidden", "message": "Not allowed."}}'

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/oss/signature":
            return inner(environ, start_response)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("403 Forbidden", headers)
        return [body]

    parts_site.direct_upload = application  # type: ignore[assignment]
    with browser.new_context(locale="zh-CN") as context:
        page = send(context, parts_site, client, tmp_path)
        expect_report(page, "error 您没有在此发送文件的权限。")
    assert parts_site.uploads == []
