"""The public keys with which OSS may sign callbacks, by their URLs."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

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
_STALE = 7 * 24 * 3600.0
_MAX_FETCHED = 8
_MAX_FAILURES = 32
# Seconds without another fetch of one URL. Anything but a 404 may be the server's passing trouble.
_NOT_FOUND_COOLDOWN = 300.0
_FIRST_COOLDOWN, _MAX_COOLDOWN = 1.0, 60.0
# An attacker can make up many versions of several digits, but few of one. So the longer ones are fetched more rarely.
_COOLDOWN = 10.0
_LONG_VERSION_COOLDOWN = 60.0
_LONG_VERSION_GAP = 1.0
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


class _FetchedKey:
    """A key, when it was fetched last, and whether it has verified a callback: then it is OSS's, and stays."""

    __slots__ = ("fetched_at", "has_verified", "key")

    def __init__(self, key: PublicKey, fetched_at: float, has_verified: bool) -> None:
        self.key = key
        self.fetched_at = fetched_at
        self.has_verified = has_verified


class _Failure(NamedTuple):
    """How often the fetch of a URL has failed in a row, when it last did, and until when it is not fetched again."""

    in_a_row: int
    since: float
    until: float


class _RunningFetch(NamedTuple):
    """A fetch: its process, because a fork copies the entry but not the thread, its end, and whether it is limited."""

    process: int
    done: threading.Event
    is_made_up: bool


