"""What a request announces of its body: the length, and the MD5."""

from __future__ import annotations

import base64

from .errors import OSSError, invalid_argument


def content_length(text: str) -> int:
    """Reads a Content-Length, which must be there."""
    if not text:
        raise OSSError(411, "MissingContentLength", "You must provide the Content-Length HTTP header.")
    if not (text.isascii() and text.isdigit()) or len(text) > 18:
        raise invalid_argument("The Content-Length is not valid.", name="Content-Length", value=text)
    return int(text)


def content_md5(text: str) -> bytes:
    """Reads a Content-MD5; empty when none is announced."""
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        raise invalid_digest() from None
    if text and len(digest) != 16:
        raise invalid_digest()
    return digest


def invalid_digest() -> OSSError:
    return OSSError(400, "InvalidDigest", "The Content-MD5 you specified was invalid.")
