"""The one way by which an upload without a callback reaches the application that receives callbacks."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlencode, urlsplit

from ..callback.parameters import FORM
from ..callback.upload import UPLOAD_KEY, Upload
from ..http import DEFAULT_PORTS
from ..wsgi.environ import header
from ..wsgi.observers import FACTS_KEY, facts_of
from ..wsgi.responses import Headers, read_response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

#: Environ keys that a delivery takes from the browser's request: those of the server, and the request's ID.
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


class Delivered(NamedTuple):
    """The application's response to an upload: status line, headers and body.

    ``reason`` is the reason of a refusal, ``repeated`` for a stored response, None if the application handled it now.
    """

    status: str
    headers: Headers
    body: bytes
    reason: str | None

    @property
    def is_success(self) -> bool:
        """Whether the upload counts as handled: any 2xx."""
        return self.status[:1] == "2"


class Delivery:
    """Calls ``app``, the ledger's middleware behind ``CallbackGuard``, with an upload whose callback did not come.

    Pages, sweeps, events and uploads in parts all use it. ``app`` gets the same request as from a verified callback:
    POST to the callback's path, the upload in the environ, and a body in the usual form. All of it is made from the
    upload. From the request of the person whose page asks, ``app`` gets only the server's name, port and scheme, Host,
    X-Request-ID and wsgi.errors: no address, no login of any kind, and no key of a middleware.

    :param path: PATH_INFO of the callback endpoint, prefix included, as WSGI has it (UTF-8 read as latin-1).
    :param url: the callback's public URL, checked, for requests that no browser sends; None means localhost.
    :param with_body: make a body, because the application's own view answers and may read it; our endpoint reads only
    the upload.
    """

    def __init__(self, app: WSGIApplication, path: str, url: str | None, *, with_body: bool = True) -> None:
        self._app = app
        self._path = path
        self._with_body = with_body
        parts = urlsplit(url or f"http://localhost{quote(path.encode('latin-1'))}")
        own_path = unquote_to_bytes(parts.path).decode("latin-1")
        self._own = {
            "SCRIPT_NAME": own_path if own_path.endswith(path) else path,
            "SERVER_NAME": parts.hostname,
            "SERVER_PORT": str(parts.port or DEFAULT_PORTS[parts.scheme]),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "HTTP_HOST": parts.netloc,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": parts.scheme,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }

    def __call__(self, upload: Upload, asked: WSGIEnvironment | None = None) -> Delivered:
        """Deliver an upload, and return the application's response.

        ``asked`` is the environ of the browser's request for the upload, at a path in the same folder as the
        callback's. A browser asks again by itself, so its upload never waits in the ledger for another call. The
        request's facts get the user, the object and the reason.
        """
        if asked is None:
            environ: WSGIEnvironment = {**self._own, "wsgi.errors": sys.stderr}
        else:
            facts = facts_of(asked)
            facts.address = header(asked, "REMOTE_ADDR")  # only for the log: a handler would expect OSS's
            facts.may_wait = False
            environ = {name: asked[name] for name in _OF_THE_SERVER if name in asked}
            parent = asked["SCRIPT_NAME"].rpartition("/")[0]
            environ |= {"SCRIPT_NAME": f"{parent}/{self._path.rpartition('/')[2]}", FACTS_KEY: facts}
        body = _body(upload) if self._with_body else b""
        environ |= {
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
        return Delivered(*read_response(self._app, environ), facts.reason)


def _body(upload: Upload) -> bytes:
    members = [(name, value) for name, value in upload.members.items() if isinstance(value, str)]
    return urlencode(members, safe=":", quote_via=quote).encode()
