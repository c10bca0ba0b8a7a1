"""Delivers a recovered upload to the application that receives callbacks, as if OSS had reported it."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes, urlsplit

from ..callback.parameters import FORM
from ..callback.upload import UPLOAD_KEY, Upload
from ..recovery.recovery import Delivered
from .environ import header
from .observers import FACTS_KEY, facts_of
from .responses import read_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_DEFAULT_PORTS = {"http": "80", "https": "443"}
#: What a request for a recovery has in common with a callback's request: the server that got it, and its number.
_OF_THE_SERVER = (
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "HTTP_HOST",
    "HTTP_X_REQUEST_ID",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.errors",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
)


class Delivery:
    """Calls ``app``, the ledger's middleware behind ``CallbackGuard``, with a recovered upload.

    ``app`` sees what a verified callback brings: POST to the callback's path, the upload in the environ, and a body in
    the usual form. All of it is made from the upload. Of the request of the person whose page asks it sees the server's
    name, port and scheme, Host, X-Request-ID and wsgi.errors, and nothing else: no address, no login, whatever it is
    called, and no key of a middleware.

    :param path: PATH_INFO of the callback endpoint, prefix included, as WSGI has it (UTF-8 read as latin-1).
    :param url: the callback's public URL, for requests that no browser sends; None means localhost.
    """

    def __init__(self, app: WSGIApplication, path: str, url: str | None) -> None:
        self._app = app
        self._path = path
        self._url = urlsplit(url or f"http://localhost{quote(path.encode('latin-1'))}")

    def __call__(self, upload: Upload) -> Delivered:
        """Deliver an upload that nobody waits for, and return how it was answered."""
        environ = self._environ(upload, self._own_environ())
        status, _, body = read_response(self._app, environ)
        return Delivered(int(status[:3]), facts_of(environ).reason, body)

    def respond(self, upload: Upload, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Deliver an upload for a request at a path beside the callback's, and respond with the answer.

        A browser waits for it, and asks again by itself: the upload waits in the ledger for no other call. The reason
        of a refusal, or ``repeated``, is in the facts of ``environ``.
        """
        facts = facts_of(environ)
        facts.address = header(environ, "REMOTE_ADDR")  # for the log: the handler would take it for OSS's
        passed = {name: environ[name] for name in _OF_THE_SERVER if name in environ}
        parent = environ["SCRIPT_NAME"].rpartition("/")[0]
        facts.may_wait = False
        passed |= {"SCRIPT_NAME": f"{parent}/{self._path.rpartition('/')[2]}", FACTS_KEY: facts}
        return self._app(self._environ(upload, passed), start_response)

    def _environ(self, upload: Upload, base: WSGIEnvironment) -> WSGIEnvironment:
        members = [(name, value) for name, value in upload.members.items() if isinstance(value, str)]
        body = "&".join(f"{quote(name, safe=':')}={quote(value, safe='')}" for name, value in members).encode()
        environ = {
            **base,
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "",
            "QUERY_STRING": "",
            "CONTENT_TYPE": FORM,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
            UPLOAD_KEY: upload,
        }
        facts = facts_of(environ)
        facts.user, facts.object = upload.user, upload.object
        return environ

    def _own_environ(self) -> WSGIEnvironment:
        url = self._url
        path = unquote_to_bytes(url.path).decode("latin-1")
        port = str(url.port or _DEFAULT_PORTS.get(url.scheme, "80"))
        return {
            "SCRIPT_NAME": path if path.endswith(self._path) else self._path,
            "SERVER_NAME": url.hostname or "localhost",
            "SERVER_PORT": port,
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": url.netloc.rpartition("@")[2] or "localhost",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": url.scheme if url.scheme in _DEFAULT_PORTS else "http",
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
