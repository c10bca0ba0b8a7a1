"""Pages of other origins in a real browser: only a listed one gets signatures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from ..support.running_server import running_server
from ..support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from ..support.running_server import RunningServer

FETCH = "(url) => fetch(url, {credentials: 'include'}).then(answer => answer.json(), error => error.name)"
NO_CORS = (
    "(url) => fetch(url, {mode: 'no-cors', credentials: 'include'}).then(answer => answer.type, error => error.name)"
)
IMAGE = "(url) => new Promise(end => Object.assign(new Image(), {src: url, onload: end, onerror: () => end('error')}))"


class BlankPage(BaseHTTPRequestHandler):
    """A page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>elsewhere</title>")

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name there
        """Write no log."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[int]:
    """Return the port of a server with a page of another origin, under every name of loopback."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BlankPage) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def ours(elsewhere: int) -> Iterator[RunningServer]:
    """Return our server, which lists the other page by its address, not by its name."""
    with running_server(OSS_ALLOWED_ORIGINS=f"http://127.0.0.1:{elsewhere}") as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


def refusals(server: RunningServer) -> int:
    return server.log().count("reason=origin_foreign")


def test_a_listed_page_on_another_port_reads_the_signature(page: Page, ours: RunningServer, elsewhere: int) -> None:
    page.goto(f"http://127.0.0.1:{elsewhere}/")
    before = refusals(ours)
    assert page.evaluate(FETCH, f"{ours.url}/oss/signature?filename=a.txt")["method"] == "POST"
    assert refusals(ours) == before


@pytest.mark.parametrize("script", [FETCH, NO_CORS, IMAGE], ids=["fetch", "no-cors", "image"])
def test_an_unlisted_page_gets_no_signature(page: Page, ours: RunningServer, elsewhere: int, script: str) -> None:
    page.goto(f"http://localhost:{elsewhere}/")
    before = refusals(ours)
    assert page.evaluate(script, f"{ours.url}/oss/signature") in ("TypeError", "error")
    # Playwright does not see a response that the browser withholds, but the log of the server does.
    wait_until(lambda: refusals(ours) == before + 1)


def test_a_link_of_another_site_gets_no_signature(page: Page, ours: RunningServer, elsewhere: int) -> None:
    url = f"{ours.url}/oss/signature"
    response = page.goto(url)
    assert response is not None
    assert response.status == 200
    page.goto(f"http://localhost:{elsewhere}/")
    with page.expect_response("**/oss/signature") as followed:
        page.evaluate("(url) => { location.href = url }", url)
    assert followed.value.status == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_our_own_page_gets_signatures_under_either_host_name(page: Page, ours: RunningServer, name: str) -> None:
    address = ours.url.replace("127.0.0.1", name)
    page.goto(f"{address}/")
    assert page.evaluate(FETCH, f"{address}/oss/signature?filename=a.txt")["method"] == "POST"
