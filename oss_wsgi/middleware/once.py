"""Lets each verified upload reach an application once."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ..callback.upload import UPLOAD_KEY, Upload
from ..exceptions import LedgerUnavailableError, TicketUsedError
from ..ledger.base import Ledger, StoredResponse, UploadIdentity
from ..wsgi.observers import context_of
from ..wsgi.responses import SECURITY_HEADERS, Headers, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class OncePerUpload:
    """Middleware between ``CallbackGuard`` and what handles uploads: a report that comes again gets the kept answer.

    An upload is a ticket, an object and an ETag, so the guard needs ``tickets``. It counts as handled when ``app``
    has answered 2xx, to the end; kept are status, Content-Type and body. Anything else, an exception and a
    process that died on the way leave it unhandled, and the next report of it reaches ``app`` again.

        application = CallbackGuard(OncePerUpload(receive, MemoryLedger(clock=time.time)), verifier, tickets=book)

    Refusals: 409 when the ticket was used for another object, 503 when the ledger cannot be used now, or another
    thread handles the same upload for too long.
    """

    def __init__(self, app: WSGIApplication, ledger: Ledger) -> None:
        self._app = app
        self._ledger = ledger

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        upload = environ.get(UPLOAD_KEY)
        if not isinstance(upload, Upload) or upload.ticket_id is None or upload.ticket_until is None:
            hint = "OncePerUpload must stand behind CallbackGuard with tickets, which name the upload"
            return refuse(log, environ, start_response, 500, "not_guarded", hint)
        identity = UploadIdentity(upload.ticket_id, upload.object or "", upload.etag or "", upload.ticket_until)
        handled = _Handled(self._app, environ)
        try:
            answer = self._ledger.run_once(identity, handled)
        except TicketUsedError as error:
            return refuse(log, environ, start_response, 409, error.reason, error.hint)
        except LedgerUnavailableError as error:
            return refuse(log, environ, start_response, 503, error.reason, error.hint)
        if not handled.called:
            context_of(environ).reason = "repeated"
        start_response(answer.status, handled.headers or _headers(answer))
        return [answer.body]


class _Handled:
    """Calls an application, and reads its answer to the end."""

    def __init__(self, app: WSGIApplication, environ: WSGIEnvironment) -> None:
        self._app = app
        self._environ = environ
        self.called = False
        self._status = ""
        self._pieces: list[bytes] = []
        self.headers: Headers = []

    def __call__(self) -> StoredResponse:
        self.called = True
        answer = self._app(self._environ, self._start)
        try:
            for piece in answer:
                self._pieces.append(piece)
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
        return StoredResponse(self._status, self._content_type(), b"".join(self._pieces))

    def _content_type(self) -> str:
        for name, value in self.headers:
            if name.lower() == "content-type":
                return value
        return ""

    def _start(self, status: str, headers: Headers, exc_info: Any = None) -> Any:
        self._status, self.headers = status, list(headers)
        if exc_info is not None:
            self._pieces.clear()
        return self._pieces.append


def _headers(answer: StoredResponse) -> Headers:
    """Give the headers of an answer that was kept."""
    headers = [*SECURITY_HEADERS, ("Content-Length", str(len(answer.body)))]
    return [("Content-Type", answer.content_type), *headers] if answer.content_type else headers
