"""Finds a stored object whose report was lost, and makes the upload that its callback would have reported."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

from ..bucket import BucketClient, StoredObject
from ..callback.parameters import TICKET_MEMBER
from ..callback.ticket import RECEIPT_NAME, Receipt, ReceiptBook, Ticket, TicketBook
from ..callback.upload import Upload
from ..exceptions import NotStoredError, NotYoursError, UnverifiedError
from ..object_names import MAX_KEY_BYTES

_TICKET_IN_BODY = re.compile(rf"""(?:^|[&,{{])\s*"?{TICKET_MEMBER}"?\s*[=:]\s*"?([A-Za-z0-9_-]+)""")


class Delivered(NamedTuple):
    """How the application answered an upload: the status, the JSON, and the reason of a refusal.

    The reason is ``repeated`` for a stored response, None where the application handled the upload now.
    """

    status: int
    reason: str | None
    body: bytes


class Deliver(Protocol):
    """Passes an upload to what receives callbacks, through the ledger, and returns the answer."""

    def __call__(self, upload: Upload) -> Delivered: ...


class FoundUpload(NamedTuple):
    """An upload that was found in the bucket, and OSS's ID of the HEAD request that found it."""

    upload: Upload
    request_id: str | None


class Recovery:
    """Asks the bucket for one object, and decides by ticket and receipt whether, and as what, it may be handled.

    The bucket is asked over TLS with our own key, and only a form of ours could give the object its receipt: together
    they prove what the callback would have proved. The upload has the callback's identity (ticket ID, object, ETag), so
    that callback and recovery may come in any order, and the ledger lets one of them reach the application.

    :param bucket_name: the bucket that ``bucket`` asks.
    :param clock: returns Unix seconds.
    """

    def __init__(
        self,
        bucket: BucketClient,
        bucket_name: str,
        tickets: TicketBook,
        receipts: ReceiptBook,
        *,
        clock: Callable[[], float],
    ) -> None:
        self.bucket = bucket
        self.bucket_name = bucket_name
        self._tickets = tickets
        self._receipts = receipts
        self._clock = clock

    def open(self, proof: str, key: str) -> Ticket:
        """Return the ticket of a page's proof, which is a ticket or the form's ``callback`` field with one in it.

        Raises UnverifiedError, also if the ticket is not for the object ``key``; NotYoursError for the ticket of a
        prefix form, whose objects have no receipt (nothing is asked, so that its owner learns of no other object).
        """
        ticket = self._tickets.open(_ticket_in(proof))
        if ticket.key is None:
            hint = "the ticket is a prefix form's: its objects have no receipt, so a lost report cannot be recovered"
            raise NotYoursError("not_yours", hint)
        if key != ticket.key:
            raise UnverifiedError("recover_mismatch", "the ticket is for another object than the page asks for")
        return ticket

    def find(self, ticket: Ticket, key: str) -> FoundUpload:
        """Return the upload of a ticket, as OSS has stored it.

        Raises NotStoredError; NotYoursError unless the object's receipt is this ticket's; UnverifiedError if the ticket
        does not allow what was stored; BucketError.
        """
        return self.accept(self._head(key), ticket)

    def accept(self, stored: StoredObject, ticket: Ticket) -> FoundUpload:
        """Return the upload of a ticket whose object the bucket has just described; raises as ``find`` does."""
        try:
            receipt = self._receipts.open(stored.metadata.get(RECEIPT_NAME))
        except UnverifiedError as error:
            raise NotYoursError("not_yours", f"the object is not of this ticket: {error.hint}") from error
        if receipt.ticket.id != ticket.id:
            raise NotYoursError("not_yours", "the object's receipt is another ticket's")
        return self._checked(stored, receipt._replace(ticket=ticket))

    def find_by_receipt(self, key: str) -> FoundUpload:
        """Return the upload that an object's own receipt describes.

        Raises NotStoredError; UnverifiedError for a receipt that does not count (``receipt_...``) or does not allow
        what was stored (``ticket_mismatch``); BucketError.
        """
        stored = self._head(key)
        return self._checked(stored, self._receipts.open(stored.metadata.get(RECEIPT_NAME)))

    def _head(self, key: str) -> StoredObject:
        if not 0 < len(key.encode("utf-8", "replace")) <= MAX_KEY_BYTES:
            raise NotStoredError("not_stored", f"no such object: a name has 1 to {MAX_KEY_BYTES} bytes")
        stored = self.bucket.head(key)
        if stored is None:
            raise NotStoredError("not_stored", "OSS was asked, and holds no such object: it may be sent again")
        return stored

    def _checked(self, stored: StoredObject, receipt: Receipt) -> FoundUpload:
        ticket = receipt.ticket
        upload = upload_of(stored, self.bucket_name, receipt)
        try:
            ticket.check(upload)
            receipt.check(stored)
        except UnverifiedError as error:
            error.upload = upload.with_ticket(ticket)
            raise
        upload = replace(upload.with_ticket(ticket), recovered=True, confirmed=True)
        # The ledger must remember it for as long as a sweep may find it again, although the ticket has expired.
        until = max(ticket.expires_at, int(self._clock()))
        return FoundUpload(replace(upload, ticket_until=until), stored.request_id)


def upload_of(stored: StoredObject, bucket: str, receipt: Receipt) -> Upload:
    """Return the upload that a callback would have reported, as far as HEAD knows it.

    ``members`` has the names of the usual callback body; what only a callback knows is left out.
    """
    members = {
        "filename": stored.key,
        "size": str(stored.size),
        "mimeType": stored.content_type or "",
        "bucket": bucket,
        "etag": stored.etag,
        "crc64": "" if stored.crc64 is None else str(stored.crc64),
        "operation": receipt.operation,
        **{f"x:{name}": value for name, value in receipt.custom.items()},
    }
    return Upload(
        bucket=bucket,
        object=stored.key,
        etag=stored.etag or None,
        size=stored.size,
        mime_type=stored.content_type or None,
        crc64=stored.crc64,
        operation=receipt.operation,
        custom=dict(receipt.custom),
        members=members,
    )


def _ticket_in(proof: str) -> str:
    """Return the ticket in the text of a ``callback`` field, or the text itself if it is no such field."""
    try:
        parameters = json.loads(base64.b64decode(proof, validate=True))
        body = parameters["callbackBody"]
        match = _TICKET_IN_BODY.search(body)
    except (ValueError, binascii.Error, LookupError, TypeError, RecursionError):
        return proof
    return match[1] if match is not None else proof
