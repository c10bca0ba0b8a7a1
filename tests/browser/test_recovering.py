"""A report that is lost in each possible way: the page asks for it, and the person sees one plain state."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from local_oss import CORSRule, LocalOSS, LocalOSSServer
from oss_wsgi import PublicKeyStore, Settings, Upload
from oss_wsgi.serving import make_server
from oss_wsgi.site import site

from .upload_page import PNG, UploadPage, expect, file

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from .conftest import OpenPage

STORAGE = "**/examplebucket"
NETWORK_ERROR = "net::ERR_"


@dataclass
class Stand:
    """The page's server and the local OSS, in threads of this process, so that a test can let either fail."""

    url: str
    oss: LocalOSS
    uploads: list[Upload] = field(default_factory=list)
    failing: bool = False
    release: threading.Event = field(default_factory=threading.Event)

    def save(self, upload: Upload) -> dict[str, Any]:
        if self.failing:
            raise RuntimeError("the database is down")
        assert self.release.wait(60)
        self.uploads.append(upload)
        return {"number": len(self.uploads)}

    @property
    def objects(self) -> list[Any]:
        return sorted(
            self.oss.storage.bucket(self.oss.bucket).page()[0], key=lambda stored: stored.last_modified, reverse=True
        )


@contextlib.contextmanager
def stand(folder: Path, **settings: Any) -> Iterator[Stand]:
    with contextlib.ExitStack() as stack:
        rule = CORSRule(["http://127.0.0.1:*"], allowed_methods=("GET", "HEAD", "POST", "PUT"))
        oss = stack.enter_context(
            LocalOSS(
                directory=folder / "objects",
                cors_rules=[rule],
                key_bits=1024,
                acl="public-read",
            )
        )
        storage = LocalOSSServer(oss)
        storage.start()
        stack.callback(storage.stop)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        running = Stand(url, oss)
        running.release.set()
        values: dict[str, Any] = {
            "bucket": oss.bucket,
            "region": oss.region,
            "host": oss.host,
            "access_key_id": oss.access_key_id,
            "access_key_secret": oss.access_key_secret,
            "callback_url": f"{url}/oss/callback",
            "ticket_secret": ("a secret of at least 32 characters",),
            "allow_anonymous": True,
            "recover": True,
        }
        keys = PublicKeyStore({oss.public_key_url: oss.public_key_pem})
        application = site(Settings(**{**values, **settings}), public_keys=keys, on_upload=running.save)
        server = make_server(application, [listener], application.is_nonblocking)
        thread = threading.Thread(target=server.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.drain, 0)
        yield running


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Stand]:
    with stand(tmp_path) as running:
        yield running


@pytest.fixture
def page(open_page: OpenPage, running: Stand) -> UploadPage:
    return open_page(running)


def expect_done(page: UploadPage, name: str = "photo.png", number: int = 1) -> None:
    expect(page.row(name)).to_contain_text("Done")
    assert page.answer(name) == {"Status": "Ok", "number": number}
    assert page.row(name).locator(".message").is_hidden()
    assert page.button("Retry", of=name).is_hidden()


def test_an_upload_of_which_the_application_was_not_told_is_done_a_moment_later(
    page: UploadPage, running: Stand
) -> None:
    running.oss.fail_next("callback_refused")
    with page.without_answers():
        page.upload(file("photo.png", PNG, "image/png"))
        expect(page.row("photo.png")).to_contain_text("making sure that it arrived")
    expect_done(page)
    expect(page.summary).to_have_text("1 file done")
    expect(page.spoken).to_contain_text("photo.png: done.")
    assert [upload.recovered for upload in running.uploads] == [True]
    assert len(running.objects) == len(page.signatures) == 1


