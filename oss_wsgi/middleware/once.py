"""Middleware that lets each verified upload reach the application once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..callback.signed_id import SignedIDBook
from ..callback.upload import Upload
from ..exceptions import CallbackError, LedgerUnavailableError, NotYoursError
from ..ledger.base import Ledger, LoopLedger
from ..recovery.delivery import Delivered, Delivery, Handler, PendingDelivery
from ..wsgi.facts import RequestFacts, facts_of
from ..wsgi.questions import HOLD_KEY, WouldWaitError, never, nonblocking_test
from ..wsgi.uploads import UploadHandler, View, guarded_upload, respond

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    #: ``(upload, environ of the browser that asks for it) -> environ`` with which a view gets a found upload.
    RequestFor = Callable[[Upload, WSGIEnvironment | None], WSGIEnvironment]

log = logging.getLogger(__name__)


class OncePerUpload:
    """Middleware between ``CallbackGuard`` and the handler of uploads: a repeated report gets the stored response.

    Ticket, object and ETag identify an upload, so the guard needs ``tickets``. An upload counts as handled when ``app``
    has responded 2xx and its body has ended; status, Content-Type and body are stored. After any other response, an
    exception, or the end of the process in between, the next report of the upload reaches ``app`` again.

        application = CallbackGuard(OncePerUpload(receive, MemoryLedger(clock=time.time)), verifier, tickets=book)

    Refusals with 409: the ticket was used for as many other objects as it is valid for, or for another ETag of an
    object that its form forbade to overwrite; or a found upload belongs to another ticket. With 500: the handler ended
    the ledger's transaction. With 503: the ledger cannot be used now, other threads take too long to handle uploads of
    the ticket, or too many threads wait for that already.

    A ledger in a database may pass its open transaction to the handler as ``Upload.transaction``. Such a ledger calls
    ``app`` again, with a new environ, when another transaction has won.

    :param keep_seconds: how long a response is remembered after the ticket has expired: as long as sweeps look for
        uploads whose report was lost.
    :param signed_ids: the book that seals ``Upload.signed_id``; without it uploads have none.
    :param request_for: makes the request with which ``app`` gets an upload that was found in the bucket; needed unless
        ``app`` is a ``CallbackEndpoint``, which answers without a request.
    """

    def __init__(
        self,
        app: WSGIApplication,
        ledger: Ledger,
        *,
        keep_seconds: int = 0,
        signed_ids: SignedIDBook | None = None,
        request_for: RequestFor | None = None,
    ) -> None:
        self._app = app
        # Asked once, because isinstance takes long for an abstract class.
        self._handler = app if isinstance(app, UploadHandler) else None
        self._signed_ids = signed_ids
        self._delivery = Delivery(ledger, keep_seconds=keep_seconds)
        self._request_for = request_for
        self.is_nonblocking = nonblocking_test(app) if isinstance(ledger, LoopLedger) else never

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        facts = facts_of(environ)
        try:
            upload = self._signed(guarded_upload(environ, "OncePerUpload", needs_ticket=True))
            handler = View(self._app, environ) if self._handler is None else self._handler.handle
            deliver = self._delivery.begin if HOLD_KEY in environ else self._delivery.handle
            delivered = deliver(upload, handler)
        except (CallbackError, NotYoursError) as error:
            return facts.refuse_error(log, start_response, error)
        if delivered is None:
            raise WouldWaitError
        if isinstance(delivered, PendingDelivery):
            environ[HOLD_KEY](delivered)
            return self._respond_later(delivered, upload, handler, facts, start_response)
        return self._respond(delivered, upload, handler, facts, start_response)

    def deliver(self, upload: Upload, asked: WSGIEnvironment | None = None) -> Delivered:
        """Deliver an upload that was found in the bucket, and return the response.

        ``asked`` is the environ of the browser that asks for the upload: such an upload never waits for another call,
        since the browser asks again. Its facts learn whether the response is repeated.

        Raises as ``Delivery.handle`` does.
        """
        upload, may_wait = self._signed(upload), asked is None
        handler: Handler
        if self._handler is not None:
            handler = self._handler.handle
        elif self._request_for is None:
            raise TypeError("OncePerUpload needs request_for to deliver an upload to an application's own view.")
        else:
            handler = View(self._app, self._request_for(upload, asked))
        delivered = self._for_page(self._delivery.handle(upload, handler, may_wait=may_wait), upload, handler)
        if asked is not None and delivered.is_repeated:
            facts_of(asked).reason = "repeated"
        return delivered

    def note_refused(self, upload: Upload, environ: WSGIEnvironment) -> None:
        """Note in the ledger that a prefix form's upload was reported but not handled; ignore uploads of exact forms.

        Raises WouldWaitError in a server's loop.
        """
        if upload.by_prefix and HOLD_KEY in environ:
            raise WouldWaitError
        self._delivery.note_refused(upload)

    def _signed(self, upload: Upload) -> Upload:
        return upload if self._signed_ids is None else self._signed_ids.signed(upload)

    def _for_page(self, delivered: Delivered, upload: Upload, handler: Handler) -> Delivered:
        """Return a delivered response with what is new each time, or as the application's own view has just made it."""
        if self._handler is not None:
            return Delivered(self._handler.for_page(delivered.response, upload), delivered.is_repeated)
        if isinstance(handler, View) and not delivered.is_repeated:
            return delivered._replace(headers=handler.headers)
        return delivered

    def _respond(
        self,
        delivered: Delivered,
        upload: Upload,
        handler: Handler,
        facts: RequestFacts,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        response, is_repeated, headers = self._for_page(delivered, upload, handler)
        if is_repeated:
            facts.reason = "repeated"
            return respond(response, start_response)
        # DEBUG, because masking and escaping an INFO line would take longer than the rest of this function.
        if response.is_success and not upload.recovered and log.isEnabledFor(logging.DEBUG):
            fields = {**facts.fields(), **({} if upload.size is None else {"bytes": upload.size})}
            line = "handled: object=%r size=%s user=%r oss_request_id=%s"
            log.debug(line, upload.object, upload.size, upload.user, facts.oss_request_id, extra=fields)
        return respond(response, start_response, headers)

    def _respond_later(
        self,
        pending: PendingDelivery,
        upload: Upload,
        handler: Handler,
        facts: RequestFacts,
        start_response: StartResponse,
    ) -> Iterator[bytes]:
        """Respond after the ledger has stored the response, or has failed to."""
        try:
            delivered = pending.result()
        except LedgerUnavailableError as error:
            yield from facts.refuse_error(log, start_response, error)
        else:
            yield from self._respond(delivered, upload, handler, facts, start_response)
