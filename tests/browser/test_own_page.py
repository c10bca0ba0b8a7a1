"""Pages of a person's own application, served by `oss-wsgi serve --app`, in a real browser."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..support.running_server import FREE_PORTS, RunningServer, clean_environ, running_server, serving
from .test_other_origins import BlankPage
from .upload_page import PNG, expect, file, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

ROOT = Path(__file__).parents[2]

APPLICATION = '''
import os
from oss_wsgi import DirectUpload, Dispatcher, Grant, Settings, UploadPage

THREE_LINES = """
<input type="file" id="file" data-oss-upload>
<output for="file"></output>
<script type="module" src="/oss/upload.js"></script>
"""
PAGES = {
    "/three-lines": THREE_LINES,
    "/form": \'\'\'<form action="/saved"><input type="file" name="photo" multiple data-oss-upload><output></output>
<button>Save</button></form><script type="module" src="/oss/upload.js"></script>\'\'\',
    "/required": \'\'\'<form action="/saved"><input type="file" name="photo" required data-oss-upload><output></output>
<button>Save</button></form><script type="module" src="/oss/upload.js"></script>\'\'\',
    "/albums/2/edit": \'<input type="file" id="own"><p id="answer"></p><script type="module" src="/own.js"></script>\',
    "/inline": \'\'\'<input type="file" id="own"><p id="answer"></p>
<script type="module">
  import { Uploader } from "/oss/upload.js";
  const uploader = new Uploader();
  uploader.addEventListener("done", ({ detail }) => document.getElementById("answer").textContent = detail.item.answer);
  own.addEventListener("change", () => { uploader.add(own.files); uploader.start(); });
</script>\'\'\',
}
OWN_SCRIPT = """
import { Uploader } from "/oss/upload.js";
const input = document.getElementById("own");
const uploader = new Uploader();
uploader.addEventListener("done", ({ detail }) => document.getElementById("answer").textContent = detail.item.answer);
input.addEventListener("change", () => { uploader.add(input.files); uploader.start(); });
"""
settings = Settings.from_environ(os.environ)
_, host = settings.bucket_and_host()
origin = host.removesuffix(f"/{settings.bucket}")
STRICT = f"default-src \'none\'; script-src \'self\'; connect-src \'self\' {origin}; form-action \'self\'"


def legacy(environ, start_response):
    path = environ["PATH_INFO"]
    headers = []
    if path == "/own.js":
        kind, text = "text/javascript", OWN_SCRIPT
    elif path == "/saved":
        kind, text = "text/plain", environ["QUERY_STRING"]
    else:
        kind, text = "text/html; charset=utf-8", "<!doctype html><title>old</title>" + PAGES.get(path, "")
        if environ["QUERY_STRING"] == "strict":
            headers = [("Content-Security-Policy", STRICT)]
        if environ["QUERY_STRING"] == "too-strict":
            headers = [("Content-Security-Policy", STRICT.replace(origin, ""))]
    body = text.encode()
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(body))), *headers])
    return [body]


def authorize(request):
    return Grant(user="eric", dir="users/eric", content_types=["image/png"])


def save(upload):
    return {"name": upload.object, "user": upload.user}


mounts = {"/files": UploadPage(settings), "/admin/files": UploadPage(settings, mount="/admin/files")}
application = DirectUpload(Dispatcher(legacy, mounts), settings, authorize=authorize, on_upload=save)
'''


UPLOAD_BY_IMPORT = """url => import(url).then(async ({ Uploader }) => {
  const uploader = new Uploader();
  const end = new Promise(resolve => uploader.addEventListener("idle", resolve));
  const [item] = uploader.add([new File(["a"], "a.txt")]);
  uploader.start();
  await end;
  return item.state;
}, error => error.name)"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return the application above, under our server and with a local OSS."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(APPLICATION)
    command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", "shop:application", *FREE_PORTS]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT)), folder) as running:
        yield running


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()


@pytest.mark.parametrize("policy", ["", "?strict"])
def test_three_lines_of_html_upload(page: Page, shop: RunningServer, complaints: list[str], policy: str) -> None:
    page.goto(f"{shop.url}/three-lines{policy}")
    page.locator("#file").set_input_files(file("cat.png", PNG, "image/png"))
    expect(page.locator("output")).to_have_text("cat.png: Done")
    assert complaints == []


