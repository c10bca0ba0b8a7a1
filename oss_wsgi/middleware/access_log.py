"""Middleware that logs a line for each request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..log_format import cut
from ..wsgi.facts import facts_of
from ..wsgi.questions import pass_on
from ..wsgi.responses import ClosingBody

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class AccessLog:
    """Middleware that logs address, method, path without its query, status, bytes and milliseconds.

    A callback's line also has OSS's request ID. A longer path is cut to 1,024 characters.

    The record also has, as ``logging``'s ``extra``, the request's own ID and the facts that our endpoints add: user,
    object, the reason of a refusal.

    :param clock: returns seconds; only differences are used.
    """

    def __init__(self, app: WSGIApplication, *, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock
        pass_on(self, app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        entry = _Entry(environ, self._clock)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            entry.status = status[:3]
            return start_response(status, headers, exc_info)

        return _LoggedBody(self._app(environ, start), entry)


class _Entry:
    """The line of one request, written when its response ends."""

    def __init__(self, environ: WSGIEnvironment, clock: Callable[[], float]) -> None:
        self._facts = facts_of(environ)
        self._clock = clock
        self._start = clock()
        self.status = "-"
        self.sent = 0

    def write(self) -> None:
        seconds = self._clock() - self._start
        fields = self._facts.fields() | {"bytes": self.sent, "seconds": round(seconds, 6)}
        if self.status.isdigit():
            fields["status"] = int(self.status)
        line = "%s %s %r %s %d bytes %.1f ms"
        path = cut(self._facts.path)
        values = [fields.get("address", "-"), fields.get("method"), path, self.status, self.sent, seconds * 1000]
        if "oss_request_id" in fields:
            line += " oss_request_id=%s"
            values.append(fields["oss_request_id"])
        log.info(line, *values, extra=fields)


class _LoggedBody(ClosingBody):
    """The application's response body, which counts its bytes and writes the line when it is closed."""

    def __init__(self, body: Iterable[bytes], entry: _Entry) -> None:
        super().__init__(body, entry.write)
        self._entry = entry

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            self._entry.sent += len(piece)
            yield piece
