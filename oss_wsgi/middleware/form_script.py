"""Middleware that adds the line of `upload.js` to HTML pages, where nobody can change their templates."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..wsgi.questions import pass_on
from ..wsgi.responses import Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_LINE = '<script type="module" src="{src}" data-forms{nonce}></script>'

#: Most bytes that are looked at to see whether a body is a page. A page may begin with comments.
MAX_FIRST = 4096

_BOM = b"\xef\xbb\xbf"
# What may stand before the first tag of a page (HTML standard, section 13.1), and `<?xml ...?>`.
_BEFORE = re.compile(rb"(?:\s+|<!--.*?-->|<\?.*?>)*", re.DOTALL)
_FIRST_TAG = re.compile(rb"<(?:!doctype|html)[\s>/]", re.IGNORECASE)
_OPENINGS = (b"<!--", b"<?", b"<!doctype", b"<html")

_POLICY, _REPORTED_POLICY = "content-security-policy", "content-security-policy-report-only"
#: Headers that tell the bytes of a body that is now longer, or offer ranges of it.
_OF_BYTES = frozenset({"accept-ranges", "content-digest", "content-md5", "digest", "repr-digest"})
_NONCE = re.compile(r"'nonce-([A-Za-z0-9+/_-]+={0,2})'", re.IGNORECASE)


class FormScript:
    """Middleware: each HTML page of ``app`` ends with the line that takes over its forms.

        <script type="module" src="/oss/upload.js" data-forms></script>

    A page is a response of ``text/html`` whose body begins with ``<html`` or a doctype. Fragments, encoded and partial
    responses and attachments stay as they are. The line comes after the last byte, so a page is passed on as it is
    made. ``Content-Length`` is that of the longer page, and is left out of a response to HEAD. A strong ETag becomes a
    weak one, and digests of the body are left out.

    In each Content-Security-Policy of a page ``connect-src`` gets ``'self'`` and ``origins``, and ``script-src`` gets
    ``'self'``; where they are missing, they are made from ``default-src``, and stay missing without it. If a policy
    asks for a nonce, the line carries the nonce instead. A page stays as it is if its policy lets no script of its
    site run: ``'strict-dynamic'`` without a nonce, or ``sandbox``. A policy in a ``<meta>`` of the page is not seen,
    and a ``<base>`` of another site leads the line there.

        application = FormScript(legacy_app, "/oss/upload.js", origins=["https://bucket.oss-cn-hangzhou.aliyuncs.com"])

    :param src: path of the module below the mount of ``app`` (SCRIPT_NAME), or its URL.
    :param origins: where the page uploads: the bucket's origin.
    """

    def __init__(self, app: WSGIApplication, src: str, *, origins: Sequence[str]) -> None:
        self._app = app
        self._src = src
        self._origins = tuple(origins)
        pass_on(self, app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        response: _Response | None = None
        is_passed_on = False

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            nonlocal response, is_passed_on
            if is_passed_on or (response is None and not _is_html(headers)):  # most responses: this path is short
                is_passed_on = True
                return start_response(status, headers, exc_info)
            if response is None:
                response = self._response(environ, start_response)
            return response.start(status, headers, exc_info)

        body = self._app(environ, start)
        if is_passed_on:  # with its own body, which a server may know, such as a file
            return body
        if response is None:
            response = self._response(environ, start_response)
        return body if response.is_passed_on else _Body(body, response)

    def _response(self, environ: WSGIEnvironment, start_response: StartResponse) -> _Response:
        mount = quote((environ.get("SCRIPT_NAME") or "").encode("latin-1")) if self._src.startswith("/") else ""

        def edit(headers: Headers) -> tuple[Headers, bytes] | None:
            return _edited(headers, html.escape(mount + self._src), self._origins)

        return _Response(environ["REQUEST_METHOD"] == "HEAD", edit, start_response)


def _edited(headers: Headers, src: str, origins: Sequence[str]) -> tuple[Headers, bytes] | None:
    """Return a page's headers with its policies changed, and its line; None if the line may not run on the page."""
    policies = {
        index: [_Policy(text) for text in value.split(",")]
        for index, (name, value) in enumerate(headers)
        if name.lower() in (_POLICY, _REPORTED_POLICY)
    }
    nonces = [nonce for several in policies.values() for policy in several for nonce in policy.nonces]
    nonce = nonces[0] if nonces else ""
    edited = list(headers)
    for index, several in policies.items():
        name = headers[index][0]
        is_allowed = [policy.allow(nonce, origins) for policy in several]
        if name.lower() == _POLICY and not all(is_allowed):
            return None
        edited[index] = name, ",".join(map(str, several))
    return edited, _LINE.format(src=src, nonce=f' nonce="{nonce}"' if nonce else "").encode()


