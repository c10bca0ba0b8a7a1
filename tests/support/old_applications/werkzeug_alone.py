"""werkzeug without a framework."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.utils import secure_filename
from werkzeug.wrappers import Request, Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PAGE = """<!doctype html>
<form method="post" enctype="multipart/form-data">
  <input name="title"> <input type="file" name="files" multiple> <button>Upload</button>
</form>
"""


def make(folder: Path) -> WSGIApplication:
    @Request.application
    def application(request: Request) -> Response:
        if request.method == "GET":
            return Response(PAGE, mimetype="text/html")
        lines = [request.form["title"]]
        for file in request.files.getlist("files"):
            file.save(folder / secure_filename(file.filename or ""))
            lines.append(f"{file.filename!r}, {file.content_type!r}")
        return Response("\n".join(lines))

    return application
