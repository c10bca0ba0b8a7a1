"""Forms of an old application, whose files go straight to OSS by one line in its page (`data-forms`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..support.running_server import FREE_PORTS, RunningServer, clean_environ, serving
from .upload_page import expect, file, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

ROOT = Path(__file__).parents[2]
SCRIPT = '<script type="module" src="/shop/oss/upload.js" data-forms></script>'
FORM = """<form id="form" method="post" enctype="multipart/form-data" action="save">
<input name="title" value="Cat"><input type="file" name="photo" multiple><button name="do" value="save">Save</button></form>"""
WAITING = "The form is sent as soon as the files are there."

#: An application that shows what was posted. Its pages are in the query, so that a test says its own.
APPLICATION = '''
import hashlib
import json
import os
import re
from urllib.parse import parse_qs
from oss_wsgi import DirectUpload, Dispatcher, Grant, Settings

posted = []


def shown(part):
    head, _, content = part.partition(b"\\r\\n\\r\\n")
    text = head.decode("latin-1")
    name = re.search(' name="([^"]*)"', text)[1]
    filename = re.search('filename="([^"]*)"', text)
    kind = re.search("Content-Type: (.*)", text)
    content = content.removesuffix(b"\\r\\n")
    value = content.decode("latin-1") if len(content) < 200 else hashlib.md5(content).hexdigest()
    return [name, filename and filename[1], kind and kind[1].strip(), value]


def old(environ, start_response):
    page = parse_qs(environ["QUERY_STRING"]).get("page", [""])[0]
    kind = "text/html; charset=utf-8"
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        kind = environ["CONTENT_TYPE"]
        if "boundary=" in kind:
            boundary = kind.split("boundary=")[1].encode()
            parts = [shown(part) for part in body.split(b"--" + boundary + b"\\r\\n")[1:]]
            parts[-1][3] = parts[-1][3].removesuffix("\\r\\n--" + boundary.decode() + "--")
        else:
            parts = body.decode()
        posted.append([environ["SCRIPT_NAME"] + environ["PATH_INFO"], parts])
        kind, page = "text/html", "<!doctype html><title>posted</title>saved"
    elif environ["PATH_INFO"] == "/posted":
        kind, page = "application/json", json.dumps(posted)
        posted.clear()
    elif environ["PATH_INFO"] == "/gbk":
        kind = "text/html; charset=gbk"
    headers = [("Content-Type", kind), ("Cache-Control", "max-age=60")]
    if environ["PATH_INFO"] == "/strict":
        oss = json.loads(os.environ.get("OSS_ORIGIN", "0")) or origin
        headers.append(("Content-Security-Policy", f"default-src 'none'; script-src 'self'; connect-src 'self' {oss}; style-src 'self'"))
    body = page.encode("gbk" if "gbk" in kind else "utf-8")
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]


settings = Settings.from_environ(os.environ)
_, host = settings.bucket_and_host()
origin = host.removesuffix(f"/{settings.bucket}")


def authorize(request):
    refused = "refused" in request.cookies
    return None if refused else Grant(user="eric", dir="eric", max_size=200_000_000, content_types=[])


def save(upload):
    return {"signed_id": "id-of-" + upload.filename.encode("ascii", "replace").decode()}


shop = DirectUpload(old, settings, authorize=authorize, on_upload=save)
application = Dispatcher(old, {"/shop": shop})
'''


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return the application above, under our server and with a local OSS."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "old.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", "old:application", "--prefix", "/shop/oss", *FREE_PORTS]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT)), folder) as running:
        yield running


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(locale="en-GB")
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page


Visit = Callable[..., None]


@pytest.fixture
def visit(page: Page, shop: RunningServer) -> Visit:
    """Return a function that opens a page with this HTML, and waits for the module."""

    def visit(html: str = FORM, path: str = "/shop/edit") -> None:
        page.request.get(f"{shop.url}/posted")
        page.goto(f"{shop.url}{path}?" + _query(f"<!doctype html><html><title>old</title>{html}{SCRIPT}"))
        page.wait_for_load_state("networkidle")

    return visit


def _query(html: str) -> str:
    from urllib.parse import urlencode

    return urlencode({"page": html})


Posted = Callable[[], list[Any]]


@pytest.fixture
def posted(page: Page, shop: RunningServer) -> Posted:
    """Return a function that waits for a form and returns the path and the parts of each that the application got."""

    def posted() -> list[Any]:
        forms: list[Any] = []

        def has_some() -> bool:
            forms.extend(json.loads(page.request.get(f"{shop.url}/posted").text()))
            return bool(forms)

        wait_until(has_some, page)
        page.wait_for_timeout(300)
        has_some()
        return forms

    return posted


class Held:
    """Requests to OSS that wait until the test lets them go."""

    def __init__(self, page: Page) -> None:
        self.routes: list[Route] = []
        self._page = page
        self._is_over = False
        page.route("**:*/examplebucket**", self._hold)
        page.route("**:*/*-bucket**", self._hold)

    def _hold(self, route: Route) -> None:
        if self._is_over or route.request.method == "OPTIONS":
            route.continue_()
        else:
            self.routes.append(route)

    def wait(self, number: int = 1) -> None:
        wait_until(lambda: len(self.routes) >= number, self._page)

    def release(self) -> None:
        self._is_over = True
        for route in self.routes:
            route.continue_()


def status(page: Page) -> Any:
    return page.locator("[data-oss-state] [role=status]")


def press(page: Page, name: str = "Save") -> None:
    page.get_by_role("button", name=name).click(no_wait_after=True)


IDS = [["oss_wsgi.files", None, None, "photo"], ["title", None, None, "Cat"], ["photo", None, None, "id-of-a.txt"], ["do", None, None, "save"]]
FILES = [["title", None, None, "Cat"], ["photo", "a.txt", "text/plain", "hello"], ["do", None, None, "save"]]


def test_a_form_carries_signed_ids_in_the_place_of_its_files(page: Page, visit: Visit, posted: Posted) -> None:
    visit()
    page.locator("[type=file]").set_input_files(file("a.txt"))
    expect(status(page)).to_have_text("a.txt: Done")
    press(page)
    assert posted() == [["/shop/save", IDS]]
