"""Middleware that lets each verified upload reach the application once."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..callback.ticket import COMPLETE_OPERATION
from ..callback.upload import UPLOAD_KEY, Upload
from ..exceptions import (
    HandlerCommittedError,
    LedgerUnavailableError,
    NotYoursError,
    PartsCorruptError,
    TicketUsedError,
)
from ..ledger.base import Handle, Ledger, LoopLedger, Pending, StoredResponse, UploadIdentity, note
from ..wsgi.environ import request_id
from ..wsgi.observers import FACTS_KEY, facts_of
from ..wsgi.questions import HOLD_KEY, WouldWaitError, never, nonblocking_test
from ..wsgi.responses import SECURITY_HEADERS, Headers, read_response, refuse, refuse_error

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


class OncePerUpload:
    """Middleware between ``CallbackGuard`` and the handler of uploads: a repeated report gets the stored response.

    Ticket, object and ETag identify an upload, so the guard needs ``tickets``. An upload counts as handled when ``app``
    has responded 2xx and its body has ended; status, Content-Type and body are stored. After any other response, an
    exception, or the end of the process in between, the next report of the upload reaches ``app`` again.

        application = CallbackGuard(OncePerUpload(receive, MemoryLedger(clock=time.time)), verifier, tickets=book)

    An upload that was found in the bucket is refused if OSS has reported its object and ETag with another ticket:
    anybody who may read an object can copy its receipt, but not the ticket of another form. For that, the ledger also
    notes a prefix form's report that is refused or whose handler fails. A found upload is also refused if another ETag
    of its ticket was handled, even if the form allowed overwriting the object.

    Refusals with 409: the ticket was used for as many other objects as it is valid for, or for another ETag of an
    object that its form forbade to overwrite; or a found upload belongs to another ticket. With 500: the handler ended
    the ledger's transaction, or OSS damaged an upload while joining its parts (``crc64_mismatch``). With 503: the
    ledger cannot be used now, other threads take too long to handle uploads of the ticket, or too many threads wait for
    that already. A browser's request never waits for another call: it is refused at once, and the browser asks again.

    A ledger in a database may pass its open transaction to the handler as ``Upload.transaction``. Such a ledger calls
    ``app`` again, with a new environ, when another transaction has won.

    :param keep_seconds: how long a response is remembered after the ticket has expired: as long as sweeps look for
        uploads whose report was lost.
    """

    def __init__(self, app: WSGIApplication, ledger: Ledger, *, keep_seconds: int = 0) -> None:
        self._app = app
        self._ledger = ledger
        self._begin_once = ledger.begin_once if isinstance(ledger, LoopLedger) else None
        self._keep_seconds = keep_seconds
        self.is_nonblocking = nonblocking_test(app) if isinstance(ledger, LoopLedger) else never

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        upload = environ.get(UPLOAD_KEY)
        if not isinstance(upload, Upload) or upload.ticket_id is None or upload.ticket_until is None:
            hint = "put CallbackGuard with tickets around OncePerUpload: the ticket identifies the upload"
            return refuse(log, environ, start_response, 500, "not_guarded", hint)
        identity = self._identity(upload, FACTS_KEY not in environ or facts_of(environ).may_wait)
        call = _Call(self._app, environ)
        try:
            is_anothers = upload.recovered and self._is_known(identity)
            handle: Handle = _refuse_anothers if is_anothers else call
            response: StoredResponse | Pending | None
            if self._begin_once is None or HOLD_KEY not in environ:
                response = self._ledger.run_once(identity, handle)
            else:
                response = self._begin_once(identity, handle)
        except PartsCorruptError as error:
            message = "The file was damaged in storage: send it again."
            return refuse_error(log, environ, start_response, error, message=message)
        except (TicketUsedError, NotYoursError, LedgerUnavailableError, HandlerCommittedError) as error:
            self.note_refused(upload, environ)
            return refuse_error(log, environ, start_response, error)
        except WouldWaitError:
            raise
        except Exception:
            self.note_refused(upload, environ)
            raise
        if response is None:
            raise WouldWaitError
        if not isinstance(response, StoredResponse):
            environ[HOLD_KEY](response)
            return _respond_later(response, call, environ, start_response)
        if response.status[:1] != "2":
            self.note_refused(upload, environ)
        return _respond(response, call, environ, start_response)

    def _identity(self, upload: Upload, may_wait: bool = True) -> UploadIdentity:
        return UploadIdentity(
            upload.ticket_id or "",
            upload.object or "",
            upload.etag or "",
            (upload.ticket_until or 0) + self._keep_seconds,
            # A receipt is for one upload, so another ETag of its object cannot be found by the same receipt.
            upload.forbid_overwrite or upload.recovered,
            upload.max_objects,
            upload.crc64 if upload.operation == COMPLETE_OPERATION else None,
            may_wait,
        )

    def _is_known(self, identity: UploadIdentity) -> bool:
        """Return whether an object and ETag were reported with any ticket; LedgerUnavailableError if unknown."""
        etags = identity.etag, _refused(identity.etag)
        return bool(self._ledger.known([(identity.object, etag) for etag in etags]))

    def note_refused(self, upload: Upload, environ: WSGIEnvironment) -> None:
        """Note in the ledger that a prefix form's upload was reported but not handled; ignore uploads of exact forms.

        Raises WouldWaitError in a server's loop.
        """
        if not upload.by_prefix:
            return
        if HOLD_KEY in environ:
            raise WouldWaitError
        identity = self._identity(upload)
        with suppress(LedgerUnavailableError):
            note(self._ledger, identity.object, _refused(identity.etag), identity.expires)


def _respond(
    response: StoredResponse, call: _Call, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    headers = call.headers if response is call.response else None
    if headers is None and FACTS_KEY in environ:
        facts_of(environ).reason = "repeated"
    # DEBUG, because masking and escaping an INFO line would take longer than the rest of this function.
    if log.isEnabledFor(logging.DEBUG) and headers is not None and response.is_success:
        _log_handled(environ[UPLOAD_KEY], environ)
    start_response(response.status, headers or _headers(response))
    return [response.body]


def _respond_later(
    pending: Pending, call: _Call, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterator[bytes]:
    """Respond after the ledger has stored the response, or has failed to."""
    try:
        response = pending.result()
    except LedgerUnavailableError as error:
        yield from refuse_error(log, environ, start_response, error)
    else:
        yield from _respond(response, call, environ, start_response)


def _refused(etag: str) -> str:
    """Return the mark that replaces the ETag in the note of a refused report."""
    return f"refused {etag}"


def _refuse_anothers(transaction: object | None) -> StoredResponse:
    """Refuse a found upload, because its object and ETag were reported with another ticket."""
    hint = (
        "this object and ETag were reported with another ticket: somebody copied the object's receipt, or sent it again"
    )
    raise NotYoursError("not_yours", hint)


def _log_handled(upload: Upload, environ: WSGIEnvironment) -> None:
    if upload.recovered:  # recovery logs these itself
        return
    fields = facts_of(environ).fields(environ)
    if upload.size is not None:
        fields["bytes"] = upload.size
    line = "handled: object=%r size=%s user=%r request_id=%s"
    log.debug(line, upload.object, upload.size, upload.user, request_id(environ), extra=fields)


class _Call:
    """The handler for the ledger: calls the application, and reads its response to the end.

    ``response`` and ``headers`` belong to the last call. A ledger may call repeatedly, and may return another response.
    """

    __slots__ = ("_app", "_environ", "headers", "response")

    def __init__(self, app: WSGIApplication, environ: WSGIEnvironment) -> None:
        self._app = app
        self._environ = environ
        self.response: StoredResponse | None = None
        self.headers: Headers = []

    def __call__(self, transaction: object | None) -> StoredResponse:
        environ = self._environ.copy()  # the application may change it, and be called again
        if self.response is not None and FACTS_KEY in environ:
            facts = facts_of(environ)
            facts.reason = facts.refused = None  # of the response that another transaction has undone
        if transaction is not None:
            environ[UPLOAD_KEY] = replace(environ[UPLOAD_KEY], transaction=transaction)
        body_input = environ.get("wsgi.input")
        if isinstance(body_input, io.BytesIO):
            body_input.seek(0)
        status, self.headers, body = read_response(self._app, environ)
        content_type = ""
        for name, value in self.headers:
            if name.lower() == "content-type":
                content_type = value
                break
        self.response = StoredResponse(status, content_type, body)
        return self.response


def _headers(response: StoredResponse) -> Headers:
    """Return the headers of a stored response."""
    headers = [*SECURITY_HEADERS, ("Content-Length", str(len(response.body)))]
    return [("Content-Type", response.content_type), *headers] if response.content_type else headers
