"""The public keys with which OSS may sign callbacks, by their URLs."""

from __future__ import annotations

import hashlib
import logging
import math
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from ..exceptions import FetchError, KeyUnavailableError, UnverifiedError
from ..explanations.text import Text
from ..threads import ForkAware

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

# The rule of protocol.md 8.4 checks only the host. We match the whole URL, which excludes ports and the CDN's other
# files.
_FETCHABLE = re.compile(r"https?://gosspublic\.alicdn\.com/callback_pub_key_v([0-9]{1,20})\.pem")

_MIN_BITS, _MAX_BITS = 512, 8192
_MIN_EXPONENT = 65537
#: How many versions after a known one may be OSS's next.
_MAX_STEP = 9
_MAX_UNPROVEN = 8
# Seconds until the next fetch: after an answer that was not a key, and after no answer.
_PAUSE, _LONG_PAUSE = 1.0, 10.0
#: Seconds for which a callback waits for the fetch of its key.
WAIT_TIMEOUT = 2.0
_DAY = 24 * 3600.0
_MADE_UP = ""


def load_public_key(pem: str | bytes) -> RSAPublicKey:
    """Load an RSA public key of 512 to 8,192 bits whose exponent is odd and at least 65,537; ValueError otherwise."""
    try:
        key = load_pem_public_key(pem.encode("utf-8", "replace") if isinstance(pem, str) else pem)
    except Exception as error:  # cryptography raises errors of its own too
        raise ValueError("it is not a public key in PEM") from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("it is not an RSA key")
    if not _MIN_BITS <= key.key_size <= _MAX_BITS:
        raise ValueError(Text("it has {1} bits instead of {2} to {3}", key.key_size, _MIN_BITS, _MAX_BITS))
    exponent = key.public_numbers().e
    if exponent < _MIN_EXPONENT or exponent % 2 == 0:
        raise ValueError(f"its exponent is {exponent}, not an odd number of at least {_MIN_EXPONENT}")
    return key


class _Fetch(NamedTuple):
    """A running fetch: its version, whether others may wait for it, and an event that is set at its end."""

    version: str
    is_waited_for: bool
    done: threading.Event