def test_a_file_that_is_chosen_before_the_module_has_loaded_is_uploaded_once(
    page: Page, shop: RunningServer, complaints: list[str]
) -> None:
    held: list[Route] = []
    signatures: list[str] = []
    page.on("request", lambda request: signatures.append(request.url) if "/signature" in request.url else None)
    page.route("**/oss/upload.js", lambda route: held.append(route))
    page.goto(f"{shop.url}/three-lines?strict", wait_until="commit")
    page.locator("#file").set_input_files(file("cat.png", PNG, "image/png"))
    wait_until(lambda: held, page)
    expect(page.locator("output")).to_have_text("")
    held[0].continue_()
    expect(page.locator("output")).to_have_text("cat.png: Done")
    page.evaluate("import('/oss/upload.js?again').then(() => import('/oss/input.js'))")
    assert page.locator("output").text_content() == "cat.png: Done"
    assert len(signatures) == 1
    assert complaints == []


@pytest.mark.parametrize("language", ["en-GB", "zh-CN"])
def test_a_policy_without_the_bucket_is_said_in_a_sentence(
    browser: Browser, shop: RunningServer, language: str
) -> None:
    context = browser.new_context(locale=language)
    page = context.new_page()
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text) if "connect-src" in message.text else None)
    page.goto(f"{shop.url}/three-lines?too-strict")
    page.locator("#file").set_input_files(file("cat.png", PNG, "image/png"))
    expect(page.locator("output")).to_contain_text("connect-src")
    host = page.evaluate("fetch('/oss/signature?filename=a.png').then(answer => answer.json()).then(form => form.host)")
    origin = "/".join(host.split("/")[:3])
    sentence = {
        "en-GB": f"This page's Content-Security-Policy does not allow {origin}: add it to connect-src.",
        "zh-CN": f"此页面的内容安全策略（CSP）不允许 {origin}：请把它加入 connect-src。",
    }[language]
    assert page.locator("output").inner_text() == f"cat.png: {sentence}"
    assert len(blocked) == 1
    context.close()


def test_a_server_that_goes_after_the_page_is_there_is_said_in_a_sentence(page: Page, shop: RunningServer) -> None:
    with page.expect_event("requestfinished", lambda request: "/languages/" in request.url):
        page.goto(f"{shop.url}/three-lines")
    page.route("**/*", lambda route: route.abort())
    page.locator("#file").set_input_files(file("cat.png", PNG, "image/png"))
    expect(page.locator("output")).to_contain_text("The server that gives permission could not be reached.")


@pytest.mark.parametrize("lost", ["input.js", "words.js"])
def test_code_that_could_not_be_loaded_is_loaded_for_the_next_choice(
    page: Page, shop: RunningServer, complaints: list[str], lost: str
) -> None:
    page.route(f"**/{lost}*", lambda route: route.abort())
    page.goto(f"{shop.url}/three-lines")
    page.locator("#file").set_input_files(file("cat.png", PNG, "image/png"))
    sentence = "The server could not be reached. Check the connection and choose the file again."
    expect(page.locator("output")).to_have_text(sentence)
    assert not [text for text in complaints if "Uncaught" in text]
    page.unroute(f"**/{lost}*")
    page.locator("#file").set_input_files(file("dog.png", PNG, "image/png"))
    expect(page.locator("output")).to_have_text("dog.png: Done")


CHOICE = """input => [input.value, input.files.length, input.checkValidity()]"""


@pytest.mark.parametrize("path", ["three-lines", "form"])
def test_the_same_file_can_be_chosen_again(page: Page, shop: RunningServer, path: str) -> None:
    page.goto(f"{shop.url}/{path}")
    page.evaluate("window.ids = []; addEventListener('oss:done', (event) => ids.push(event.detail.item.signedId))")
    chooser = page.locator("input[type=file]")
    for number in (1, 2):
        chooser.set_input_files(file("cat.png", PNG, "image/png"))
        page.wait_for_function("number => ids.length === number", arg=number)
        expect(page.locator("output")).to_have_text("cat.png: Done")
        # A browser reports a choice only if it differs from the one before.
        assert chooser.evaluate(CHOICE) == ["", 0, True]
    assert len(set(page.evaluate("ids"))) == 2
    hidden = page.locator("input[type=hidden][name=photo]")
    expect(hidden).to_have_count(1 if path == "form" else 0)
    if path == "form":
        assert hidden.input_value() == page.evaluate("ids[1]")


