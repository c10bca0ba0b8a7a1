"""RSA PKCS #1 v1.5 over MD5, as OSS signs, also where the cryptographic library refuses it.

A FIPS build computes no MD5 and verifies with no key so short as OSS's of 512 bits (seen with OpenSSL's FIPS provider,
which loads the key; where a library refuses that too, there is PlainKey). Then, and only then, we work it out here.
Verifying knows no secret, so plain arithmetic gives nothing away.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import MD5

from .plain_key import PlainKey

_PADDING, _DIGEST = PKCS1v15(), MD5()  # noqa: S303 - the scheme of the signature, not a choice
_DIGEST_INFO = bytes.fromhex("3020300c06082a864886f70d020505000410")


def verify(key: RSAPublicKey | PlainKey, signature: bytes, message: bytes) -> bool:
    """Tell whether the signature is good."""
    try:
        key.verify(signature, message, _PADDING, _DIGEST)
    except InvalidSignature:
        return False
    except (UnsupportedAlgorithm, InternalError, ValueError):
        return _verify_by_hand(key, signature, message)
    return True


def _verify_by_hand(key: RSAPublicKey | PlainKey, signature: bytes, message: bytes) -> bool:
    """Compare the whole block of P§8.3; nothing in it is parsed, so nothing in it can be read two ways."""
    numbers = key if isinstance(key, PlainKey) else key.public_numbers()
    size = (key.key_size + 7) // 8
    number = int.from_bytes(signature, "big")
    if len(signature) != size or number >= numbers.n:
        return False
    end = b"\x00" + _DIGEST_INFO + hashlib.md5(message, usedforsecurity=False).digest()
    block = b"\x00\x01" + b"\xff" * (size - 2 - len(end)) + end
    return hmac.compare_digest(pow(number, numbers.e, numbers.n).to_bytes(size, "big"), block)
