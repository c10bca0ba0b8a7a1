"""Writes a line for each request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..wsgi.observers import context_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class AccessLog:
    """Middleware that logs address, method, path without its query, status, bytes and milliseconds.

    The record also carries, as ``logging``'s ``extra``, the request's ID and what our endpoints learn of it: user,
    object, the reason of a refusal, OSS's own request ID.

    :param clock: gives seconds; only differences count.
    """

    def __init__(self, app: WSGIApplication, *, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        entry = _Entry(environ, self._clock)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            entry.status = status[:3]
            return start_response(status, headers, exc_info)

        return _Logged(self._app(environ, start), entry)


class _Entry:
    def __init__(self, environ: WSGIEnvironment, clock: Callable[[], float]) -> None:
        path = f"{environ.get('SCRIPT_NAME') or ''}{environ.get('PATH_INFO') or ''}"
        self._request = environ.get("REMOTE_ADDR") or "-", environ["REQUEST_METHOD"], path
        self._environ = environ
        self._known = context_of(environ)
        self._clock = clock
        self._start = clock()
        self.status = "-"
        self.sent = 0

    def write(self) -> None:
        seconds = self._clock() - self._start
        fields = self._known.fields(self._environ)
        # As they came: an application may have moved its environ's.
        fields |= {"method": self._request[1], "path": self._request[2], "bytes": self.sent}
        fields |= {"seconds": round(seconds, 6)}
        if self.status.isdigit():
            fields["status"] = int(self.status)
        line = "%s %s %r %s %d bytes %.1f ms"
        log.info(line, *self._request, self.status, self.sent, seconds * 1000, extra=fields)


class _Logged:
    """The application's answer; whoever wraps an iterable owes it its close()."""

    def __init__(self, answer: Iterable[bytes], entry: _Entry) -> None:
        self._answer = answer
        self._entry = entry

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._answer:
            self._entry.sent += len(piece)
            yield piece

    def close(self) -> None:
        try:
            close = getattr(self._answer, "close", None)
            if close is not None:
                close()
        finally:
            self._entry.write()