class PublicKeyStore(ForkAware):
    """Finds the key for a URL that a callback names.

    OSS's own two URLs stand for the shipped key; ``trusted`` adds pinned pairs ``{URL: PEM text}``. Without ``fetcher``
    (``url -> bytes``, raising FetchError) no other URL is trusted. With it, and ``clock`` (seconds), further versions
    of OSS's key, exactly ``https?://gosspublic.alicdn.com/callback_pub_key_v<digits>.pem``, are fetched over https,
    each once. A fetched key is used until it is replaced: it is fetched again when it is a day old and a signature does
    not fit.

    Anybody may name such a URL, so fetches are limited. The nine versions after a known one may be OSS's next keys:
    each is fetched independently of the others, and again one second after an answer that was not a key. All other
    versions together get one fetch at a time, with one second between two fetches. After a fetch without an answer the
    pause is ten seconds, and then nobody waits for the next fetch. Otherwise only callers that name the same URL wait
    for it. Version 0 is never fetched, because OSS began with 1.

    A version is known once its key is pinned or has verified a callback; known keys are kept. Of the other keys, the
    last eight are kept.

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
            raise ValueError("PublicKeyStore needs a clock if it has a fetcher.")
        self._pinned = dict.fromkeys(OSS_PUBLIC_KEY_URLS, load_public_key(OSS_PUBLIC_KEY))
        for url, pem in (trusted or {}).items():
            try:
                self._pinned[url] = load_public_key(pem)
            except ValueError as error:
                raise ValueError(Text("The trusted key for {1}: {2}.", url, error)) from error
        #: the URLs whose keys are known without a fetch
        self.pinned = frozenset(self._pinned)
        #: pinned keys that were used, and keys that have verified a callback: a verifier need not call ``get`` for them
        self.in_use: dict[str, RSAPublicKey] = {}
        #: how many fetches returned a key, and how many failed
        self.fetches = {"fetched": 0, "failed": 0}
        self._fetcher = fetcher
        self._clock = clock or (lambda: 0.0)
        self._known = {int(match[1]) for match in map(_FETCHABLE.fullmatch, self._pinned) if match is not None}
        self._fetched: dict[str, RSAPublicKey] = {}  # by version
        self._fetched_at: dict[str, float] = {}
        # By lane: a version that may be OSS's next, or _MADE_UP for all others.
        self._running: dict[str, _Fetch] = {}
        #: Until when the next fetch must wait, and whether the last one got no answer.
        self._pauses: dict[str, tuple[float, bool]] = {}
        self._lock = threading.Lock()
        super().__init__()

    def get(self, url: str) -> RSAPublicKey:
        """Return the key for a URL.

        Raises UnverifiedError for a URL that is not trusted, and KeyUnavailableError when the key of a trusted URL
        cannot be fetched now.
        """
        key = self._pinned.get(url)
        if key is not None:
            self._use_pinned(url, key)
            return key
        match = _FETCHABLE.fullmatch(url)
        if match is None:
            raise _untrusted()
        if self._fetcher is None:
            raise _unavailable("this is a newer key of OSS, and no fetcher is configured to get it")
        return self._fetched.get(match[1]) or self._newer_key(match[1], self._fetcher)

    def check_trusted(self, url: str) -> None:
        """Raise UnverifiedError for a URL that is not trusted."""
        if url not in self._pinned and _FETCHABLE.fullmatch(url) is None:
            raise _untrusted()

    def is_at_hand(self, url: str) -> bool:
        """Return whether ``get`` and ``replacement`` return for a URL without starting a fetch or waiting for one."""
        match = None if url in self._pinned or self._fetcher is None else _FETCHABLE.fullmatch(url)
        fetched_at = None if match is None else self._fetched_at.get(match[1])
        return match is None or (fetched_at is not None and self._clock() - fetched_at < _DAY)

    def replacement(self, url: str, key: RSAPublicKey) -> RSAPublicKey | None:
        """Return the key that has replaced ``key``, which did not verify a signature; None if nothing has."""
        match = None if url in self._pinned else _FETCHABLE.fullmatch(url)
        if match is None or self._fetcher is None:
            return None
        newer = self._fetched.get(match[1])
        if newer == key and self._clock() - self._fetched_at[match[1]] >= _DAY:
            with suppress(KeyUnavailableError):
                newer = self._newer_key(match[1], self._fetcher, than=key)
        return None if newer == key else newer

    def has_verified(self, url: str) -> None:
        """Keep a fetched key from now on: a callback that names its URL was verified with it."""
        match = _FETCHABLE.fullmatch(url)
        with self._lock:
            key = None if match is None else self._fetched.get(match[1])
            if match is not None and key is not None:
                self._known.add(int(match[1]))
                self.in_use[url] = key

    def _use_pinned(self, url: str, key: RSAPublicKey) -> None:
        with self._lock:
            if url in self.in_use:
                return
            self.in_use.update((other, pinned) for other, pinned in self._pinned.items() if pinned == key)
        _log_key(url, key)

    def _newer_key(
        self, version: str, fetcher: Callable[[str], bytes], *, than: RSAPublicKey | None = None
    ) -> RSAPublicKey:
        """Fetch a key, or wait for the thread that fetches it, and return the key."""
        if version.startswith("0"):
            raise _unavailable("the URL has version 0, but the versions of OSS's keys begin with 1")
        with self._lock:
            key = self._fetched.get(version)
            if key != than and key is not None:
                return key
            lane = version if self._may_be_next(int(version)) else _MADE_UP
            running = self._running.get(lane)
            if running is None:
                until, is_outage = self._pauses.get(lane, (-math.inf, False))
                if self._clock() < until:
                    raise _unavailable("the last fetch was a moment ago, and the next one must wait")
                # After an outage nobody waits: otherwise waiting for each try would block every thread.
                fetch = self._running[lane] = _Fetch(version, not is_outage, threading.Event())
        if running is None:
            return self._fetch(lane, fetch, fetcher)
        # If callers of other URLs waited too, a few made-up versions would block every thread.
        is_waited_for = running.is_waited_for and running.version == version
        if not is_waited_for or not running.done.wait(WAIT_TIMEOUT):
            raise _unavailable("a key is being fetched")
        key = self._fetched.get(version)
        if key is None:
            raise _unavailable("the key could not be fetched")
        return key

    def _may_be_next(self, version: int) -> bool:
        return any(0 < version - known <= _MAX_STEP for known in self._known)

    def _fetch(self, lane: str, fetch: _Fetch, fetcher: Callable[[str], bytes]) -> RSAPublicKey:
        url = f"https://gosspublic.alicdn.com/callback_pub_key_v{fetch.version}.pem"
        seconds = _PAUSE if lane == _MADE_UP else 0.0
        try:
            key = load_public_key(fetcher(url))
            self.fetches["fetched"] += 1
        except Exception as error:  # a fetcher of the application's own may raise anything
            has_answered = isinstance(error, ValueError) or (isinstance(error, FetchError) and error.status is not None)
            seconds = _PAUSE if has_answered else _LONG_PAUSE
            self.fetches["failed"] += 1
            cause = str(error) if isinstance(error, (FetchError, ValueError)) else type(error).__name__
            raise _unavailable(f"the key could not be fetched: {cause}") from error
        else:
            with self._lock:
                is_new = self._fetched.get(fetch.version) != key
                self._fetched[fetch.version], self._fetched_at[fetch.version] = key, self._clock()
                unproven = [version for version in self._fetched if int(version) not in self._known]
                if len(unproven) > _MAX_UNPROVEN:
                    del self._fetched[unproven[0]], self._fetched_at[unproven[0]]
        finally:
            with self._lock:
                self._running.pop(lane, None)
                self._pauses[lane] = self._clock() + seconds, seconds == _LONG_PAUSE
            fetch.done.set()
        if is_new:
            _log_key(url, key)
        return key

    def _renew_in_child(self) -> None:
        self._lock, self._running = threading.Lock(), {}  # the threads that fetch do not run here


def _untrusted() -> UnverifiedError:
    return UnverifiedError("pub_key_url_untrusted", "x-oss-pub-key-url names a key that is not trusted")


def _unavailable(hint: str) -> KeyUnavailableError:
    return KeyUnavailableError("key_unavailable", hint)


def _log_key(url: str, key: RSAPublicKey) -> None:
    remark = ", the size that OSS itself has chosen" if key == load_public_key(OSS_PUBLIC_KEY) else ""
    log.info("callback key %s: %d bits%s, SHA-256 %s", url, key.key_size, remark, fingerprint(key))


def fingerprint(key: RSAPublicKey) -> str:
    """Return the SHA-256 of a key's SubjectPublicKeyInfo (``openssl pkey -pubin -outform DER | sha256sum``)."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der, usedforsecurity=False).hexdigest()
