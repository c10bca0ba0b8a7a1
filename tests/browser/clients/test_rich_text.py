"""examples/components: editors put pictures into a text that are sent by our module."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..upload_page import expect, wait_until
from .parts_site import PartsSite

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.slow

TIMEOUT = 60_000
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
EDITORS = ["rich_text_wangeditor", "rich_text_tiptap"]


def insert(context: BrowserContext, site: PartsSite, editor: str, folder: Path) -> tuple[Page, list[str]]:
    """Open an editor and put a picture into its text; return the page, and what it says to the person later."""
    page = context.new_page()
    said: list[str] = []
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.accept()))
    page.goto(f"{site.url}/page.html?client={editor}")
    (picture := folder / "cat.png").write_bytes(PNG)
    page.locator("input[type=file]").set_input_files(picture, timeout=TIMEOUT)
    return page, said


@pytest.mark.parametrize("editor", EDITORS)
def test_the_text_gets_the_address_that_the_application_returned(
    context: BrowserContext, parts_site: PartsSite, tmp_path: Path, editor: str
) -> None:
    parts_site.answer = {"url": "/pictures/7"}
    page, said = insert(context, parts_site, editor, tmp_path)
    image = page.locator("main [contenteditable] img")
    expect(image).to_have_attribute("src", "/pictures/7", timeout=TIMEOUT)
    expect(image).to_have_attribute("alt", "cat.png")
    assert (parts_site.content(), said) == (PNG, [])


@pytest.mark.parametrize("editor", EDITORS)
def test_a_picture_that_fails_says_why_and_leaves_the_text_alone(
    context: BrowserContext, parts_site: PartsSite, tmp_path: Path, editor: str
) -> None:
    parts_site.oss.fail_next("callback_status", status=500, times=None)
    page, said = insert(context, parts_site, editor, tmp_path)
    wait_until(lambda: said, page)
    assert "The file is in storage" in said[0]
    expect(page.locator("main [contenteditable] img")).to_have_count(0)
