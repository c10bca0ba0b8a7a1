"""RSA PKCS #1 v1.5 with MD5, as OSS signs, where the cryptographic library refuses to verify it.

A FIPS build computes no MD5 and does not verify with a key as short as OSS's 512 bits (seen with OpenSSL's FIPS
provider, which loads the key; for a library that refuses even that, there is PlainKey). Only in that case this module
computes the check itself. Verifying involves no secret, so plain arithmetic leaks nothing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

#: DER of the DigestInfo for MD5, up to the digest (RFC 8017 section 9.2, note 1).
DIGEST_INFO = bytes.fromhex("3020300c06082a864886f70d020505000410")


@dataclass(frozen=True)
class PlainKey:
    """A public key as numbers: modulus ``n``, exponent ``e``, and ``der``, its SubjectPublicKeyInfo."""

    n: int
    e: int
    der: bytes

    @property
    def key_size(self) -> int:
        """The length of the modulus in bits."""
        return self.n.bit_length()

    def recover_data_from_signature(self, *_: object) -> bytes:
        """Raise UnsupportedAlgorithm: the library has refused the key."""
        raise UnsupportedAlgorithm("this key was not loaded by the library")


def verify_by_arithmetic(key: RSAPublicKey | PlainKey, signature: bytes, message: bytes) -> bool:
    """Return whether the whole block is that of protocol.md 8.3: what is not parsed cannot be misread."""
    numbers = key if isinstance(key, PlainKey) else key.public_numbers()
    size = (key.key_size + 7) // 8
    number = int.from_bytes(signature, "big")
    if number >= numbers.n:
        return False
    block = pow(number, numbers.e, numbers.n).to_bytes(size, "big")
    return hmac.compare_digest(block, signature_block(message, size))


def signature_block(message: bytes, size: int) -> bytes:
    """Return the PKCS #1 v1.5 block of a right signature, for a modulus of ``size`` bytes (protocol.md 8.3).

    That is ``00 01 FF...FF 00`` and the DigestInfo.
    """
    end = b"\x00" + DIGEST_INFO + hashlib.md5(message, usedforsecurity=False).digest()
    return b"\x00\x01" + b"\xff" * (size - 2 - len(end)) + end


# A blank is read by one of its parts only: where two could, many blanks would take time by their cube.
_PEM = re.compile(rb"\s*-----BEGIN PUBLIC KEY-----(?=\s)([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*")
_SEQUENCE, _INTEGER, _BIT_STRING = 0x30, 0x02, 0x03
# AlgorithmIdentifier: rsaEncryption, NULL (RFC 3279 section 2.3.1).
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")


def load_plain_key(pem: bytes) -> PlainKey:
    """Read an RSA SubjectPublicKeyInfo in PEM (RFC 5280 section 4.1, RFC 8017 appendix A.1.1).

    Raises ValueError for anything else, also for other encodings than DER's one.
    """
    match = _PEM.fullmatch(pem)
    if match is None:
        raise ValueError("it is not a public key in PEM")
    der = base64.b64decode(re.sub(rb"\s", b"", match.group(1)), validate=True)
    info, rest = _read_element(der, _SEQUENCE)
    if rest or not info.startswith(_RSA):
        raise ValueError("it is not an RSA key")
    bits, rest = _read_element(info[len(_RSA) :], _BIT_STRING)
    key, after = _read_element(bits[1:], _SEQUENCE)
    if rest or after or bits[:1] != b"\x00":
        raise ValueError("it is not an RSA key")
    n, rest = _read_integer(key)
    e, rest = _read_integer(rest)
    if rest or n % 2 == 0:
        raise ValueError("it is not an RSA key")
    return PlainKey(n, e, der)


def _read_element(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Return the content of the first element, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("it is not DER of a key")
    length, start = data[1], 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
        is_shortest = length >= 0x80 and data[2] != 0
        if not 2 < start <= 4 or len(data) < start or not is_shortest:
            raise ValueError("it is not DER of a key")
    if len(data) < start + length:
        raise ValueError("it is not DER of a key")
    return data[start : start + length], data[start + length :]


def _read_integer(data: bytes) -> tuple[int, bytes]:
    """Return a positive integer in its shortest form, and what follows it."""
    content, rest = _read_element(data, _INTEGER)
    padded = content[:1] == b"\x00"
    if not content or content[0] >= 0x80 or (padded and (len(content) < 2 or content[1] < 0x80)):
        raise ValueError("it is not DER of a key")
    return int.from_bytes(content, "big"), rest
