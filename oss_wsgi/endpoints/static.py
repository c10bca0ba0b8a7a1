"""Applications that serve a page and its files from memory."""

from __future__ import annotations

import hashlib
import logging
import mimetypes
import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from ..wsgi.facts import facts_of
from ..wsgi.responses import Headers
from .gate import with_cors

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# Python's own table of types depends on the machine; these types must not.
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",  # TypeScript's declarations; mimetypes calls them a video
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

# For a file that a browser shows by itself: it runs nothing. A page that loads the file as a script ignores this
# policy.
_FILE_POLICY = "default-src 'none'; frame-ancestors 'none'"
_FILE_CACHE = "public, max-age=300"

# The rest of a longer If-None-Match is ignored, so a client may get a file that it has already.
_MAX_CONDITION = 4096

# `import ... from "./words.js"`, `export ... from`, `import "./words.js"` and `import("./input.js")`
_IMPORT = re.compile(rb"""\b(?:from|import)\s*\(?\s*["']\./([A-Za-z0-9_.-]+\.js)["']""")
# import(`./languages/${name}.js`): any module of this folder
_IMPORT_OF_FOLDER = re.compile(rb"\bimport\(`\./([A-Za-z0-9_-]+)/\$\{")

log = logging.getLogger(__name__)


class _File(NamedTuple):
    body: bytes
    etag: str
    headers: Headers

    def respond(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to GET and HEAD with the file, or with 304 if the client has it already."""
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return facts_of(environ).method_not_allowed(log, start_response, "GET, HEAD")
        if _matches(environ.get("HTTP_IF_NONE_MATCH") or "", self.etag):
            headers = [header for header in self.headers if header[0] not in ("Content-Type", "Content-Length")]
            start_response("304 Not Modified", headers)
            return []
        start_response("200 OK", list(self.headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [self.body]


def _file(name: str, body: bytes, policy: str, cache: str) -> _File:
    """Return a file with its headers; its type follows from ``name``."""
    suffix = Path(name).suffix.lower()
    content_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = [
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
        ("ETag", etag),
        ("Cache-Control", cache),
        ("Content-Security-Policy", policy),
        *_SECURITY_HEADERS,
    ]
    return _File(body, etag, headers)


class StaticSite:
    """Application that serves the files below ``root``, and ``index.html`` for a folder.

    All files are read into memory when the site is made. A request only looks its path up there, so a path outside the
    root cannot match. Use this for a page and its files, not for downloads. Hidden files, and links that lead out of
    the root, are not served. Responses have an ETag; a matching ``If-None-Match`` gives 304.

    :param content_security_policy: text of that header, for every file.
    :param overrides: path such as ``/index.html`` -> bytes to serve instead of the file's, or beside the files.
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
        overrides = overrides or {}
        for path in sorted(top.rglob("*")):
            parts = path.relative_to(top).parts
            if path.is_file() and path.resolve().is_relative_to(top) and not any(p.startswith(".") for p in parts):
                name = "/" + "/".join(parts)
                if name not in overrides:
                    self._add(name, path.read_bytes())
        for name, body in overrides.items():
            self._add(name, body)

    def _add(self, name: str, body: bytes) -> None:
        native = name.encode("utf-8", "surrogateescape").decode("latin-1")
        self._files[native] = _file(name, body, self._policy, "no-cache")
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
            return facts_of(environ).not_found(log, start_response)
        return file.respond(environ, start_response)


class StaticFile:
    """Application: GET or HEAD returns one file from memory, which caches may keep for some minutes.

    It has an ETag; a matching ``If-None-Match`` gives 304. A module script of another origin needs CORS: only pages of
    ``allowed_origins`` may load the file.

    :param name: the file's name, whose extension decides its type.
    :param allowed_origins: as ``SignatureEndpoint`` takes them.
    """

    def __init__(self, name: str, body: bytes, *, allowed_origins: Collection[str] = ()) -> None:
        self._file = _file(name, body, _FILE_POLICY, _FILE_CACHE)
        self._allowed_origins = frozenset(origin.lower() for origin in allowed_origins)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._allowed_origins:
            start_response = with_cors(environ, start_response, self._allowed_origins, "GET, HEAD")
        if environ.get("PATH_INFO"):
            return facts_of(environ).not_found(log, start_response)
        return self._file.respond(environ, start_response)

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return True: every request is answered from memory, without waiting."""
        return True


def shipped_folder() -> Path:
    """Return the folder of the page's files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "static"
    return installed if (installed / "index.html").is_file() else package.parent / "static"


def modules_of(folder: Path, entry: str) -> dict[str, bytes]:
    """Return the JavaScript module ``entry`` and all that it imports from ``folder`` and folders in it, by name.

    Modules in a folder within ``folder`` import nothing.
    """
    modules: dict[str, bytes] = {}
    names = [entry]
    while names:
        name = names.pop()
        if name not in modules:
            modules[name] = (folder / name).read_bytes()
            names += [imported.decode() for imported in _IMPORT.findall(modules[name])]
            for part in _IMPORT_OF_FOLDER.findall(modules[name]):
                children = sorted((folder / part.decode()).glob("*.js"))
                modules |= {f"{part.decode()}/{child.name}": child.read_bytes() for child in children}
    return modules


def _matches(condition: str, etag: str) -> bool:
    """Return whether an If-None-Match names the ETag, by the weak comparison (RFC 9110 section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in condition[:_MAX_CONDITION].split(",")]
    return condition.strip() == "*" or etag in tags
