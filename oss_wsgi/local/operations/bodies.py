"""The body of a request as content: streamed, counted, and checked by its Content-MD5."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import BinaryIO

from ..announced import content_length, content_md5, invalid_digest
from ..errors import OSSError
from ..forms.policy_check import MAX_OBJECT_SIZE
from ..request import Request
from ..storage.interface import Incoming

CHUNK_SIZE = 256 * 1024


def receive_body(request: Request, incoming: Incoming) -> None:
    size = _content_length(request)
    digest = content_md5(request.headers.get("content-md5", ""))
    source = request.environ["wsgi.input"]
    incoming.receive(_read(source, size), source)
    if incoming.size < size:
        message = "You did not provide the number of bytes specified by the Content-Length HTTP header."
        raise OSSError(400, "IncompleteBody", message)
    if digest and not hmac.compare_digest(digest, bytes.fromhex(incoming.md5)):
        raise invalid_digest()


def _read(source: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (chunk := source.read(min(CHUNK_SIZE, size))):
        size -= len(chunk)
        yield chunk


def _content_length(request: Request) -> int:
    length = content_length(request.environ.get("CONTENT_LENGTH") or "")
    if length > MAX_OBJECT_SIZE:
        message = "Your proposed upload exceeds the maximum allowed size."
        members = {"MaxSizeAllowed": str(MAX_OBJECT_SIZE), "ProposedSize": request.environ["CONTENT_LENGTH"]}
        raise OSSError(400, "EntityTooLarge", message, "0006-00000003", **members)
    return length
