"""Unmodified applications in Chromium: with DirectUpload around them they store what they store without it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local_oss import CORSRule, LocalOSS, LocalOSSServer
from oss_wsgi import DirectUpload, Grant, Settings
from oss_wsgi.testing.local_oss import environ_for

from ..support.old_applications import NEEDS, PAGES, make_application, stored_files
from ..support.server_threads import serving_application, serving_oss
from .upload_page import expect, file

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from playwright.sync_api import Browser, Page

# Parsers leave the files of a form to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(scope="module")
def oss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalOSSServer]:
    oss = LocalOSS(
        directory=tmp_path_factory.mktemp("objects"), key_bits=512, cors_rules=[CORSRule(["http://127.0.0.1:*"])]
    )
    with serving_oss(oss) as server:
        yield server


class Site:
    """A served application, alone or behind DirectUpload, and a browser that shows its form."""

    def __init__(self, name: str, folder: Path, page: Page, oss: LocalOSSServer | None, at_end: ExitStack) -> None:
        folder.mkdir()
        self.folder = folder
        self.page = page
        application = make_application(name, folder)
        self._application: WSGIApplication = application
        url = at_end.enter_context(serving_application(lambda *request: self._application(*request)))
        self.is_direct = oss is not None
        if oss is not None:
            settings = Settings.from_environ(environ_for(oss.oss, folder.parent, url=url))
            self._application = DirectUpload(
                application, settings, authorize=lambda _: Grant(user="eric"), forms="inject"
            )
        self.url = url
        self.open(PAGES.get(name, "/"))

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)
        self.page.wait_for_load_state("networkidle")

    def send(self, name: str) -> str:
        """Fill in the form, press its button, and return the text of the page that comes next."""
        self.page.locator("form [type=text], form input:not([type])").first.fill("Katze 猫")
        self.page.locator("[type=file]").set_input_files(file(name, name.encode()))
        if self.is_direct:
            expect(self.page.locator("[data-oss-state] [role=status]")).to_have_text(f"{name}: Done")
        with self.page.expect_navigation(), self.page.expect_request(lambda request: request.method == "POST") as post:
            self.page.locator("form [type=submit], form button").first.click()
        assert (b"oss_wsgi.files" in (post.value.post_data_buffer or b"")) is self.is_direct
        return self.page.locator("body").inner_text()


Sites = Callable[[str], tuple[Site, Site]]


@pytest.fixture
def sites(browser: Browser, oss: LocalOSSServer, tmp_path: Path) -> Iterator[Sites]:
    """Return a call that returns an application alone and behind DirectUpload."""
    with ExitStack() as at_end:
        context = at_end.enter_context(closing(browser.new_context(locale="en-GB")))

        def make(name: str) -> tuple[Site, Site]:
            plain = Site(name, tmp_path / "plain", context.new_page(), None, at_end)
            return plain, Site(name, tmp_path / "direct", context.new_page(), oss, at_end)

        yield make
    gc.collect()  # here, where the files that are closed by it are no warnings


@pytest.mark.parametrize("name", NEEDS)
def test_the_page_that_its_author_wrote_sends_the_same_file(sites: Sites, name: str) -> None:
    plain, direct = sites(name)
    name = 'a "quoted"; 猫 \U0001f600 100%22.txt'
    assert direct.send(name) == plain.send(name)
    assert stored_files(direct.folder) == stored_files(plain.folder)
    assert list(stored_files(plain.folder).values()) == [name.encode()]


def test_a_field_that_names_the_old_file_beside_the_new_one_goes_directly_too(sites: Sites) -> None:
    pair = sites("flask_admin_model")
    for site in pair:
        site.send("old.txt")
        site.open("/file/edit/?id=1")
        assert site.page.locator("[name=path][type=text]").input_value() == "old.txt"
        site.send("new.txt")
    assert [stored_files(site.folder) for site in pair] == [{"new.txt": b"new.txt"}] * 2


def test_a_form_that_the_application_shows_again_is_sent_with_another_file(sites: Sites) -> None:
    pair = sites("flask_wtf_form")
    for site in pair:
        assert "Images and texts only" in site.send("cat.exe")
        assert "cat.txt" in site.send("cat.txt")
    assert [stored_files(site.folder) for site in pair] == [{"cat.txt": b"cat.txt"}] * 2
