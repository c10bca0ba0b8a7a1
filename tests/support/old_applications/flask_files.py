"""Flask, with ``request.files``."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, redirect, request
from werkzeug.utils import secure_filename
from werkzeug.wrappers import Response

PAGE = """<!doctype html>
<title>Upload new file</title>
<h1>Upload new file</h1>
<form method=post enctype=multipart/form-data>
  <input name=title>
  <input type=file name=file>
  <input type=submit value=Upload>
</form>
"""


def make(folder: Path) -> Flask:
    app = Flask(__name__)
    app.config["UPLOAD_FOLDER"] = folder

    @app.route("/", methods=["GET", "POST"])
    def upload_file() -> str | Response:
        if request.method == "GET":
            return PAGE
        file = request.files.get("file")
        if file is None or file.filename == "":
            return redirect(request.url)
        filename = secure_filename(file.filename or "")
        file.save(Path(app.config["UPLOAD_FOLDER"]) / filename)
        return f"{request.form['title']}: {file.filename!r}, {file.content_type!r}"

    return app
