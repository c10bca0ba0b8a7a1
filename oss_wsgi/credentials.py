"""The access key that signs, and where it comes from."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from .exceptions import CredentialsError

_ENVIRONMENT = (
    ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"),
)


@dataclass(frozen=True)
class Credentials:
    """An access key, with a security token and an expiry when it is a temporary one (STS).

    ``expiration`` is an aware datetime or None. The secret and the token are in no repr.
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expiration: datetime | None = None

    def __post_init__(self) -> None:
        if not self.access_key_id or not self.access_key_secret:
            raise CredentialsError("An access key needs both its ID and its secret.")
        if self.expiration is not None and self.expiration.tzinfo is None:
            raise CredentialsError("The expiration of credentials must be an aware datetime (UTC, say).")


class CredentialsProvider(Protocol):
    """Anything that hands out the credentials to sign with now; asked once for each signature."""

    def get_credentials(self) -> Credentials:
        """Give credentials that are valid now, or raise CredentialsError."""


class StaticCredentialsProvider:
    """Gives the same credentials for ever."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def get_credentials(self) -> Credentials:
        return self._credentials


class EnvironmentVariableCredentialsProvider:
    """Reads the SDKs' variables from a mapping at each call, so that a changed key is seen.

    ``OSS_ACCESS_KEY_ID``, ``OSS_ACCESS_KEY_SECRET`` and ``OSS_SESSION_TOKEN`` come first, then the
    ``ALIBABA_CLOUD_*`` names; the three of one set belong together and are never mixed.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get_credentials(self) -> Credentials:
        key_id, secret, token = from_environ(self._environ)
        if not key_id or not secret:
            raise CredentialsError("Set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET.")
        return Credentials(key_id, secret, token)


def from_environ(environ: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    """Read ID, secret and token from the first set of variables of which any is there; a blank one counts as unset."""
    for names in _ENVIRONMENT:
        key_id, secret, token = (environ.get(name, "").strip() or None for name in names)
        if key_id or secret or token:
            return key_id, secret, token
    return None, None, None


log = logging.getLogger(__name__)


class _Kept(NamedTuple):
    credentials: Credentials
    due: float


class _Flight(NamedTuple):
    process: int
    done: threading.Event


class RefreshingCredentialsProvider:
    """Gives the credentials of ``provider`` from memory; no request waits while there are some that hold.

    New ones are asked for in a thread of its own, one at a time, ``ahead`` seconds before the old ones expire. When
    that fails, the old ones are given until they really expire, and it is tried again after ``retry`` seconds. Only
    where there are none that hold does a request wait, ``wait_timeout`` seconds at most.

        credentials = RefreshingCredentialsProvider(provider, clock=time.time)

    :param clock: gives Unix seconds.
    :param recheck: seconds after which credentials without an expiry are asked for again.
    """

    def __init__(
        self,
        provider: CredentialsProvider,
        *,
        clock: Callable[[], float],
        ahead: float = 900.0,
        retry: float = 10.0,
        recheck: float = 300.0,
        wait_timeout: float = 3.0,
    ) -> None:
        self._provider = provider
        self._clock = clock
        self._ahead = ahead
        self._retry = retry
        self._recheck = recheck
        self._patience = wait_timeout
        self._kept: _Kept | None = None
        self._flight: _Flight | None = None
        self._next_try = float("-inf")
        self._problem = "There are no credentials yet: they are being asked for."
        self._lock = threading.Lock()

    def get_credentials(self) -> Credentials:
        """Give credentials that hold now; CredentialsError when there are none."""
        now = self._clock()
        kept = self._kept
        if kept is not None and now < kept.due:
            return kept.credentials
        flight = self._refresh_if_due(now)
        if kept is not None and _holds(kept.credentials, now):
            return kept.credentials
        if flight is not None:
            flight.done.wait(self._patience)
        kept = self._kept
        if kept is not None and _holds(kept.credentials, self._clock()):
            return kept.credentials
        raise CredentialsError(self._problem)

    def _refresh_if_due(self, now: float) -> _Flight | None:
        """Start a refresh where one is due and none is under way; give the one under way, if there is one."""
        with self._lock:
            if self._kept is not None and now < self._kept.due:
                return None
            # A thread does not live on in a forked child.
            if self._flight is not None and self._flight.process == os.getpid():
                return self._flight
            if now < self._next_try:
                return None
            flight = self._flight = _Flight(os.getpid(), threading.Event())
        try:
            threading.Thread(target=self._refresh, args=[flight], name="oss_wsgi-credentials", daemon=True).start()
        except RuntimeError as error:  # the process may have no more threads
            self._fail(error)
            self._land(flight)
        return flight

    def _refresh(self, flight: _Flight) -> None:
        try:
            credentials = self._provider.get_credentials()
            now = self._clock()
            if not _holds(credentials, now):
                raise CredentialsError("The provider gave credentials that have expired.")
        except Exception as error:
            self._fail(error)
        else:
            due = now + self._recheck
            if credentials.expiration is not None:
                until = credentials.expiration.timestamp()
                due = min(max(until - self._ahead, now + self._retry), until)
            self._kept = _Kept(credentials, due)
            self._call_in(due - now)
        finally:
            self._land(flight)

    def _fail(self, error: Exception) -> None:
        # Another exception's text may hold what the provider was answered, secrets included.
        said = str(error) if isinstance(error, CredentialsError) else f"The provider raised {type(error).__name__}."
        now = self._clock()
        self._problem = said
        self._next_try = now + self._retry
        kept = self._kept
        if kept is None or not _holds(kept.credentials, now):
            log.warning("there are no credentials to sign with: %s", said)
            return
        log.warning("the credentials could not be refreshed, and the old ones are used until they expire: %s", said)
        self._call_in(self._retry)

    def _land(self, flight: _Flight) -> None:
        with self._lock:
            if self._flight is flight:
                self._flight = None
        flight.done.set()

    def _call_in(self, seconds: float) -> None:
        """Look again when a refresh is due, though nobody may ask for credentials until then."""
        timer = threading.Timer(min(seconds + 0.1, threading.TIMEOUT_MAX), _look_again, [weakref.ref(self)])
        timer.daemon = True
        timer.start()


def _look_again(reference: weakref.ref[RefreshingCredentialsProvider]) -> None:
    provider = reference()
    if provider is not None:
        provider._refresh_if_due(provider._clock())


def _holds(credentials: Credentials, now: float) -> bool:
    """Tell whether a signature for one second could be made."""
    return credentials.expiration is None or credentials.expiration.timestamp() >= now + 1
