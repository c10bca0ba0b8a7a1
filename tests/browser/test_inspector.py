"""The inspector of the local OSS in a real browser."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from local_oss import CORSRule, LocalOSS, LocalOSSServer
from oss_wsgi.testing import multipart

from ..support.chromium import ARGUMENTS, chromium_path
from .axe import findings
from .upload_page import PNG, expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGE_ORIGIN = "http://page.example"
LONG_NAME = "图 <b>&amp; a name as long as only cameras make them " + "x" * 100 + ".txt"


class Application:
    """The application that gets the callbacks: it handles each upload once, and accepts only what OSS signed."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.bodies: list[bytes] = []
        self.release = threading.Event()
        self.release.set()
        self.server = make_server("127.0.0.1", 0, self, handler_class=_Quiet)
        self.url = f"http://127.0.0.1:{self.server.server_port}/callback"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self._thread.start()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "GET":
            start_response("200 OK", [("Content-Type", "text/html")])
            return [b"<!doctype html><title>Other</title>"]
        self.bodies.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        assert self.release.wait(60)
        answer = json.dumps({"handled": len(self.bodies)}).encode()
        start_response(self.status, [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
        return [answer]

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def application() -> Iterator[Application]:
    application = Application()
    yield application
    application.close()


@pytest.fixture
def oss(tmp_path: Path) -> Iterator[LocalOSS]:
    rules = [CORSRule([PAGE_ORIGIN])]
    with LocalOSS("my-bucket", directory=tmp_path / "oss", acl="public-read", cors_rules=rules) as oss:
        server = LocalOSSServer(oss)
        server.start()
        yield oss
        server.stop()


Upload = Callable[..., int]


@pytest.fixture
def upload(oss: LocalOSS, application: Application) -> Upload:
    """Return a function that posts a form and returns the status."""

    def upload(
        key: str,
        content: bytes = b"hello",
        kind: str = "text/plain",
        *,
        secret: str = "",
        prefix: str = "",
        fields: Mapping[str, str] = {},
    ) -> int:
        body = '{"object":${object},"size":${size}}'
        members = {"callbackUrl": application.url, "callbackBody": body, "callbackBodyType": "application/json"}
        callback = base64.b64encode(json.dumps(members).encode()).decode()
        expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
        conditions = [{"bucket": "my-bucket"}, ["starts-with", "$key", prefix], {"callback": callback}]
        policy = json.dumps({"expiration": expiration, "conditions": conditions}).encode()
        text = base64.b64encode(policy)
        digest = hmac.digest((secret or oss.access_key_secret).encode(), text, hashlib.sha1)
        fields = {**fields, "key": key, "callback": callback, "policy": text.decode()}
        fields |= {"OSSAccessKeyId": oss.access_key_id, "Signature": base64.b64encode(digest).decode()}
        content_type, form = multipart(fields, key.rpartition("/")[2], content, kind)
        request = urllib.request.Request(oss.host, form, {"Content-Type": content_type, "Origin": PAGE_ORIGIN})
        try:
            with urllib.request.urlopen(request) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    return upload


@pytest.fixture
def page(browser: Browser, oss: LocalOSS) -> Iterator[Page]:
    """Return a page at the root whose complaints fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{oss.url}/")
    yield page
    context.close()
    assert complaints == []


def open_exchange(page: Page, words: str) -> None:
    page.get_by_role("link").filter(has_text=words).first.click()
    page.wait_for_url("**/_inspect/requests/*")


def test_requests_appear_while_one_looks(page: Page, upload: Upload) -> None:
    expect(page.get_by_text("Waiting for the first request.")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    for name in ("first.txt", "second.txt"):
        assert upload(name) == 200
        expect(page.get_by_role("listitem").first).to_contain_text(name)
    expect(page.locator("#count")).to_have_text("2 requests")


def test_what_is_focused_stays_focused_when_requests_appear(page: Page, upload: Upload) -> None:
    upload("first.txt")
    link = page.get_by_role("link").filter(has_text="first.txt")
    link.focus()
    upload("second.txt")
    expect(page.get_by_role("listitem")).to_have_count(2)
    expect(link).to_be_focused()


def test_a_callback_that_waits_is_shown_and_goes_on_by_itself(
    page: Page, upload: Upload, application: Application
) -> None:
    application.release.clear()
    client = threading.Thread(target=upload, args=("cat.txt",))
    client.start()
    row = page.get_by_role("listitem")
    expect(row).to_contain_text("Waiting for the callback’s answer, ")
    expect(row).to_contain_text(re.compile(r"answer, ([2-9]|\d\d)\xa0s"))
    exchange = page.context.new_page()
    exchange.goto(page.url)
    open_exchange(exchange, "cat.txt")
    expect(exchange.locator(".pill")).to_contain_text("Waiting for the callback’s answer")
    form = exchange.locator("details.step").filter(has=exchange.get_by_role("heading", name="Form"))
    form.locator("summary").first.click()
    row.get_by_role("link").focus()
    application.release.set()
    client.join()
    for shown in (page.locator("#exchanges"), exchange.locator("#exchanges"), exchange.locator(".pill")):
        expect(shown).to_contain_text("Stored, application told")
    expect(exchange.get_by_role("heading", name="Answer")).to_be_visible()
    expect(form.get_by_text("callback, decoded")).to_be_visible()
    expect(row.get_by_role("link")).to_be_focused()


def test_what_is_folded_into_a_row_stays_open_and_grows_while_one_looks(
    page: Page, oss: LocalOSS, upload: Upload
) -> None:
    headers = {"Origin": PAGE_ORIGIN, "Access-Control-Request-Method": "POST"}
    urllib.request.urlopen(urllib.request.Request(oss.host, headers=headers, method="OPTIONS")).close()
    rows = page.get_by_role("listitem")
    expect(rows).to_contain_text("Preflight allowed")
    upload("cat.txt")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("Stored, application told")
    summary = page.locator("summary")
    expect(summary).to_have_text("1 preflight")
    summary.click()
    expect(rows).to_have_count(2)
    urllib.request.urlopen(f"{oss.host}/cat.txt").close()
    expect(summary).to_have_text("1 preflight · 1 read")
    expect(rows).to_have_count(3)
    expect(summary).to_be_focused()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_end_of_a_long_name_is_in_sight(browser: Browser, oss: LocalOSS, upload: Upload, width: int) -> None:
    upload(f"{'x' * 300}/the end.txt")
    context = browser.new_context(viewport={"width": width, "height": 700})
    page = context.new_page()
    page.goto(f"{oss.url}/")
    name = page.locator(".exchanges .name")
    box = name.bounding_box()
    end = name.locator("bdi").evaluate("""bdi => {
        const range = document.createRange(), text = bdi.firstChild;
        range.setStart(text, text.length - 11);
        range.setEnd(text, text.length);
        const { left, right } = range.getBoundingClientRect();
        return [left, right];
    }""")
    assert box
    assert box["x"] < end[0] < end[1] <= box["x"] + box["width"] + 1
    context.close()


def test_a_filtered_list_stays_filtered_while_requests_appear(page: Page, upload: Upload) -> None:
    page.get_by_label("Object").fill("cat")
    page.get_by_role("button", name="Filter").click()
    upload("dog.txt")
    upload("cat.txt")
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect(page.get_by_role("listitem")).to_contain_text("cat.txt")
    expect(page.locator("#count")).to_have_text("1 request of 2")


def test_links_and_commands_are_copied(page: Page, upload: Upload) -> None:
    upload("cat.txt")
    open_exchange(page, "cat.txt")
    page.clock.install()  # it says "Copied" for a moment only
    page.clock.pause_at(time.time() + 60)
    url = page.url
    page.get_by_role("link", name="Permanent link").click()
    expect(page.get_by_role("link", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == url
    page.get_by_role("link", name="Copy as curl").click()
    expect(page.get_by_role("link", name="Copied")).to_have_count(2)
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl -i ")


def test_objects_are_browsed_looked_at_downloaded_and_deleted(page: Page, oss: LocalOSS, upload: Upload) -> None:
    upload("user/42/cat.png", PNG, "image/png")
    upload("user/42/notes.txt", "Milk & 茶".encode())
    page.get_by_role("link", name="Objects").click()
    for name in ("user/", "42/", "cat.png"):
        page.get_by_role("link", name=name, exact=True).click()
    picture = page.get_by_role("img", name="The picture user/42/cat.png")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    page.get_by_role("link", name="42", exact=True).click()
    page.get_by_role("link", name="notes.txt").click()
    expect(page.get_by_text("Milk & 茶")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_bytes() == "Milk & 茶".encode()
    assert download.value.suggested_filename == "notes.txt"
    page.get_by_text("Delete …").click()
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url("**/_inspect/objects?*")
    expect(page.get_by_role("link", name="notes.txt")).to_have_count(0)
    assert oss.storage.bucket("my-bucket").get("user/42/notes.txt") is None


# As HTML and as XML.
EVIL = b"""<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Evil</title></head><body><script>//<![CDATA[
document.title = 'ran';
fetch('/_inspect/faults').then(answer => answer.text()).then(page => {
    const token = /name="token" value="([^"]+)"/.exec(page)[1];
    const body = new URLSearchParams({token, bucket: 'my-bucket', key: 'cat.txt'});
    fetch('/_inspect/delete', {method: 'POST', body});
});
//]]></script></body></html>"""
ODD_TYPES = """text/html|text/html;x|text/html,image/png|image/png,text/html|image/png, text/html|image/png;text/html
image/png;x="a,text/html"|text/plain,text/html|application/json,text/html|video/mp4,text/html|TEXT/HTML| text/html|image
*/*|image/*|nonsense|unknown/unknown|text/xml|application/xml|application/xhtml+xml|image/svg+xml
multipart/x-mixed-replace|text/css text/html|text/plain\u00a0,text/html""".replace("\n", "|").split("|")


