"""The public keys that may have signed a callback, by their URLs."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from .exceptions import FetchError, KeyUnavailableError, UnverifiedError

#: OSS's callback key, unchanged since 2015 (P§8.4).
OSS_PUBLIC_KEY = """\
-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKs/JBGzwUB2aVht4crBx3oIPBLNsjGs
C0fTXv+nvlmklvkcolvpvXLTjaxUHR3W9LXxQ2EHXAJfCB+6H2YF1k8CAwEAAQ==
-----END PUBLIC KEY-----
"""
OSS_PUBLIC_KEY_URLS = (
    "http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem",
)

# P§8.4's rule asks only for the host; the whole name leaves nothing to redirects, ports or other files of that CDN.
_FETCHABLE = re.compile(r"https?://gosspublic\.alicdn\.com/callback_pub_key_v([0-9]{1,4})\.pem")

_MIN_BITS, _MAX_BITS = 512, 8192
_COOLDOWN = 10.0
_LIFETIME = 24 * 3600.0
_MAX_FETCHED = 8


def load_public_key(pem: str | bytes) -> RSAPublicKey:
    """Load an RSA public key of 512 to 8,192 bits whose exponent is odd and at least 65,537; ValueError otherwise."""
    try:
        key = load_pem_public_key(pem.encode() if isinstance(pem, str) else pem)
    except Exception as error:
        raise ValueError("it is not a public key in PEM") from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("it is not an RSA key")
    exponent = key.public_numbers().e
    if not _MIN_BITS <= key.key_size <= _MAX_BITS or exponent < 65537 or exponent % 2 == 0:
        raise ValueError(f"it has {key.key_size} bits and the exponent {exponent}, which is not to be trusted")
    return key


class PublicKeyStore:
    """Finds the key for a URL that a callback names.

    OSS's own two URLs have the shipped key; ``trusted`` adds pinned pairs ``{URL: PEM text}``. Without ``fetcher``
    (``url -> bytes``, raising FetchError) nothing else is believed. With it, and ``clock`` (seconds), further versions
    of OSS's key, ``https?://gosspublic.alicdn.com/callback_pub_key_v<digits>.pem`` and nothing that only resembles
    it, are fetched over https: one fetch at a time, kept for a day, and after a failure none for 10 seconds.

    Raises ValueError for a pinned key that is none.
    """

    def __init__(
        self,
        trusted: Mapping[str, str] | None = None,
        *,
        fetcher: Callable[[str], bytes] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        if fetcher is not None and clock is None:
            raise ValueError("PublicKeyStore needs a clock where it has a fetcher.")
        self._pinned = dict.fromkeys(OSS_PUBLIC_KEY_URLS, load_public_key(OSS_PUBLIC_KEY))
        for url, pem in (trusted or {}).items():
            try:
                self._pinned[url] = load_public_key(pem)
            except ValueError as error:
                raise ValueError(f"The trusted key for {url}: {error}.") from error
        self._fetcher = fetcher
        self._clock = clock or (lambda: 0.0)
        self._fetched: dict[str, tuple[RSAPublicKey, float]] = {}
        self._closed_until = 0.0
        self._lock = threading.Lock()

    def get(self, url: str) -> RSAPublicKey:
        """Give the key for a URL.

        Raises UnverifiedError for a URL that is not trusted, and KeyUnavailableError when a trusted one
        could not be had.
        """
        key = self._pinned.get(url)
        if key is not None:
            return key
        match = _FETCHABLE.fullmatch(url)
        if match is None:
            raise UnverifiedError("pub_key_url_untrusted", "x-oss-pub-key-url names a key that is not trusted")
        if self._fetcher is None:
            raise KeyUnavailableError("key_unavailable", "OSS's newer keys are not fetched here: there is no fetcher")
        return self._fetch(f"https://gosspublic.alicdn.com/callback_pub_key_v{match.group(1)}.pem", self._fetcher)

    def _fetch(self, url: str, fetcher: Callable[[str], bytes]) -> RSAPublicKey:
        kept = self._kept(url)
        if kept is not None:
            return kept
        with self._lock:
            kept = self._kept(url)  # by the thread that held the lock before
            if kept is not None:
                return kept
            if self._clock() < self._closed_until:
                raise KeyUnavailableError("key_unavailable", "the last fetch of a key failed a moment ago")
            try:
                key = load_public_key(fetcher(url))
            except Exception as error:  # a fetcher of the application's own may raise anything
                self._closed_until = self._clock() + _COOLDOWN
                said = error if isinstance(error, (FetchError, ValueError)) else type(error).__name__
                raise KeyUnavailableError("key_unavailable", f"the key could not be fetched: {said}") from error
            self._fetched.pop(url, None)
            if len(self._fetched) >= _MAX_FETCHED:
                self._fetched.pop(next(iter(self._fetched)))
            self._fetched[url] = key, self._clock() + _LIFETIME
            return key

    def _kept(self, url: str) -> RSAPublicKey | None:
        key, until = self._fetched.get(url, (None, 0.0))
        return key if key is not None and self._clock() < until else None
