"""Serves a page and its parts from memory."""

from __future__ import annotations

import hashlib
import logging
import mimetypes
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from ..wsgi.responses import Headers, method_not_allowed, not_found

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# Python's own table depends on the machine; these types must not.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}

_POLICY = "default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'self'"
_SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

log = logging.getLogger(__name__)


class _File(NamedTuple):
    body: bytes
    etag: str
    headers: Headers


class StaticSite:
    """Application that serves the files below ``root``, and ``index.html`` for a folder.

    All files are read into memory when the site is made, and a request is a look-up, so a path outside the root cannot
    match. Use it for a page and its parts, not for downloads. Hidden files, and links that lead out of the root, are
    not served. Responses have an ETag; a matching ``If-None-Match`` gives 304.

    :param content_security_policy: text of that header, for every file.
    :param overrides: path such as ``/index.html`` -> bytes to serve instead of the file's.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        content_security_policy: str = _POLICY,
        overrides: Mapping[str, bytes] | None = None,
    ) -> None:
        top = Path(root).resolve()
        if not top.is_dir():
            raise NotADirectoryError(f"{os.fspath(root)!r} is not a folder.")
        self._policy = content_security_policy
        self._files: dict[str, _File] = {}
        for path in sorted(top.rglob("*")):
            parts = path.relative_to(top).parts
            if path.is_file() and path.resolve().is_relative_to(top) and not any(p.startswith(".") for p in parts):
                name = "/" + "/".join(parts)
                body = (overrides or {}).get(name)
                self._add(name, path.read_bytes() if body is None else body)

    def _add(self, name: str, body: bytes) -> None:
        suffix = Path(name).suffix.lower()
        content_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = [
            ("Content-Type", content_type),
            ("Content-Length", str(len(body))),
            ("ETag", etag),
            ("Cache-Control", "no-cache"),
            ("Content-Security-Policy", self._policy),
            *_SECURITY_HEADERS,
        ]
        native = name.encode("utf-8", "surrogateescape").decode("latin-1")
        self._files[native] = _File(body, etag, headers)
        if native.endswith("/index.html"):
            self._files[native.removesuffix("index.html")] = self._files[native]

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or ""
        if not path and environ.get("SCRIPT_NAME"):
            # Without the slash the page's relative links would point outside the mount.
            location = quote(environ["SCRIPT_NAME"].encode("latin-1")) + "/"
            headers = [("Location", location), ("Content-Length", "0"), *_SECURITY_HEADERS]
            start_response("301 Moved Permanently", headers)
            return []
        file = self._files.get(path or "/")
        if file is None:
            return not_found(log, environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return method_not_allowed(log, environ, start_response, "GET, HEAD")
        if _matches(environ.get("HTTP_IF_NONE_MATCH") or "", file.etag):
            headers = [header for header in file.headers if header[0] not in ("Content-Type", "Content-Length")]
            start_response("304 Not Modified", headers)
            return []
        start_response("200 OK", list(file.headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [file.body]


def _matches(condition: str, etag: str) -> bool:
    """Compare weakly, as If-None-Match requires (RFC 9110 section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in condition.split(",")]
    return condition.strip() == "*" or etag in tags
