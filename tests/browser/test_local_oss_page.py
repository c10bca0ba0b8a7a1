"""The index page of the local OSS in a real browser: it fits a phone, and its links lead to the objects."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import pytest

from oss_wsgi.testing import multipart

from ..running_server import RunningServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAME = "图 <b>&amp; a name as long as only cameras make them " + "x" * 100 + ".txt"


@pytest.fixture
def root(server: RunningServer) -> str:
    """Upload a file with a difficult name, and return the root URL of the local OSS."""
    with urllib.request.urlopen(f"{server.url}/oss/signature") as response:
        form = json.load(response)
    content_type, body = multipart(form["fields"], NAME, b"hello", "text/plain")
    with urllib.request.urlopen(urllib.request.Request(form["url"], body, {"Content-Type": content_type})) as response:
        assert response.status == 200
    parts = urlsplit(form["url"])
    return f"{parts.scheme}://{parts.netloc}/"


@pytest.mark.parametrize("width", [320, 1280])
def test_the_index_page_fits_and_its_links_work(browser: Browser, root: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 700})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(root)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("getComputedStyle(document.querySelector('h1')).margin") == "0px", "the style sheet is applied"
    link = page.get_by_role("link", name=NAME)
    assert link.count() >= 1
    with urllib.request.urlopen(root + quote(link.first.get_attribute("href") or "", safe="/%")) as stored:
        assert stored.read() == b"hello"
    assert complaints == []
    context.close()
