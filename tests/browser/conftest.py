"""Fixtures: a browser, running servers, and pages whose complaints fail the test."""

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

# The browser itself must not use the network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


# The scope is the package: Playwright keeps an event loop running, which Django elsewhere takes for an async context.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Return the system's Chromium. None is ever downloaded."""
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
    """Return server.py, running without configuration."""
    with running_server() as running:
        yield running


OpenPage = Callable[..., UploadPage]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Return a function that opens the page of a server in its own browser context.

    Any complaint of the console or the page (scripts, Content-Security-Policy, resources) fails the test, unless the
    test expects it: ``page.expects("403")``.
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
    """Return the page of the unconfigured server."""
    return open_page(server)
