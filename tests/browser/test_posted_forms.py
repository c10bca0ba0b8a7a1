"""With `forms=True` and `data-forms` an application gets from Chromium what it would get without us."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from ..support.running_server import FREE_PORTS, RunningServer, clean_environ, serving
from .upload_page import expect, file

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
SCRIPT = '<script type="module" src="/oss/upload.js" data-forms></script>'
FORM = """<form method="post" enctype="multipart/form-data" action="/save"><input name="title" value="Katze 猫">
<input type="file" name="photo" multiple><input type="file" name="照片; &quot;x&quot;, 100%">
<button>Save</button></form>"""

#: The application shows the bytes of each part's headers, and the digest of its content.
APPLICATION = """
import hashlib
import json
import os
from urllib.parse import parse_qs
from oss_wsgi import DirectUpload, Grant, Settings


def old(environ, start_response):
    charset = "gbk" if environ["PATH_INFO"] == "/gbk" else "utf-8"
    kind = f"text/html; charset={charset}"
    if environ["REQUEST_METHOD"] == "POST":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        boundary = b"--" + environ["CONTENT_TYPE"].split("boundary=")[1].encode()
        parts = [part[2:-2].partition(b"\\\\r\\\\n\\\\r\\\\n") for part in body.split(boundary)[1:-1]]
        kind = "application/json"
        shown = [[head.decode("latin-1"), len(content), hashlib.md5(content).hexdigest()] for head, _, content in parts]
        text = json.dumps(["oss_wsgi.posted_files" in environ, shown])
    else:
        text = parse_qs(environ["QUERY_STRING"]).get("page", [""])[0]
    start_response("200 OK", [("Content-Type", kind)])
    return [text.encode(charset)]


def authorize(request):
    user = request.cookies.get("user")
    return Grant(user=user, dir=user, max_size=200_000_000) if user else None


settings = Settings.from_environ(os.environ)
application = DirectUpload(old, settings, authorize=authorize, forms=True)
""".replace("\\\\", "\\")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "old.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", "old:application", *FREE_PORTS]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT)), folder) as running:
        yield running


@pytest.fixture
def page(browser: Browser, shop: RunningServer) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB")
    context.add_cookies([{"name": "user", "value": "eric", "url": shop.url}])
    yield context.new_page()
    context.close()


def visit(page: Page, shop: RunningServer, script: str, path: str = "/edit") -> None:
    page.goto(f"{shop.url}{path}?" + urlencode({"page": f"<!doctype html><html>{FORM}{script}"}))
    page.wait_for_load_state("networkidle")


def saved(page: Page) -> Any:
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/save")
    return json.loads(page.locator("body").inner_text())


NAMES = ['a "quoted"; name.txt', "100%22.txt", "猫 😀 €.png", "x", "comma,name.tar.gz", "back\\slash.txt"]


@pytest.mark.parametrize("path", ["/edit", "/gbk"])
def test_the_application_gets_the_same_form_as_without_us(
    page: Page, shop: RunningServer, tmp_path: Path, path: str
) -> None:
    film = tmp_path / "film.bin"
    with film.open("wb") as writer:
        for number in range(120):
            writer.write(bytes([number]) * (1 << 20))
    small = [file(name, name.encode(), "image/png" if ".png" in name else "") for name in NAMES]
    seen = []
    for script in ("", SCRIPT):
        visit(page, shop, script, path)
        inputs = page.locator("[type=file]")
        inputs.nth(0).set_input_files([*small, file("empty", b""), file("mib", bytes(1 << 20))])
        inputs.nth(1).set_input_files(film)
        if script:
            expect(page.locator("[role=status]").nth(0)).to_contain_text("8 of 8 files done")
        seen.append(saved(page))
    assert [is_direct for is_direct, _ in seen] == [False, True]
    assert seen[1][1] == seen[0][1]
    assert len(seen[0][1]) == 10
    assert seen[0][1][9][2] == hashlib.md5(film.read_bytes()).hexdigest()


def test_after_a_logout_the_form_is_refused_and_may_be_sent_again_after_a_login(
    page: Page, shop: RunningServer
) -> None:
    visit(page, shop, SCRIPT)
    page.locator("[type=file]").nth(0).set_input_files(file("a.txt"))
    expect(page.locator("[role=status]")).to_have_text("a.txt: Done")
    page.context.clear_cookies()
    with page.expect_response("**/save") as response:
        page.get_by_role("button", name="Save").click()
    assert response.value.status == 403
    page.context.add_cookies([{"name": "user", "value": "eric", "url": shop.url}])
    page.go_back()
    page.wait_for_load_state("networkidle")
    if page.locator("[type=file]").nth(0).evaluate("input => input.files.length") == 0:
        page.locator("[type=file]").nth(0).set_input_files(file("a.txt"))
    is_direct, parts = saved(page)
    assert (is_direct, [size for _, size, _ in parts]) == (True, [9, 5, 0])
