"""The public keys that may have signed a callback, by their URLs."""

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
from .rsa import PlainKey
from .rsa import load as load_plain_key

PublicKey = RSAPublicKey | PlainKey

log = logging.getLogger(__name__)

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
_FETCHABLE = re.compile(r"https?://gosspublic\.alicdn\.com/callback_pub_key_v([0-9]{1,20})\.pem")

_MIN_BITS, _MAX_BITS = 512, 8192
_MIN_EXPONENT = 65537
_LIFETIME = 24 * 3600.0
_MAX_FETCHED = 8
_GAP = 1.0
_COOLDOWN = 10.0
# Whoever floods us with made-up numbers has ten of one digit and many longer ones; OSS's next is of one digit. So
# the longer ones leave most of the time to it, and a 404 is remembered for long enough to come to all ten.
_LONG_COOLDOWN = 60.0
_ABSENT = 300.0
_PATIENCE = 2.0


def load_public_key(pem: str | bytes) -> PublicKey:
    """Load an RSA public key of 512 to 8,192 bits whose exponent is odd and at least 65,537; ValueError otherwise."""
    text = pem.encode("utf-8", "replace") if isinstance(pem, str) else pem
    try:
        key: Any = load_pem_public_key(text)
    except Exception:
        try:
            key = load_plain_key(text)  # a library may refuse one of OSS's size
        except ValueError as error:
            raise ValueError("it is not a public key in PEM") from error
    if not isinstance(key, RSAPublicKey | PlainKey):
        raise ValueError("it is not an RSA key")
    if not _MIN_BITS <= key.key_size <= _MAX_BITS:
        raise ValueError(f"it has {key.key_size} bits, and {_MIN_BITS} to {_MAX_BITS} are taken")
    exponent = key.e if isinstance(key, PlainKey) else key.public_numbers().e
    if exponent < _MIN_EXPONENT or exponent % 2 == 0:
        raise ValueError(f"it has the exponent {exponent}, and only odd ones from {_MIN_EXPONENT} up are taken")
    return key


class PublicKeyStore:
    """Finds the key for a URL that a callback names.

    OSS's own two URLs have the shipped key; ``trusted`` adds pinned pairs ``{URL: PEM text}``. Without ``fetcher``
    (``url -> bytes``, raising FetchError) nothing else is believed. With it, and ``clock`` (seconds), further versions
    of OSS's key, ``https?://gosspublic.alicdn.com/callback_pub_key_v<digits>.pem`` and nothing that only resembles
    it, are fetched over https and kept for a day.

    Anybody may name such a URL, so fetches are few whatever is asked: one at a time, for which only callers of the same
    URL wait, the others being refused at once; none for 10 seconds after a failure; of a number of several digits none
    for 60 then, and for one after a success; of a single digit that OSS does not have (404) not again for 5 minutes.

    Each key is logged once, with its size and fingerprint, when it is first used.

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
        self._unlogged = set(self._pinned)
        self._fetcher = fetcher
        self._clock = clock or (lambda: 0.0)
        self._fetched: dict[str, tuple[PublicKey, float]] = {}
        self._absent: dict[str, float] = {}
        self._ended, self._failed = float("-inf"), False
        self._under_way: tuple[str, threading.Event] | None = None
        self._lock = threading.Lock()
        #: how many fetches have brought a key, and how many have not
        self.fetches = {"fetched": 0, "failed": 0}

    @property
    def pinned(self) -> frozenset[str]:
        """Give the URLs whose keys are known without a fetch."""
        return frozenset(self._pinned)

    def get(self, url: str) -> PublicKey:
        """Give the key for a URL.

        Raises UnverifiedError for a URL that is not trusted, and KeyUnavailableError when a trusted one
        could not be had.
        """
        key = self._pinned.get(url)
        if key is not None:
            if url in self._unlogged:
                self._log_pinned(url, key)
            return key
        match = _FETCHABLE.fullmatch(url)
        if match is None:
            raise UnverifiedError("pub_key_url_untrusted", "x-oss-pub-key-url names a key that is not trusted")
        if self._fetcher is None:
            raise _unavailable("OSS's newer keys are not fetched here: there is no fetcher")
        return self._newer(match.group(1), self._fetcher)

    def _log_pinned(self, url: str, key: PublicKey) -> None:
        with self._lock:
            if url not in self._unlogged:
                return
            self._unlogged -= {other for other, pinned in self._pinned.items() if pinned == key}
        _log_key(url, key)

    def _newer(self, digits: str, fetcher: Callable[[str], bytes]) -> PublicKey:
        """Give a key that is kept, that is fetched now, or that another thread is fetching."""
        url = f"https://gosspublic.alicdn.com/callback_pub_key_v{digits}.pem"
        with self._lock:
            key = self._kept(url)
            if key is not None:
                return key
            mine = self._under_way is None
            if self._under_way is None:
                self._check_open(url, digits)
                self._under_way = url, threading.Event()
            fetched_url, done = self._under_way
        if mine:
            try:
                return self._fetch(url, digits, fetcher)
            finally:
                with self._lock:
                    self._under_way = None
                done.set()
        # Who waited for another URL's fetch too would let a few made-up numbers hold every thread of a server.
        if fetched_url != url or not done.wait(_PATIENCE):
            raise _unavailable("a key is being fetched")
        with self._lock:
            key = self._kept(url)
        if key is None:
            raise _unavailable("the key could not be fetched")
        return key

    def _check_open(self, url: str, digits: str) -> None:
        now = self._clock()
        long = len(digits) > 1
        wait = (_LONG_COOLDOWN if long else _COOLDOWN) if self._failed else (_GAP if long else 0.0)
        if now < self._ended + wait:
            raise _unavailable("the last fetch of a key was a moment ago" + (" and failed" if self._failed else ""))
        if now < self._absent.get(url, now):
            raise _unavailable("OSS had no such key when it was last asked")

    def _fetch(self, url: str, digits: str, fetcher: Callable[[str], bytes]) -> PublicKey:
        try:
            key = load_public_key(fetcher(url))
        except Exception as error:  # a fetcher of the application's own may raise anything
            with self._lock:
                self._ended, self._failed = self._clock(), True
                self.fetches["failed"] += 1
                if isinstance(error, FetchError) and error.status == 404 and len(digits) == 1:
                    self._absent[url] = self._ended + _ABSENT
            said = error if isinstance(error, (FetchError, ValueError)) else type(error).__name__
            raise _unavailable(f"the key could not be fetched: {said}") from error
        with self._lock:
            self._ended, self._failed = self._clock(), False
            self.fetches["fetched"] += 1
            before, _ = self._fetched.pop(url, (None, 0.0))
            if len(self._fetched) >= _MAX_FETCHED:
                self._fetched.pop(next(iter(self._fetched)))
            self._fetched[url] = key, self._ended + _LIFETIME
        if key != before:
            _log_key(url, key)
        return key

    def _kept(self, url: str) -> PublicKey | None:
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
