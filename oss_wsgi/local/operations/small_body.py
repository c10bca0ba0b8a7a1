"""The body of a request that configures something: read whole, within a limit, and checked by its Content-MD5."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from ..announced import invalid_digest
from ..errors import OSSError


def read_small_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """OSSError for a body over `limit` bytes, a cut one, and one that its Content-MD5 does not describe."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if not (length.isascii() and length.isdigit()):
        raise OSSError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if int(length) > limit:
        message = f"The body of this request must not be larger than {limit} bytes."
        raise OSSError(400, "EntityTooLarge", message, MaxSizeAllowed=str(limit), ProposedSize=length)
    body: bytes = environ["wsgi.input"].read(int(length)) if int(length) else b""
    if len(body) < int(length):
        message = "You did not provide the number of bytes specified by the Content-Length HTTP header."
        raise OSSError(400, "IncompleteBody", message)
    digest = environ.get("HTTP_CONTENT_MD5", "").strip()
    if digest and digest != base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode():
        raise invalid_digest()
    return body
