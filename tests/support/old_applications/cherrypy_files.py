"""CherryPy, whose body parser gives a page handler the file as an argument."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cherrypy

PAGE = """<!doctype html>
<h2>Upload a file</h2>
<form action="upload" method="post" enctype="multipart/form-data">
  title: <input type="text" name="title"><br>
  filename: <input type="file" name="myFile"><br>
  <input type="submit">
</form>
"""


class FileDemo:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cherrypy.expose
    def index(self) -> str:
        return PAGE

    @cherrypy.expose
    def upload(self, title: str, myFile: Any) -> str:  # noqa: N803 - CherryPy takes the names of the form
        with open(self.folder / Path(myFile.filename).name, "wb") as stored:
            while data := myFile.file.read(8192):
                stored.write(data)
        return f"{title}: {myFile.filename!r}, {str(myFile.content_type)!r}"


def make(folder: Path) -> cherrypy.Application:
    cherrypy.config.update({"environment": "embedded"})
    return cherrypy.Application(FileDemo(folder), "", {"/": {"tools.encode.on": True}})
