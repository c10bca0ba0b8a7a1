"""A CGI script with a form, behind the adapter of docs/how-to/cgi-script.md."""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING

from ...documentation.blocks import steps

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "cgi-script.md"

#: Python has had `cgi` until 3.12; for later ones it is the package legacy-cgi, which WebOb brings.
SCRIPT = """#!/usr/bin/env python3
import cgi
import os
import sys

sys.stdout.reconfigure(encoding="utf-8")
print("Content-Type: text/html; charset=utf-8")
print()
if os.environ["REQUEST_METHOD"] == "GET":
    print('<!doctype html><form method="post" enctype="multipart/form-data">')
    print('<input name="title"> <input type="file" name="userfile"> <input type="submit" value="Upload"></form>')
else:
    form = cgi.FieldStorage()
    item = form["userfile"]
    if item.file:
        with open("files/" + os.path.basename(item.filename), "wb") as stored:
            while data := item.file.read(65536):
                stored.write(data)
    print(f"{form.getvalue('title')}: {item.filename!r}, {item.type!r}")
"""


def make(folder: Path) -> WSGIApplication:
    site = folder / "cgi"
    site.mkdir()
    (site / "files").mkdir()
    (site / "guestbook.py").write_text(SCRIPT, encoding="utf-8")
    (adapter,) = (step for step in steps(PAGE) if step.marks.get("file") == "cgi_script.py")
    module = types.ModuleType("cgi_script")
    module.__file__ = str(site / "cgi_script.py")
    exec(compile(adapter.text, module.__file__, "exec"), vars(module))
    application: WSGIApplication = module.application
    return application
