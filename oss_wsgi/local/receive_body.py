"""The body of a request as content: streamed, counted, and checked by its Content-MD5."""

from __future__ import annotations

import base64
import hmac

from .errors import OSSError, invalid_argument
from .policy_check import MAX_OBJECT_SIZE
from .request import Request
from .storage import Incoming

CHUNK_SIZE = 256 * 1024


def receive_body(request: Request, incoming: Incoming) -> None:
    size = _content_length(request)
    digest = _content_md5(request)
    source = request.environ["wsgi.input"]
    if not incoming.take(source, size):
        while incoming.size < size and (chunk := source.read(min(CHUNK_SIZE, size - incoming.size))):
            incoming.write(chunk)
    if incoming.size < size:
        message = "You did not provide the number of bytes specified by the Content-Length HTTP header."
        raise OSSError(400, "IncompleteBody", message)
    if digest and not hmac.compare_digest(digest, bytes.fromhex(incoming.md5)):
        raise _invalid_digest()


def _content_length(request: Request) -> int:
    length = request.environ.get("CONTENT_LENGTH") or ""
    if not length:
        raise OSSError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if not (length.isascii() and length.isdigit()) or len(length) > 18:
        raise invalid_argument("The Content-Length is not valid.", name="Content-Length", value=length)
    if int(length) > MAX_OBJECT_SIZE:
        message = "Your proposed upload exceeds the maximum allowed size."
        members = {"MaxSizeAllowed": str(MAX_OBJECT_SIZE), "ProposedSize": length}
        raise OSSError(400, "EntityTooLarge", message, "0006-00000003", **members)
    return int(length)


def _content_md5(request: Request) -> bytes:
    header = request.headers.get("content-md5", "")
    try:
        digest = base64.b64decode(header, validate=True)
    except ValueError:
        raise _invalid_digest() from None
    if header and len(digest) != 16:
        raise _invalid_digest()
    return digest


def _invalid_digest() -> OSSError:
    return OSSError(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