class _Policy:
    """One Content-Security-Policy (CSP3, section 2.2.1)."""

    def __init__(self, text: str) -> None:
        self._directives = text.split(";")
        self._script = self._sources("script-src-elem", "script-src", "default-src")
        #: The nonces of scripts.
        self.nonces = [match[1] for match in map(_NONCE.fullmatch, self._script or ()) if match]

    def __str__(self) -> str:
        return ";".join(self._directives)

    def allow(self, nonce: str, origins: Sequence[str]) -> bool:
        """Let a script of this site run, by its nonce if possible, and connect; return False where it never may run."""
        sandbox = self._sources("sandbox")
        if sandbox is not None and not {"allow-scripts", "allow-same-origin"} <= set(map(str.lower, sandbox)):
            return False
        script = self._script
        if script is not None and nonce not in self.nonces:
            if "'strict-dynamic'" in map(str.lower, script):  # it makes browsers ignore 'self'
                return False
            is_own = self._sources("script-src-elem") is not None
            self._add("script-src-elem" if is_own else "script-src", script, ["'self'"])
        connect = self._sources("connect-src", "default-src")
        if connect is not None:
            self._add("connect-src", connect, ["'self'", *origins])
        return True

    def _sources(self, *names: str) -> list[str] | None:
        """Return the words after the first of these names that is a directive."""
        for name in names:
            index = self._index(name)
            if index is not None:
                return self._directives[index].split()[1:]
        return None

    def _index(self, name: str) -> int | None:
        """Return which directive has this name: of several, browsers use the first."""
        return next((i for i, text in enumerate(self._directives) if text.lower().split()[:1] == [name]), None)

    def _add(self, name: str, sources: list[str], added: Sequence[str]) -> None:
        """Set a directive to these sources and those added; it stays as it is if it has them all."""
        known = {source.lower() for source in sources}
        new = [source for source in added if source.lower() not in known]
        if not new:
            return
        text = " ".join([name, *(source for source in sources if source.lower() != "'none'"), *new])
        index = self._index(name)
        if index is None:
            self._directives = [*filter(str.strip, self._directives), f" {text}"]
        else:
            old = self._directives[index]
            self._directives[index] = old[: -len(old.lstrip())] + text


class _Response:
    """A response on its way from the application to the server. Its headers wait until its first bytes are seen."""

    def __init__(
        self,
        is_head: bool,
        edit: Callable[[Headers], tuple[Headers, bytes] | None],
        start_response: StartResponse,
    ) -> None:
        self._is_head = is_head
        self._edit = edit
        self._start_response = start_response
        self._write: Callable[[bytes], object]
        self._status = ""
        self._headers: Headers = []
        self._first = b""
        #: Whether the application has started a response that the server does not know of.
        self._waits = False
        #: Whether the server knows the headers.
        self.has_begun = False
        self._line = b""

    @property
    def is_passed_on(self) -> bool:
        """Whether the server knows the headers, and no line follows."""
        return self.has_begun and not self._line

    def start(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        """Play ``start_response`` for the application."""
        if self.has_begun:  # only the server knows whether its headers can be replaced
            self._line = b""
            return self._start_response(status, headers, exc_info)
        if self._waits and exc_info is None:
            raise AssertionError("The application called start_response a second time, and without exc_info.")
        self._status, self._headers, self._first = status, list(headers), b""
        self._waits = _may_be_page(status, self._headers)
        if not self._waits:
            self._begin(self._headers)
        elif self._is_head:
            edited = self._edit(self._headers)
            self._begin(_of_longer_body(edited[0], None) if edited else self._headers)
        return self._play_write

    def _begin(self, headers: Headers) -> None:
        self._waits = False
        self.has_begun = True
        self._write = self._start_response(self._status, headers)

    def _play_write(self, piece: bytes) -> None:
        data = self.passed(piece)
        if self.has_begun:
            self._write(data)

    def passed(self, piece: bytes) -> bytes:
        """Return what the server gets when the application has made this piece of its body."""
        if not self._waits:
            return piece
        self._first += piece
        is_page = _begins_page(self._first[:MAX_FIRST])
        return b"" if is_page is None and len(self._first) < MAX_FIRST else self._decide(bool(is_page))

    def end(self) -> bytes:
        """Return what the server gets after the application's last piece."""
        rest = self._decide(False) if self._waits else b""
        line, self._line = self._line, b""
        return rest + line

    def _decide(self, is_page: bool) -> bytes:
        first, self._first = self._first, b""
        edited = self._edit(self._headers) if is_page else None
        if edited:
            headers, self._line = edited
            self._begin(_of_longer_body(headers, len(self._line)))
        else:
            self._begin(self._headers)
        return first


class _Body:
    """The application's body, and the line after it."""

    def __init__(self, body: Iterable[bytes], response: _Response) -> None:
        self._body = body
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            passed = self._response.passed(piece)
            if self._response.has_begun:
                yield passed
        rest = self._response.end()
        if rest:
            yield rest

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def _is_html(headers: Headers) -> bool:
    for name, value in headers:
        if name.lower() == "content-type":
            return "html" in value.lower()
    return False


def _may_be_page(status: str, headers: Headers) -> bool:
    """Return whether a body that begins like a page is one, and whole."""
    values = {name.lower(): value.strip().lower() for name, value in headers}
    return (
        values.get("content-type", "").partition(";")[0].strip() == "text/html"
        and values.get("content-encoding", "identity") in ("", "identity")
        and values.get("content-disposition", "inline").partition(";")[0].strip() == "inline"
        and status[:3] not in ("204", "206", "304")
    )


def _begins_page(first: bytes) -> bool | None:
    """Return whether a body that begins with these bytes is a page; None if more bytes must be seen."""
    text = first.removeprefix(_BOM)
    before = _BEFORE.match(text)
    rest = text[before.end() :] if before else text
    if _FIRST_TAG.match(rest):
        return True
    is_open = rest.startswith((b"<!--", b"<?"))
    lower = rest[:10].lower()
    is_prefix = _BOM.startswith(text) or any(opening.startswith(lower) for opening in _OPENINGS)
    return None if is_open or is_prefix else False


def _of_longer_body(headers: Headers, added: int | None) -> Headers:
    """Return the headers of a body that has so many more bytes; None leaves out its length."""
    longer: Headers = []
    for name, value in headers:
        kind = name.lower()
        if kind in _OF_BYTES or (kind == "content-length" and added is None):
            continue
        if kind == "content-length" and added is not None and value.strip().isdigit():
            value = str(int(value) + added)
        elif kind == "etag" and value.startswith('"'):
            value = f"W/{value}"
        longer.append((name, value))
    return longer
