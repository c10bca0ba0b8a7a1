"""RSA PKCS #1 v1.5 with MD5, as OSS signs, where the cryptographic library refuses to verify it.

A FIPS build computes no MD5 and does not verify with a key as short as OSS's 512 bits, but it loads such a key
(protocol.md 8.6). In that case alone this module does the check itself. Verifying involves no secret, so plain
arithmetic leaks nothing.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

#: DER of the DigestInfo for MD5, up to the digest (RFC 8017 section 9.2, note 1).
DIGEST_INFO = bytes.fromhex("3020300c06082a864886f70d020505000410")


def verify_by_arithmetic(key: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    """Return whether the whole block equals that of protocol.md 8.3; comparing instead of parsing cannot misread it."""
    numbers = key.public_numbers()
    size = (key.key_size + 7) // 8
    number = int.from_bytes(signature, "big")
    if number >= numbers.n:
        return False
    block = pow(number, numbers.e, numbers.n).to_bytes(size, "big")
    return hmac.compare_digest(block, signature_block(message, size))


def signature_block(message: bytes, size: int) -> bytes:
    """Return the PKCS #1 v1.5 block of a correct signature, for a modulus of ``size`` bytes (protocol.md 8.3).

    That is ``00 01 FF...FF 00`` and the DigestInfo.
    """
    end = b"\x00" + DIGEST_INFO + hashlib.md5(message, usedforsecurity=False).digest()
    return b"\x00\x01" + b"\xff" * (size - 2 - len(end)) + end
