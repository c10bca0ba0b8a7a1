"""Readers of a WSGI environ: the callback as the client sent it, its raw request target, its body, its headers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote_from_bytes

from ..exceptions import (
    BodyTooLargeError,
    CallbackError,
    LengthRequiredError,
    MalformedCallbackError,
    MalformedRequestError,
)
from ..http import urlencoded_pairs

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Longest body of a callback that is read.
MAX_BODY_BYTES = 64 * 1024

# Apache puts REDIRECT_ before a variable at each internal redirect, and follows at most ten.
#: Keys that only the server can set, in the order to try; a client's header always becomes ``HTTP_<name>``.
AUTHORIZATION_KEYS = (
    "HTTP_AUTHORIZATION",
    *("REDIRECT_" * count + "HTTP_AUTHORIZATION" for count in range(1, 11)),
    "Authorization",
    "HTTP-AUTHORIZATION",
    "X_HTTP_AUTHORIZATION",
)

#: Environ key that names the key where `with_authorization` found the header.
AUTHORIZATION_SOURCE_KEY = "oss_wsgi.authorization_source"

_MAX_DIGITS = 18

# Enough for an encoded name of 255 characters and a folder; OSS's own names have at most 1,023 bytes.
_MAX_QUERY = 16 * 1024

_BLANKS = " \t\r\n"
_UNEXPANDED = frozenset({"(null)", *(f"${number}" for number in range(10))})
_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


class ReceivedCallback(NamedTuple):
    """One callback as the client sent it, with everything that the signature covers; nothing in it is verified yet.

    ``authorization`` is the header's value, and ``authorization_key`` the environ key that holds it; without a usable
    value they are "" and None. ``pub_key_url`` is the Base64 text of ``x-oss-pub-key-url``. If the body cannot be read,
    ``body`` is empty and ``body_error`` is the reason.
    """

    target: bytes
    body: bytes
    body_error: CallbackError | None
    authorization: str
    authorization_key: str | None
    pub_key_url: str
    content_type: str

    @classmethod
    def from_environ(cls, environ: WSGIEnvironment) -> ReceivedCallback:
        """Read a callback from an environ; this consumes ``wsgi.input``, at most ``MAX_BODY_BYTES`` of it."""
        key, authorization, pub_key_url = signature_headers(environ)
        try:
            body, error = read_body(environ, MAX_BODY_BYTES), None
        except CallbackError as body_error:
            body, error = b"", body_error
        content_type = header(environ, "CONTENT_TYPE")
        return cls(request_target(environ), body, error, authorization, key, pub_key_url, content_type)


def header(environ: WSGIEnvironment, key: str) -> str:
    """Return the text under a key; "" if the key is missing or its value is not a text."""
    value = environ.get(key)
    return value if isinstance(value, str) else ""


def signature_headers(environ: WSGIEnvironment) -> tuple[str | None, str, str]:
    """Return ``authorization_key``, ``authorization`` and ``pub_key_url`` of a ReceivedCallback."""
    key, authorization = find_authorization(environ) or (None, "")
    return key, authorization, header(environ, "HTTP_X_OSS_PUB_KEY_URL").strip(" \t")


def query_pairs(environ: WSGIEnvironment, most: int) -> list[tuple[str, str]]:
    """Return the parameters of the query, in their order.

    Raises MalformedRequestError if the query is not percent-encoded UTF-8, is longer than 16 KiB, or has more than
    ``most`` parameters.
    """
    text = header(environ, "QUERY_STRING")
    try:
        if len(text) > _MAX_QUERY:
            raise ValueError(f"more than {_MAX_QUERY} characters")
        return urlencoded_pairs(text, most)
    except ValueError:
        hint = f"The query must be percent-encoded UTF-8, with {most} parameters and {_MAX_QUERY} characters at most."
        raise MalformedRequestError("query_malformed", hint) from None


def find_authorization(environ: WSGIEnvironment, trusted_keys: Collection[str] = ()) -> tuple[str, str] | None:
    """Return the environ key that holds a usable Authorization, and its value without surrounding blanks.

    A value is not usable when it is blank or a placeholder that the server did not expand: ``(null)``, ``$1``,
    ``%{...}``. The keys of ``trusted_keys`` are tried last.
    """
    for key in (*AUTHORIZATION_KEYS, *trusted_keys) if trusted_keys else AUTHORIZATION_KEYS:
        if key in environ:
            value = usable(environ[key])
            if value:
                return key, value
    return None


def with_authorization(environ: WSGIEnvironment, trusted_keys: Collection[str] = ()) -> WSGIEnvironment:
    """Return an environ with a usable Authorization in ``HTTP_AUTHORIZATION``: a copy if it was under another key."""
    key_and_value = find_authorization(environ, trusted_keys)
    if key_and_value is None or key_and_value[0] == "HTTP_AUTHORIZATION":
        return environ
    key, value = key_and_value
    return {**environ, "HTTP_AUTHORIZATION": value, AUTHORIZATION_SOURCE_KEY: key}


def usable(value: object) -> str:
    """Return a value without surrounding blanks; "" if it cannot be an Authorization, such as a placeholder."""
    text = value.strip(_BLANKS) if isinstance(value, str) else ""
    return "" if "%{" in text or text in _UNEXPANDED else text


def request_target(environ: WSGIEnvironment) -> bytes:
    """Return path and query as the client sent them, as far as the environ holds them.

    The first of ``RAW_URI``, ``REQUEST_URI``, ``asgi.scope`` and ``RAW_PATH_INFO`` is used, because PATH_INFO is
    decoded, and many servers merge its slashes or cut it. Without any of them the target is rebuilt from SCRIPT_NAME
    and PATH_INFO.
    """
    key, target = raw_target(environ)
    if not target.startswith(b"/"):
        target = _without_authority(target)
    if key is None:
        target = quote_from_bytes(target, safe="/!$&'()*+,:;=@~").encode()
    if b"?" not in target and environ.get("QUERY_STRING"):
        query = header(environ, "QUERY_STRING")
        target += b"?" + _bytes(query) if query else b""
    return target.partition(b"#")[0]


def raw_target(environ: WSGIEnvironment) -> tuple[str | None, bytes]:
    """Return the environ key of the raw target, and the target's bytes; without a key, None and the decoded path."""
    for key in ("RAW_URI", "REQUEST_URI"):
        text = environ.get(key)
        if text and isinstance(text, str):
            return key, _bytes(text)
    scope = environ.get("asgi.scope")
    if isinstance(scope, dict) and isinstance(scope.get("raw_path"), bytes) and scope["raw_path"]:
        query = scope.get("query_string") or b""
        return "asgi.scope", scope["raw_path"].partition(b"?")[0] + (b"?" + query if query else b"")
    if header(environ, "RAW_PATH_INFO"):
        return "RAW_PATH_INFO", _bytes(header(environ, "RAW_PATH_INFO"))
    return None, decoded_path(environ)


