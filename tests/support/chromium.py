"""The system's Chromium for as long as a block runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .absent import skip_or_fail

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# The shell, which Debian has too, is the same engine without a window: a page takes half of the processor's time in it.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

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


def chromium_path() -> str | None:
    """Return the path of the system's Chromium."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium; none is ever downloaded.

    Playwright keeps an event loop running meanwhile: Django takes the thread for an async context, and ``asyncio.run``
    refuses it.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        skip_or_fail("playwright")
    path = chromium_path()
    if path is None:
        skip_or_fail(f"one of {', '.join(NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