def test_an_uploaded_page_cannot_read_the_inspector(page: Page, oss: LocalOSS, upload: Upload) -> None:
    from playwright.sync_api import Error

    upload("cat.txt")
    other = page.context.new_page()
    for number, kind in enumerate(ODD_TYPES):
        assert upload(f"evil-{number}", EVIL, fields={"x-oss-content-type": kind}) == 200, kind
        other.goto("about:blank")
        with suppress(Error):  # what the browser does not show, it downloads
            other.goto(f"{oss.host}/evil-{number}")
        assert other.title() != "ran", kind
        assert other.evaluate("self.origin") == "null", kind
    assert oss.storage.bucket("my-bucket").get("cat.txt")
    upload(
        "evil.svg",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>document.title='ran'</script></svg>",
        "image/svg+xml",
    )
    page.goto(f"{oss.url}/_inspect/object?bucket=my-bucket&key=evil.svg")
    expect(page.get_by_role("img")).to_be_visible()
    assert page.title() != "ran"


def test_another_page_can_neither_read_nor_act(
    browser: Browser, oss: LocalOSS, upload: Upload, application: Application
) -> None:
    upload("cat.txt")
    context = browser.new_context()
    page = context.new_page()
    page.goto(application.url)
    for path in ("objects", "news"):
        read = f"fetch('{oss.url}/_inspect/{path}').then(r => r.text(), () => 'refused')"
        assert page.evaluate(read) == "refused"
    with urllib.request.urlopen(f"{oss.url}/_inspect/faults") as response:
        token = re.search(r'name="token" value="([^"]+)"', response.read().decode())
    assert token
    act = f"new URLSearchParams({{token: '{token[1]}', bucket: 'my-bucket', key: 'cat.txt'}})"
    send = f"fetch('{oss.url}/_inspect/delete', {{method: 'POST', mode: 'no-cors', body: {act}}})"
    assert page.evaluate(f"{send}.catch(() => 'refused')") == "refused"
    assert oss.storage.bucket("my-bucket").get("cat.txt")
    framed = f"""new Promise(done => {{ const f = document.createElement('iframe'); f.src = '{oss.url}/';
        f.onload = () => {{ try {{ done(f.contentDocument?.title ?? 'hidden') }} catch {{ done('hidden') }} }};
        document.body.append(f) }})"""
    assert page.evaluate(framed) == "hidden"
    context.close()


