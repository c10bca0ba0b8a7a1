"""A browser, running servers, and pages that must not complain."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ..absent import skip_or_fail
from ..running_server import RunningServer, running_server
from .upload_page import UploadPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Nothing of the browser's own may look for a network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


# Ended with this package: Playwright keeps an event loop running, which Django elsewhere takes for an async context.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Give the system's Chromium; none is ever downloaded."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        skip_or_fail("playwright")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        skip_or_fail(f"one of {', '.join(names)}")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="package")
def server() -> Iterator[RunningServer]:
    """Give server.py as it runs with nothing configured."""
    with running_server() as running:
        yield running


OpenPage = Callable[..., UploadPage]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Give a function that opens the page of a server in a context of its own.

    Whatever the console or the page then complains of (scripts, Content-Security-Policy, resources) fails the test,
    unless the test said before that it expects it: ``page.expects("403")``.
    """
    opened: list[UploadPage] = []

    def open_page(server: RunningServer, **context: Any) -> UploadPage:
        page = UploadPage(browser.new_context(**{"locale": "en-GB", **context}).new_page(), server.url)
        opened.append(page)
        page.open()
        return page

    yield open_page
    for page in opened:
        page.page.context.close()
    assert [complaint for page in opened for complaint in page.unexpected()] == []


@pytest.fixture
def page(open_page: OpenPage, server: RunningServer) -> UploadPage:
    """Give the page of the unconfigured server."""
    return open_page(server)
