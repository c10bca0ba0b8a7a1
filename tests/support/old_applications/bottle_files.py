"""Bottle, with ``request.files``."""

from __future__ import annotations

from pathlib import Path

from bottle import Bottle, request

PAGE = """<!doctype html>
<form action="/upload" method="post" enctype="multipart/form-data">
  Category: <input type="text" name="category">
  Select a file: <input type="file" name="upload">
  <input type="submit" value="Start upload">
</form>
"""


def make(folder: Path) -> Bottle:
    app = Bottle()

    @app.get("/")
    def form() -> str:
        return PAGE

    @app.post("/upload")
    def do_upload() -> str:
        category = request.forms.category
        upload = request.files.get("upload")
        upload.save(str(folder))  # it appends upload.filename, which Bottle has made safe
        return f"{category}: {upload.raw_filename!r}, {upload.content_type!r}"

    return app
