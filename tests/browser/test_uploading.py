"""Uploads on the page: choosing, progress, and the application's response."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..support.running_server import running_server
from .upload_page import PNG, UploadPage, expect, file

if TYPE_CHECKING:
    from .conftest import OpenPage

DROP = """(files) => {
  const dataTransfer = new DataTransfer();
  for (const [name, text] of files) dataTransfer.items.add(new File([text], name, { type: "text/plain" }));
  return dataTransfer;
}"""


def test_a_row_shows_the_response_without_its_signed_id(page: UploadPage) -> None:
    page.choose(file("photo.png", PNG, "image/png"))
    expect(page.row("photo.png")).to_contain_text("Ready")
    with page.page.expect_response(lambda response: response.request.method == "POST") as response:
        page.upload_button.click()
    expect(page.row("photo.png")).to_contain_text("Done")
    assert response.value.json()["signed_id"]
    expect(page.row("photo.png")).to_contain_text('{"Status": "Ok"}')
    assert page.answer("photo.png") == {"Status": "Ok"}
    assert page.stored("photo.png") == PNG
    expect(page.summary).to_have_text("1 file done")
    expect(page.spoken).to_contain_text("photo.png: done.")


def test_an_image_has_a_thumbnail_and_other_files_their_type(page: UploadPage) -> None:
    page.choose(file("photo.png", PNG, "image/png"), file("notes.txt"))
    expect(page.row("photo.png").locator("img")).to_have_js_property("naturalWidth", 1)
    expect(page.row("notes.txt").locator(".tile")).to_have_text("TXT")


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
