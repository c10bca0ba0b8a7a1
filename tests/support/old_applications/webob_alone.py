"""WebOb without a framework."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

import webob
import webob.dec

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PAGE = """<!doctype html>
<form method="post" enctype="multipart/form-data">
  <input name="title"> <input type="file" name="file"> <button>Upload</button>
</form>
"""


def make(folder: Path) -> WSGIApplication:
    @webob.dec.wsgify
    def application(request: webob.Request) -> webob.Response:
        if request.method == "GET":
            return webob.Response(PAGE)
        field = request.POST["file"]
        with open(folder / field.filename, "wb") as stored:
            shutil.copyfileobj(field.file, stored)
        return webob.Response(f"{request.POST['title']}: {field.filename!r}, {field.type!r}")

    return cast("WSGIApplication", application)
