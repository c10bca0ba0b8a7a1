"""The page as a person uses it: choose files, upload them, read a row."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)  # its own 5 s are too short on a busy machine
except ModuleNotFoundError:
    # The `browser` fixture skips or fails before a test uses it.
    expect = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, FilePayload, Locator, Page, Request, Route

__all__ = ["PNG", "UploadPage", "expect", "file", "wait_until"]

# One red pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de00"
    "00000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


def file(name: str, content: bytes = b"hello", media_type: str = "text/plain") -> FilePayload:
    """Return a file for the file chooser."""
    return {"name": name, "mimeType": media_type, "buffer": content}


def wait_until(condition: Callable[[], object], page: Page) -> None:
    """Wait for a condition that Playwright's own waits cannot tell; fail after a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        page.wait_for_timeout(20)


class UploadPage:
    """The page, with the URLs of its signature requests and the complaints of its console."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = f"{url}/"
        self.complaints: list[str] = []
        self.signatures: list[str] = []
        #: Requests for what became of a file, once they are answered or have failed.
        self.questions: list[str] = []
        self.stored_parts: list[str] = []
        self._expected: tuple[str, ...] = ()
        page.set_default_timeout(120_000)  # the usual 30 s are too short beside twenty busy processes
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._on_request)
        page.on("requestfinished", self._on_finished)
        page.on("requestfailed", self._on_end)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, request: Request) -> None:
        if "/signature?" in request.url:
            self.signatures.append(request.url)

    def _on_finished(self, request: Request) -> None:
        self._on_end(request)
        if request.method == "PUT" and "partNumber=" in request.url:
            self.stored_parts.append(request.url)

    def _on_end(self, request: Request) -> None:
        if request.url.endswith("/oss/recover"):
            self.questions.append(request.url)

    def open(self) -> None:
        self.page.goto(self.url)
        # The script waits for the words of a language before it listens; without scripts there is a sentence.
        self.page.wait_for_selector("html[dir], noscript p", state="attached", timeout=60_000)

    def expects(self, *parts: str) -> None:
        """Accept complaints that contain one of these texts."""
        self._expected += parts

    def unexpected(self) -> list[str]:
        return [text for text in self.complaints if not any(part in text for part in self._expected)]

    def stop_clock(self) -> None:
        """Let time pass for the page only when the test says so, since a busy machine would miss its pauses."""
        self.page.clock.install()
        self.page.clock.pause_at(time.time() + 60)

    def wait_for_questions(self, number: int) -> None:
        """Wait until the page has asked this many times what became of a file; its clock also runs by itself."""
        wait_until(lambda: len(self.questions) >= number, self.page)

    @contextlib.contextmanager
    def without_answers(self) -> Iterator[None]:
        """Delay the answers to the page's questions about a file while the block runs: its row keeps its state."""
        held: list[Route] = []
        is_over = False
        self.page.route("**/oss/recover", lambda route: route.continue_() if is_over else held.append(route))
        yield
        is_over = True
        for route in held:
            route.continue_()

    def choose(self, *files: FilePayload | str | Path) -> None:
        paths_or_payloads: Sequence[Any] = files
        self.page.locator("input[type=file][multiple]").set_input_files(paths_or_payloads)

    @property
    def upload_button(self) -> Locator:
        return self.page.get_by_role("button", name="Upload", exact=True)

    def upload(self, *files: FilePayload | str | Path) -> None:
        self.choose(*files)
        self.upload_button.click()

    @property
    def rows(self) -> Locator:
        return self.page.get_by_role("listitem")

    def row(self, name: str) -> Locator:
        return self.rows.filter(has=self.page.get_by_text(name, exact=True))

    def button(self, name: str, of: str) -> Locator:
        """Return a button of the row of a file."""
        return self.row(of).get_by_role("button", name=name, exact=True)

    @property
    def summary(self) -> Locator:
        return self.page.locator("#summary")

    @property
    def spoken(self) -> Locator:
        return self.page.get_by_role("status")

    def answer(self, name: str) -> Any:
        """Return the application's response, as the row of a file shows it."""
        return json.loads(self.row(name).locator("pre").text_content() or "")

    def link(self, name: str) -> str:
        href = self.row(name).get_by_role("link").get_attribute("href")
        assert href is not None
        return href

    def stored(self, name: str) -> bytes:
        """Return the object under the link of a row."""
        with urllib.request.urlopen(self.link(name)) as response:
            content: bytes = response.read()
        return content
