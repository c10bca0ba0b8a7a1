"""Uploads on the page: choosing, progress, and the application's response."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..support.running_server import running_server
from .upload_page import PNG, UploadPage, expect, file

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from .conftest import OpenPage

DROP = """(files) => {
  const dataTransfer = new DataTransfer();
  for (const [name, text] of files) dataTransfer.items.add(new File([text], name, { type: "text/plain" }));
  return dataTransfer;
}"""


def test_the_page_says_that_no_files_are_chosen(page: UploadPage) -> None:
    expect(page.page).to_have_title("Upload files")
    expect(page.summary).to_have_text("No files chosen yet")
    expect(page.upload_button).to_be_disabled()
    expect(page.rows).to_have_count(0)


def test_a_row_shows_the_response_unchanged(page: UploadPage) -> None:
    page.choose(file("photo.png", PNG, "image/png"))
    expect(page.row("photo.png")).to_contain_text("Ready")
    with page.page.expect_response(lambda response: response.request.method == "POST") as response:
        page.upload_button.click()
    expect(page.row("photo.png")).to_contain_text("Done")
    expect(page.row("photo.png")).to_contain_text(response.value.text())
    answer = page.answer("photo.png")
    assert answer["Status"] == "Ok"
    assert page.stored("photo.png") == PNG
    expect(page.summary).to_have_text("1 file done")
    expect(page.spoken).to_contain_text("photo.png: done.")


def test_an_image_has_a_thumbnail_and_other_files_their_type(page: UploadPage) -> None:
    page.choose(file("photo.png", PNG, "image/png"), file("notes.txt"))
    expect(page.row("photo.png").locator("img")).to_have_js_property("naturalWidth", 1)
    expect(page.row("notes.txt").locator(".tile")).to_have_text("TXT")


def test_each_of_several_files_gets_its_own_signature(page: UploadPage) -> None:
    names = [f"part {number}.txt" for number in range(7)]
    page.upload(*(file(name, name.encode()) for name in names))
    expect(page.summary).to_have_text("7 files done")
    assert len(page.signatures) == 7
    assert len({page.link(name) for name in names}) == 7
    for name in names:
        assert page.stored(name) == name.encode()
        assert page.answer(name)["Status"] == "Ok"


def test_a_dropped_file_is_queued(page: UploadPage) -> None:
    dropped = page.page.evaluate_handle(DROP, [["dropped.txt", "from the desk"]])
    for event in ("dragenter", "dragover", "drop"):
        page.page.dispatch_event("label.drop", event, {"dataTransfer": dropped})
    expect(page.row("dropped.txt")).to_contain_text("Ready")
    page.upload_button.click()
    expect(page.row("dropped.txt")).to_contain_text("Done")
    assert page.stored("dropped.txt") == b"from the desk"


def test_files_dropped_beside_the_zone_do_not_replace_the_page(page: UploadPage) -> None:
    dropped = page.page.evaluate_handle(DROP, [["a.txt", "a"], ["b.txt", "b"]])
    page.page.dispatch_event("h1", "drop", {"dataTransfer": dropped})
    expect(page.rows).to_have_count(2)


def test_200_megabytes_are_uploaded_with_visible_progress(page: UploadPage, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    with big.open("wb") as sparse:
        sparse.truncate(200_000_000)
    page.choose(big)
    page.page.evaluate("""() => {
      const bar = document.querySelector("li progress");
      window.seen = [];
      new MutationObserver(() => window.seen.push(bar.value)).observe(bar, { attributeFilter: ["value"] });
    }""")
    page.upload_button.click()
    expect(page.row("big.bin")).to_contain_text("Done", timeout=120_000)
    seen = page.page.evaluate("window.seen.filter((value) => value > 0)")
    assert seen == sorted(seen)
    assert len({value for value in seen if value < 1}) >= 3
    assert seen[-1] == 1
    assert len(page.stored("big.bin")) == 200_000_000


def test_a_file_chosen_twice_is_marked_and_uploaded_twice(page: UploadPage) -> None:
    page.choose(file("twin.txt"))
    page.choose(file("twin.txt"))
    expect(page.row("twin.txt")).to_have_count(2)
    expect(page.row("twin.txt").nth(1)).to_contain_text("same name and size")
    page.upload_button.click()
    expect(page.summary).to_have_text("2 files done")


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>.txt",
        "a&b=c;d%20e+f#g?h.txt",
        "照片 (1).txt",
        "צילום.txt",
        "🎉 party 👩‍👩‍👧.txt",
        f"{'long' * 60}.txt",
    ],
    ids=["markup", "url-characters", "chinese", "right-to-left", "emoji", "long"],
)
def test_any_name_is_shown_as_text_and_uploaded(page: UploadPage, name: str) -> None:
    page.upload(file(name))
    expect(page.row(name)).to_contain_text("Done")
    assert page.stored(name) == b"hello"


def test_the_link_of_an_original_name_leads_to_the_object(open_page: OpenPage) -> None:
    with running_server(OSS_UPLOAD_NAMES="original") as server:
        page = open_page(server)
        page.upload(file("照片 50% + (1)'s.txt"))
        expect(page.row("照片 50% + (1)'s.txt")).to_contain_text("Done")
        assert page.stored("照片 50% + (1)'s.txt") == b"hello"


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_the_page_uploads_with_both_signature_versions(open_page: OpenPage, version: str) -> None:
    with running_server(OSS_SIGNATURE_VERSION=version) as server:
        page = open_page(server)
        page.upload(file("a.txt"))
        expect(page.row("a.txt")).to_contain_text("Done")


def test_an_expired_signature_is_replaced(page: UploadPage) -> None:
    def expire_first(route: Route) -> None:
        response = route.fetch()
        is_first = len(page.signatures) == 1
        route.fulfill(response=response, body=json.dumps({**response.json(), **({"expire": 1} if is_first else {})}))

    page.page.route("**/oss/signature?*", expire_first)
    page.upload(file("a.txt"))
    expect(page.row("a.txt")).to_contain_text("Done")
    assert len(page.signatures) == 2


def test_finished_rows_can_be_removed_one_by_one_or_together(page: UploadPage) -> None:
    page.upload(*(file(f"{number}.txt") for number in range(4)))
    expect(page.summary).to_have_text("4 files done")
    page.button("Remove", of="0.txt").click()
    expect(page.rows).to_have_count(3)
    page.page.get_by_role("button", name="Clear finished").click()
    expect(page.rows).to_have_count(0)
    expect(page.summary).to_have_text("No files chosen yet")


def test_files_added_during_an_upload_wait_for_the_button(page: UploadPage) -> None:
    held: list[Route] = []
    page.page.route("**/local-bucket", lambda route: held.append(route), times=1)
    page.upload(file("first.txt"))
    expect(page.row("first.txt")).to_contain_text("Sending")
    page.choose(file("second.txt"))
    expect(page.row("second.txt")).to_contain_text("Ready")
    expect(page.summary).to_have_text("0 of 1 file done · 1 more ready")
    held.pop().continue_()
    expect(page.row("first.txt")).to_contain_text("Done")
    expect(page.row("second.txt")).to_contain_text("Ready")
    page.upload_button.click()
    expect(page.row("second.txt")).to_contain_text("Done")
