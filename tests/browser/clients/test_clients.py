"""Each library uploads with our signatures unchanged, and reports the outcome in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from ..upload_page import PNG, expect, file
from .site import VERSIONS, Site

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Page

    from .conftest import Choose

NAME = "pic 图片.png"
KEY = f"user-dir-prefix/{NAME}"
TIMEOUT = 60_000

# The application's response, as text and as shown by a client that has parsed it as JSON.
TEXT, JSON = '{"Status": "Ok"}', '{"Status":"Ok"}'
# OSS's own response when the callback failed.
XML = '<?xml version="1.0" encoding="UTF-8"?> <Error> <Code>CallbackFailed</Code>'


@dataclass(frozen=True)
class Client:
    """A page, and its output: after success, and after a failed callback, when the object is stored.

    :param preflight: the browser's requests to OSS before the POST.
    """

    page: str
    success: str
    callback_failed: str
    preflight: tuple[str, ...] = ("OPTIONS",)
    versions: tuple[str, ...] = VERSIONS

    def __str__(self) -> str:
        return self.page


SIMPLE = ()
CLIENTS = [
    Client("sample_v1", f"uploaded {NAME} {TEXT}", f"uploaded, but the callback failed: {XML}", versions=("v1",)),
    Client("sample_v4", f"ok {JSON}", "SyntaxError", SIMPLE, ("v4",)),
    Client("fetch", f"200 {TEXT}", f"203 {XML}", SIMPLE),
    Client("html_form", "load", "load", SIMPLE),
    Client("jquery", f"success 200 {TEXT}", f"success 203 {XML}", SIMPLE),
    Client("taro", f"uploadFile:ok 200 {TEXT}", f"uploadFile:ok 203 {XML}"),
    Client("mini_program", f"uploaded {JSON}", "UploadError 203 CallbackFailed stored"),
    Client("plupload", f"FileUploaded 200 {TEXT}", f"FileUploaded 203 {XML}"),
    Client("antd", f"done {JSON}", f"done {XML}", ("OPTIONS x-requested-with",)),
    Client("element_plus", f"success {JSON}", f"success {XML}"),
    Client("uppy_xhr", f"upload-success 200 {JSON}", "upload-error @uppy/xhr-upload expects a JSON response"),
    # These two do not show the response or its status.
    Client("uppy_aws_s3", f"upload-success 200 /examplebucket/{KEY}", f"upload-success 200 /examplebucket/{KEY}"),
    Client("uppy_5_aws_s3", "upload-success 200", "upload-success 200"),
    Client("filepond", f"processed {TEXT}", f"processed {XML}"),
    Client("dropzone", f"success 200 {JSON}", f"success 203 {XML}", ("OPTIONS cache-control,x-requested-with",)),
    Client("ali_oss", f"200 {TEXT} alike", f"203 {XML}", SIMPLE, ("v4",)),
]


@pytest.mark.parametrize(
    ("client", "version"), [(client, version) for client in CLIENTS for version in client.versions], ids=str
)
def test_each_client_uploads_and_shows_the_response(choose: Choose, site: Site, client: Client, version: str) -> None:
    page = choose(client.page, version, image(NAME))
    expect_report(page, client.success)
    assert site.oss.requests == [*client.preflight, "POST"]
    assert [(upload.object, upload.size, upload.mime_type) for upload in site.uploads] == [(KEY, len(PNG), "image/png")]
    assert site.stored(KEY) == PNG


@pytest.mark.parametrize("client", CLIENTS, ids=str)
def test_each_client_shows_a_failed_callback_in_its_way(choose: Choose, site: Site, client: Client) -> None:
    site.oss.fail_next("callback_status", status=500, times=None)
    page = choose(client.page, client.versions[-1], image(NAME))
    expect_report(page, client.callback_failed)
    assert site.oss.requests == [*client.preflight, "POST"], "a stored object is not sent again"
    assert site.uploads == []
    assert site.stored(KEY) == PNG


@pytest.mark.parametrize("version", VERSIONS)
def test_the_frame_of_a_plain_form_shows_the_response(choose: Choose, site: Site, version: str) -> None:
    page = choose("html_form", version, image(NAME))
    expect(page.frame_locator("iframe").locator("body")).to_contain_text(TEXT, timeout=TIMEOUT)


def test_all_files_of_the_sample_are_reported(choose: Choose, site: Site) -> None:
    """The page of the seed sends all files with one form: README, Security."""
    names = [f"{letter}.png" for letter in "abcde"]
    page = choose("sample_v1", "v1", *map(image, names))
    expect_report(page, " ".join(f"uploaded {name} {TEXT}" for name in names))
    assert [upload.object for upload in site.uploads] == [f"user-dir-prefix/{name}" for name in names]
    assert [site.stored(f"user-dir-prefix/{name}") for name in names] == [PNG] * 5


def image(name: str) -> FilePayload:
    return file(name, PNG, "image/png")


def expect_report(page: Page, text: str) -> None:
    """Wait until the client has reported this text."""
    expect(page.locator("output")).not_to_be_empty(timeout=TIMEOUT)
    expect(page.locator("output")).to_contain_text(text, timeout=TIMEOUT)
