"""The gallery behind DirectUpload, with a local OSS, a storage in its bucket, and what a browser does."""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import webob
from django.contrib.auth.models import User
from django.core.files.storage import default_storage
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.test import override_settings
from PIL import Image

from oss_wsgi import Grant
from oss_wsgi.django import user_of
from oss_wsgi.testing import UploadClient
from oss_wsgi.testing.clients import get_response

from ..support.browser_form import CONTENT_TYPE, File, browser_form
from . import project

Entry = tuple[str, "str | File"]


def picture(width: int = 30, height: int = 20, *, name: str = "cat.png") -> File:
    data = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(data, "PNG")
    return File(name, "image/png", data.getvalue())


class Site:
    """Django, its database in a folder, and eric, who may do everything.

    :param forms: whether PostedFiles is around Django.
    """

    def __init__(self, folder: Path, *, forms: bool = True) -> None:
        (folder / "database").write_bytes(database())
        project.use(project.sqlite(folder / "database"))
        self.client = UploadClient(get_wsgi_application(), authorize=self.authorize, forms=forms)
        self.bucket: Any = self.client.bucket
        values = {name: getattr(self.client.settings, name) for name in ("bucket", "region", "host")}
        key = self.client.settings.credentials()
        values |= {"access_key_id": key.access_key_id, "access_key_secret": key.access_key_secret}
        options = {"bucket_client": self.bucket, **values}
        self._settings = override_settings(
            STORAGES={
                "default": {"BACKEND": "oss_wsgi.django.OSSStorage", "OPTIONS": options},
                "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
            }
        )
        self._settings.enable()
        self.cookies: dict[str, str] = {}

    def close(self) -> None:
        self._settings.disable()
        self.client.close()
        connections.close_all()

    def authorize(self, request: webob.Request) -> Grant | None:
        user = user_of(request)
        return Grant(user=str(user.pk), dir=f"users/{user.pk}/") if user.is_authenticated else None

    def log_in(self, user: str = "eric") -> None:
        self.cookies["csrftoken"] = "a" * 32
        body = browser_form([("user", user), ("password", "wonderland"), *self.token])
        assert self.ask("/login", method="POST", body=body, content_type=CONTENT_TYPE).text == "hello"

    @property
    def token(self) -> list[tuple[str, str]]:
        return [("csrfmiddlewaretoken", self.cookies["csrftoken"])]

    def ask(self, path: str, **request: Any) -> webob.Response:
        blank = webob.Request.blank(path, environ=self.environ, **request)
        response = get_response(blank, self.client.application)
        for line in response.headers.getall("Set-Cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name.strip()] = value
        return response

    @property
    def environ(self) -> dict[str, str]:
        return {"HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}

    def upload(self, file: File) -> str:
        """Upload a file as the page does, and return its signed ID."""
        response = self.client.upload(
            file.name, file.data, content_type=file.type or "application/octet-stream", environ=self.environ
        )
        return str(response.json["signed_id"])

    def post(self, path: str, entries: Iterable[Entry], *, stay: Iterable[File] = (), charset: str = "utf-8") -> Any:
        """Post a form as ``upload.js`` does; the files in ``stay`` are posted with their bytes."""
        stay = list(stay)
        names = dict.fromkeys(name for name, value in entries if isinstance(value, File) and value not in stay)
        marker = ",".join(webob.compat.url_quote(name) for name in names)
        marker += "" if charset == "utf-8" else f";charset={charset}"
        replaced: list[Entry] = [("oss_wsgi.files", marker)] if names else []
        for name, value in [*self.token, *entries]:
            goes = isinstance(value, File) and value not in stay
            replaced.append((name, self.upload(value)) if goes and isinstance(value, File) else (name, value))
        self.bucket.requests.clear()
        body = browser_form(replaced, charset=charset)
        content_type = CONTENT_TYPE if charset == "utf-8" else f"{CONTENT_TYPE}; charset={charset}"
        return self.ask(path, method="POST", body=body, content_type=content_type)

    def asked(self, *methods: str) -> list[str]:
        """Return the names of what the bucket was asked by these methods since the last form was posted."""
        return [name for method, name in self.bucket.requests if method in methods]

    def stored(self) -> list[str]:
        """Return the names of all objects."""
        return sorted(entry.key for entry in self.bucket.list("", "", 1000))

    def data(self, name: str) -> bytes:
        with default_storage.open(name) as file:
            return bytes(file.read())


@functools.cache
def database() -> bytes:
    """Return a new database with its users."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "database"
        project.use(project.sqlite(path))
        call_command("migrate", run_syncdb=True, verbosity=0)
        User.objects.create_superuser("eric", password="wonderland")
        User.objects.create_user("mallory", password="wonderland")
        connections.close_all()
        return path.read_bytes()


def answer(response: webob.Response) -> Any:
    assert response.status_int == 200, response.text
    return json.loads(response.text)
