"""The one way to the application's handler, on which reports, pages, uploads in parts, sweeps and events all go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from ..callback.ticket import COMPLETE_OPERATION
from ..callback.upload import Upload
from ..exceptions import LedgerUnavailableError, NotYoursError, PartsCorruptError
from ..ledger.base import Handle, Ledger, LoopLedger, Pending, StoredResponse, UploadIdentity

#: Handles an upload, and returns what OSS or the page gets. It is called again, with another transaction in the
#: upload, when a transaction of a database has won against the ledger's.
Handler = Callable[[Upload], StoredResponse]


class Delivered(NamedTuple):
    """The response to an upload.

    ``is_repeated`` says that the upload was handled before, and this is its stored response. ``headers`` are those of
    the application's own view, if it has handled the upload now.
    """

    response: StoredResponse
    is_repeated: bool = False
    headers: Sequence[tuple[str, str]] | None = None


class Delivery:
    """Has each upload handled once; ticket, object and ETag identify an upload.

    An upload counts as handled once a handler has returned a 2xx response, which the ledger stores. After any other
    response, an exception, or the end of the process in between, the next report of the upload is handled again.

    An upload that was found in the bucket is refused if OSS has reported its object and ETag with another ticket:
    anybody who may read an object can copy its receipt, but not the ticket of another form. For that, the ledger also
    notes a prefix form's report that is refused or whose handler fails. A found upload is also refused if another ETag
    of its ticket was handled, even if the form allowed overwriting the object. What a page reports by the usual way is
    not refused so, because nobody but its page has the ticket. An upload in parts is refused if the
    ledger has the note that OSS damaged its object (``damaged_mark``).

    :param keep_seconds: how long a response is remembered after the ticket has expired: as long as sweeps look for
        uploads whose report was lost.
    """

    def __init__(self, ledger: Ledger, *, keep_seconds: int = 0) -> None:
        self._ledger = ledger
        self._keep_seconds = keep_seconds
        self._begin_once = ledger.begin_once if isinstance(ledger, LoopLedger) else None

    def handle(self, upload: Upload, handler: Handler, *, may_wait: bool = True) -> Delivered:
        """Return the stored response of an upload, or else what ``handler`` returns.

        ``may_wait`` is False for a browser's request, which never waits for another call: the browser asks again.

        Raises TicketUsedError, NotYoursError, PartsCorruptError, HandlerCommittedError, LedgerUnavailableError, and
        whatever ``handler`` raises.
        """
        identity = self._identity(upload, may_wait)
        call = _Call(handler, upload)
        try:
            response = self._ledger.run_once(identity, self._handle_of(identity, call, upload))
        except Exception:
            self.note_refused(upload)
            raise
        if not response.is_success:
            self.note_refused(upload)
        return Delivered(response, response is not call.response)

    def begin(self, upload: Upload, handler: Handler) -> Delivered | PendingDelivery | None:
        """Do what ``handle`` does, but without waiting; return None if that has to wait, for ``handle`` in a thread.

        A pending delivery must be settled. With a ledger that no server's loop may call, this waits.
        """
        if self._begin_once is None:
            return self.handle(upload, handler)
        identity = self._identity(upload, may_wait=True)
        call = _Call(handler, upload)
        try:
            response = self._begin_once(identity, self._handle_of(identity, call, upload))
        except Exception:
            if upload.by_prefix:  # to note that it was refused
                return None
            raise
        if isinstance(response, Pending):
            return PendingDelivery(response, call)
        if response is None or (upload.by_prefix and not response.is_success):
            return None
        return Delivered(response, response is not call.response)

    def note_refused(self, upload: Upload) -> None:
        """Note in the ledger that a prefix form's upload was reported but not handled; ignore other uploads."""
        if upload.by_prefix:
            identity = self._identity(upload, may_wait=True)
            with suppress(LedgerUnavailableError):
                self._ledger.note([(identity.object, _refused(identity.etag))], identity.expires)

    def _identity(self, upload: Upload, may_wait: bool) -> UploadIdentity:
        return UploadIdentity(
            upload.ticket_id or "",
            upload.object or "",
            upload.etag or "",
            (upload.ticket_until or 0) + self._keep_seconds,
            # A receipt is for one upload, so another ETag of its object cannot be found by the same receipt.
            upload.forbid_overwrite or upload.recovered,
            upload.max_objects,
            may_wait,
        )

    def _handle_of(self, identity: UploadIdentity, call: _Call, upload: Upload) -> Handle:
        """Return what the ledger calls: the handler, or a refusal. LedgerUnavailableError if that is unknown."""
        name, etag = identity.object, identity.etag
        reported = [(name, etag), (name, _refused(etag))] if upload.recovered else []
        damaged = [(name, damaged_mark(identity.ticket))] if upload.operation == COMPLETE_OPERATION else []
        if reported or damaged:
            known = self._ledger.known([*reported, *damaged])
            if not known.isdisjoint(damaged):
                return _refuse_damaged
            if known:
                return _refuse_anothers
        return call


class PendingDelivery:
    """A response that is being stored: nobody may get it until ``settle`` has returned True."""

    __slots__ = ("_call", "_pending", "settle")

    def __init__(self, pending: Pending, call: _Call) -> None:
        self._pending = pending
        self._call = call
        self.settle = pending.settle

    def result(self) -> Delivered:
        """Return the response, after ``settle``. Raises LedgerUnavailableError if it was not stored."""
        response = self._pending.result()
        return Delivered(response, response is not self._call.response)


class _Call:
    """The handler for the ledger. ``response`` is that of the last call; the ledger may return another one."""

    __slots__ = ("_handler", "_upload", "response")

    def __init__(self, handler: Handler, upload: Upload) -> None:
        self._handler = handler
        self._upload = upload
        self.response: StoredResponse | None = None

    def __call__(self, transaction: object | None) -> StoredResponse:
        upload = self._upload if transaction is None else replace(self._upload, transaction=transaction)
        self.response = self._handler(upload)
        return self.response


def _refused(etag: str) -> str:
    """Return the mark that replaces the ETag in the note of a refused report."""
    return f"refused {etag}"


def damaged_mark(ticket: str) -> str:
    """Return the mark that replaces the ETag in the note that OSS damaged the object of an upload in parts."""
    return f"damaged {ticket}"


def damaged_error() -> PartsCorruptError:
    """Return the error for an upload in parts whose object OSS damaged while joining the parts."""
    return PartsCorruptError("crc64_mismatch", "the CRC-64 of the object is not that of its parts")


def _refuse_damaged(transaction: object | None) -> StoredResponse:
    """Refuse an upload in parts because its object is damaged."""
    raise damaged_error()


def _refuse_anothers(transaction: object | None) -> StoredResponse:
    """Refuse a found upload, because its object and ETag were reported with another ticket."""
    hint = (
        "this object and ETag were reported with another ticket: somebody copied the object's receipt, or sent it again"
    )
    raise NotYoursError("not_yours", hint)