def test_a_rebound_name_is_misdirected(browser: Browser, oss: LocalOSS, upload: Upload) -> None:
    """The attacker's page has the origin of the local OSS for the browser, once its name means 127.0.0.1."""
    upload("cat.txt")
    port = oss.url.rpartition(":")[2]
    rebinding = [*ARGUMENTS, "--host-resolver-rules=MAP rebound.example 127.0.0.1"]
    chromium = browser.browser_type.launch(executable_path=chromium_path(), args=rebinding)
    try:
        page = chromium.new_page()
        origin = f"http://rebound.example:{port}"
        page.goto(origin)  # whatever it is: what runs there has the origin of the name
        ask = "path => fetch(path).then(async r => [r.status, await r.text()])"
        for path in ("/_inspect", "/_inspect/objects", "/_inspect/news", "/_inspect/faults"):
            status, text = page.evaluate(ask, path)
            assert status == 421, path
            assert "cat.txt" not in text
        status, text = page.evaluate(ask, "/")
        assert status == 403
        assert "<Code>AccessDenied</Code>" in text
        act = "fetch('/_inspect/clear', {method: 'POST', body: new URLSearchParams({token: ''})}).then(r => r.status)"
        assert page.evaluate(act) == 421
    finally:
        chromium.close()


def test_a_name_that_turns_its_letters_around_is_shown_as_it_is(page: Page, oss: LocalOSS, upload: Upload) -> None:
    upload("holiday-\u202egnp.exe")
    open_exchange(page, "holiday-<U+202E>gnp.exe")
    page.get_by_role("link", name="holiday-<U+202E>gnp.exe").last.click()
    assert page.title() == "holiday-<U+202E>gnp.exe · Local OSS"
    assert "\u202e" not in page.locator("body").inner_text()
    page.get_by_text("Delete …").click()
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url("**/_inspect/objects?*")
    assert oss.storage.bucket("my-bucket").get("holiday-\u202egnp.exe") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 360, 768, 1280])
