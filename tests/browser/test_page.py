"""What the page does by itself: limits before the choice, further attempts, one banner for one reason, many files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..support.running_server import running_server
from .test_going_wrong import STORAGE
from .upload_page import PNG, UploadPage, expect, file, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from .conftest import OpenPage

CORS = {"Access-Control-Allow-Origin": "*"}


def test_a_finished_file_shows_name_size_and_that_it_is_done(page: UploadPage) -> None:
    page.upload(file("a.txt"))
    row = page.row("a.txt")
    for part in (row.locator(".mark"), row.get_by_text("Done", exact=True), row.get_by_text("Answer", exact=True)):
        expect(part).to_be_visible()
        box = part.bounding_box()
        assert box
        assert box["width"] > 10
    expect(row.locator("pre")).to_be_hidden()
    expect(row.get_by_role("paragraph")).to_have_text(["a.txt", "Done5 bytes"])
    page.button("Answer", of="a.txt").click()
    expect(row.locator("pre")).to_be_visible()
    expect(row.locator("pre")).to_contain_text('"Status"')
    page.button("Answer", of="a.txt").click()
    expect(row.locator("pre")).to_be_hidden()


def test_on_a_phone_the_next_choice_outweighs_clearing_what_is_done(page: UploadPage) -> None:
    page.page.set_viewport_size({"width": 390, "height": 800})
    page.upload(file("a.txt"), file("b.txt"))
    clear = page.page.get_by_role("button", name="Clear finished")
    expect(clear).to_be_visible()
    choose = page.page.locator("#choose")
    weight = "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).borderColor]"
    transparent = "rgba(0, 0, 0, 0)"
    assert clear.evaluate(weight) == [transparent, transparent]
    assert transparent not in choose.evaluate(weight)
    widths = [box["width"] for box in (choose.bounding_box(), clear.bounding_box()) if box]
    assert widths[0] > widths[1]
    page.choose(file("c.txt"))
    assert choose.evaluate(weight) != page.upload_button.evaluate(weight), "the next step is Upload now"


def test_limits_are_said_before_the_choice_and_refuse_when_a_file_is_chosen(open_page: OpenPage) -> None:
    with running_server(OSS_UPLOAD_MAX_SIZE="1000", OSS_UPLOAD_CONTENT_TYPES="image/png,image/jpeg") as server:
        page = open_page(server)
        said = "Only PNG, JPEG\u00a0· up to 1 kB each"
        expect(page.page.locator("#limits")).to_have_text(said)
        expect(page.page.locator("#file")).to_have_attribute("accept", "image/png,image/jpeg")
        hint = "or paste them, or choose them from this device"
        expect(page.page.locator("#file")).to_have_accessible_description(f"{hint} {said}")
        page.choose(file("big.png", b"x" * 2000, "image/png"), file("a.txt"), file("a.png", PNG, "image/png"))
        expect(page.row("big.png")).to_contain_text("This file has 2 kB, and at most 1 kB are allowed.")
        expect(page.row("a.txt")).to_contain_text("This file is of the type TXT, and only PNG, JPEG are allowed.")
        expect(page.row("a.png")).to_contain_text("Ready")
        expect(page.spoken).to_have_text(f"1 file added. 2 files are not allowed here. {said}")
        page.upload_button.click()
        expect(page.row("a.png")).to_contain_text("Done")
        assert len(page.signatures) == 1
        assert page.button("Retry", of="a.txt").count() == 0


def test_it_stops_while_offline_and_goes_on_when_online(page: UploadPage) -> None:
    page.expects("net::ERR_")
    page.choose(file("a.txt"))
    page.page.context.set_offline(True)
    page.upload_button.click()
    expect(page.row("a.txt")).to_contain_text("goes on when this device is online")
    page.page.context.set_offline(False)
    expect(page.row("a.txt")).to_contain_text("Done")


def test_a_double_tap_or_a_held_key_sends_each_file_once(page: UploadPage) -> None:
    page.choose(*(file(f"{number}.txt") for number in range(4)))
    page.upload_button.dblclick()
    expect(page.summary).to_have_text("4 files done")
    assert len(page.signatures) == 4
    page.choose(*(file(f"more {number}.txt") for number in range(4)))
    page.upload_button.focus()
    for _ in range(30):
        page.page.keyboard.down("Enter")
    page.page.keyboard.up("Enter")
    expect(page.summary).to_have_text("8 files done")
    assert len(page.signatures) == 8


def test_a_folder_keeps_its_paths(open_page: OpenPage, tmp_path: Path) -> None:
    for name in (
        "sea.jpg",
        "2026/sea.jpg",
        ".DS_Store",
        "2026/Thumbs.db",
        "2026/._sea.jpg",
        "__MACOSX/sea.jpg",
        "desktop.ini",
    ):
        path = tmp_path / "holidays" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(name.encode())
    with running_server(OSS_UPLOAD_NAMES="original") as server:
        page = open_page(server)
        with page.page.expect_file_chooser() as chooser:
            page.page.get_by_role("button", name="Choose a folder").click()
        chooser.value.set_files(str(tmp_path / "holidays"))
        expect(page.rows).to_have_count(2)
        assert sorted(page.page.locator(".path").all_text_contents()) == ["holidays/", "holidays/2026/"]
        page.upload_button.click()
        expect(page.summary).to_have_text("2 files done")
        links = [link.get_attribute("href") or "" for link in page.page.get_by_role("link").all()]
        assert sorted(link.partition("holidays/")[2] for link in links) == ["2026/sea.jpg", "sea.jpg"]


ADD_MANY = """async () => {
  const data = new DataTransfer();
  const content = new Blob([new Uint8Array(50 * 2 ** 20)]);
  for (let number = 0; number < 1000; number += 1) data.items.add(new File([content], `photo ${number}.jpg`));
  const input = document.getElementById("file");
  input.files = data.files;
  window.batches = [];
  const count = (records) => batches.push(records.reduce((sum, { addedNodes }) => sum + addedNodes.length, 0));
  new MutationObserver(count).observe(document.getElementById("rows"), { childList: true });
  input.dispatchEvent(new Event("change"));
}"""
#: Returns how many frames it took.
SCROLL = """async () => {
  let frames = 0;
  for (let y = 0; y < document.body.scrollHeight; y += 700) {
    scrollTo(0, y);
    await new Promise(requestAnimationFrame);
    frames += 1;
  }
  return frames;
}"""


def work_of(page: UploadPage) -> Callable[[], float]:
    """Return a function that returns the seconds that the page's main thread has computed, whatever else is running."""
    session = page.page.context.new_cdp_session(page.page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds() -> float:
        metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
        return float(metrics["TaskDuration"])

    return seconds


def memory_of(page: UploadPage) -> dict[str, int]:
    """Return the nodes of the document, and the bytes of JavaScript that are in use."""
    session = page.page.context.new_cdp_session(page.page)
    session.send("Performance.enable")
    session.send("HeapProfiler.collectGarbage")
    metrics = session.send("Performance.getMetrics")["metrics"]
    session.detach()
    return {metric["name"]: metric["value"] for metric in metrics if metric["name"] in ("Nodes", "JSHeapUsedSize")}


def test_a_thousand_files_of_50_mib(page: UploadPage) -> None:
    """What a frame does is counted, and what it computes is measured without the time in which it waits."""
    empty = memory_of(page)
    seconds = work_of(page)
    page.page.evaluate(ADD_MANY)
    expect(page.rows).to_have_count(1000)
    expect(page.summary).to_have_text("1,000 files ready · 52.4 GB")
    assert seconds() < 5
    assert max(page.page.evaluate("batches")) <= 25, "as many as fill a window"
    added = memory_of(page)
    assert added["Nodes"] - empty["Nodes"] < 60 * 1000
    assert added["JSHeapUsedSize"] - empty["JSHeapUsedSize"] < 8 * 1000**2
    for _ in range(2):
        before = seconds()
        frames = page.page.evaluate(SCROLL)
        assert (seconds() - before) / frames < 0.1
    scrolled = memory_of(page)
    assert scrolled["Nodes"] < added["Nodes"] * 1.05
    assert scrolled["JSHeapUsedSize"] < added["JSHeapUsedSize"] + 2 * 1000**2
    assert page.signatures == [], "signatures are asked for when a file's turn comes"
    held: list[Route] = []
    page.page.route("**/oss/s3/multipart", lambda route: held.append(route))
    page.upload_button.click()
    expect(page.summary).to_have_text("0 of 1,000 files done")
    expect(page.rows.and_(page.page.locator('[data-state="signing"]'))).to_have_count(3)
    wait_until(lambda: len(held) >= 3, page.page)
    page.page.get_by_role("button", name="Stop all").click()
    expect(page.summary).to_have_text("1,000 cancelled")
    page.page.get_by_role("button", name="Clear finished").click()
    expect(page.rows).to_have_count(0)
    assert memory_of(page)["Nodes"] < empty["Nodes"] + 1000


def test_upload_leaves_when_all_is_over_and_the_keyboard_still_finds_it(page: UploadPage) -> None:
    hidden = "getComputedStyle(document.getElementById('upload')).clipPath !== 'none'"
    held: list[Route] = []
    page.page.route(STORAGE, lambda route: held.append(route))
    expect(page.page.locator("#limits")).to_be_visible()  # it moves the buttons
    page.choose(file("a.txt"), file("b.txt"))
    place = page.upload_button.bounding_box()
    page.upload_button.click()
    expect(page.page.get_by_role("button", name="Stop all")).to_be_visible()
    now = page.upload_button.bounding_box()
    assert place is not None
    assert now is not None
    assert abs(now["x"] - place["x"]) + abs(now["y"] - place["y"]) < 5, "a second click does not hit another button"
    page.page.get_by_role("button", name="Stop all").click()
    expect(page.summary).to_have_text("2 cancelled")
    assert page.page.evaluate(hidden)
    page.page.keyboard.press("Shift+Tab")
    page.page.keyboard.press("Tab")
    expect(page.upload_button).to_be_focused()
    assert not page.page.evaluate(hidden)