def decoded_path(environ: WSGIEnvironment) -> bytes:
    """Return SCRIPT_NAME and PATH_INFO, joined."""
    text = header(environ, "SCRIPT_NAME") + header(environ, "PATH_INFO")
    return _utf_8(text) if _decodes_utf_8(environ) else _bytes(text)


def _decodes_utf_8(environ: WSGIEnvironment) -> bool:
    """Return whether the server is Paste or Rocket, whose PATH_INFO is Unicode text against PEP 3333: even ``é``."""
    return "paste.httpserver.thread_pool" in environ or str(environ.get("SERVER_SOFTWARE")).startswith("Rocket")


def _bytes(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:  # the server decoded the text as UTF-8
        return _utf_8(text)


def _utf_8(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte: no signature can be correct then
        return text.encode("utf-8", "replace")


def _without_authority(target: bytes) -> bytes:
    """Return a target without ``scheme://authority`` of the absolute form (RFC 9112 section 3.2.2)."""
    match = _AUTHORITY.match(target)
    rest = target[match.end() :] if match else target
    return rest if rest.startswith(b"/") else b"/" + rest


def read_body(environ: WSGIEnvironment, limit: int, check: Callable[[], object] | None = None) -> bytes:
    """Read the whole body: at most ``limit`` bytes, and only if its end is known.

    ``check`` is called before a byte is read, if the length is allowed; what it raises ends the call.

    Raises LengthRequiredError, BodyTooLargeError (before reading), MalformedCallbackError, and what an input of
    `serving.bodies` raises: BodyTimeoutError, MemoryTakenError.
    """
    text = str(environ.get("CONTENT_LENGTH") or "")
    if "HTTP_TRANSFER_ENCODING" in environ or text in ("", "-1"):
        chunked = "chunked" in header(environ, "HTTP_TRANSFER_ENCODING").lower() or text == "-1"
        if text in ("", "-1") or (chunked and text == "0"):
            return _read_to_end(environ, limit, chunked)
    size = check_length(environ, limit)
    if check is not None:
        check()
    data = read_up_to(environ["wsgi.input"], size)
    if len(data) < size:
        raise MalformedCallbackError("body_truncated", "the body is shorter than its Content-Length")
    return data


def check_length(environ: WSGIEnvironment, limit: int) -> int:
    """Return the Content-Length of a request. Raises BodyTooLargeError, and MalformedCallbackError for no number."""
    text = str(environ.get("CONTENT_LENGTH") or "")
    if not (text.isascii() and text.isdigit()):
        raise MalformedCallbackError("content_length_malformed", "Content-Length is not a number in digits")
    size = int(text) if len(text) <= _MAX_DIGITS else limit + 1
    if size > limit:
        raise BodyTooLargeError("body_too_large", f"the body is over {limit} bytes")
    return size


def _read_to_end(environ: WSGIEnvironment, limit: int, chunked: bool) -> bytes:
    """Read a body without a length, which HTTP/2 and chunks allow, if the server knows where the body ends."""
    has_end = environ.get("wsgi.input_terminated")
    data = read_up_to(environ["wsgi.input"], limit + 1) if has_end else b""
    if len(data) > limit:
        raise BodyTooLargeError("body_too_large", f"the body, sent without a length, is over {limit} bytes")
    if not data and not (chunked and has_end):
        raise LengthRequiredError("length_required", "the request has no Content-Length")
    return data


def read_up_to(stream: Any, size: int) -> bytes:
    """Read until ``size`` bytes have come or the stream ends, because one read may return less.

    Raises MalformedCallbackError for an exception of the stream: the client is gone, or sent malformed chunks.
    """
    pieces: list[bytes] = []
    while size > 0:
        try:
            piece = stream.read(size)
        except CallbackError:  # the server has not read the body, and says why
            raise
        except Exception as error:  # OSError; EOFError in flup; other errors for chunks in gunicorn and cheroot
            hint = f"the body is shorter than announced: {type(error).__name__} while reading it"
            raise MalformedCallbackError("body_truncated", hint) from error
        if not piece:
            break
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
