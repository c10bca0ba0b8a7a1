"""Says that the application answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from ..exceptions import OSSWSGIError
from ..wsgi.responses import json_response, method_not_allowed, not_found

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


log = logging.getLogger(__name__)


class HealthEndpoint:
    """Application: GET or HEAD answers 200 and ``{"status": "ok"}``."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO"):
            return not_found(log, environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return method_not_allowed(log, environ, start_response, "GET, HEAD")
        return json_response(environ, start_response, 200, {"status": "ok"})


class ReadinessEndpoint:
    """Application: GET or HEAD answers 200 ``{"status": "ok"}``, or 503 with the names of the parts that fail.

    ``draining`` is among them once the server of `make_server` is told to end.

    However often it is asked, the parts are looked at once in ``keep`` seconds, by one request at a time: the others
    get what was found before. Why a part fails is in the log, once.

    :param checks: name of a part -> callable that raises when it fails.
    :param clock: gives seconds, of which differences count.
    """

    def __init__(
        self, checks: Mapping[str, Callable[[], object]], *, clock: Callable[[], float], keep: float = 1.0
    ) -> None:
        self._checks = dict(checks)
        self._clock = clock
        self._keep = keep
        self._lock = threading.Lock()
        self._failing: list[str] | None = None
        self._until = float("-inf")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO"):
            return not_found(log, environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return method_not_allowed(log, environ, start_response, "GET, HEAD")
        # The server is about to end: see `oss_wsgi.serving`.
        failing = ["draining"] if environ.get("oss_wsgi.draining") else self._found()
        if not failing:
            return json_response(environ, start_response, 200, {"status": "ok"})
        return json_response(environ, start_response, 503, {"status": "unavailable", "failing": failing})

    def _found(self) -> list[str]:
        """Give the names of what fails, as found now or a moment ago."""
        known = self._failing
        # Only who is the first of all to ask waits for another's look.
        if self._lock.acquire(blocking=known is None):
            try:
                if self._failing is None or self._clock() >= self._until:
                    self._failing = self._look(self._failing or [])
                    self._until = self._clock() + self._keep
                return self._failing
            finally:
                self._lock.release()
        return known or []

    def _look(self, before: list[str]) -> list[str]:
        failing = []
        for name, check in self._checks.items():
            try:
                check()
            except Exception as error:
                failing.append(name)
                if name not in before:
                    said = error if isinstance(error, OSSWSGIError) else type(error).__name__
                    log.warning("not ready: %s: %s", name, said)
        if before and not failing:
            log.info("ready again")
        return failing
