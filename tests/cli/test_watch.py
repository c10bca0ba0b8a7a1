"""The watch over an application of `serve --app`: callbacks that find nobody, and a DirectUpload that is hidden."""

from __future__ import annotations

import io
from typing import Any

import pytest
import webob

from oss_wsgi.application import DirectUpload, direct_uploads_of
from oss_wsgi.cli.watch import ApplicationWatch
from oss_wsgi.middleware.access_log import AccessLog
from oss_wsgi.middleware.authorization import AuthorizationPassthrough
from oss_wsgi.middleware.dispatcher import Dispatcher
from oss_wsgi.settings import Settings
from oss_wsgi.testing import UploadClient

SETTINGS = Settings(bucket="examplebucket", region="cn-hangzhou", access_key_id="id", access_key_secret="secret")


def application(environ: Any, start: Any) -> list[bytes]:
    start("200 OK", [])
    return []


def ask(app: Any, **environ: Any) -> None:
    request = webob.Request.blank("/oss/health", environ)
    request.get_response(app)


def watching(app: Any, prefix: str | None = "/oss") -> tuple[ApplicationWatch, list[str], list[DirectUpload]]:
    said: list[str] = []
    hidden: list[DirectUpload] = []
    return ApplicationWatch(app, said.append, hidden.append, prefix), said, hidden


@pytest.mark.parametrize("status", ["404 Not Found", "200 OK", "302 Found", "405 Method Not Allowed"])
def test_a_callback_that_finds_no_direct_upload_is_spoken_of_once(status: str) -> None:
    """Whatever the application answers: many have a page for every path."""

    def answering(environ: Any, start: Any) -> list[bytes]:
        start(status, [("content-type", "text/html; charset=utf-8")])
        return []

    watch, said, _ = watching(answering)
    watch({"PATH_INFO": "/"}, lambda *arguments: None)  # type: ignore[arg-type, return-value]
    assert said == []
    for _ in range(2):
        callback = {"HTTP_X_OSS_PUB_KEY_URL": "x", "PATH_INFO": "/oss/callback"}
        watch(callback, lambda *arguments: None)  # type: ignore[arg-type, return-value]
    (sentence,) = said
    beginning = "OSS reported an upload to /oss/callback, and no DirectUpload is there: the application answered "
    assert sentence.startswith(f"{beginning}{status[:3]}. ")


@pytest.mark.parametrize("forwards", [False, True])
def test_a_callback_that_a_direct_upload_took_is_not_spoken_of(forwards: bool) -> None:
    said: list[str] = []

    def view(environ: Any, start: Any) -> list[bytes]:
        start("500 Internal Server Error", [("Content-Type", "text/html")])
        return [b""]

    client = UploadClient(
        view, wrap=lambda app: ApplicationWatch(app, said.append, said.append, "/oss"), forward_callback=forwards
    )
    assert client.upload("a.png", b"x").status_int == (203 if forwards else 200)
    refused = {"HTTP_X_OSS_PUB_KEY_URL": "x", "CONTENT_LENGTH": "1", "wsgi.input": io.BytesIO(b"x")}
    request = webob.Request.blank("/oss/callback", refused, method="POST")
    assert request.get_response(client.application).status_int == 403
    client.close()
    assert said == []


def test_a_direct_upload_that_middleware_hides_is_met_once_at_its_first_request() -> None:
    uploads = DirectUpload(application, SETTINGS)
    watch, said, hidden = watching(lambda environ, start: uploads(environ, start))
    callback = {"X_OSS_PUB_KEY_URL": "aHR0cHM6Ly9nb3NzcHVibGljLmFsaWNkbi5jb20vY2FsbGJhY2tfcHViX2tleV92MS5wZW0="}
    assert hidden == [] and not watch.is_callback("POST", "/oss/callback", callback)
    for _ in range(2):
        ask(watch)
    assert hidden == [uploads] and said == []
    assert watch.is_callback("POST", "/oss/callback", callback)
    uploads.ledger.close()


def test_a_direct_upload_that_is_shown_is_not_met() -> None:
    uploads = DirectUpload(application, SETTINGS)
    below = Dispatcher(application, {"/files": AuthorizationPassthrough(uploads)})
    for app in (uploads, below, DirectUpload(uploads, SETTINGS, prefix="/b"), AccessLog(uploads, clock=lambda: 0.0)):
        assert uploads in direct_uploads_of(app)
        watch, said, hidden = watching(app)
        ask(watch)
        assert (hidden, said) == ([], [])
