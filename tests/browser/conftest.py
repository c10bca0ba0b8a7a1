"""Fixtures: a browser, running servers, and pages whose complaints fail the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from ..support.chromium import chromium
from ..support.running_server import RunningServer, running_server
from .axe import axe_source
from .upload_page import UploadPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser


# Not for the session: see chromium().
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Return the system's Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def server() -> Iterator[RunningServer]:
    """Return server.py, running without configuration."""
    with running_server() as running:
        yield running


@pytest.fixture(scope="package")
def axe() -> str:
    """Return the source of axe-core, for findings()."""
    return axe_source()


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
