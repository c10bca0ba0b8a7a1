"""Unmodified applications store behind DirectUpload(forms=True) what they store without it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import webtest
from webtest.forms import File as FileInput
from webtest.forms import Submit, Text

from oss_wsgi import Grant
from oss_wsgi.testing import UploadClient

from ..support.browser_form import CONTENT_TYPE, File, browser_form
from ..support.old_applications import NEEDS, PAGES, make_application, stored_files

# Parsers leave the files of a form to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

FILES = [
    File("photo.png", "image/png", b"\x89PNG\r\n\x1a\n" * 100),
    File("empty.txt", "text/plain", b""),
    File("big.bin", "", bytes(range(256)) * 12_000),
    File('a "quoted"; b, c.txt', "text/plain", b"quotes"),
    File("100%22.txt", "text/plain", b"percent"),
    File("猫 \U0001f600.png", "image/png", b"cat\r\n--cat\r\n"),
    File("back\\slash's.txt", "text/plain", b"backslash"),
]


class Site:
    """An application, alone or behind DirectUpload, and a person who fills in its form."""

    def __init__(self, name: str, folder: Path, *, is_direct: bool) -> None:
        folder.mkdir()
        self.folder = folder
        self.start = PAGES.get(name, "/")
        application = make_application(name, folder)
        self.uploads: UploadClient | None = None
        if is_direct:
            grant = Grant(user="eric", dir="eric/")
            self.uploads = UploadClient(application, authorize=lambda request: grant, forms=True)
            application = self.uploads.application
        self.browser = webtest.TestApp(application)
        self.response = self.browser.get(self.start)

    def close(self) -> None:
        if self.uploads is not None:
            self.uploads.close()

    def send(self, file: File, title: str = "Katze 猫") -> str:
        """Fill in the form that the browser shows, post it, and return the page that comes next."""
        form = self.response.form
        entries: list[tuple[str, str | File]] = []
        for name, field in form.field_order:
            if isinstance(field, FileInput):
                entries.append((name, file))
            elif type(field) is Text and not field.attrs.get("readonly"):
                entries.append((name, title))
            elif field.value is not None:
                entries.append((name, field.value))
            elif isinstance(field, Submit) and name == "submit":
                entries.append((name, field.value_if_submitted()))
        action = urljoin(self.response.request.path, form.action)
        request = webtest.TestRequest.blank(action, POST=self._posted(entries), content_type=CONTENT_TYPE)
        self.response = self.browser.do_request(request)
        if self.response.location:
            self.response = self.response.follow()
        return self.response.text

    def _posted(self, entries: list[tuple[str, str | File]]) -> bytes:
        """Return the form as a browser posts it; behind DirectUpload as the page's module lets it do so."""
        if self.uploads is None:
            return browser_form(entries)
        replaced: list[tuple[str, str | File]] = []
        listed = set()
        for name, value in entries:
            if isinstance(value, File) and value.name:
                answer = self.uploads.upload(value.name, value.data, content_type=value.type or None).json
                value = str(answer["signed_id"])
                listed.add(name)
            replaced.append((name, value))
        return browser_form([("oss_wsgi.files", ",".join(listed)), *replaced])


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Callable[[str], list[Site]]]:
    """Return a call that returns an application alone and behind DirectUpload."""
    pair: list[Site] = []

    def make(name: str) -> list[Site]:
        pair.extend(Site(name, tmp_path / str(is_direct), is_direct=is_direct) for is_direct in (False, True))
        return list(pair)

    yield make
    for site in pair:
        site.close()
    pair.clear()
    gc.collect()  # here, where the files that are closed by it are no warnings


@pytest.mark.parametrize("name", NEEDS)
def test_the_application_stores_the_same_bytes_names_and_types(sites: Callable[[str], list[Site]], name: str) -> None:
    plain, direct = sites(name)
    for file in FILES:
        for site in (plain, direct):
            site.response = site.browser.get(site.start)
        assert direct.send(file) == plain.send(file)
    assert stored_files(direct.folder) == stored_files(plain.folder)
    assert sorted(stored_files(plain.folder).values()) == sorted(file.data for file in FILES)
    assert direct.uploads is not None
    assert len(direct.uploads.uploads) == len(FILES)


def test_deform_keeps_the_file_while_another_field_is_corrected(sites: Callable[[str], list[Site]]) -> None:
    for site in sites("pyramid_deform"):
        assert "problem with your submission" in site.send(FILES[0], title="")
        assert stored_files(site.folder) == {}
        assert FILES[0].name in site.send(File("", "", b""))
        assert stored_files(site.folder) == {FILES[0].name: FILES[0].data}
