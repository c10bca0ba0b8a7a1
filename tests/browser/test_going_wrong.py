"""Cancel, retry, refusals and broken connections: the page explains each in a sentence and stores nothing twice."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..support.running_server import running_server
from .upload_page import PNG, UploadPage, expect, file

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from .conftest import OpenPage

STORAGE = "**/local-bucket"
NETWORK_ERROR = "net::ERR_"


def xml(code: str, message: str = "", ec: str = "") -> str:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message><EC>{ec}</EC></Error>"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port of loopback where no server listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_refusal_by_the_real_policy_is_readable(page: UploadPage) -> None:
    """The signature pins the size, so the local OSS itself refuses another file."""
    page.expects("status of 400")
    other = file("a.txt", b"longer than announced")

    def shrink(route: Route) -> None:
        route.continue_(url=route.request.url.replace(f"size={len(other['buffer'])}", "size=3"))

    page.page.route("**/oss/signature?*", shrink)
    page.upload(other)
    expect(page.row("a.txt")).to_contain_text("This file is larger than allowed.")
    expect(page.row("a.txt")).to_contain_text("EntityTooLarge (400)")


def test_the_text_of_a_refusal_is_shown_as_text(page: UploadPage) -> None:
    page.expects("status of 403")
    body = xml("AccessDenied", "Condition failed: [&quot;eq&quot;, &quot;&lt;b&gt;&quot;] &amp;amp;")
    headers = {"Access-Control-Allow-Origin": "*"}
    page.page.route(STORAGE, lambda route: route.fulfill(status=403, body=body, headers=headers))
    page.upload(file("a.txt"))
    detail = page.row("a.txt").locator(".detail")
    expect(detail).to_have_text('AccessDenied (403) · Condition failed: ["eq", "<b>"] &amp;')


def test_stored_but_unreported_is_neither_success_nor_failure(open_page: OpenPage, closed_port: int) -> None:
    with running_server(OSS_CALLBACK_URL=f"http://127.0.0.1:{closed_port}/gone", OSS_RECOVER="off") as server:
        page = open_page(server)
        page.upload(file("photo.png", PNG, "image/png"))
        row = page.row("photo.png")
        expect(row).to_contain_text("Stored, but the application was not told")
        expect(row).to_contain_text("CallbackFailed (203)")
        expect(row).to_contain_text("Error status")
        expect(page.summary).to_have_text("1 file stored but not reported")
        expect(page.spoken).to_contain_text("the application was not told")
        expect(page.button("Retry", of="photo.png")).to_have_count(0)
        assert page.stored("photo.png") == PNG


def test_the_server_refuses_a_type_that_is_not_allowed_to_a_page_without_limits(open_page: OpenPage) -> None:
    with running_server(OSS_UPLOAD_CONTENT_TYPES="image/png") as server:
        page = open_page(server)
        page.expects("status of 403", "status of 404")
        page.page.route("**/oss/limits", lambda route: route.fulfill(status=404, body="{}"))
        page.open()
        page.upload(file("notes.txt"), file("photo.png", PNG, "image/png"))
        expect(page.row("photo.png")).to_contain_text("Done")
        expect(page.row("notes.txt")).to_contain_text("The server does not allow this file.")
        expect(page.row("notes.txt")).to_contain_text("Its type is not accepted.")
        expect(page.row("notes.txt").locator(".detail")).to_contain_text("(403)")
        expect(page.summary).to_have_text("1 file done, 1 failed")


def test_a_file_that_is_gone_is_named_as_the_cause(page: UploadPage, tmp_path: Path) -> None:
    page.expects(NETWORK_ERROR)
    fleeting = tmp_path / "fleeting.txt"
    fleeting.write_bytes(b"here")
    page.choose(fleeting)
    fleeting.unlink()
    page.upload_button.click()
    expect(page.row("fleeting.txt")).to_contain_text("This file can no longer be read.")


def test_leaving_during_an_upload_asks_first(page: UploadPage) -> None:
    held: list[Route] = []
    page.page.route(STORAGE, lambda route: held.append(route))
    page.upload(file("a.txt"))
    expect(page.row("a.txt")).to_contain_text("Sending")
    with page.page.expect_event("dialog") as dialog:
        page.page.close(run_before_unload=True)
    assert dialog.value.type == "beforeunload"
    dialog.value.dismiss()
    # Stay, and finish the upload: a browser that is closed in the middle of it can crash.
    page.button("Cancel", of="a.txt").click()
    expect(page.row("a.txt")).to_contain_text("Cancelled")
