"""The page with the keyboard, in each language and theme, and on narrow screens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..support.running_server import RunningServer
from .upload_page import UploadPage, expect, file

if TYPE_CHECKING:
    from .conftest import OpenPage

BACKGROUND = "getComputedStyle(document.body).backgroundColor"
SMALL_TARGETS = """() => [...document.querySelectorAll("button, .choose")]
  .filter((button) => button.checkVisibility() && getComputedStyle(button).clipPath === "none")
  .map((button) => [button.getAttribute("aria-label") ?? button.textContent, button.getBoundingClientRect()])
  .filter(([, box]) => box.width < 44 || box.height < 44)
  .map(([name]) => name)"""
LANGUAGES = sorted(path.stem for path in (Path(__file__).parents[2] / "static" / "languages").glob("*.js"))
MANY_NAMES = ["a.txt", f"{'verylong' * 25}.txt", "a name of many short words that has to be broken into lines.txt"]


def test_the_keyboard_is_enough(page: UploadPage) -> None:
    keyboard = page.page.keyboard
    page.page.on("filechooser", lambda chooser: None)  # asks the browser early to report file choosers
    keyboard.press("Tab")
    expect(page.page.get_by_label("Choose files")).to_be_focused()
    with page.page.expect_file_chooser() as chooser:
        keyboard.press("Enter")
    assert chooser.value.is_multiple()
    chooser.value.set_files([file("a.txt"), file("b.txt")])
    keyboard.press("Tab")
    expect(page.page.get_by_role("button", name="Choose a folder")).to_be_focused()
    keyboard.press("Tab")
    expect(page.upload_button).to_be_focused()
    keyboard.press("Enter")
    expect(page.summary).to_have_text("2 files done")
    keyboard.press("Shift+Tab")
    keyboard.press("Shift+Tab")
    expect(page.page.get_by_role("button", name="Choose a folder")).to_be_focused()
    keyboard.press("Tab")
    keyboard.press("Tab")
    expect(page.upload_button).to_be_focused()
    keyboard.press("Tab")
    expect(page.row("a.txt").get_by_role("link")).to_be_focused()
    keyboard.press("Tab")
    expect(page.button("Answer", of="a.txt")).to_be_focused()
    keyboard.press("Enter")
    expect(page.row("a.txt").locator("pre")).to_be_visible()
    keyboard.press("Tab")
    expect(page.button("Remove", of="a.txt")).to_be_focused()
    keyboard.press("Enter")
    expect(page.button("Remove", of="b.txt")).to_be_focused()
    keyboard.press("Space")
    expect(page.page.get_by_label("Choose files")).to_be_focused()


def test_the_focus_is_visible(page: UploadPage) -> None:
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("getComputedStyle(document.querySelector('.choose')).outlineStyle") == "solid"
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_each_row_names_its_buttons_and_progress_bar(page: UploadPage) -> None:
    page.choose(file("a.txt"))
    expect(page.button("Remove", of="a.txt")).to_have_accessible_description("a.txt")
    page.page.route("**/local-bucket", lambda route: None)
    page.upload_button.click()
    expect(page.button("Cancel", of="a.txt")).to_have_accessible_description("a.txt")
    expect(page.row("a.txt").get_by_role("progressbar")).to_have_accessible_name("a.txt")


def test_the_page_is_chinese_in_chinese_browsers(open_page: OpenPage, server: RunningServer) -> None:
    page = open_page(server, locale="zh-SG")
    expect(page.page).to_have_title("上传文件")
    expect(page.page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.choose(file("照片.txt"))
    page.page.get_by_role("button", name="上传", exact=True).click()
    expect(page.row("照片.txt")).to_contain_text("已完成")
    expect(page.row("照片.txt")).to_contain_text('"Status"')
    expect(page.spoken).to_contain_text("照片.txt：已完成。")


@pytest.mark.parametrize(("locale", "language"), [("fr-CA", "fr"), ("zh-HK", "zh-TW"), ("nl-NL", "en")])
def test_the_browser_chooses_the_language(
    open_page: OpenPage, server: RunningServer, locale: str, language: str
) -> None:
    page = open_page(server, locale=locale)
    expect(page.page.locator("html")).to_have_attribute("lang", language)
    loaded = page.page.evaluate("performance.getEntriesByType('resource').map(({ name }) => name)")
    names = [url.rpartition("/")[2] for url in loaded if "/languages/" in url]
    assert names == [f"{language}.js"], "a page loads the one that it needs"


def test_characters_that_hide_are_shown_as_what_they_are(page: UploadPage) -> None:
    shown = "holiday-<U+202E>gnp.exe"
    page.choose(file("holiday-\u202egnp.exe"))
    expect(page.row(shown).get_by_title(shown, exact=True)).to_be_visible()
    page.upload_button.click()
    expect(page.summary).to_have_text("1 file done")
    expect(page.spoken.filter(has_text=shown)).to_have_count(1)
    assert "\u202e" not in page.page.content()


def test_an_attribute_switches_the_language_of_the_whole_page(page: UploadPage) -> None:
    page.upload(file("a.txt"))
    expect(page.summary).to_have_text("1 file done")
    page.page.evaluate("document.documentElement.dataset.language = 'de'")
    expect(page.summary).to_have_text("1 Datei fertig")
    expect(page.page.get_by_role("button", name="Hochladen")).to_be_visible()
    expect(page.button("Antwort", of="a.txt")).to_be_visible()
    page.page.evaluate("document.documentElement.dataset.language = 'ar'")
    expect(page.page.locator("html")).to_have_attribute("dir", "rtl")
    row = page.row("a.txt")
    tile, close = row.locator(".tile").bounding_box(), row.locator(".close").bounding_box()
    assert tile is not None
    assert close is not None
    assert tile["x"] > close["x"], "the whole layout runs from the right"


def test_a_dark_colour_scheme_changes_the_background(open_page: OpenPage, server: RunningServer) -> None:
    light = open_page(server, color_scheme="light").page.evaluate(BACKGROUND)
    dark = open_page(server, color_scheme="dark").page.evaluate(BACKGROUND)
    assert light != dark


@pytest.mark.parametrize(("width", "locale"), [*((320, name) for name in LANGUAGES), (375, "en"), (1280, "de")])
def test_the_page_fits_the_screen_and_buttons_fit_a_finger(
    open_page: OpenPage, server: RunningServer, width: int, locale: str
) -> None:
    page = open_page(server, viewport={"width": width, "height": 720}, locale=locale)
    page.expects("status of 403")
    page.page.route("**/oss/signature?filename=refused*", lambda route: route.fulfill(status=403, body="{}"))
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.page.evaluate(wide) == 0
    page.choose(*(file(name) for name in MANY_NAMES), file("refused.txt"), file("refused too.txt"))
    assert page.page.evaluate(wide) == 0
    page.page.locator("#upload").click()
    expect(page.rows.filter(has_text='"Status"')).to_have_count(len(MANY_NAMES))
    expect(page.page.locator("#again")).to_be_visible()
    assert page.page.evaluate(wide) == 0
    assert page.page.evaluate(SMALL_TARGETS) == []


def test_without_scripts_the_page_says_what_it_needs(open_page: OpenPage, server: RunningServer) -> None:
    page = open_page(server, java_script_enabled=False)
    sentence = page.page.locator("noscript p")
    expect(sentence).to_be_visible()
    expect(sentence).to_contain_text("This page needs JavaScript")