class PublicKeyStore:
    """Finds the key for a URL that a callback names.

    OSS's own two URLs have the shipped key; ``trusted`` adds pinned pairs ``{URL: PEM text}``. Without ``fetcher``
    (``url -> bytes``, raising FetchError) no other URL is trusted. With it, and ``clock`` (seconds), further versions
    of OSS's key, exactly ``https?://gosspublic.alicdn.com/callback_pub_key_v<digits>.pem``, are fetched over https.

    A fetched key serves until it is replaced. After a day, the next callback that names it starts a refresh in a
    thread and does not wait for it; while refreshes fail, the key still serves for 7 days.

    Anybody may name such a URL, so fetches are limited. After a failure a URL is not fetched again for a time: 5
    minutes after a 404, and after any other failure 1 second, then 2, 4 and so on to a minute. For a version that is
    known, or next to a known one, it is a minute at the most, and nothing else delays it: it may be OSS's next key.
    The other versions are fetched one at a time, none for 10 seconds after any failure; those of several digits none
    for 60 seconds after a failure, and for one after a success. Version 0 is never fetched, as OSS began with 1. Only
    callers of the same URL wait for a fetch, the others are refused at once.

    Keys that have verified a callback stay. Of the others 8 are cached; made-up versions leave first, and then those
    that are farthest from the known ones.

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
        self._pinned_versions = {match[1] for match in map(_FETCHABLE.fullmatch, self._pinned) if match is not None}
        self._fetched: dict[str, _FetchedKey] = {}  # by version
        self._failures: dict[str, _Failure] = {}  # by version
        self._running: dict[str, _RunningFetch] = {}  # by version
        self._last_fetch, self._last_fetch_failed = float("-inf"), False
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
        return self._newer_key(match[1], self._fetcher)

    def is_at_hand(self, url: str) -> bool:
        """Return whether ``get`` and ``replacement`` wait for no fetch of the key for a URL."""
        match = None if url in self._pinned else _FETCHABLE.fullmatch(url)
        if match is None:
            return True
        cached = self._fetched.get(match[1])
        is_fresh = cached is not None and self._clock() - cached.fetched_at < _LIFETIME
        return is_fresh and match[1] not in self._running

    def _use_pinned(self, url: str, key: PublicKey) -> None:
        with self._lock:
            if url in self.in_use:
                return
            self.in_use.update((other, pinned) for other, pinned in self._pinned.items() if pinned == key)
        _log_key(url, key)

    def replacement(self, url: str, key: PublicKey) -> PublicKey | None:
        """Return the newer key in place of ``key``, which did not verify a signature; None if there is none.

        Waits for a refresh that is running, 2 seconds at the most.
        """
        match = None if url in self._pinned else _FETCHABLE.fullmatch(url)
        if match is None:
            return None
        running = self._running.get(match[1])
        if running is not None and running.process == os.getpid():
            running.done.wait(_WAIT_TIMEOUT)
        cached = self._fetched.get(match[1])
        return cached.key if cached is not None and cached.key != key else None

    def has_verified(self, url: str) -> None:
        """Keep a fetched key from now on: a callback that names its URL was verified with it."""
        match = _FETCHABLE.fullmatch(url)
        cached = self._fetched.get(match[1]) if match is not None else None
        if cached is not None:
            cached.has_verified = True

    def _newer_key(self, version: str, fetcher: Callable[[str], bytes]) -> PublicKey:
        """Return a key that is cached, that is fetched now, or that another thread is fetching."""
        with self._lock:
            cached = self._fetched.get(version)
            age = self._clock() - cached.fetched_at if cached is not None else math.inf
            running = self._running.get(version)
            if running is not None and running.process != os.getpid():
                running = None
            refusal = None if age < _LIFETIME or running is not None else self._refusal(version)
            fetch = None
            if age >= _LIFETIME and running is None and refusal is None:
                is_made_up = not self._is_near(version)
                fetch = self._running[version] = _RunningFetch(os.getpid(), threading.Event(), is_made_up)
        if cached is not None and age < _LIFETIME + _STALE:
            if fetch is not None:
                self._refresh(version, fetcher, fetch)
            return cached.key
        if fetch is not None:
            return self._fetch(version, fetcher, fetch)
        # If callers of other URLs waited too, a few made-up versions would block every thread of a server.
        if running is None or not running.done.wait(_WAIT_TIMEOUT):
            raise _unavailable(refusal or "a key is being fetched")
        cached = self._fetched.get(version)
        if cached is None or self._clock() - cached.fetched_at >= _LIFETIME + _STALE:
            raise _unavailable("the key could not be fetched")
        return cached.key

    def _refusal(self, version: str) -> str | None:
        """Return why a version is not fetched now, or None if it may be."""
        now = self._clock()
        if version == "0":
            return "OSS's versions begin with 1"
        failure = self._failures.get(version)
        if self._is_near(version):
            # It may have been made up when it failed, and next to a new key since.
            if failure is not None and now < min(failure.until, failure.since + _MAX_COOLDOWN):
                return f"the last fetch of this key was a moment ago and failed, {failure.in_a_row} in a row"
            return None
        if failure is not None and now < failure.until:
            return f"this key could not be fetched, {failure.in_a_row} times in a row: it is not asked for again now"
        if any(fetch.is_made_up and fetch.process == os.getpid() for fetch in self._running.values()):
            return "a key is being fetched"
        if self._last_fetch_failed:
            wait = _COOLDOWN if len(version) == 1 else _LONG_VERSION_COOLDOWN
        else:
            wait = 0.0 if len(version) == 1 else _LONG_VERSION_GAP
        if now < self._last_fetch + wait:
            failed = " and failed" if self._last_fetch_failed else ""
            return f"the last fetch of a key was a moment ago{failed}"
        return None

    def _is_near(self, version: str) -> bool:
        """Return whether a version is known or next to a known one."""
        if version[:1] == "0":
            return False
        number = int(version)
        return any(
            str(near) in versions
            for near in (number, number - 1, number + 1)
            for versions in (self._fetched, self._pinned_versions)
        )

    def _refresh(self, version: str, fetcher: Callable[[str], bytes], fetch: _RunningFetch) -> None:
        """Fetch a key in a thread; the old one serves meanwhile."""

        def refresh() -> None:
            with suppress(KeyUnavailableError):  # logged
                self._fetch(version, fetcher, fetch)

        try:
            threading.Thread(target=refresh, name="oss_wsgi-key", daemon=True).start()
        except RuntimeError as error:  # the process has no thread left
            self._record_failure(version, error)
            self._end(version, fetch)

    def _fetch(self, version: str, fetcher: Callable[[str], bytes], fetch: _RunningFetch) -> PublicKey:
        url = f"https://gosspublic.alicdn.com/callback_pub_key_v{version}.pem"
        try:
            try:
                key = load_public_key(fetcher(url))
            except Exception as error:  # a fetcher of the application's own may raise anything
                cause = self._record_failure(version, error)
                raise _unavailable(f"the key could not be fetched: {cause}") from error
            with self._lock:
                self._last_fetch, self._last_fetch_failed = self._clock(), False
                self.fetches["fetched"] += 1
                self._failures.pop(version, None)
                previous = self._fetched.pop(version, None)
                self._fetched[version] = _FetchedKey(
                    key, self._last_fetch, previous is not None and previous.has_verified and previous.key == key
                )
                self._evict_keys(version)
        finally:
            self._end(version, fetch)
        if previous is None or key != previous.key:
            _log_key(url, key)
        return key

    def _end(self, version: str, fetch: _RunningFetch) -> None:
        with self._lock:
            if self._running.get(version) is fetch:
                del self._running[version]
        fetch.done.set()

    def _record_failure(self, version: str, error: Exception) -> str:
        """Begin the cooldown of a URL after a failure; return its cause as a text."""
        cause = str(error) if isinstance(error, (FetchError, ValueError)) else type(error).__name__
        with self._lock:
            now = self._last_fetch = self._clock()
            self._last_fetch_failed = True
            self.fetches["failed"] += 1
            previous = self._failures.pop(version, None)
            count = 1 if previous is None else previous.in_a_row + 1
            if isinstance(error, FetchError) and error.status == 404:
                wait = _MAX_COOLDOWN if self._is_near(version) else _NOT_FOUND_COOLDOWN
            else:
                wait = min(_FIRST_COOLDOWN * 2.0 ** min(count - 1, 10), _MAX_COOLDOWN)
            self._failures[version] = _Failure(count, now, now + wait)
            self._evict_failures()
            is_known = version in self._fetched
        if is_known:
            log.warning("callback key v%s was not refreshed; the one that is known serves: %s", version, cause)
        return cause

    def _evict_keys(self, new: str) -> None:
        """Drop a key that never verified a callback where there are too many; of made-up ones the new one stays."""
        unproven = [version for version, cached in self._fetched.items() if not cached.has_verified]
        if len(unproven) > _MAX_FETCHED:
            chain = self._chain()
            del self._fetched[max(unproven, key=lambda version: (version not in chain, version != new, int(version)))]

    def _chain(self) -> set[str]:
        """Return the known versions that follow each other from a pinned or proven one on."""
        proven = {version for version, cached in self._fetched.items() if cached.has_verified}
        chain: set[str] = set()
        for version in self._pinned_versions | proven:
            number = int(version)
            chain.add(str(number))
            while str(number + 1) in self._fetched and str(number + 1) not in chain:
                number += 1
                chain.add(str(number))
        return chain

    def _evict_failures(self) -> None:
        """Drop the failure that matters least: of a made-up version, of several digits, whose cooldown ends first."""
        if len(self._failures) > _MAX_FAILURES:
            made_up = [version for version in self._failures if not self._is_near(version)]
            if made_up:
                del self._failures[min(made_up, key=lambda version: (len(version) == 1, self._failures[version].until))]


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