def test_an_answer_that_was_lost_is_fetched_and_the_handler_does_not_run_again(
    page: UploadPage, running: Stand
) -> None:
    running.oss.fail_next("callback_timeout", delivered=True)
    page.upload(file("photo.png", PNG, "image/png"))
    expect_done(page)
    assert [upload.recovered for upload in running.uploads] == [False]


def test_a_connection_that_dies_after_the_last_byte_does_not_send_the_file_twice(
    page: UploadPage, running: Stand
) -> None:
    """Chromium sends the form again by itself where the connection was used before, and then the file is there."""
    page.expects(NETWORK_ERROR, "status of 409")
    running.oss.fail_next("dropped_connection", stored=True)
    page.upload(file("photo.png", PNG, "image/png"))
    expect_done(page)
    assert [upload.recovered for upload in running.uploads] == [False], "its callback went out"
    assert len(running.objects) == len(page.signatures) == 1


def test_an_answer_that_the_page_may_not_read_is_asked_for(page: UploadPage, running: Stand) -> None:
    page.expects(NETWORK_ERROR, "CORS policy")

    def without_cors(route: Route) -> None:
        response = route.fetch()
        headers = {name: value for name, value in response.headers.items() if "access-control" not in name}
        route.fulfill(response=response, headers=headers)

    page.page.route(STORAGE, without_cors, times=1)
    page.upload(file("photo.png", PNG, "image/png"))
    expect_done(page)
    assert len(running.objects) == len(running.uploads) == 1


def leave_while_answering(page: UploadPage, running: Stand, payload: Any) -> None:
    """Reload the page while OSS waits for the application's answer."""
    running.release.clear()
    page.upload(payload)
    expect(page.row(payload["name"])).to_contain_text("waiting for the answer")
    page.page.on("dialog", lambda dialog: dialog.accept())
    page.page.reload()
    running.release.set()


def test_a_file_that_was_being_answered_is_asked_for_after_a_reload_and_not_sent_again(
    page: UploadPage, running: Stand
) -> None:
    page.expects("status of 503")
    payload = file("photo.png", PNG, "image/png")
    leave_while_answering(page, running, payload)
    page.upload(payload)
    expect_done(page)
    assert len(running.objects) == len(running.uploads) == len(page.signatures) == 1
    page.upload(payload)
    expect(page.summary).to_have_text("2 files done")
    assert len(running.objects) == 2, "once it is answered, the same file is another upload"


# OSS_REPORT_BY=page.


@pytest.fixture
def reporting(tmp_path: Path, open_page: OpenPage) -> Iterator[tuple[UploadPage, Stand]]:
    with stand(tmp_path, report_by="page", callback_url=None) as running:
        yield open_page(running), running


def test_where_oss_reports_nothing_the_page_does(reporting: tuple[UploadPage, Stand]) -> None:
    page, running = reporting
    files = [file(f"{name}.png", PNG, "image/png") for name in ("photo", "b", "c", "d")]
    page.upload(*files)
    expect(page.summary).to_have_text("4 files done")
    assert {page.answer(f"{name}.png")["Status"] for name in ("photo", "b", "c", "d")} == {"Ok"}
    assert [upload.recovered for upload in running.uploads] == [False] * 4
    assert {stored.key for stored in running.objects} == {upload.object for upload in running.uploads}


def test_a_report_that_fails_for_long_is_made_by_retry(reporting: tuple[UploadPage, Stand]) -> None:
    page, running = reporting
    page.expects("status of 500")
    page.page.clock.install()
    running.failing = True
    page.upload(file("photo.png", PNG, "image/png"))
    for number, seconds in enumerate((1, 2, 4, 8, 16), start=1):
        page.wait_for_questions(number)
        expect(page.row("photo.png")).to_contain_text("making sure that it arrived")
        page.page.clock.run_for(seconds * 1000)
    expect(page.row("photo.png")).to_contain_text("Stored, but the application was not told")
    running.failing = False
    page.button("Retry", of="photo.png").click()
    expect_done(page)
    assert len(running.objects) == 1
