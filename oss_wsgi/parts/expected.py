"""What the object of an upload in parts must be: the CRC-64 of its parts, remembered before OSS joins them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from ..bucket import StoredPart
from ..callback.ticket import COMPLETE_OPERATION
from ..callback.upload import Upload
from ..exceptions import PartsCorruptError
from ..ledger.base import Ledger, StoredResponse, UploadIdentity
from . import crc64
from .ticket import PartsTicket

#: An upload in parts that OSS was told to join, and did not answer, is unsettled for one to two times as many seconds.
UNSETTLED_SECONDS = 30

_REMEMBERED = StoredResponse("200 OK", "", b"")


class ExpectedObjects:
    """Remembers in the ledger what OSS was told to join, and compares each joined object with it.

    Whoever finds the object later has no list of parts any more: another page, the next process, a sweep, an event.
    So what it must be is written down first, and a damaged object stays refused for all of them.

    :param keep_seconds: how long this is remembered after the ticket has expired.
    """

    def __init__(self, ledger: Ledger, *, keep_seconds: int) -> None:
        self._ledger = ledger
        self._keep_seconds = keep_seconds

    def remember(self, opened: PartsTicket, parts: Sequence[StoredPart]) -> None:
        """Remember what the parts are together, where OSS says the CRC-64 of each; several lists may be remembered.

        Raises LedgerUnavailableError.
        """
        pairs = [(part.crc64, part.size) for part in parts if part.crc64 is not None]
        if len(pairs) != len(parts):
            return
        expected = _expected(opened.ticket.id, crc64.joined(pairs)), _expected(opened.ticket.id)
        known = self._ledger.known([(opened.key, etag) for etag in expected])
        expires = opened.ticket.accepted_until + self._keep_seconds
        for etag in expected:
            if (opened.key, etag) not in known:
                self._note(opened.key, etag, expires)

    def note_unsettled(self, opened: PartsTicket, now: float) -> None:
        """Note that OSS was told to join the parts and did not answer; raises LedgerUnavailableError."""
        self._note(opened.key, _unsettled(opened.ticket.id, now), int(now) + 2 * UNSETTLED_SECONDS)

    def is_unsettled(self, opened: PartsTicket, now: float) -> bool:
        """Return whether that was noted a moment ago, by any process; raises LedgerUnavailableError."""
        moments = now, now - UNSETTLED_SECONDS
        return bool(self._ledger.known([(opened.key, _unsettled(opened.ticket.id, moment)) for moment in moments]))

    def _note(self, key: str, etag: str, expires: int) -> None:
        # Under a ticket of its own, so that pages which complete at once do not wait for each other.
        identity = UploadIdentity(secrets.token_hex(12), key, etag, expires, may_wait=False)
        self._ledger.run_once(identity, lambda transaction: _REMEMBERED)

    def check(self, upload: Upload) -> None:
        """Raise PartsCorruptError unless an upload is what was remembered, if anything was.

        Raises LedgerUnavailableError.
        """
        if upload.operation != COMPLETE_OPERATION or upload.crc64 is None or upload.ticket_id is None:
            return
        name = upload.object or ""
        right, anything = (name, _expected(upload.ticket_id, upload.crc64)), (name, _expected(upload.ticket_id))
        known = self._ledger.known([right, anything])
        if anything in known and right not in known:
            raise PartsCorruptError("crc64_mismatch", "the CRC-64 of the object is not that of its parts")


def _unsettled(ticket_id: str, moment: float) -> str:
    """Return what stands in the place of an ETag."""
    return f"end of {ticket_id}: {int(moment // UNSETTLED_SECONDS)}"


def _expected(ticket_id: str, crc: int | None = None) -> str:
    """Return what stands in the place of an ETag."""
    return f"crc64 of {ticket_id}" if crc is None else f"crc64 of {ticket_id}: {crc}"
