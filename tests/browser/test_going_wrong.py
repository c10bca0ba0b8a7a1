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


def test_a_cancelled_file_does_not_stop_the_others(page: UploadPage) -> None:
    held: list[Route] = []
    page.page.route(STORAGE, lambda route: held.append(route), times=1)
    page.upload(file("held.txt"))
    expect(page.row("held.txt")).to_contain_text("Sending")
    page.upload(file("other.txt"))
    expect(page.row("other.txt")).to_contain_text("Done")
    with page.page.expect_event("requestfailed") as stopped:
        page.button("Cancel", of="held.txt").click()
    assert stopped.value.method == "POST"
    expect(page.row("held.txt")).to_contain_text("Cancelled")
    expect(page.row("held.txt")).not_to_contain_text('"Status"')
    page.button("Retry", of="held.txt").click()
    expect(page.row("held.txt")).to_contain_text('"Status"')
    assert len(page.signatures) == 3


def test_stop_all_cancels_every_file(page: UploadPage) -> None:
    held: list[Route] = []
    page.page.route(STORAGE, lambda route: held.append(route))
    page.upload(*(file(f"{number}.txt") for number in range(6)))
    expect(page.rows.filter(has_text="Sending")).to_have_count(3)
    expect(page.rows.filter(has_text="Waiting")).to_have_count(3)
    page.page.get_by_role("button", name="Stop all").click()
    expect(page.rows.filter(has_text="Cancelled")).to_have_count(6)
    expect(page.summary).to_have_text("6 cancelled")
    assert len(page.signatures) == 3
    page.page.unroute(STORAGE)
    page.page.get_by_role("button", name="Try all again").click()
    expect(page.summary).to_have_text("6 files done")


def test_a_double_click_on_cancel_does_not_remove_the_row(page: UploadPage) -> None:
    page.page.route(STORAGE, lambda route: None)
    page.upload(file("a.txt"))
    page.button("Cancel", of="a.txt").dblclick()
    expect(page.row("a.txt")).to_contain_text("Cancelled")


def test_the_second_tap_of_a_phone_does_not_stop_what_the_first_one_started(page: UploadPage) -> None:
    page.page.route(STORAGE, lambda route: None)
    page.choose(file("a.txt"), file("b.txt"))
    page.page.evaluate("""() => {
      const tap = (id) => document.getElementById(id).dispatchEvent(
        new MouseEvent("click", { bubbles: true, detail: 1, clientX: 100, clientY: 100 }));
      tap("upload");
      document.getElementById("stop").hidden = false;
      tap("stop");
    }""")
    expect(page.rows.filter(has_text="Sending")).to_have_count(2)
    page.page.evaluate("""document.getElementById("stop").dispatchEvent(
      new MouseEvent("click", { bubbles: true, detail: 1, clientX: 300, clientY: 100 }))""")
    expect(page.rows.filter(has_text="Cancelled")).to_have_count(2)


