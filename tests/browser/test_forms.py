"""Forms of an old application, whose files go straight to OSS by one line in its page (`data-forms`)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest

from ..support.absent import skip_or_fail
from ..support.running_server import FREE_PORTS, RunningServer, clean_environ, serving
from .upload_page import expect, file, wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Route

ROOT = Path(__file__).parents[2]
SCRIPT = '<script type="module" src="/shop/oss/upload.js" data-forms></script>'
FORM = """<form id="form" method="post" enctype="multipart/form-data" action="save"><input name="title" value="Cat">
<input type="file" name="photo" multiple><button name="do" value="save">Save</button></form>"""
WAITING = "The form is sent as soon as the files are there."

#: An application that shows what was posted. Its pages are in the query, so that a test says its own.
APPLICATION = """
import hashlib
import json
import os
import re
from urllib.parse import parse_qs
from oss_wsgi import DirectUpload, Dispatcher, Grant, Settings
from oss_wsgi.middleware.form_script import FormScript

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
    query = parse_qs(environ["QUERY_STRING"])
    page = query.get("page", [""])[0]
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
        policy = f"default-src 'none'; script-src 'self'; connect-src 'self' {origin}; style-src 'self'"
        headers.append(("Content-Security-Policy", policy))
    for policy in query.get("policy", []):
        headers.append(("Content-Security-Policy", policy))
    body = page.encode("gbk" if "gbk" in kind else "utf-8")
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]


settings = Settings.from_environ(os.environ)
_, host = settings.bucket_and_host()
origin = host.removesuffix(f"/{settings.bucket}")


def authorize(request):
    return Grant(user="eric", dir="eric", max_size=200_000_000, content_types=[])


def save(upload):
    return {"signed_id": "id-of-" + upload.filename.encode("ascii", "replace").decode()}


injected = FormScript(old, "/oss/upload.js", origins=[origin])


def shown_or_injected(environ, start_response):
    return (injected if environ["PATH_INFO"] == "/injected" else old)(environ, start_response)


uploads = DirectUpload(shown_or_injected, settings, authorize=authorize, on_upload=save, forms=True)


def shop(environ, start_response):
    is_form = environ["REQUEST_METHOD"] == "POST" and not environ["PATH_INFO"].startswith("/oss/")
    return (old if is_form else uploads)(environ, start_response)  # forms as the browser posts them


shop.direct_uploads = uploads.direct_uploads
application = Dispatcher(old, {"/shop": shop})
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Return the application above, under our server and with a local OSS."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "old.py").write_text(APPLICATION)
    command = [
        sys.executable,
        "-m",
        "oss_wsgi",
        "serve",
        "--app",
        "old:application",
        "--prefix",
        "/shop/oss",
        *FREE_PORTS,
    ]
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
def page(context: BrowserContext, complaints: list[str]) -> Page:
    page = context.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page


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
        page.wait_for_timeout(700)  # a second one would come now
        has_some()
        return forms

    return posted


class Held:
    """Requests to OSS that wait until the test lets them go."""

    def __init__(self, page: Page, shop: RunningServer) -> None:
        self.routes: list[Route] = []
        self._page = page
        self._is_over = False
        page.route(lambda url: not url.startswith(shop.url), self._hold)

    def _hold(self, route: Route) -> None:
        if self._is_over or route.request.method == "OPTIONS":
            route.continue_()
        else:
            self.routes.append(route)

    def wait(self, number: int = 1) -> None:
        wait_until(lambda: len(self.routes) >= number, self._page)

    def release(self) -> None:
        self._is_over = True
        while self.routes:
            self.routes.pop().continue_()


@pytest.fixture
def oss(page: Page, shop: RunningServer) -> Held:
    return Held(page, shop)


def status(page: Page) -> Any:
    return page.locator("[data-oss-state] [role=status]")


def press(page: Page, name: str = "Save") -> None:
    page.get_by_role("button", name=name).click(no_wait_after=True)


IDS = [
    ["oss_wsgi.files", None, None, "photo"],
    ["title", None, None, "Cat"],
    ["photo", None, None, "id-of-a.txt"],
    ["do", None, None, "save"],
]
FILES = [["title", None, None, "Cat"], ["photo", "a.txt", "text/plain", "hello"], ["do", None, None, "save"]]


