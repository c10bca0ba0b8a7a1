"""Finds the change of path, query or body that explains a callback's wrong signature."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ..callback.rsa import signature_block
from ..callback.verifier import string_to_sign


def md5(data: bytes) -> bytes:
    """Return the digest that OSS signs (protocol.md 8.3)."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def signed_digest(key: RSAPublicKey, authorization: str) -> bytes | None:
    """Return the MD5 digest that a signature holds, or None if this key made no such signature."""
    try:
        signature = base64.b64decode(authorization, validate=True)
    except (ValueError, binascii.Error):
        return None
    numbers = key.public_numbers()
    size = (key.key_size + 7) // 8
    number = int.from_bytes(signature, "big")
    if len(signature) != size or number >= numbers.n:
        return None
    block = pow(number, numbers.e, numbers.n).to_bytes(size, "big")
    head = signature_block(b"", size)[:-16]  # only the digest at its end depends on the message
    return block[-16:] if hmac.compare_digest(block[:-16], head) else None


def find_change(digest: bytes, target: bytes, body: bytes) -> str | None:
    """Return in words the change of target or body that explains a digest, or None if no usual change does."""
    for target_change, other_target in _targets(target):
        for body_change, other_body in _bodies(body):
            if md5(string_to_sign(other_target, other_body)) == digest:
                shown = other_target.decode("utf-8", "replace")
                changes = [target_change and f"{target_change}, {shown}", body_change]
                return " and ".join(filter(None, changes)) or "nothing was changed"
    return None


def _targets(target: bytes) -> Iterator[tuple[str, bytes]]:
    path, mark, query = target.partition(b"?")
    yield "", target
    yield "the path had no slash at its end", path.rstrip(b"/") + mark + query
    yield "the path had a slash at its end", path + b"/" + mark + query
    if mark:
        yield "there was no query", path
    parts = path.split(b"/")
    for count in range(2, len(parts)):
        prefix = b"/".join(parts[:count]).decode("utf-8", "replace")
        yield f"the path lacked {prefix}", b"/" + b"/".join(parts[count:]) + mark + query


def _bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", body
    yield "the body had no line end after it", body.rstrip(b"\r\n")
    yield "the body had %2F for each /", body.replace(b"/", b"%2F")
    yield "the body had %20 for each +", body.replace(b"+", b"%20")
    yield "the body had + for each %20", body.replace(b"%20", b"+")
    yield "the body's JSON had no blanks", body.replace(b": ", b":").replace(b", ", b",")
