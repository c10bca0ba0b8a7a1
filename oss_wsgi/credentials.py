"""Access keys that sign, and the providers that return them."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from .exceptions import CredentialsError
from .explanations.text import Text
from .threads import ForkAware

log = logging.getLogger(__name__)

_VARIABLES = (
    ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"),
    ("ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"),
)


@dataclass(frozen=True)
class Credentials:
    """An access key; a temporary one (STS) also has a security token and an expiration.

    ``expiration`` is an aware datetime or None. The repr shows neither the secret nor the token.
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expiration: datetime | None = None

    def __post_init__(self) -> None:
        if not self.access_key_id or not self.access_key_secret:
            raise CredentialsError("An access key needs both its ID and its secret: set both.")
        if self.expiration is not None and self.expiration.tzinfo is None:
            raise CredentialsError("The expiration of credentials must be an aware datetime (in UTC, say).")


class CredentialsProvider(Protocol):
    """Returns the credentials to sign with; called once for each signature."""

    def get_credentials(self) -> Credentials:
        """Return credentials that are valid now, or raise CredentialsError."""


def valid_credentials(source: Credentials | CredentialsProvider, now: float) -> Credentials:
    """Return the credentials, or those of the provider; CredentialsError if they have expired by Unix time ``now``."""
    credentials = source if isinstance(source, Credentials) else source.get_credentials()
    if credentials.expiration is not None and credentials.expiration.timestamp() < now + 1:
        raise CredentialsError("The credentials have expired: the provider must return new ones.")
    return credentials


class StaticCredentialsProvider:
    """Always returns the same credentials."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def get_credentials(self) -> Credentials:
        return self._credentials


class EnvironmentVariableCredentialsProvider:
    """Reads the SDKs' variables from a mapping at each call, so a changed key takes effect at once.

    ``OSS_ACCESS_KEY_ID``, ``OSS_ACCESS_KEY_SECRET`` and ``OSS_SESSION_TOKEN`` come first, then the
    ``ALIBABA_CLOUD_*`` names. Values of the two sets are never mixed.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def get_credentials(self) -> Credentials:
        key_id, secret, token = access_key_from(self._environ)
        if not key_id or not secret:
            raise CredentialsError("There is no access key: set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET.")
        return Credentials(key_id, secret, token)


def access_key_from(environ: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    """Return ID, secret and token from the first set of variables of which any is set; blank means unset."""
    for names in _VARIABLES:
        key_id, secret, token = (environ.get(name, "").strip() or None for name in names)
        if key_id or secret or token:
            return key_id, secret, token
    return None, None, None


class _Cached(NamedTuple):
    credentials: Credentials
    refresh_at: float


class RefreshingCredentialsProvider(ForkAware):
    """Caches the credentials of ``provider``; no request waits while the cached ones are valid.

    A thread fetches new ones, one at a time, ``ahead`` seconds before the cached ones expire. If that fails, the cached
    ones stay in use until they expire, and the next attempt comes after ``retry`` seconds. A request waits only if
    there are no valid credentials, for at most ``wait_timeout`` seconds.

        credentials = RefreshingCredentialsProvider(provider, clock=time.time)

    :param clock: returns Unix seconds.
    :param recheck: seconds after which credentials without an expiration are fetched again.
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
        self._wait_timeout = wait_timeout
        self._cached: _Cached | None = None
        self._refresh: threading.Event | None = None
        self._next_attempt = float("-inf")
        self._error = "The provider has not returned the first credentials yet: try again."
        self._lock = threading.Lock()
        super().__init__()

    def get_credentials(self) -> Credentials:
        """Return credentials that are valid now; CredentialsError if there are none."""
        now = self._clock()
        cached = self._cached
        if cached is not None and now < cached.refresh_at:
            return cached.credentials
        refresh = self._refresh_if_due(now)
        if cached is not None and _is_valid(cached.credentials, now):
            return cached.credentials
        if refresh is not None:
            refresh.wait(self._wait_timeout)
        cached = self._cached
        if cached is not None and _is_valid(cached.credentials, self._clock()):
            return cached.credentials
        raise CredentialsError(self._error)

    def _renew_in_child(self) -> None:
        self._lock, self._refresh = threading.Lock(), None  # the thread that refreshes does not run here

    def _refresh_if_due(self, now: float) -> threading.Event | None:
        """Start a refresh if one is due and none is running; return the end of the running one, if any."""
        with self._lock:
            if self._cached is not None and now < self._cached.refresh_at:
                return None
            if self._refresh is not None:
                return self._refresh
            if now < self._next_attempt:
                return None
            refresh = self._refresh = threading.Event()
        try:
            threading.Thread(target=self._fetch, args=[refresh], name="oss_wsgi-credentials", daemon=True).start()
        except RuntimeError as error:  # the process has no thread left
            self._record_failure(error)
            self._finish(refresh)
        return refresh

    def _fetch(self, refresh: threading.Event) -> None:
        try:
            credentials = self._provider.get_credentials()
            now = self._clock()
            if not _is_valid(credentials, now):
                raise CredentialsError("The provider returned credentials that have expired.")
        except BaseException as error:  # a thread that SystemExit ends says nothing, and the next attempt comes at once
            self._record_failure(error)
        else:
            refresh_at = now + self._recheck
            if credentials.expiration is not None:
                expires = credentials.expiration.timestamp()
                refresh_at = min(max(expires - self._ahead, now + self._retry), expires)
            self._cached = _Cached(credentials, refresh_at)
            self._schedule_refresh(refresh_at - now)
        finally:
            self._finish(refresh)

    def _record_failure(self, error: BaseException) -> None:
        # The text of any other exception may quote the provider's response, secrets included.
        message = (
            str(error)
            if isinstance(error, CredentialsError)
            else Text("The provider raised {1}.", type(error).__name__)
        )
        now = self._clock()
        self._error = message
        self._next_attempt = now + self._retry
        cached = self._cached
        if cached is None or not _is_valid(cached.credentials, now):
            log.warning("there are no credentials to sign with: %s", message)
            return
        log.warning("the credentials were not refreshed; the old ones are used until they expire: %s", message)
        self._schedule_refresh(self._retry)

    def _finish(self, refresh: threading.Event) -> None:
        with self._lock:
            if self._refresh is refresh:
                self._refresh = None
        refresh.set()

    def _schedule_refresh(self, seconds: float) -> None:
        """Schedule the next refresh, so that it happens even if no request comes until then."""
        timer = threading.Timer(min(seconds + 0.1, threading.TIMEOUT_MAX), _refresh_if_alive, [weakref.ref(self)])
        timer.daemon = True
        timer.start()


def _refresh_if_alive(reference: weakref.ref[RefreshingCredentialsProvider]) -> None:
    provider = reference()
    if provider is not None:
        provider._refresh_if_due(provider._clock())


def _is_valid(credentials: Credentials, now: float) -> bool:
    """Return whether the credentials are valid for another second, the shortest life of a signature."""
    return credentials.expiration is None or credentials.expiration.timestamp() >= now + 1