def test_a_form_carries_signed_ids_in_the_place_of_its_files(page: Page, visit: Visit, posted: Posted) -> None:
    visit()
    page.locator("[type=file]").set_input_files(file("a.txt"))
    expect(status(page)).to_have_text("a.txt: Done")
    press(page)
    assert posted() == [["/shop/save", IDS]]


def test_a_form_that_is_submitted_meanwhile_waits_and_says_so(
    page: Page, visit: Visit, posted: Posted, oss: Held
) -> None:
    visit()
    page.evaluate("window.heard = 0; form.addEventListener('submit', () => heard++)")
    page.locator("[type=file]").set_input_files(file("a.txt"))
    oss.wait()
    press(page)
    expect(status(page)).to_contain_text(WAITING)
    page.wait_for_timeout(300)
    assert page.evaluate("[heard, form.querySelector('progress').value, location.pathname]") == [0, 0, "/shop/edit"]
    oss.release()
    assert posted() == [["/shop/save", IDS]]


def test_the_listeners_of_the_page_are_asked_once_and_may_refuse(
    page: Page, visit: Visit, posted: Posted, oss: Held
) -> None:
    visit()
    page.evaluate(
        """window.heard = [];
        form.addEventListener("submit", (event) => {
          heard.push([event.submitter.value, form.photo.files.length, new FormData(form).get("photo") instanceof File]);
          if (heard.length < 2) event.preventDefault();
        })"""
    )
    page.locator("[type=file]").set_input_files(file("a.txt"))
    oss.wait()
    press(page)
    oss.release()
    page.wait_for_function("heard.length === 1")
    page.evaluate("form.title.value = 'x'")
    press(page)
    page.wait_for_url("**/save")
    [[_, parts]] = posted()
    assert ["title", None, None, "x"] in parts


BUTTONS = {
    "name": ['<button name="b" value="1">Go</button>', "/shop/save", ["b", None, None, "1"]],
    "input": ['<input type="submit" name="b" value="Go">', "/shop/save", ["b", None, None, "Go"]],
    "formaction": ['<button formaction="/shop/other">Go</button>', "/shop/other", None],
    "outside": ['</form><button form="form" name="b" value="2">Go</button>', "/shop/save", ["b", None, None, "2"]],
}


@pytest.mark.parametrize("name", BUTTONS)
def test_the_button_decides_as_ever(page: Page, visit: Visit, posted: Posted, oss: Held, name: str) -> None:
    button, path, expected = BUTTONS[name]
    visit(FORM.replace("</form>", f"{button}</form>"))
    page.locator("[type=file]").set_input_files(file("a.txt"))
    oss.wait()
    press(page, "Go")
    expect(status(page)).to_contain_text(WAITING)
    oss.release()
    [[actual, parts]] = posted()
    assert (actual, parts[0], parts[2][3]) == (path, IDS[0], "id-of-a.txt")
    assert parts[3:] == ([expected] if expected else [])


def test_an_image_button_sends_where_it_was_pressed(page: Page, visit: Visit, posted: Posted, oss: Held) -> None:
    visit(FORM.replace("</form>", '<input type="image" name="map" alt="Map" width="50" height="50"></form>'))
    page.locator("[type=file]").set_input_files(file("a.txt"))
    oss.wait()
    page.locator("[name=map]").click(position={"x": 7, "y": 9}, no_wait_after=True)
    expect(status(page)).to_contain_text(WAITING)
    oss.release()
    [[_, parts]] = posted()
    assert parts[3:] == [["map.x", None, None, "7"], ["map.y", None, None, "9"]]


@pytest.mark.parametrize("is_frame", [True, False])
def test_a_target_gets_the_form(
    page: Page, context: BrowserContext, visit: Visit, posted: Posted, oss: Held, is_frame: bool
) -> None:
    frame = '<iframe name="there"></iframe>' if is_frame else ""
    visit(FORM.replace("<form", '<form target="there"') + frame)
    page.locator("[type=file]").set_input_files(file("a.txt"))
    for _ in range(2):
        press(page)
        oss.release()
        assert posted() == [["/shop/save", IDS]]
        assert "/edit" in page.url
    assert len(context.pages) == (1 if is_frame else 2)