def test_every_page_fits(browser: Browser, oss: LocalOSS, upload: Upload, width: int, scheme: Any) -> None:
    upload(LONG_NAME)
    upload("cat.txt", prefix="x" * 300)
    context = browser.new_context(viewport={"width": width, "height": 700}, color_scheme=scheme)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{oss.url}/")
    exchanges = page.get_by_role("listitem").get_by_role("link").evaluate_all("links => links.map(link => link.href)")
    assert len(exchanges) == 2
    names = ("objects", "faults", f"object?bucket=my-bucket&key={quote(LONG_NAME)}")
    for url in (f"{oss.url}/", *exchanges, *(f"{oss.url}/_inspect/{name}" for name in names)):
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") == width, url
        small = """[...document.querySelectorAll('button, select, .button, nav a, .choice')]
            .filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 43.5).map(e => e.outerHTML)"""
        assert page.evaluate(small) == [], url
    assert complaints == []
    context.close()


def test_axe_finds_nothing_on_any_page(
    browser: Browser, oss: LocalOSS, upload: Upload, application: Application, axe: str
) -> None:
    """The activity empty and full, an exchange of each kind with all its steps open, objects, and faults."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, bypass_csp=True)
    page = context.new_page()

    def check() -> None:
        found[f"{len(found)}. {page.url}"] = findings(page, axe)

    found: dict[str, list[str]] = {}
    page.goto(f"{oss.url}/")
    check()
    upload("user/cat.png", PNG, "image/png")
    upload("notes.txt")
    upload("cat.txt", prefix="user/")
    upload("cat.txt", secret="of another account")
    application.status = "403 Forbidden"
    upload("cat.txt")
    urllib.request.urlopen(f"{oss.host}/notes.txt").close()
    headers = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    preflight = urllib.request.Request(oss.host, headers=headers, method="OPTIONS")
    unsigned = urllib.request.Request(f"{oss.host}/put.txt", b"unsigned", method="PUT")
    for request in (preflight, unsigned):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        caught.value.close()
    oss.fail_next("callback_timeout")
    page.goto(f"{oss.url}/")
    exchanges = page.locator("#exchanges li > a").evaluate_all("links => links.map(link => link.href)")
    assert len(exchanges) == 8
    names = ("objects", "objects?prefix=user/", "faults", "object?bucket=my-bucket&key=user/cat.png")
    names += ("object?bucket=my-bucket&key=notes.txt", "?object=nothing-has-this", "nowhere")
    for url in (f"{oss.url}/", *(f"{oss.url}/_inspect/{name}" for name in names), *exchanges):
        page.goto(url)
        page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        check()
    page.goto(exchanges[-1])
    page.get_by_role("heading", name="Send again").click()
    page.get_by_role("radio", name="Twice at once").check()
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("link", name="The upload whose callback this is")).to_be_visible()
    check()
    context.close()
    assert {url: rules for url, rules in found.items() if rules} == {}


def test_without_scripts_it_works(browser: Browser, oss: LocalOSS, upload: Upload, application: Application) -> None:
    upload("cat.txt")
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{oss.url}/")
    open_exchange(page, "cat.txt")
    page.get_by_role("heading", name="Send again").click()
    page.get_by_role("button", name="Send again").click()
    expect(page.get_by_text("The upload whose callback this is")).to_be_visible()
    assert len(application.bodies) == 2
    context.close()


def test_a_page_that_is_open_does_not_hold_the_end_up(browser: Browser, tmp_path: Path) -> None:
    with LocalOSS("my-bucket", directory=tmp_path) as oss:
        server = LocalOSSServer(oss)
        server.start()
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{oss.url}/")
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        looks: list[None] = []
        server.stop(is_urgent=lambda: bool(looks.append(None)))
        assert len(looks) < 40, "the end waits 5 seconds for requests, and looks every tenth"
        context.close()
