"""A signed PUT by fetch, from the page of the server and to the local OSS on another origin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..support.running_server import RunningServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SOURCE = (Path(__file__).parents[2] / "examples" / "presigned-put" / "put.js").read_text(encoding="utf-8")


@pytest.fixture
def page(browser: Browser, server: RunningServer) -> Any:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.url}/")
    yield page
    context.close()


def put(page: Page, file: str, arguments: str = "") -> Any:
    """Run the example's function with a File, and return its answer, or the message of its error."""
    module = SOURCE.replace("export ", "")
    call = f"put({file}{arguments}).catch((error) => error.message)"
    return page.evaluate(f"async () => {{ {module}\n return await {call}; }}")


@pytest.mark.parametrize(
    "file",
    [
        "new File(['hello'], '大 a+b.png', {type: 'image/png'})",
        "new File(['hello'], 'a.txt', {type: 'text/plain;charset=utf-8'})",
        "new File(['hello'], 'no type')",
        "new File([], 'empty.png', {type: 'image/png'})",
        "new File(['<svg/>'], 'a.svg', {type: 'image/svg+xml'})",
    ],
    ids=["a picture", "a type with a parameter", "no type", "no bytes", "an attachment"],
)
def test_fetch_uploads(page: Page, file: str) -> None:
    assert put(page, file)["Status"] == "Ok"


def test_a_refusal_is_the_servers_sentence(page: Page) -> None:
    assert "1 to 4096 characters" in put(page, "new File(['hello'], 'a'.repeat(5000), {type: 'image/png'})")


def test_a_type_that_the_browser_adds_is_refused(page: Page) -> None:
    """What happens without `headers`: a File's own type is sent, and so is one that was not signed."""
    query = "?method=put&filename=a.png&size=5&content_type=image/png"
    status = page.evaluate(
        """async (query) => {
            const signed = await (await fetch(`/oss/signature${query}`)).json();
            const { "Content-Type": _, ...headers } = signed.headers;
            const file = new File(["hello"], "a.png", { type: "image/jpeg" });
            return (await fetch(signed.url, { method: "PUT", headers, body: file })).status;
        }""",
        query,
    )
    assert status == 403