def test_a_form_that_is_not_valid_is_not_sent(page: Page, visit: Visit, posted: Posted) -> None:
    visit(FORM.replace('name="title"', 'name="title" required').replace('type="file"', 'type="file" required'))
    page.evaluate(
        "window.invalid = []; form.addEventListener('invalid', ({ target }) => invalid.push(target.name), true)"
    )
    press(page)
    assert page.evaluate("invalid") == ["photo"]
    page.locator("[type=file]").set_input_files(file("a.txt"))
    expect(status(page)).to_have_text("a.txt: Done")
    page.evaluate("form.title.value = ''")
    press(page)
    assert page.evaluate("invalid") == ["photo", "title"]
    page.evaluate("form.title.value = 'Cat'")
    press(page)
    assert posted() == [["/shop/save", IDS]]


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_double_click_sends_one_form(page: Page, visit: Visit, posted: Posted, oss: Held, is_stored: bool) -> None:
    visit()
    page.locator("[type=file]").set_input_files(file("a.txt"))
    if is_stored:
        oss.release()
        expect(status(page)).to_have_text("a.txt: Done")
    page.get_by_role("button", name="Save").dblclick(no_wait_after=True)
    oss.release()
    assert posted() == [["/shop/save", IDS]]


OTHERS = {
    "no file is chosen": FORM,
    "disabled": FORM.replace('type="file"', 'type="file" disabled'),
    "in a disabled fieldset": FORM.replace("<input name", "<fieldset disabled><input name"),
    "without a name": FORM.replace('name="photo"', ""),
}