def test_retry_after_a_broken_connection_gets_a_new_signature(page: UploadPage) -> None:
    page.expects(NETWORK_ERROR)
    page.stop_clock()
    page.page.route(STORAGE, lambda route: route.abort("connectionreset"), times=1)
    page.upload(file("a.txt", b"once more"))
    page.pass_time_until(lambda: page.row("a.txt").get_attribute("data-state") == "retrying")
    expect(page.row("a.txt")).to_contain_text("either the connection failed, or storage does not allow uploads")
    expect(page.row("a.txt")).to_contain_text("(CORS)")
    page.page.clock.run_for(700)
    expect(page.spoken).to_contain_text("a.txt: trying again by itself.")
    page.button("Retry", of="a.txt").click()
    expect(page.row("a.txt")).to_contain_text('"Status"')
    expect(page.row("a.txt")).not_to_contain_text("connection failed")
    assert len(page.signatures) == 2
    assert page.stored("a.txt") == b"once more"


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (500, xml("InternalError"), "Storage had a problem."),
        (403, xml("AccessDenied", ec="0006-00000213"), "The permission ran out before the file arrived."),
        (403, xml("AccessDenied", ec="0006-00000227"), "it is not what permission was given for"),
        (400, xml("EntityTooLarge", "Your proposed upload exceeds it."), "This file is larger than allowed."),
        (403, xml("SignatureDoesNotMatch"), "The permission's signature was not accepted."),
        (409, xml("FileAlreadyExists"), "A file with this name is already there"),
        (404, xml("NoSuchBucket"), "The storage bucket does not exist."),
        (418, xml("Teapot"), "Storage refused the file."),
        (502, "<html>bad gateway", "Storage had a problem."),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else None,
)
def test_a_refusal_of_storage_is_explained_in_a_sentence(
    page: UploadPage, status: int, body: str, sentence: str
) -> None:
    page.expects(f"status of {status}")
    page.stop_clock()  # some are tried again after two seconds
    headers = {"Access-Control-Allow-Origin": "*", "Content-Type": "application/xml"}
    page.page.route(STORAGE, lambda route: route.fulfill(status=status, body=body, headers=headers), times=1)
    page.upload(file("a.txt"))
    expect(page.row("a.txt")).to_contain_text(sentence)
    expect(page.row("a.txt").locator(".detail")).to_contain_text(f"({status})")
    page.button("Retry", of="a.txt").click()
    expect(page.row("a.txt")).to_contain_text('"Status"')


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


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, "<html>sign in", "You have to sign in"),
        (403, "", "You may not send this file here. Log in again, or choose another file."),
        (403, '{"error": {"code": "csrf", "message": "y"}}', "You may not send this file here."),
        (403, '{"error": {"code": "forbidden", "message": "y"}}', "You may not send files here. Log in again?"),
        (403, '{"error": {"code": "size_not_allowed", "message": "y"}}', "Its size is not accepted."),
        (429, '{"error": "slow down"}', "Too many requests at the moment."),
        (503, '{"error": {"code": "x", "message": "y"}}', "The server cannot give permission at the moment."),
        (500, "[", "The server had a problem."),
        (200, "<html>sign in", "does not understand"),
        (200, "{}", "does not understand"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else None,
)
def test_any_response_of_the_server_is_explained_in_a_sentence(
    page: UploadPage, status: int, body: str, sentence: str
) -> None:
    page.expects(f"status of {status}")
    page.page.route("**/oss/signature?*", lambda route: route.fulfill(status=status, body=body))
    page.upload(file("a.txt"))
    expect(page.row("a.txt")).to_contain_text("Trying again by itself" if status in (429, 500, 503) else "Failed")
    expect(page.row("a.txt")).to_contain_text(sentence)


def test_an_unreachable_server_is_distinguished_from_storage(page: UploadPage) -> None:
    page.expects(NETWORK_ERROR)
    page.page.route("**/oss/signature?*", lambda route: route.abort())
    page.upload(file("a.txt"))
    expect(page.row("a.txt")).to_contain_text("The server that gives permission could not be reached.")


def test_an_offline_device_is_named_as_the_cause(page: UploadPage) -> None:
    page.expects(NETWORK_ERROR)
    page.choose(file("a.txt"))
    page.page.context.set_offline(True)
    page.upload_button.click()
    expect(page.row("a.txt")).to_contain_text("This device seems to be offline.")


def test_a_file_that_is_gone_is_named_as_the_cause(page: UploadPage, tmp_path: Path) -> None:
    page.expects(NETWORK_ERROR)
    fleeting = tmp_path / "fleeting.txt"
    fleeting.write_bytes(b"here")
    page.choose(fleeting)
    fleeting.unlink()
    page.upload_button.click()
    expect(page.row("fleeting.txt")).to_contain_text("This file can no longer be read.")


def test_the_rest_is_what_failed_beside_others(page: UploadPage) -> None:
    page.expects("status of 403")
    refuse = {"status": 403, "body": xml("AccessDenied"), "headers": {"Access-Control-Allow-Origin": "*"}}
    page.page.route(STORAGE, lambda route: route.fulfill(**refuse), times=2)  # type: ignore[arg-type]
    page.upload(*(file(f"{number}.txt") for number in range(3)))
    page.page.get_by_role("button", name="Try the rest again").click()
    expect(page.summary).to_have_text("3 files done")


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
