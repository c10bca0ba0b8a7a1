"""web.py, with ``web.input``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import web

PAGE = """<!doctype html><html><head></head><body>
<form method="POST" enctype="multipart/form-data" action="">
<input type="text" name="title">
<input type="file" name="myfile">
<br>
<input type="submit">
</form>
</body></html>"""


def make(folder: Path) -> Any:
    class Upload:
        def GET(self) -> str:  # noqa: N802 - web.py calls the methods of HTTP
            web.header("Content-Type", "text/html; charset=utf-8")
            return PAGE

        def POST(self) -> str:  # noqa: N802
            form = web.input(myfile={})
            path = form.myfile.filename.replace("\\", "/")
            (folder / path.split("/")[-1]).write_bytes(form.myfile.file.read())
            return f"{form.title}: {form.myfile.filename!r}, {form.myfile.content_type!r}"

    return web.application(("/", Upload)).wsgifunc()
