"""Hands a callback to a WSGI application in this process, without a socket."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from .message import CallbackReply, CallbackRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

logger = logging.getLogger(__name__)


class WSGITransport:
    """The application sees what a server would make of the request; what it raises counts as its answer 500."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, request: CallbackRequest) -> CallbackReply:
        started: list[tuple[int, dict[str, str]]] = []
        written = io.BytesIO()

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [(int(status[:3]), {name.lower(): value for name, value in headers})]
            return written.write

        try:
            _collect(self._app, callback_environ(request), start_response, written)
        except Exception:
            logger.exception("the application failed on a callback")
            return CallbackReply(500)
        if not started:
            logger.error("the application did not call start_response on a callback")
            return CallbackReply(500)
        status, answer_headers = started[0]
        return CallbackReply(status, answer_headers, written.getvalue())


def callback_environ(request: CallbackRequest) -> dict[str, Any]:
    url = request.url
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": url.target,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.host,
        "SERVER_PORT": str(url.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        variable = name.upper().replace("-", "_")
        environ[variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"] = value
    return environ


def _collect(app: WSGIApplication, environ: dict[str, Any], start_response: StartResponse, written: io.BytesIO) -> None:
    parts: Iterable[bytes] = app(environ, start_response)
    try:
        for part in parts:
            written.write(part)
    finally:
        if hasattr(parts, "close"):
            parts.close()
