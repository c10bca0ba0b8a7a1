"""Photographs the upload page, forms and the window of the local OSS, on several widths, light and dark.

`docs/pictures.py` calls it. Each strip has a column for each state: a desk, and below it smaller screens. The upload
page is empty, half-way, with one failure among ten, and done; an old application's form is new, waits for its files,
and has been sent. An input on a page of one's own and the window have one state, with a phone beside the desk.
"""

from __future__ import annotations

import base64
import functools
import os
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.chromium import chromium
from tests.support.running_server import FREE_PORTS, clean_environ, running_server, serving

ROOT = Path(__file__).parent.parent
#: Width of a screen: its height, and its width in a strip.
SCREENS = {1280: (860, 318), 768: (860, 198), 360: (740, 104)}
FORM_SCREENS = {820: (360, 434), 360: (380, 268)}
INPUT_SCREENS = {1280: (300, 896), 390: (300, 273)}
WINDOW_SCREENS = {1280: (800, 896), 390: (800, 273)}
COLORS = (("light", "#ffffff", "#d8dce2"), ("dark", "#000000", "#2f353d"))
PHOTOS = {
    "Beach at sunset.png": (206, 96, 44),
    "Family dinner.png": (58, 90, 150),
    "IMG_4821.png": (40, 130, 90),
    "IMG_4822.png": (124, 60, 140),
}
NAMES = (
    *("Beach at sunset.png", "Family dinner.png", "Contract 2026.pdf", "Minutes of the general meeting.docx"),
    *("IMG_4821.png", "Budget.xlsx", "holiday.mp4", "notes.txt", "IMG_4822.png", "Backup.zip"),
)
REFUSAL = {
    "status": 403,
    "body": "<Error><Code>AccessDenied</Code></Error>",
    "headers": {"Access-Control-Allow-Origin": "*"},
}
#: A page as it was before its three lines of HTML, without a style sheet.
OWN_PAGE = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Address book</title>
<body><h1>Address book of eric</h1>
<form><p><label for="photos">Photos</label> <input type="file" id="photos" multiple data-oss-upload>
<output for="photos"></output></p><p><button>Save</button></p></form>
<script type="module" src="/oss/upload.js"></script>"""
#: What the browser itself tells of a form that is on its way.
PROGRESS = """const { send } = XMLHttpRequest.prototype;
XMLHttpRequest.prototype.send = function (body) {
  send.call(this, body);
  this.upload.dispatchEvent(new ProgressEvent("progress", { loaded: 62, total: 100 }));
};"""
STRIP = """<!doctype html><style>
body {{ display: grid; grid-auto-flow: column; gap: 14px; width: max-content; margin: 0 }}
body {{ padding: 14px; background: {ground} }}
section {{ display: grid; gap: 14px }}
.beside {{ grid-auto-flow: column }}
div {{ display: flex; gap: 14px; align-items: start }}
img {{ display: block; border: 1px solid {line}; border-radius: 5px }}
</style>{columns}"""
#: An old application, with the markup of its time.
FORM_APPLICATION = '''
from flask import Flask, request

application = Flask("claims")
PAGE = """<!doctype html><meta name="viewport" content="width=device-width"><title>Expenses</title><style>
:root { color-scheme: light dark } body { font: 15px/1.45 Verdana, "DejaVu Sans", sans-serif; margin: 0 }
h1 { font-size: 19px; margin: 0; padding: 12px; background: #31587a; color: #fff } main { padding: 6px 12px }
table { border-spacing: 0 10px } th { text-align: left; vertical-align: top; padding-right: 10px; font-weight: normal }
td { vertical-align: top } input, textarea, button { font: inherit; max-width: 15em; box-sizing: border-box }
</style><h1>Expenses</h1><main>"""
FORM = """<form method="post" enctype="multipart/form-data"><table>
<tr><th>Trip<td><input name="trip" value="Hangzhou, November" size="24">
<tr><th>Receipts<td><input type="file" name="receipts" multiple>
<tr><th>Note<td><textarea name="note" rows="2" cols="24">Two nights, and the train</textarea>
<tr><td><td><button>Send claim</button></table></form>"""


@application.route("/", methods=["GET", "POST"])
def claim():
    if request.method == "GET":
        return PAGE + FORM
    files = [f"<li>{file.filename}, {len(file.read())} bytes" for file in request.files.getlist("receipts")]
    return f"{PAGE}<p>Thank you. Your claim for {request.form['trip']} has:<ul>{''.join(files)}</ul>"
'''
FORM_AUTHORIZE = """
from oss_wsgi import Grant


def authorize(request):
    return Grant(user="eric")
"""


def photo(color: tuple[int, int, int], edge: int = 48) -> bytes:
    """Return a PNG with a gradient."""
    rows = b"".join(
        b"\0" + b"".join(bytes(min(255, part + 70 * (x + y) // (2 * edge)) for part in color) for x in range(edge))
        for y in range(edge)
    )
    header = struct.pack(">IIBBBBB", edge, edge, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        packed += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return packed


def write_files(folder: Path) -> list[Path]:
    """Write ten files for the file chooser, and return their paths."""
    for number, name in enumerate(NAMES):
        content = photo(PHOTOS[name]) if name in PHOTOS else b""
        (folder / name).write_bytes(content.ljust(240_000 + 61_000 * number, b"\0"))
    return [folder / name for name in NAMES]


def states_of(page: Any, url: str, files: list[Path]) -> list[bytes]:
    """Bring the page into each state, and return their photographs."""
    held: list[Any] = []
    counted: list[str] = []

    def answer(route: Any) -> None:
        counted.append(route.request.url)
        if len(counted) == 3:
            route.fulfill(**REFUSAL)
        elif len(counted) > 5 and not page.is_released:
            held.append(route)
        else:
            route.continue_()

    page.is_released = False
    page.route("**/local-bucket", answer)
    page.goto(url)
    page.locator("#limits:not([hidden])").wait_for(state="attached")
    shots = [page.screenshot()]
    page.locator("#file").set_input_files(files)
    page.locator("#upload").click()
    page.locator("[data-state=stored]").nth(3).wait_for()
    while len(held) < 3:
        page.wait_for_timeout(50)
    page.wait_for_timeout(400)
    shots.append(page.screenshot())
    page.is_released = True
    for route in held:
        route.continue_()
    page.locator("[data-state=stored]").nth(8).wait_for()
    page.wait_for_timeout(400)
    shots.append(page.screenshot())
    page.locator(".retry:visible").click()
    page.locator("[data-state=stored]").nth(9).wait_for()
    page.wait_for_timeout(400)
    shots.append(page.screenshot())
    return shots


def form_states_of(page: Any, url: str, files: list[Path]) -> list[bytes]:
    """Fill in the form of the old application and send it; return the photographs."""
    held: list[Any] = []
    page.route("**/local-bucket", lambda route: held.append(route) if not page.is_released else route.continue_())
    page.is_released = False
    page.goto(url)
    page.wait_for_load_state("networkidle")
    shots = [page.screenshot()]
    page.locator("[type=file]").set_input_files(files[:3])
    while len(held) < 3:
        page.wait_for_timeout(50)
    held.pop(0).continue_()
    page.locator("[role=status]").filter(has_text="1 of 3").wait_for()
    page.locator("button").click(no_wait_after=True)
    page.locator("[role=status]").filter(has_text="as soon as").wait_for()
    shots.append(page.screenshot())
    page.is_released = True
    for route in held:
        route.continue_()
    page.get_by_text("Thank you").wait_for()
    shots.append(page.screenshot())
    return shots


def input_of(page: Any, url: str, files: list[Path]) -> bytes:
    """Return a photograph of an input with a file that is stored, one that was refused, and one on its way."""
    held: list[Any] = []

    def answer(route: Any) -> None:
        form = route.request.post_data_buffer
        if files[0].name.encode() in form:
            route.continue_()
        elif files[2].name.encode() in form:
            route.fulfill(**REFUSAL)
        else:
            held.append(route)

    page.route("**/local-bucket", answer)
    page.add_init_script(PROGRESS)
    page.goto(url)  # a browser lets only pages of this machine send forms to it
    page.set_content(OWN_PAGE)
    page.locator("#photos").set_input_files([files[0], files[2], files[4]])
    page.get_by_text("Done").wait_for()
    page.get_by_text("refused").wait_for()
    page.locator("progress").wait_for()
    shot = page.screenshot()
    for route in held:
        route.continue_()
    page.locator("progress").wait_for(state="detached")
    return shot


def fill_window(context: Any, url: str, files: list[Path]) -> str:
    """Upload files, of which one is refused and the report of one is lost at first; return the window's URL."""
    page = context.new_page()
    forms: list[Any] = []

    def send(number: int, end: str) -> None:
        page.locator("#file").set_input_files(files[number])
        page.locator("#upload").click()
        page.locator(f"[data-state={end}]").filter(has_text=files[number].name).wait_for()

    def alter(route: Any) -> None:
        forms.append(route)
        route.continue_(post_data=route.request.post_data_buffer.replace(b"image/png", b"image/gif"))

    page.route("**/local-bucket", alter, times=1)
    page.goto(url)
    send(0, "failed")
    window = str(forms[0].request.url.removesuffix("local-bucket"))
    send(1, "stored")
    send(2, "stored")
    faults = context.new_page()
    faults.goto(f"{window}_inspect/faults")
    fault = faults.locator("form:has([value=callback_timeout])")
    fault.get_by_role("checkbox").check()
    fault.get_by_role("button").click()
    send(3, "stored")
    send(4, "stored")
    return window


def window_of(page: Any, url: str) -> bytes:
    """Return a photograph of the window's list."""
    page.goto(url)
    page.locator(".live:not([hidden])").wait_for()
    page.locator("summary").last.click()
    return page.screenshot()


def photograph(folder: Path) -> None:
    """Write ``states-light.png`` and ``states-dark.png`` of the page, and those of window, input and form."""
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        temporary = Path(name)
        files = write_files(temporary)
        (temporary / "claims.py").write_text(FORM_APPLICATION, encoding="utf-8")
        (temporary / "uploads.py").write_text(FORM_AUTHORIZE, encoding="utf-8")
        command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", "claims:application", "--forms"]
        command += ["--authorize", "uploads:authorize", *FREE_PORTS]
        environ = clean_environ(PYTHONPATH=str(ROOT))
        with running_server(OSS_MULTIPART="off", OSS_UPLOAD_DIR="photos/") as server:
            url = f"{server.url}/"
            context = browser.new_context(locale="en-GB")
            window = fill_window(context, url, files)
            context.close()
            photographs = functools.partial(_photograph, browser=browser)
            photographs(folder / "states-window", screens=WINDOW_SCREENS, take=lambda page: [window_of(page, window)])
            photographs(folder / "states-input", screens=INPUT_SCREENS, take=lambda page: [input_of(page, url, files)])
            photographs(folder / "states", screens=SCREENS, take=lambda page: states_of(page, url, files))
        with serving(command, environ, temporary) as server:
            take = functools.partial(form_states_of, url=server.url, files=files)
            photographs(folder / "states-form", screens=FORM_SCREENS, take=take)


def _photograph(
    path: Path, *, browser: Any, screens: dict[int, tuple[int, int]], take: Callable[[Any], list[bytes]]
) -> None:
    """Write two strips, whose names begin with ``path``, of the photographs that ``take`` returns of a page."""
    for scheme, ground, line in COLORS:
        shots = []
        for width, (height, part) in screens.items():
            viewport = {"width": width, "height": height}
            looks = {"is_mobile": True, "has_touch": True} if width < 400 else {}
            looks |= {"viewport": viewport, "color_scheme": scheme}
            context = browser.new_context(bypass_csp=True, locale="en-GB", **looks)
            shots.append([_image(shot, part) for shot in take(context.new_page())])
            context.close()
        states = list(zip(*shots, strict=True))
        kind = "beside" if len(states) == 1 else "below"
        columns = ""
        for desk, *others in states:
            columns += f"<section class={kind}>{desk}<div>{''.join(others)}</div></section>"
        strip = browser.new_page(viewport={"width": 1364, "height": 600})
        strip.set_content(STRIP.format(ground=ground, line=line, columns=columns))
        strip.locator("body").screenshot(path=f"{path}-{scheme}.png")
        strip.close()


def _image(content: bytes, width: int) -> str:
    return f'<img width="{width}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


if __name__ == "__main__":
    photograph(Path(sys.argv[1] if len(sys.argv) > 1 else os.curdir))
