"""The request headers that describe a body: Content-Length and Content-MD5."""

from __future__ import annotations

import base64

from .errors import OSSError, invalid_argument, invalid_digest


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
        raise invalid_digest() from None
    if text and len(digest) != 16:
        raise invalid_digest()
    return digest
