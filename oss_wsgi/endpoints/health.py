"""Endpoints that say whether the process responds, and whether the parts that it needs work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ..exceptions import OSSWSGIError
from ..threads import WithLock
from ..wsgi.facts import facts_of
from ..wsgi.responses import json_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_ALLOWED = "GET, HEAD"

log = logging.getLogger(__name__)


class HealthEndpoint:
    """Application: GET or HEAD returns 200 and ``{"status": "ok"}``."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO"):
            return facts_of(environ).not_found(log, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return facts_of(environ).method_not_allowed(log, start_response, _ALLOWED)
        return json_response(environ, start_response, 200, {"status": "ok"})

    def is_nonblocking(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        """Return whether a request is answered without waiting and without calling an observer: true for GET."""
        return method == "GET" and not path


class ReadinessEndpoint(WithLock):
    """Application: GET or HEAD returns 200 ``{"status": "ok"}``, or 503 with the names of the parts that fail.

    ``draining`` is one of the names once a server of `make_server` has been told to stop.

    The parts are checked at most once in ``keep`` seconds, by one request at a time; other requests get the previous
    result. The log says once why a part fails.

    :param checks: name of a part -> callable that raises when the part fails.
    :param clock: returns seconds; only differences are used.
    """

    def __init__(
        self, checks: Mapping[str, Callable[[], object]], *, clock: Callable[[], float], keep: float = 1.0
    ) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._keep = keep
        self._failing: list[str] | None = None
        self._until = float("-inf")
        super().__init__()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO"):
            return facts_of(environ).not_found(log, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return facts_of(environ).method_not_allowed(log, start_response, _ALLOWED)
        # A server of `make_server` sets this when it is about to stop.
        failing = ["draining"] if environ.get("oss_wsgi.draining") else self._failing_parts()
        if not failing:
            return json_response(environ, start_response, 200, {"status": "ok"})
        return json_response(environ, start_response, 503, {"status": "unavailable", "failing": failing})

    def _failing_parts(self) -> list[str]:
        """Return the names of the parts that fail, from a check now or from the last one."""
        previous = self._failing
        # A request waits for another's check only before the first result, when there is nothing to return.
        if self._lock.acquire(blocking=previous is None):
            try:
                if self._failing is None or self._clock() >= self._until:
                    self._failing = self._check(self._failing or [])
                    self._until = self._clock() + self._keep
                return self._failing
            finally:
                self._lock.release()
        return previous or []

    def _check(self, previous: list[str]) -> list[str]:
        failing = []
        for name, check in self._checks.items():
            try:
                check()
            except BaseException as error:  # SystemExit too: `endpoints.callback` says why
                failing.append(name)
                if name not in previous:
                    # The text of any other exception may hold a secret.
                    cause = error if isinstance(error, OSSWSGIError) else type(error).__name__
                    log.warning("not ready: %s: %s", name, cause)
        if previous and not failing:
            log.info("ready again")
        return failing
