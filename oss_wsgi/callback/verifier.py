"""The verifier of callbacks' signatures: the string to sign, and RSA PKCS #1 v1.5 with MD5 (protocol.md 8)."""

from __future__ import annotations

import binascii
import functools
import hashlib
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ..exceptions import UnverifiedError, VerificationError
from .public_keys import PublicKeyStore
from .rsa import DIGEST_INFO, verify_by_arithmetic

#: The padding of OSS's signatures.
PADDING = PKCS1v15()
_MAX_TEXT = 4096


def string_to_sign(target: bytes, body: bytes) -> bytes:
    """Return the text that OSS signs: ``percent_decode(path)[?raw query]`` LF ``raw body`` (protocol.md 8.2).

    Only the path's percent-encoding is decoded: a ``+`` stays. The query is not decoded; a bare ``?`` counts as no
    query.
    """
    path, _, query = target.partition(b"?")
    if b"%" in path:
        path = unquote_to_bytes(path)
    return b"%s?%s\n%s" % (path, query, body) if query else b"%s\n%s" % (path, body)


class CallbackVerifier:
    """Verifies the signatures of callbacks.

    Without arguments it knows OSS's published key under its two URLs, and never fetches anything.
    """

    def __init__(self, public_keys: PublicKeyStore | None = None) -> None:
        self._public_keys = public_keys or PublicKeyStore()

    def verify(self, *, target: bytes, body: bytes, authorization: str, pub_key_url: str) -> None:
        """Return if the signature is correct.

        ``target`` is the request target as OSS sent it, ``body`` the raw bytes, ``authorization`` the value of that
        header, ``pub_key_url`` the Base64 text of ``x-oss-pub-key-url``.

        Raises UnverifiedError when the signature is wrong, KeyUnavailableError when its key cannot be fetched now.
        """
        signature = _decode(authorization, "authorization")
        url = _decode_url(pub_key_url)
        message = string_to_sign(target, body)
        key = self._public_keys.in_use.get(url)
        if key is None:
            key = self._public_keys.get(url)
        if not verify_rsa_md5(key, signature, message):
            newer = self._public_keys.replacement(url, key)
            if newer is not None and verify_rsa_md5(newer, signature, message):
                self._public_keys.has_verified(url)
                return
            hint = "the signature does not fit the path, the query and the body as they arrived"
            if len(signature) != (key.key_size + 7) // 8:
                hint = (
                    "the signature has another length than the key: check OSS_TRUSTED_KEYS, or what cuts Authorization"
                )
            raise UnverifiedError("signature_wrong", hint)
        if url not in self._public_keys.in_use:
            self._public_keys.has_verified(url)

    def check_headers(self, authorization: str, pub_key_url: str) -> None:
        """Raise UnverifiedError for headers that ``verify`` refuses whatever the target and the body are."""
        _decode(authorization, "authorization")
        self._public_keys.check_trusted(_decode_url(pub_key_url))

    def is_valid(self, *, target: bytes, body: bytes, authorization: str, pub_key_url: str) -> bool:
        """Return whether ``verify`` succeeds; False also when the key cannot be fetched now."""
        try:
            self.verify(target=target, body=body, authorization=authorization, pub_key_url=pub_key_url)
        except VerificationError:
            return False
        return True

    def has_key(self, pub_key_url: str) -> bool:
        """Return whether ``verify`` needs no fetch for the key URL in this Base64 text."""
        try:
            return self._public_keys.is_at_hand(_decode_url(pub_key_url))
        except UnverifiedError:
            return True  # it is refused at once

    def pinned_key_urls(self) -> frozenset[str]:
        """Return the Base64 texts of ``x-oss-pub-key-url`` whose keys ``verify`` never fetches."""
        return frozenset(binascii.b2a_base64(url.encode(), newline=False).decode() for url in self._public_keys.pinned)


def verify_rsa_md5(key: RSAPublicKey, signature: bytes, message: bytes) -> bool:
    """Return whether a signature is correct, even where the library refuses to verify it.

    The library checks and removes the padding; the rest must be exactly the DigestInfo (RFC 8017 section 9.2). The
    library's ``verify`` does the same in one call, but looks the hash up each time, which is a third of its time.
    """
    if len(signature) != (key.key_size + 7) // 8:
        return False
    try:
        recovered = key.recover_data_from_signature(signature, PADDING, None)
    except InvalidSignature:
        return False
    except (UnsupportedAlgorithm, InternalError, ValueError):
        return verify_by_arithmetic(key, signature, message)
    return recovered == DIGEST_INFO + hashlib.md5(message, usedforsecurity=False).digest()


@functools.lru_cache(maxsize=16)  # OSS sends one or two; errors are not cached
def _decode_url(pub_key_url: str) -> str:
    return _decode(pub_key_url, "pub_key_url").decode("latin-1")  # no URL that is trusted has other characters


def _decode(text: str, name: str) -> bytes:
    """Decode Base64 and accept only its canonical form: Python's decoder accepts many texts for one signature."""
    if text and len(text) <= _MAX_TEXT:
        try:
            decoded = binascii.a2b_base64(text)
        except ValueError:  # for non-ASCII characters too
            decoded = b""
        if binascii.b2a_base64(decoded, newline=False).decode() == text:
            return decoded
    hint = "is missing" if not text else "is not one Base64 text: was the header sent twice, or joined with another?"
    raise UnverifiedError(f"{name}_{'malformed' if text else 'missing'}", f"{name.replace('_', '-')} {hint}")
