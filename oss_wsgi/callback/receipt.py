"""Receipts: sealed texts that an uploaded object carries, by which a lost report of it is found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..exceptions import UnverifiedError
from .ticket import UPLOAD_SECONDS, Ticket, TicketBook

#: Name of the user metadata that holds the receipt, without ``x-oss-meta-``.
RECEIPT_NAME = "oss-wsgi"

#: Name of the form field, and of the header of the object.
RECEIPT_FIELD = f"x-oss-meta-{RECEIPT_NAME}"

POST_OBJECT = "PostObject"

#: OSS's limit for all names and values of an object's user metadata (never-lost.md 7.2).
MAX_METADATA_BYTES = 8192

_LABEL = b"oss_wsgi upload receipt"
_JSON = json.JSONDecoder()
_HINTS = {
    "missing": "the object has no receipt: its form was not an exact one of this server, or receipts were off",
    "foreign": "the receipt was sealed with another secret: is OSS_TICKET_SECRET the same everywhere?",
    "altered": "the object's receipt was changed, or is not a receipt",
    "expired": "the receipt is older than OSS_LEDGER_KEEP: nobody knows whether the upload was handled",
}


class Receipt(NamedTuple):
    """What the form of an object allowed: its ticket, OSS's name of the operation, and the ``x:`` variables."""

    ticket: Ticket
    operation: str
    custom: Mapping[str, str]


class ReceiptBook:
    """Makes the receipt of a ticket, and opens receipts.

    Whoever may read an object reads its metadata, so a receipt is sealed under a key of its own: it opens as no ticket,
    and a ticket opens as no receipt. It is good for nothing but our own HEAD of the object. It has the ticket's ID,
    because both have the same nonce.

    :param secrets: those of the tickets.
    :param tickets: the book that issues the tickets, which saves opening each for its receipt.
    :param clock: returns Unix seconds.
    :param keep_seconds: how long a receipt opens after the form has expired, at least as long as a ticket does.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        clock: Callable[[], float],
        keep_seconds: int,
        tickets: TicketBook | None = None,
    ) -> None:
        self._tickets = tickets or TicketBook(secrets, clock=clock)
        reach = max(keep_seconds, UPLOAD_SECONDS)
        # A receipt also has the `x:` variables, so it may be longer than any ticket.
        self._receipts = TicketBook(
            secrets, clock=clock, upload_seconds=reach, label=_LABEL, max_text=MAX_METADATA_BYTES
        )
        self._beyond_ticket = reach - UPLOAD_SECONDS

    def issue(self, ticket: str, *, operation: str = POST_OBJECT, custom: Mapping[str, str] | None = None) -> str:
        """Return the receipt of a ticket that ``TicketBook.issue`` has just returned; 300 to 700 characters usually.

        ``operation`` is what OSS calls the upload in a callback, ``custom`` the ``x:`` variables by name.
        """
        text, nonce, plain = self._tickets.last_issued
        if text is not ticket:  # another thread has issued one meanwhile
            nonce, opened = self._tickets.unseal(ticket)
            plain = opened.rstrip().encode()
        if operation != POST_OBJECT or custom:
            plain += json.dumps([operation, dict(custom or {})], separators=(",", ":")).encode()
        return self._receipts.seal(nonce, plain)

    def open(self, text: str | None) -> Receipt:
        """Return the receipt that was sealed as ``text``, of the metadata ``oss-wsgi``; None is a missing one.

        Its ticket's ``accepted_until`` is that of the ticket itself.

        Raises UnverifiedError: ``receipt_missing``, ``receipt_foreign``, ``receipt_altered``, ``receipt_expired``.
        """
        try:
            nonce, plain = self._receipts.unseal(text)
            members, end = _JSON.raw_decode(plain)
            ticket = self._receipts.read(nonce, members)
        except UnverifiedError as error:
            problem = error.reason.removeprefix("ticket_")
            raise UnverifiedError(f"receipt_{problem}", _HINTS[problem]) from None
        rest: list[Any] = json.loads(plain[end:]) if plain[end:].strip() else [POST_OBJECT, {}]
        ticket = ticket._replace(accepted_until=ticket.accepted_until - self._beyond_ticket)
        return Receipt(ticket, *rest)
