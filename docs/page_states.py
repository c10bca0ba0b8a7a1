"""Photographs the upload page: empty, half-way, with one failure among ten, and done, on three widths, light and dark.

`docs/pictures.py` calls it. Each strip has a column for each state: a desk, and below it a tablet and a phone.
"""

from __future__ import annotations

import base64
import os
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.chromium import chromium
from tests.support.running_server import running_server

STATES = ("empty", "half", "failure", "done")
WIDTHS = {1280: 860, 768: 860, 360: 740}
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
body {{ display: grid; grid-template-columns: repeat(4, 320px); gap: 14px; width: max-content; margin: 0 }}
body {{ padding: 14px; background: {ground} }}
div {{ display: flex; gap: 14px; align-items: start }}
img {{ display: block; border: 1px solid {line}; border-radius: 5px }}
</style>{columns}"""


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


def photograph(folder: Path) -> None:
    """Write ``states-light.png`` and ``states-dark.png``."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        running_server(OSS_MULTIPART="off") as server,
        chromium() as browser,
    ):
        files = write_files(Path(temporary))
        for scheme, ground, line in (("light", "#ffffff", "#d8dce2"), ("dark", "#000000", "#2f353d")):
            shots = {}
            for width, height in WIDTHS.items():
                viewport = {"width": width, "height": height}
                phone = {"is_mobile": True, "has_touch": True} if width == 360 else {}
                context = browser.new_context(viewport=viewport, color_scheme=scheme, locale="en-GB", **phone)
                shots[width] = states_of(context.new_page(), f"{server.url}/", files)
                context.close()
            columns = ""
            for number in range(len(STATES)):
                desk, tablet, phone_shot = (_image(shots[width][number], part) for width, part in _parts())
                columns += f"<section>{desk}<div style='margin-top: 14px'>{tablet}{phone_shot}</div></section>"
            strip = browser.new_page(viewport={"width": 1364, "height": 600})
            strip.set_content(STRIP.format(ground=ground, line=line, columns=columns))
            strip.locator("body").screenshot(path=folder / f"states-{scheme}.png")
            strip.close()


def _parts() -> tuple[tuple[int, int], ...]:
    return (1280, 318), (768, 198), (360, 104)


def _image(content: bytes, width: int) -> str:
    return f'<img width="{width}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'


if __name__ == "__main__":
    photograph(Path(sys.argv[1] if len(sys.argv) > 1 else os.curdir))
