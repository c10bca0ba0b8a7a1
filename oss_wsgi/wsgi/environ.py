"""What the client sent, out of a WSGI environ: the Authorization header, the raw request target, the body."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

from ..exceptions import BodyTooLargeError, LengthRequiredError, MalformedCallbackError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

# Apache puts REDIRECT_ before a variable at each internal redirect, of which it follows ten at the most.
#: Keys that only the server can set, in the order to look; a client's header always becomes ``HTTP_<name>``.
AUTHORIZATION_KEYS = (
    "HTTP_AUTHORIZATION",
    *("REDIRECT_" * count + "HTTP_AUTHORIZATION" for count in range(1, 11)),
    "Authorization",
    "HTTP-AUTHORIZATION",
    "X_HTTP_AUTHORIZATION",
)

_BLANKS = " \t\r\n"
_UNEXPANDED = re.compile(r"\(null\)|\$[0-9]")
_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


def header(environ: WSGIEnvironment, key: str) -> str:
    """Give a key's text; "" where there is none, or something else than a text."""
    value = environ.get(key)
    return value if isinstance(value, str) else ""


def find_authorization(environ: WSGIEnvironment, trusted_keys: Collection[str] = ()) -> tuple[str, str] | None:
    """Give the environ key that holds a usable Authorization, and its value without blanks around it.

    Not usable are blanks, and what a server's configuration failed to expand: ``(null)``, ``$1``, ``%{...}``.
    The keys of ``trusted_keys`` come last.
    """
    for key in (*AUTHORIZATION_KEYS, *trusted_keys) if trusted_keys else AUTHORIZATION_KEYS:
        if key in environ:
            value = header(environ, key).strip(_BLANKS)
            if is_usable(value):
                return key, value
    return None


def is_usable(value: str) -> bool:
    """Tell whether a value may be an Authorization: not blank, and no text that a configuration failed to expand."""
    value = value.strip(_BLANKS)
    return value != "" and "%{" not in value and not _UNEXPANDED.fullmatch(value)


def request_target(environ: WSGIEnvironment) -> bytes:
    """Give path and query as they were sent, or as near to it as the environ allows.

    The first of ``RAW_URI``, ``REQUEST_URI``, ``asgi.scope`` and ``RAW_PATH_INFO`` counts, for PATH_INFO is decoded,
    and merged or cut by many servers; without any of them the target is rebuilt from SCRIPT_NAME and PATH_INFO.
    """
    key, target = raw_target(environ)
    if not target.startswith(b"/"):
        target = _without_authority(target)
    if key is None:
        target = quote_from_bytes(target, safe="/!$&'()*+,:;=@~").encode()
    query = header(environ, "QUERY_STRING")
    if query and b"?" not in target:
        target += b"?" + _bytes(query)
    return target.partition(b"#")[0]


def raw_target(environ: WSGIEnvironment) -> tuple[str | None, bytes]:
    """Give the environ key that holds the target as it was sent, and its bytes; without any, None and the path."""
    for key in ("RAW_URI", "REQUEST_URI"):
        text = header(environ, key)
        if text:
            return key, _bytes(text)
    scope = environ.get("asgi.scope")
    if isinstance(scope, dict) and isinstance(scope.get("raw_path"), bytes) and scope["raw_path"]:
        query = scope.get("query_string") or b""
        return "asgi.scope", scope["raw_path"].partition(b"?")[0] + (b"?" + query if query else b"")
    if header(environ, "RAW_PATH_INFO"):
        return "RAW_PATH_INFO", _bytes(header(environ, "RAW_PATH_INFO"))
    return None, decoded_path(environ)


def decoded_path(environ: WSGIEnvironment) -> bytes:
    """Give SCRIPT_NAME and PATH_INFO, joined."""
    text = header(environ, "SCRIPT_NAME") + header(environ, "PATH_INFO")
    return _utf_8(text) if _decodes_utf_8(environ) else _bytes(text)


def _decodes_utf_8(environ: WSGIEnvironment) -> bool:
    """Tell Paste and Rocket, whose PATH_INFO is real Unicode against PEP 3333: there even ``é`` is two bytes."""
    return "paste.httpserver.thread_pool" in environ or str(environ.get("SERVER_SOFTWARE")).startswith("Rocket")


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:  # a text that the server decoded as UTF-8
        return _utf_8(text)


def _utf_8(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # of a surrogate that stands for no byte; such a target verifies nothing
        return text.encode("utf-8", "replace")


def _without_authority(target: bytes) -> bytes:
    """Cut ``scheme://authority`` off a target in absolute form (RFC 9112 section 3.2.2)."""
    match = _AUTHORITY.match(target)
    rest = target[match.end() :] if match else target
    return rest if rest.startswith(b"/") else b"/" + rest


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """Read the whole body, never more than ``limit`` bytes, and never without knowing where it ends.

    Raises LengthRequiredError, BodyTooLargeError (before reading), MalformedCallbackError.
    """
    text = str(environ.get("CONTENT_LENGTH") or "")
    if "HTTP_TRANSFER_ENCODING" in environ or text in ("", "-1"):
        chunked = "chunked" in header(environ, "HTTP_TRANSFER_ENCODING").lower() or text == "-1"
        if text in ("", "-1") or (chunked and text == "0"):
            return _until_the_end(environ, limit, chunked)
    if not (text.isascii() and text.isdigit()):
        raise MalformedCallbackError("content_length_malformed", "Content-Length is not a number in digits")
    if len(text) > 18 or int(text) > limit:
        raise BodyTooLargeError("body_too_large", f"the body is over {limit} bytes")
    size = int(text)
    data = _read(environ["wsgi.input"], size)
    if len(data) < size:
        raise MalformedCallbackError("body_truncated", "the body is shorter than its Content-Length")
    return data


def _until_the_end(environ: WSGIEnvironment, limit: int, chunked: bool) -> bytes:
    """Read a body of no announced length: HTTP/2 needs neither a length nor chunks, and some servers know its end."""
    ends = environ.get("wsgi.input_terminated")
    data = _read(environ["wsgi.input"], limit + 1) if ends else b""
    if len(data) > limit:
        raise BodyTooLargeError("body_too_large", f"the body, of no announced length, is over {limit} bytes")
    if not data and not (chunked and ends):
        raise LengthRequiredError("length_required", "the request has no Content-Length")
    return data


def _read(stream: Any, size: int) -> bytes:
    """Read until ``size`` bytes are there or the stream ends: a single read may bring less."""
    data = bytearray()
    while len(data) < size:
        try:
            piece = stream.read(size - len(data))
        except Exception as error:  # OSError, but flup's is EOFError, and for chunks gunicorn and cheroot have others
            hint = f"the body is shorter than announced: {type(error).__name__} while it was read"
            raise MalformedCallbackError("body_truncated", hint) from error
        if not piece:
            break
        if len(piece) == size:
            return bytes(piece)
        data += piece
    return bytes(data)


def request_id(environ: WSGIEnvironment) -> str:
    """Give OSS's request ID, for the log; ``-`` if there is none or it does not look like one."""
    text = header(environ, "HTTP_X_OSS_REQUEST_ID")
    return text if _REQUEST_ID.fullmatch(text) else "-"
