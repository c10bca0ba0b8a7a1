"""The page with a screen reader, a keyboard, large letters or strong colours: axe, and what is read aloud."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from ..support.running_server import RunningServer
from .axe import findings
from .test_going_wrong import STORAGE, xml
from .test_uploading import DROP
from .upload_page import UploadPage, expect, file

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from .conftest import OpenPage

CORS = {"Access-Control-Allow-Origin": "*"}
WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
TEN = "abcdefghij"
STATES = ("empty", "ready", "sending", "half", "done", "answer", "failed", "one-of-ten", "banner", "retrying")
STATES += ("refused", "cancelled", "untold", "dragging")


def bring_into(state: str, page: UploadPage) -> None:
    page.expects("status of", "net::ERR_")
    if state == "empty":
        return
    if state == "dragging":
        dragged = {"dataTransfer": page.page.evaluate_handle(DROP, [["a.txt", "a"]])}
        page.page.dispatch_event("h1", "dragenter", dragged)
        return
    if state == "refused":
        answer = '{"max_size": 3, "min_size": 0, "content_types": [], "multipart_from": null}'
        page.page.route("**/oss/limits", lambda route: route.fulfill(body=answer, content_type="application/json"))
        page.open()
        expect(page.page.locator("#limits")).to_contain_text("3 bytes")
    if state == "untold":
        page.page.route("**/oss/recover", lambda route: route.fulfill(status=404))
    names = {"banner": "ab", "sending": "ab", "done": "ab", "half": TEN, "one-of-ten": TEN}.get(state, "a")
    answers = {"failed": 403, "banner": 403, "retrying": 500, "untold": 203}
    held: list[Route] = []

    def answer(route: Route) -> None:
        name = re.search(r'filename="(.)', route.request.post_data or "")
        status = 403 if state in ("half", "one-of-ten") and name and name[1] == "c" else answers.get(state, 0)
        if status:
            route.fulfill(status=status, body=xml("InternalError"), headers=CORS)
        elif state in ("sending", "cancelled") or (state == "half" and name and name[1] > "e"):
            held.append(route)
        else:
            route.continue_()

    page.page.route(STORAGE, answer)
    page.choose(*(file(f"{name}.txt") for name in names))
    if state in ("ready", "refused"):
        return
    page.upload_button.click()
    if state == "half":
        expect(page.page.locator("[data-state=stored]")).to_have_count(4)
    if state == "one-of-ten":
        expect(page.summary).to_have_text("9 files done, 1 failed")
        return
    if state == "cancelled":
        page.button("Cancel", of="a.txt").click()
    ends = {"half": "waiting", "banner": "failed", "done": "stored", "answer": "stored"}
    expect(page.rows.last).to_have_attribute("data-state", ends.get(state, state))
    if state == "answer":
        page.button("Answer", of="a.txt").click()


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(open_page: OpenPage, server: RunningServer, axe: str, state: str) -> None:
    page = open_page(server, bypass_csp=True)
    expect(page.page.locator("#limits")).to_be_visible()
    bring_into(state, page)
    assert findings(page.page, axe) == []


def test_axe_finds_nothing_from_right_to_left(open_page: OpenPage, server: RunningServer, axe: str) -> None:
    page = open_page(server, bypass_csp=True, locale="ar")
    page.choose(file("a.txt"))
    page.page.locator("#upload").click()
    expect(page.rows.first).to_have_attribute("data-state", "stored")
    assert findings(page.page, axe) == []


def test_a_row_is_read_in_the_order_of_its_meaning(page: UploadPage) -> None:
    page.upload(file("a.txt"))
    expect(page.row("a.txt")).to_contain_text("Done")
    expect(page.row("a.txt")).to_match_aria_snapshot("""
      - listitem:
        - paragraph:
          - link "a.txt"
        - paragraph: Done 5 bytes
        - button "Answer"
        - button "Remove"
    """)


def test_what_happens_is_said_in_one_polite_region(page: UploadPage) -> None:
    page.expects("status of 403")
    page.page.evaluate("""() => {
      window.said = [];
      const live = document.getElementById("live");
      new MutationObserver(() => said.push(live.textContent)).observe(live, { childList: true });
    }""")
    page.stop_clock()
    page.page.route(STORAGE, lambda route: route.fulfill(status=403, body=xml("NoSuchBucket"), headers=CORS))
    page.upload(*(file(f"{number}.txt") for number in range(10)))
    for number in range(10):
        expect(page.page.locator("[data-state=failed]").nth(number)).to_be_attached()
        page.page.clock.run_for(100)
    page.page.clock.run_for(1000)
    expect(page.spoken).to_contain_text("All finished: 10 failed.")
    said = page.page.evaluate("said")
    assert said[:2] == ["10 files added.", "Sending 10 files."]
    assert len(said) <= 5, "ten failures are not ten announcements"
    assert "The storage bucket does not exist." in said[-1]
    assert page.page.locator("[role=status], [aria-live], [role=alert]").count() == 1


@pytest.mark.parametrize("zoom", [2, 4])
@pytest.mark.parametrize("state", ["empty", "banner", "answer", "untold"])
def test_zoom_keeps_everything_in_one_column(open_page: OpenPage, server: RunningServer, zoom: int, state: str) -> None:
    """At 400 % a window of 1,280 pixels has 320 (WCAG 1.4.10)."""
    page = open_page(server, viewport={"width": 1280 // zoom, "height": 720 // zoom}, device_scale_factor=zoom)
    bring_into(state, page)
    assert page.page.evaluate(WIDE) == 0
    button = page.page.locator("#upload" if state == "empty" else "#clear, #again").first
    if button.is_visible():
        button.scroll_into_view_if_needed()
        assert page.page.evaluate("document.querySelector('.bar').getBoundingClientRect().height < innerHeight")


def test_large_letters_fit(open_page: OpenPage, server: RunningServer) -> None:
    page = open_page(server, viewport={"width": 360, "height": 720})
    bring_into("banner", page)
    page.page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.page.evaluate(WIDE) == 0


def test_forced_colours_keep_borders_and_marks(open_page: OpenPage, server: RunningServer) -> None:
    page = open_page(server, forced_colors="active")
    bring_into("done", page)
    style: dict[str, Any] = page.page.evaluate("""() => {
      const mark = getComputedStyle(document.querySelector(".row .mark"));
      const button = getComputedStyle(document.getElementById("clear"));
      return { mark: mark.stroke, ground: getComputedStyle(document.body).backgroundColor, border: button.borderStyle };
    }""")
    assert style["border"] == "solid"
    assert style["mark"] != style["ground"]


def test_nothing_moves_for_those_who_asked_for_less_motion(open_page: OpenPage, server: RunningServer) -> None:
    page = open_page(server, reduced_motion="reduce")
    bring_into("sending", page)
    assert page.page.evaluate("document.getAnimations().length") == 0
    moving = """[...document.querySelectorAll("*")].map((element) => getComputedStyle(element))
      .filter((style) => style.transitionDuration !== "0s" || style.animationName !== "none").length"""
    assert page.page.evaluate(moving) == 0
