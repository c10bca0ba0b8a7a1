"""Pyramid with deform, which keeps a file while the person corrects other fields."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import colander
import deform
from pyramid.config import Configurator
from pyramid.request import Request
from pyramid.response import Response


class MemoryTmpStore(dict[str, Any]):
    """The files of forms that are not valid yet."""

    def preview_url(self, uid: str) -> None:
        return None


class FileUpload(colander.Schema):
    def __init__(self, tmpstore: MemoryTmpStore) -> None:
        super().__init__()
        self.add(colander.SchemaNode(colander.String(), name="title"))
        widget = deform.widget.FileUploadWidget(tmpstore)
        self.add(colander.SchemaNode(deform.FileData(), widget=widget, name="upload"))


def make(folder: Path) -> Any:
    tmpstore = MemoryTmpStore()

    def site_view(request: Request) -> Response:
        form = deform.Form(FileUpload(tmpstore), buttons=("submit",))
        if "submit" not in request.POST:
            return Response(f"<!doctype html><title>Upload</title>{form.render()}")
        try:
            appstruct = form.validate(request.POST.items())
        except deform.ValidationFailure as failure:
            return Response(f"<!doctype html><title>Upload</title>{failure.render()}")
        upload = appstruct["upload"]
        with open(folder / upload["filename"], "wb") as stored:
            shutil.copyfileobj(upload["fp"], stored)
        return Response(f"{appstruct['title']}: {upload['filename']!r}, {upload['mimetype']!r}")

    config = Configurator()
    config.add_route("site", "/")
    config.add_view(site_view, route_name="site")
    config.add_static_view("static", "deform:static")
    return config.make_wsgi_app()
