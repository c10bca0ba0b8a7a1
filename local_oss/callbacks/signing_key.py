"""The RSA key that signs callbacks instead of OSS's own."""

from __future__ import annotations

import base64
import math
import secrets

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

EXPONENT = 65537


class CallbackKey:
    """An RSA key that signs with PKCS #1 v1.5 over MD5, as OSS does (protocol.md 8.3)."""

    def __init__(self, private_key: rsa.RSAPrivateKey) -> None:
        self._private_key = private_key

    @classmethod
    def generate(cls, bits: int) -> CallbackKey:
        """Return a new key; raise ValueError for fewer than 512 bits."""
        if bits < 1024:
            return cls(_generate_small(bits))
        return cls(rsa.generate_private_key(EXPONENT, bits))

    @classmethod
    def from_pem(cls, text: str) -> CallbackKey:
        """Return the key in a PEM text; raise ValueError for a text without one."""
        key = serialization.load_pem_private_key(text.encode("ascii"), None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ValueError("not an RSA key")
        return cls(key)

    @property
    def bits(self) -> int:
        return self._private_key.key_size

    @property
    def private_pem(self) -> str:
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self._private_key.private_bytes(encoding, form, serialization.NoEncryption()).decode("ascii")

    @property
    def public_pem(self) -> str:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._private_key.public_key().public_bytes(serialization.Encoding.PEM, form).decode("ascii")

    def sign(self, string_to_sign: bytes) -> str:
        # OSS signs over MD5, so this key must too.
        signature = self._private_key.sign(string_to_sign, padding.PKCS1v15(), hashes.MD5())  # noqa: S303
        return base64.b64encode(signature).decode("ascii")


def _generate_small(bits: int) -> rsa.RSAPrivateKey:
    """Return a key that may be as short as OSS's: `cryptography` makes no key of 512 bits (protocol.md 8.7)."""
    if bits < 512 or bits % 16:
        raise ValueError(f"a callback key needs at least 512 bits and a multiple of 16, not {bits}")
    p = q = _generate_prime(bits // 2)
    while q == p:
        q = _generate_prime(bits // 2)
    d = pow(EXPONENT, -1, math.lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(EXPONENT, p * q)
    crt = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key()


def _generate_prime(bits: int) -> int:
    # The two upper bits are set, so that the product of two such primes has exactly twice the bits.
    fixed_bits = 0b11 << (bits - 2) | 1
    while True:
        candidate = secrets.randbits(bits) | fixed_bits
        # A random composite number of this size does not pass Fermat's test for these bases.
        if candidate % EXPONENT != 1 and all(pow(base, candidate - 1, candidate) == 1 for base in (2, 3, 5, 7, 11)):
            return candidate
