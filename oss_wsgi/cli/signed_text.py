"""What a signature that does not fit was made over: its digest, and the nearby text that has it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..callback.verifier import string_to_sign

_END = bytes.fromhex("003020300c06082a864886f70d020505000410")


def md5(data: bytes) -> bytes:
    """Give the digest that OSS signs (P§8.3)."""
    return hashlib.md5(data, usedforsecurity=False).digest()


def fingerprint(key: Any) -> str:
    """Give the SHA-256 of a key's SubjectPublicKeyInfo, as the log does."""
    # A key that the library refuses to load is kept as numbers and DER.
    der = key.der if hasattr(key, "der") else key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def signed_digest(key: Any, authorization: str) -> bytes | None:
    """Give the MD5 that a signature holds; None where it is none of this key's."""
    try:
        signature = base64.b64decode(authorization, validate=True)
    except (ValueError, binascii.Error):
        return None
    numbers, size = key if hasattr(key, "n") else key.public_numbers(), (key.key_size + 7) // 8
    if len(signature) != size or int.from_bytes(signature, "big") >= numbers.n:
        return None
    block = pow(int.from_bytes(signature, "big"), numbers.e, numbers.n).to_bytes(size, "big")
    head = b"\x00\x01" + b"\xff" * (size - 2 - len(_END) - 16) + _END
    return block[-16:] if hmac.compare_digest(block[:-16], head) else None


def what_fits(digest: bytes, target: bytes, body: bytes) -> str | None:
    """Say which change of path, query or body on the way explains a digest; None if no usual one does."""
    for change, other_target in _targets(target):
        for body_change, other_body in _bodies(body):
            if md5(string_to_sign(other_target, other_body)) == digest:
                shown = other_target.decode("utf-8", "replace")
                changes = " and ".join(filter(None, [change and f"{change}, {shown}", body_change]))
                return changes or "nothing was changed"
    return None


def _targets(target: bytes) -> Iterator[tuple[str, bytes]]:
    path, mark, query = target.partition(b"?")
    yield "", target
    yield "the path had no slash at its end", path.rstrip(b"/") + mark + query
    yield "the path had a slash at its end", path + b"/" + mark + query
    if mark:
        yield "there was no query", path
    parts = path.split(b"/")
    for cut in range(2, len(parts)):
        yield f"the path lacked {b'/'.join(parts[:cut]).decode('utf-8', 'replace')}", (
            b"/" + b"/".join(parts[cut:]) + mark + query
        )


def _bodies(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "", body
    yield "the body had no line end after it", body.rstrip(b"\r\n")
    yield "the body had %2F for each /", body.replace(b"/", b"%2F")
    yield "the body had %20 for each +", body.replace(b"+", b"%20")
    yield "the body had + for each %20", body.replace(b"%20", b"+")
    yield "the body's JSON had no blanks", body.replace(b": ", b":").replace(b", ", b",")
