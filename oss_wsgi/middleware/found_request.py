"""The request with which an application's own view gets an upload whose callback did not come."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes, urlencode, urlsplit

from ..callback.parameters import FORM
from ..callback.upload import Upload
from ..http import DEFAULT_PORTS
from ..wsgi.facts import FACTS_KEY, facts_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Environ keys that such a request takes from the browser's: those of the server, and the request's ID.
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


class FoundRequest:
    """Makes the environ with which ``forward_callback`` passes on an upload that was found in the bucket.

    It is the same request as from a verified callback: POST to the callback's path, and a body in the usual form, made
    from the upload. From the request of the person whose page asks, it has only the server's name, port and scheme,
    Host, X-Request-ID and wsgi.errors: no address, no login of any kind, and no key of a middleware.

    :param path: PATH_INFO of the callback endpoint, prefix included, as WSGI has it (UTF-8 read as latin-1).
    :param url: the callback's public URL, checked, for requests that no browser sends; None means localhost.
    """

    def __init__(self, path: str, url: str | None) -> None:
        self._path = path
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

    def __call__(self, upload: Upload, asked: WSGIEnvironment | None = None) -> WSGIEnvironment:
        """Return the environ for an upload.

        ``asked`` is the environ of the browser's request for it, at a path in the same folder as the callback's; both
        share the request's facts.
        """
        if asked is None:
            environ: WSGIEnvironment = {**self._own, "wsgi.errors": sys.stderr}
        else:
            environ = {name: asked[name] for name in _OF_THE_SERVER if name in asked}
            parent = asked["SCRIPT_NAME"].rpartition("/")[0]
            environ |= {"SCRIPT_NAME": f"{parent}/{self._path.rpartition('/')[2]}", FACTS_KEY: facts_of(asked)}
        body = _body(upload)
        environ |= {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "",
            "QUERY_STRING": "",
            "CONTENT_TYPE": FORM,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        return environ


def _body(upload: Upload) -> bytes:
    members = [(name, value) for name, value in upload.members.items() if isinstance(value, str)]
    return urlencode(members, safe=":", quote_via=quote).encode()
