"""An RSA public key as its two numbers, for where the cryptographic library refuses to load one of OSS's size."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm

_PEM = re.compile(rb"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----\s*")
_SEQUENCE, _INTEGER, _BIT_STRING = 0x30, 0x02, 0x03
# AlgorithmIdentifier: rsaEncryption, NULL (RFC 3279 section 2.3.1).
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")


@dataclass(frozen=True)
class PlainKey:
    """Modulus and exponent, with ``der``, the SubjectPublicKeyInfo that they come from."""

    n: int
    e: int
    der: bytes

    @property
    def key_size(self) -> int:
        """Give the bits of the modulus."""
        return self.n.bit_length()

    def verify(self, *_: object) -> None:
        """Raise UnsupportedAlgorithm: the library has refused the key."""
        raise UnsupportedAlgorithm("this key was not loaded by the library")


def load(pem: bytes) -> PlainKey:
    """Read a SubjectPublicKeyInfo in PEM whose key is RSA (RFC 5280 section 4.1, RFC 8017 appendix A.1.1).

    Nothing but its one DER form is taken. Raises ValueError.
    """
    match = _PEM.fullmatch(pem)
    if match is None:
        raise ValueError("it is not a public key in PEM")
    der = base64.b64decode(re.sub(rb"\s", b"", match.group(1)), validate=True)
    info, rest = _read(der, _SEQUENCE)
    if rest or not info.startswith(_RSA):
        raise ValueError("it is not an RSA key")
    bits, rest = _read(info[len(_RSA) :], _BIT_STRING)
    key, after = _read(bits[1:], _SEQUENCE)
    if rest or after or bits[:1] != b"\x00":
        raise ValueError("it is not an RSA key")
    n, rest = _integer(key)
    e, rest = _integer(rest)
    if rest or n % 2 == 0:
        raise ValueError("it is not an RSA key")
    return PlainKey(n, e, der)


def _read(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Give the content of the first element, and what follows it."""
    if len(data) < 2 or data[0] != tag:
        raise ValueError("it is not DER of a key")
    length, start = data[1], 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
        shortest = length >= 0x80 and data[2] != 0
        if not 2 < start <= 4 or len(data) < start or not shortest:
            raise ValueError("it is not DER of a key")
    if len(data) < start + length:
        raise ValueError("it is not DER of a key")
    return data[start : start + length], data[start + length :]


def _integer(data: bytes) -> tuple[int, bytes]:
    """Give a positive integer in its shortest form, and what follows it."""
    content, rest = _read(data, _INTEGER)
    padded = content[:1] == b"\x00"
    if not content or content[0] >= 0x80 or (padded and (len(content) < 2 or content[1] < 0x80)):
        raise ValueError("it is not DER of a key")
    return int.from_bytes(content, "big"), rest
