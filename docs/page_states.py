"""Photographs the upload page and an old application's form in their states, on several widths, light and dark.

`docs/pictures.py` calls it. Each strip has a column for each state: a desk, and below it smaller screens. The upload
page is empty, half-way, with one failure among ten, and done; the form is new, waits for its files, and has been sent.
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
STRIP = """<!doctype html><style>
body {{ display: grid; grid-auto-flow: column; gap: 14px; width: max-content; margin: 0 }}
body {{ padding: 14px; background: {ground} }}
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


def photograph(folder: Path) -> None:
    """Write ``states-light.png``, ``states-dark.png``, and ``states-form-...`` of the old application."""
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        temporary = Path(name)
        files = write_files(temporary)
        (temporary / "claims.py").write_text(FORM_APPLICATION, encoding="utf-8")
        (temporary / "uploads.py").write_text(FORM_AUTHORIZE, encoding="utf-8")
        command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", "claims:application", "--forms"]
        command += ["--authorize", "uploads:authorize", *FREE_PORTS]
        environ = clean_environ(PYTHONPATH=str(ROOT))
        with running_server(OSS_MULTIPART="off") as server:
            _photograph(folder / "states", browser, SCREENS, lambda page: states_of(page, f"{server.url}/", files))
        with serving(command, environ, temporary) as server:
            take = functools.partial(form_states_of, url=server.url, files=files)
            _photograph(folder / "states-form", browser, FORM_SCREENS, take)


def _photograph(
    path: Path, browser: Any, screens: dict[int, tuple[int, int]], take: Callable[[Any], list[bytes]]
) -> None:
    """Write two strips, whose names begin with ``path``, of the photographs that ``take`` returns of a page."""
    for scheme, ground, line in COLORS:
        shots = []
        for width, (height, part) in screens.items():
            viewport = {"width": width, "height": height}
            phone = {"is_mobile": True, "has_touch": True} if width == 360 else {}
            context = browser.new_context(viewport=viewport, color_scheme=scheme, locale="en-GB", **phone)
            shots.append([_image(shot, part) for shot in take(context.new_page())])
            context.close()
        columns = ""
        for desk, *others in zip(*shots, strict=True):
            columns += f"<section>{desk}<div style='margin-top: 14px'>{''.join(others)}</div></section>"
        strip = browser.new_page(viewport={"width": 1364, "height": 600})
        strip.set_content(STRIP.format(ground=ground, line=line, columns=columns))
        strip.locator("body").screenshot(path=f"{path}-{scheme}.png")
        strip.close()


def _image(content: bytes, width: int) -> str:
    return f'<img width="{width}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


if __name__ == "__main__":
    photograph(Path(sys.argv[1] if len(sys.argv) > 1 else os.curdir))