def test_a_required_input_keeps_its_choice_until_it_fails(page: Page, shop: RunningServer) -> None:
    page.goto(f"{shop.url}/required")
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(file("cat.txt", b"text", "text/plain"))
    page.wait_for_function("document.querySelector('input').value === ''")
    assert chooser.evaluate(CHOICE) == ["", 0, False], "the form waits for a file that is stored"
    assert "cat.txt: " in page.locator("output").inner_text()
    chooser.set_input_files(file("cat.png", PNG, "image/png"))
    expect(page.locator("output")).to_have_text("cat.png: Done")
    assert chooser.evaluate(CHOICE)[1:] == [1, True]
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(re.compile(r"/saved\?photo=[A-Za-z0-9_-]{200,}$"))


def test_each_file_has_a_line_in_the_font_and_the_colors_of_the_page(
    page: Page, shop: RunningServer, complaints: list[str]
) -> None:
    held: list[Route] = []
    page.route("**/local-bucket", lambda route: held.append(route))
    page.goto(f"{shop.url}/form?strict")
    page.locator("input[type=file]").set_input_files([file("a.png", PNG, "image/png"), file("b.png", PNG, "image/png")])
    bars = page.locator("output progress")
    expect(bars).to_have_count(2)
    button = page.locator("input[type=file]").bounding_box()
    boxes = [bar.bounding_box() for bar in bars.all()]
    tops = [box["y"] for box in (button, *boxes) if box]
    assert tops == sorted(set(tops)), "one below the other"
    looks = "e => { const s = getComputedStyle(e); return [s.fontFamily, s.fontSize, s.color, s.backgroundColor] }"
    line = page.locator("output > span").first
    assert line.evaluate(looks) == page.locator("output").evaluate(looks)
    expect(page.get_by_role("progressbar", name="a.png")).to_be_visible()
    for route in held:
        route.continue_()
    expect(page.locator("output")).to_have_text("a.png: Done b.png: Done")
    expect(bars).to_have_count(0)
    assert complaints == []


def test_a_form_sends_the_signed_ids_and_not_the_files(page: Page, shop: RunningServer) -> None:
    page.goto(f"{shop.url}/form?strict")
    page.evaluate(
        "window.events = []; for (const type of ['done', 'fail']) addEventListener(`oss:${type}`, (event) => "
        "window.events.push([type, event.detail.item.file.name, JSON.parse(event.detail.item.answer).user]))"
    )
    page.locator("input[type=file]").set_input_files([file("a.png", PNG, "image/png"), file("b.png", PNG, "image/png")])
    expect(page.locator("output")).to_have_text("a.png: Done b.png: Done")
    assert sorted(page.evaluate("window.events")) == [["done", "a.png", "eric"], ["done", "b.png", "eric"]]
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/saved?*")
    signed_ids = page.evaluate("new URLSearchParams(location.search).getAll('photo')")
    assert len(signed_ids) == 2
    assert all(re.fullmatch("[A-Za-z0-9_-]{200,}", signed_id) for signed_id in signed_ids)
    assert page.evaluate("[...new URLSearchParams(location.search).keys()].join()") == "photo,photo"


@pytest.mark.parametrize("path", ["/albums/2/edit?strict", "/albums/2/edit", "/inline"])
def test_a_script_of_ones_own_finds_the_signature(
    page: Page, shop: RunningServer, complaints: list[str], path: str
) -> None:
    page.goto(f"{shop.url}{path}")
    page.locator("#own").set_input_files(file("cat.png", PNG, "image/png"))
    expect(page.locator("#answer")).to_contain_text('"user": "eric"')
    assert complaints == []


@pytest.mark.parametrize("mount", ["/files", "/admin/files"])
def test_the_upload_page_works_below_a_dispatcher(
    page: Page, shop: RunningServer, complaints: list[str], mount: str
) -> None:
    page.goto(f"{shop.url}{mount}")
    page.locator("input[type=file]").set_input_files(file("cat.png", PNG, "image/png"))
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("listitem").locator("pre")).to_contain_text("eric")
    assert complaints == []


def test_a_listed_page_of_another_origin_imports_the_module(page: Page) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BlankPage) as elsewhere:
        threading.Thread(target=elsewhere.serve_forever, daemon=True).start()
        port = elsewhere.server_address[1]
        with running_server(OSS_ALLOWED_ORIGINS=f"http://127.0.0.1:{port}") as server:
            page.goto(f"http://127.0.0.1:{port}/")
            assert page.evaluate(UPLOAD_BY_IMPORT, f"{server.url}/oss/upload.js") == "stored"
            page.goto(f"http://localhost:{port}/")
            assert page.evaluate(UPLOAD_BY_IMPORT, f"{server.url}/oss/upload.js") == "TypeError"
        elsewhere.shutdown()