@pytest.mark.parametrize("why", OTHERS)
def test_other_forms_stay_as_they_are(page: Page, visit: Visit, posted: Posted, why: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/signature" in request.url else None)
    visit(OTHERS[why])
    if why != "no file is chosen":
        page.locator("[type=file]").set_input_files(file("a.txt"))
    page.evaluate("form.noValidate = true; const b = form.querySelector('button'); b.closest('fieldset')?.after(b)")
    page.evaluate("window.entries = [...new FormData(form)].map(([name]) => name)")
    press(page)
    [[_, parts]] = posted()
    assert "oss_wsgi.files" not in str(parts)
    assert asked == []


@pytest.mark.parametrize("way", ["innerHTML", "append", "dialog"])
def test_a_form_that_comes_later_is_taken_over(page: Page, visit: Visit, posted: Posted, way: str) -> None:
    visit("<div id=place></div>")
    page.evaluate(
        """([way, html]) => {
          if (way === "innerHTML") place.innerHTML = html;
          else if (way === "append") place.append(document.createRange().createContextualFragment(html));
          else { place.innerHTML = `<dialog>${html}</dialog>`; place.firstChild.showModal(); }
        }""",
        [way, FORM],
    )
    page.locator("[type=file]").set_input_files(file("a.txt"))
    press(page)
    assert posted() == [["/shop/save", IDS]]


def test_a_script_that_reads_the_form_gets_the_files_wherever_it_sends_them(
    page: Page, visit: Visit, posted: Posted
) -> None:
    visit()
    page.locator("[type=file]").set_input_files(file("a.txt"))
    expect(status(page)).to_have_text("a.txt: Done")
    page.evaluate(
        """form.addEventListener("submit", (event) => {
          event.preventDefault();
          const data = new FormData(form, event.submitter);
          fetch("/elsewhere/api", { method: "POST", body: data });
        })"""
    )
    press(page)
    assert posted() == [["/elsewhere/api", FILES]]


def test_a_listener_of_formdata_may_still_change_a_file(page: Page, visit: Visit, posted: Posted) -> None:
    visit()
    page.locator("[type=file]").set_input_files(file("a.txt"))
    expect(status(page)).to_have_text("a.txt: Done")
    page.evaluate(
        """form.addEventListener("formdata", ({ formData }) => {
          formData.set("photo", new File(["smaller"], "b.txt", { type: "text/plain" }));
          formData.append("more", "1");
        })"""
    )
    press(page)
    [[_, parts]] = posted()
    assert parts == [FILES[0], ["photo", "b.txt", "text/plain", "smaller"], FILES[2], ["more", None, None, "1"]]


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_script_that_submits_a_form_sends_it_as_it_is_then(
    page: Page, visit: Visit, posted: Posted, oss: Held, is_stored: bool
) -> None:
    visit(FORM.replace("<button", '<input type="hidden" name="submit" value="x"><button'))
    page.locator("[type=file]").set_input_files(file("a.txt"))
    oss.wait()
    if is_stored:
        oss.release()
        expect(status(page)).to_have_text("a.txt: Done")
    page.evaluate(
        """form.title.value = "now"; form.action = "other";
        HTMLFormElement.prototype.submit.call(form);
        form.title.value = "later"; form.action = "save";"""
    )
    oss.release()
    [[path, parts]] = posted()
    assert (path, parts) == (
        "/shop/other",
        [IDS[0], ["title", None, None, "now"], IDS[2], ["submit", None, None, "x"]],
    )


def test_fields_called_as_properties_of_a_form_are_no_trap(page: Page, visit: Visit, posted: Posted, oss: Held) -> None:
    names = ("action", "method", "enctype", "target", "submit", "elements", "requestSubmit", "id", "localName", "name")
    fields = "".join(f'<input type="hidden" name="{name}" value="x">' for name in names)
    visit(FORM.replace("<button", f"{fields}<button"))
    page.locator("[type=file]").set_input_files(file("a.txt"))
    oss.wait()
    press(page)
    oss.release()
    [[path, parts]] = posted()
    assert (path, parts[:3], len(parts)) == ("/shop/save", IDS[:3], 14)


def test_several_inputs_of_one_name_keep_their_order(page: Page, visit: Visit, posted: Posted) -> None:
    more = """<input type="file" name="photo" id="b"><input name="text" value="t">
        <input type="file" name="a,b;c%&quot;" id="c">"""
    visit(FORM.replace("<button", f"{more}<button"))
    page.locator("[type=file]").nth(0).set_input_files([file("a.txt"), file("b.txt")])
    page.locator("#b").set_input_files(file("c.txt"))
    page.locator("#c").set_input_files(file("empty", b""))
    press(page)
    [[_, parts]] = posted()
    assert [part[3] for part in parts] == [
        "photo,a%2Cb%3Bc%25%22", "Cat", "id-of-a.txt", "id-of-b.txt", "id-of-c.txt", "t", "id-of-empty", "save",
    ]  # fmt: skip


def test_an_empty_input_beside_a_full_one_stays_empty(page: Page, visit: Visit, posted: Posted) -> None:
    visit(FORM.replace("<button", '<input type="file" name="photo"><input type="file" name="other"><button'))
    page.locator("[type=file]").nth(0).set_input_files([file("a.txt")])
    press(page)
    [[_, parts]] = posted()
    empty = [[name, "", "application/octet-stream", ""] for name in ("photo", "other")]
    assert parts == [*IDS[:3], *empty, IDS[3]]


def test_a_page_in_gbk_says_so(page: Page, visit: Visit, posted: Posted) -> None:
    visit(FORM.replace('name="photo"', 'name="照片"'), "/shop/gbk")
    page.locator("[type=file]").set_input_files(file("猫.txt"))
    press(page)
    [[_, parts]] = posted()
    assert parts[0][3] == "%E7%85%A7%E7%89%87;charset=gbk"
    assert parts[2][0].encode("latin-1").decode("gbk") == "照片"


def test_a_folder_goes_under_its_paths(page: Page, visit: Visit, posted: Posted, tmp_path: Path) -> None:
    (tmp_path / "holidays").mkdir()
    (tmp_path / "holidays" / "sea.txt").write_text("sea")
    visit(FORM.replace("multiple", "webkitdirectory"))
    page.locator("[type=file]").set_input_files(tmp_path / "holidays")
    expect(status(page)).to_have_text("holidays/sea.txt: Done")
    press(page)
    [[_, parts]] = posted()
    assert parts[2] == ["photo", None, None, "id-of-holidays/sea.txt"]


#: Forms as style sheets lay them out: the HTML of the form, with what stands around the input of files.
LAYOUTS = {
    "table": "<table><tr><td>Photo<td>{}<td>JPEG only</table>",
    "grid": "<style>form{{display:grid;grid-template-columns:9em 1fr}}button{{grid-column:2}}</style><b>Photo</b>{}",
    "row": "<style>p{{display:flex;gap:1em}}</style><p><b>Photo</b>{}<small>JPEG only</small></p>",
    "row that wraps": "<style>p{{display:flex;flex-wrap:wrap}}input{{flex:1}}</style><p><b>Photo</b>{}</p>",
    "form that is a row": "<style>form{{display:flex}}</style><b>Photo</b>{}",
    "inline blocks": "<style>u{{display:inline-block}}</style><u>Photo<br>{}</u> <u>Title<br><input></u><br>",
    "button": "<style>u{{display:inline-block;position:relative}}[type=file]{{position:absolute;opacity:0}}</style>"
    "<p><u>Browse {}</u></p>",
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_progress_makes_no_box_of_the_page_wider_and_moves_none_aside(
    page: Page, visit: Visit, oss: Held, name: str
) -> None:
    page.set_viewport_size({"width": 600, "height": 600})
    form = LAYOUTS[name].format('<input type="file" name="photo">')
    visit(
        f'<form id="form" method="post" enctype="multipart/form-data" action="save">{form}<button>Save</button></form>'
    )
    boxes = """() => [...form.querySelectorAll("input, button, b, small, td, u")].map((element) => {
      const { left, width } = element.getBoundingClientRect();
      return [element.localName, Math.round(left), Math.round(width)];
    })"""
    before = page.evaluate(boxes)
    page.locator("[type=file]").set_input_files(file(f"{'long-' * 15}.txt"))
    oss.wait()
    press(page)
    expect(status(page)).to_contain_text(WAITING)
    assert page.evaluate(boxes) == before
    assert page.locator("[data-oss-state]").bounding_box()["width"] >= 150  # type: ignore[index]
    oss.release()


def test_after_the_back_button_the_form_is_sent_again(page: Page, visit: Visit, posted: Posted) -> None:
    visit()
    page.locator("[type=file]").set_input_files(file("a.txt"))
    press(page)
    assert posted() == [["/shop/save", IDS]]
    page.go_back()
    page.wait_for_load_state("networkidle")
    if page.locator("[type=file]").evaluate("input => input.files.length") == 0:
        page.locator("[type=file]").set_input_files(file("a.txt"))
    press(page)
    assert posted() == [["/shop/save", IDS]]


def test_a_large_file_goes_in_parts(page: Page, visit: Visit, posted: Posted, tmp_path: Path) -> None:
    with (tmp_path / "film.bin").open("wb") as film:
        film.truncate(40 << 20)
    visit()
    page.locator("[type=file]").set_input_files(tmp_path / "film.bin")
    press(page)
    [[_, parts]] = posted()
    assert parts[2] == ["photo", None, None, "id-of-film.bin"]


#: Libraries of npm that send forms by a script, and what turns them on.
SENDERS = {
    "turbo": ("@hotwired/turbo/dist/turbo.es2017-umd.js", ""),
    "htmx": ("htmx.org/dist/htmx.min.js", 'hx-post="save" hx-target="body"'),
}


@pytest.mark.parametrize("library", SENDERS)
def test_turbo_and_htmx_send_signed_ids(page: Page, visit: Visit, posted: Posted, library: str) -> None:
    name, attributes = SENDERS[library]
    folders = os.environ.get("NODE_PATH", "").split(os.pathsep)
    path = next(filter(Path.is_file, (Path(folder) / name for folder in folders)), None)
    if path is None:
        skip_or_fail(f"{name} of npm")
    page.route("**/library.js", lambda route: route.fulfill(path=path))
    visit(f'<head><script src="/library.js"></script></head>{FORM.replace("<form", f"<form {attributes}")}')
    for _ in range(2):
        page.locator("[type=file]").set_input_files(file("a.txt"))
        press(page)
        assert posted() == [["/shop/save", IDS]]
        visit(f'<head><script src="/library.js"></script></head>{FORM.replace("<form", f"<form {attributes}")}')


#: What libraries of 2008 do to the names of the language and the browser.
OLD_LIBRARIES = """
Array.from = (item) => (item == null ? [] : typeof item === "string" ? [item] : [].slice.call(item));
Array.prototype.toJSON = function () { return "[" + this.join() + "]"; };
for (const name of ["each", "include", "flatten", "last"]) Array.prototype[name] = function () { throw name; };
for (const name of ["toQueryParams", "strip"]) String.prototype[name] = function () { throw name; };
Function.prototype.delay = function () { throw "delay"; };
window.Event = function () {}; window.Element = function () {}; window.$ = window.$$ = () => { throw "$"; };
window.File = window.File;
"""


def test_libraries_that_change_the_language_do_not_matter(
    page: Page, visit: Visit, posted: Posted, tmp_path: Path, complaints: list[str]
) -> None:
    with (tmp_path / "film.bin").open("wb") as film:
        film.truncate(40 << 20)
    visit(f"<script>{OLD_LIBRARIES}</script>{FORM}")
    page.locator("[type=file]").set_input_files(tmp_path / "film.bin")
    expect(status(page)).to_have_text("film.bin: Done")
    page.locator("[type=file]").set_input_files([file("a.txt")])
    press(page)
    assert posted() == [["/shop/save", IDS]]
    assert complaints == []


def test_a_strict_policy_is_kept(page: Page, visit: Visit, posted: Posted, complaints: list[str]) -> None:
    visit(path="/shop/strict")
    page.locator("[type=file]").set_input_files(file("a.txt"))
    expect(status(page)).to_have_text("a.txt: Done")
    press(page)
    assert posted() == [["/shop/save", IDS]]
    assert complaints == []


@pytest.mark.parametrize(
    "policies",
    [
        [],
        ["default-src 'none'"],
        ["default-src 'self'; connect-src 'none'"],
        ["script-src 'nonce-abc'; connect-src 'none'"],
        ["script-src 'strict-dynamic' 'nonce-abc'", "default-src 'self'", "script-src-elem 'none'"],
        ["script-src 'none', connect-src https://a.example", "require-trusted-types-for 'script'; trusted-types a"],
    ],
)
def test_a_page_gets_the_line_from_the_middleware_under_any_policy(
    page: Page, shop: RunningServer, posted: Posted, complaints: list[str], policies: list[str]
) -> None:
    query = urlencode([("page", f"<!doctype html><title>old</title>{FORM}"), *(("policy", each) for each in policies)])
    page.goto(f"{shop.url}/shop/injected?{query}")
    page.wait_for_load_state("networkidle")
    page.locator("[type=file]").set_input_files(file("a.txt"))
    expect(status(page)).to_have_text("a.txt: Done")
    press(page)
    assert posted() == [["/shop/save", IDS]]
    assert complaints == []


def test_without_javascript_the_form_posts_the_file(browser: Browser, shop: RunningServer) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.request.get(f"{shop.url}/posted")
    page.goto(f"{shop.url}/shop/edit?" + _query(f"<!doctype html>{FORM}{SCRIPT}"))
    page.locator("[type=file]").set_input_files(file("a.txt"))
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/save")
    assert json.loads(page.request.get(f"{shop.url}/posted").text()) == [["/shop/save", FILES]]
    context.close()


def test_a_file_that_was_chosen_before_the_module_came_goes_too(
    page: Page, shop: RunningServer, posted: Posted
) -> None:
    held: list[Route] = []
    page.route("**/forms.js", lambda route: held.append(route))
    page.goto(f"{shop.url}/shop/edit?" + _query(f"<!doctype html>{FORM}{SCRIPT}"))
    page.locator("[type=file]").set_input_files(file("a.txt"))
    wait_until(lambda: held, page)
    held[0].continue_()
    expect(status(page)).to_have_text("a.txt: Done")


def test_a_module_that_another_script_loaded_first_takes_over_too(page: Page, visit: Visit, posted: Posted) -> None:
    visit(f'<script type="module" async>import "/shop/oss/upload.js"; import "/shop/oss/upload.js?2"</script>{FORM}')
    page.locator("[type=file]").set_input_files(file("a.txt"))
    press(page)
    assert posted() == [["/shop/save", IDS]]
