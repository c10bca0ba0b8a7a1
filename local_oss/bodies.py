"""Bodies of requests: the headers that describe them; large ones are read into storage, small ones into memory."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from .errors import OSSError, invalid_argument, invalid_digest
from .forms.policy import MAX_OBJECT_SIZE
from .request import Request
from .storage.storage import Incoming

CHUNK_SIZE = 256 * 1024

_DIGEST_SIZE = 16

#: The ECs for a Content-MD5 that is too short for a digest, and for one that differs from the body's.
_NO_DIGEST = "0017-00000502"
OTHER_DIGEST = "0017-00000503"


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def content_length(text: str) -> int:
    """Return the length in bytes; raise OSSError 411 for an empty header and 400 for an invalid one."""
    if not text:
        raise OSSError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise invalid_argument("The Content-Length is not valid.", name="Content-Length", value=text)
    return int(text)


def content_md5(text: str) -> bytes:
    """Return the 16 bytes of the digest, b"" for an empty header; raise OSSError for an invalid one."""
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        raise invalid_digest(text, _NO_DIGEST) from None
    if text and len(digest) != _DIGEST_SIZE:  # a hexadecimal digest is read as 24 bytes
        raise invalid_digest(text, _NO_DIGEST if len(digest) < _DIGEST_SIZE else OTHER_DIGEST)
    return digest


def receive_body(request: Request, incoming: Incoming) -> None:
    """Write the body of a request to new content; raise OSSError if it is too large or contradicts its headers."""
    size = content_length(request.environ.get("CONTENT_LENGTH") or "")
    if size > MAX_OBJECT_SIZE:
        message = "Your proposed upload exceeds the maximum allowed size."
        members = {"MaxSizeAllowed": str(MAX_OBJECT_SIZE), "ProposedSize": request.environ["CONTENT_LENGTH"]}
        raise OSSError(400, "EntityTooLarge", message, "0006-00000003", **members)
    header = request.headers.get("content-md5", "")
    digest = content_md5(header)
    source = request.environ["wsgi.input"]
    incoming.receive(chunks(source, size), source)
    if incoming.size < size:
        raise _incomplete_body()
    if digest and not hmac.compare_digest(digest, bytes.fromhex(incoming.md5)):
        raise invalid_digest(header, OTHER_DIGEST)


def read_small_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """Return the body, b"" without a length; raise OSSError if it is too large or contradicts its headers."""
    length = content_length(environ.get("CONTENT_LENGTH") or "0")
    if length > limit:
        message = f"The body of this request must not be larger than {limit} bytes."
        raise OSSError(400, "EntityTooLarge", message, MaxSizeAllowed=str(limit), ProposedSize=str(length))
    body: bytes = environ["wsgi.input"].read(length) if length else b""
    if len(body) < length:
        raise _incomplete_body()
    header = environ.get("HTTP_CONTENT_MD5", "").strip()
    digest = content_md5(header)
    if digest and digest != hashlib.md5(body, usedforsecurity=False).digest():
        raise invalid_digest(header, OTHER_DIGEST)
    return body


def chunks(source: Readable, size: int) -> Iterator[bytes]:
    """Yield the next data of a file or a stream, up to `size` bytes."""
    while size > 0 and (chunk := source.read(min(CHUNK_SIZE, size))):
        size -= len(chunk)
        yield chunk


def _incomplete_body() -> OSSError:
    message = "You did not provide the number of bytes specified by the Content-Length HTTP header."
    return OSSError(400, "IncompleteBody", message)
