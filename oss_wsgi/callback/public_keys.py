"""The public keys with which OSS may sign callbacks, by their URLs."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from ..exceptions import FetchError, KeyUnavailableError, UnverifiedError
from .rsa import PlainKey, load_plain_key

PublicKey = RSAPublicKey | PlainKey

log = logging.getLogger(__name__)

#: OSS's callback key, unchanged since 2015 (protocol.md 8.4).
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

# The rule of protocol.md 8.4 checks only the host. The whole name excludes ports and other files of that CDN.
_FETCHABLE = re.compile(r"https?://gosspublic\.alicdn\.com/callback_pub_key_v([0-9]{1,20})\.pem")

_MIN_BITS, _MAX_BITS = 512, 8192
_MIN_EXPONENT = 65537
_LIFETIME = 24 * 3600.0
_MAX_FETCHED = 8
_COOLDOWN = 10.0
# An attacker can make up many versions of several digits, but only ten of one, and OSS's next version has one. So the
# longer ones are fetched more rarely, and a 404 for a short one is remembered until all ten have been tried.
_LONG_VERSION_COOLDOWN = 60.0
_LONG_VERSION_GAP = 1.0
_NOT_FOUND_SECONDS = 300.0
_WAIT_TIMEOUT = 2.0


def load_public_key(pem: str | bytes) -> PublicKey:
    """Load an RSA public key of 512 to 8,192 bits whose exponent is odd and at least 65,537; ValueError otherwise."""
    data = pem.encode("utf-8", "replace") if isinstance(pem, str) else pem
    try:
        key: Any = load_pem_public_key(data)
    except Exception:
        try:
            key = load_plain_key(data)  # some libraries refuse a key as short as OSS's
        except ValueError as error:
            raise ValueError("it is not a public key in PEM") from error
    if not isinstance(key, RSAPublicKey | PlainKey):
        raise ValueError("it is not an RSA key")
    if not _MIN_BITS <= key.key_size <= _MAX_BITS:
        raise ValueError(f"it has {key.key_size} bits instead of {_MIN_BITS} to {_MAX_BITS}")
    exponent = key.e if isinstance(key, PlainKey) else key.public_numbers().e
    if exponent < _MIN_EXPONENT or exponent % 2 == 0:
        raise ValueError(f"its exponent is {exponent}, not an odd number of at least {_MIN_EXPONENT}")
    return key


class PublicKeyStore:
    """Finds the key for a URL that a callback names.

    OSS's own two URLs have the shipped key; ``trusted`` adds pinned pairs ``{URL: PEM text}``. Without ``fetcher``
    (``url -> bytes``, raising FetchError) no other URL is trusted. With it, and ``clock`` (seconds), further versions
    of OSS's key, exactly ``https?://gosspublic.alicdn.com/callback_pub_key_v<digits>.pem``, are fetched over https and
    cached for a day.

    Anybody may name such a URL, so fetches are limited: one at a time, for which only callers of the same URL wait,
    while the others are refused at once; none for 10 seconds after a failure; for a version of several digits none for
    60 seconds after a failure, and for one after a success; none for 5 minutes for a version of one digit that OSS
    does not have (404).

    Each key is logged once, with its size and fingerprint, when it is first used.

    Raises ValueError for a pinned key that cannot be loaded.
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
        #: the pinned keys that were used, so that a verifier need not call ``get`` again
        self.in_use: dict[str, PublicKey] = {}
        #: how many fetches have brought a key, and how many have not
        self.fetches = {"fetched": 0, "failed": 0}
        self._fetcher = fetcher
        self._clock = clock or (lambda: 0.0)
        self._fetched: dict[str, tuple[PublicKey, float]] = {}
        self._not_found_until: dict[str, float] = {}
        self._last_fetch, self._last_fetch_failed = float("-inf"), False
        self._running_fetch: tuple[str, threading.Event] | None = None
        self._lock = threading.Lock()

    @property
    def pinned(self) -> frozenset[str]:
        """The URLs whose keys are known without a fetch."""
        return frozenset(self._pinned)

    def get(self, url: str) -> PublicKey:
        """Return the key for a URL.

        Raises UnverifiedError for a URL that is not trusted, and KeyUnavailableError when the key of a trusted one
        cannot be had now.
        """
        key = self._pinned.get(url)
        if key is not None:
            if url not in self.in_use:
                self._use_pinned(url, key)
            return key
        match = _FETCHABLE.fullmatch(url)
        if match is None:
            raise UnverifiedError("pub_key_url_untrusted", "x-oss-pub-key-url names a key that is not trusted")
        if self._fetcher is None:
            raise _unavailable("OSS's newer keys are not fetched here: there is no fetcher")
        return self._newer_key(match.group(1), self._fetcher)

    def _use_pinned(self, url: str, key: PublicKey) -> None:
        with self._lock:
            if url in self.in_use:
                return
            self.in_use.update((other, pinned) for other, pinned in self._pinned.items() if pinned == key)
        _log_key(url, key)

    def _newer_key(self, version: str, fetcher: Callable[[str], bytes]) -> PublicKey:
        """Return a key that is cached, that is fetched now, or that another thread is fetching."""
        url = f"https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem"
        with self._lock:
            key = self._cached(url)
            if key is not None:
                return key
            fetches_here = self._running_fetch is None
            if self._running_fetch is None:
                self._check_fetch_allowed(url, version)
                self._running_fetch = url, threading.Event()
            running_url, done = self._running_fetch
        if fetches_here:
            try:
                return self._fetch(url, version, fetcher)
            finally:
                with self._lock:
                    self._running_fetch = None
                done.set()
        # If callers of other URLs waited too, a few made-up versions would block every thread of a server.
        if running_url != url or not done.wait(_WAIT_TIMEOUT):
            raise _unavailable("a key is being fetched")
        with self._lock:
            key = self._cached(url)
        if key is None:
            raise _unavailable("the key could not be fetched")
        return key

    def _check_fetch_allowed(self, url: str, version: str) -> None:
        now = self._clock()
        is_long = len(version) > 1
        if self._last_fetch_failed:
            wait = _LONG_VERSION_COOLDOWN if is_long else _COOLDOWN
        else:
            wait = _LONG_VERSION_GAP if is_long else 0.0
        if now < self._last_fetch + wait:
            failed = " and failed" if self._last_fetch_failed else ""
            raise _unavailable(f"the last fetch of a key was a moment ago{failed}")
        if now < self._not_found_until.get(url, now):
            raise _unavailable("OSS had no such key when it was last asked")

    def _fetch(self, url: str, version: str, fetcher: Callable[[str], bytes]) -> PublicKey:
        try:
            key = load_public_key(fetcher(url))
        except Exception as error:  # a fetcher of the application's own may raise anything
            with self._lock:
                self._last_fetch, self._last_fetch_failed = self._clock(), True
                self.fetches["failed"] += 1
                if isinstance(error, FetchError) and error.status == 404 and len(version) == 1:
                    self._not_found_until[url] = self._last_fetch + _NOT_FOUND_SECONDS
            cause = error if isinstance(error, (FetchError, ValueError)) else type(error).__name__
            raise _unavailable(f"the key could not be fetched: {cause}") from error
        with self._lock:
            self._last_fetch, self._last_fetch_failed = self._clock(), False
            self.fetches["fetched"] += 1
            previous, _ = self._fetched.pop(url, (None, 0.0))
            if len(self._fetched) >= _MAX_FETCHED:
                self._fetched.pop(next(iter(self._fetched)))
            self._fetched[url] = key, self._last_fetch + _LIFETIME
        if key != previous:
            _log_key(url, key)
        return key

    def _cached(self, url: str) -> PublicKey | None:
        key, until = self._fetched.get(url, (None, 0.0))
        return key if key is not None and self._clock() < until else None


def _unavailable(hint: str) -> KeyUnavailableError:
    return KeyUnavailableError("key_unavailable", hint)


def _log_key(url: str, key: PublicKey) -> None:
    """Log the size and the SHA-256 of the SubjectPublicKeyInfo (``openssl pkey -pubin -outform DER | sha256sum``)."""
    remark = ", the size that OSS itself has chosen" if key == load_public_key(OSS_PUBLIC_KEY) else ""
    if isinstance(key, PlainKey):
        der = key.der
    else:
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    fingerprint = hashlib.sha256(der, usedforsecurity=False).hexdigest()
    log.info("callback key %s: %d bits%s, SHA-256 %s", url, key.key_size, remark, fingerprint)
