"""Recovery of one upload whose report was lost: find its object, check ticket or receipt, and have it handled."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import NamedTuple, cast

from ..bucket import BucketClient, ListedObject, StoredObject
from ..callback.parameters import TICKET_MEMBER
from ..callback.ticket import RECEIPT_NAME, Receipt, ReceiptBook, Ticket, TicketBook
from ..callback.upload import Upload
from ..exceptions import (
    BucketRefusedError,
    CallbackError,
    ConfirmationUnavailableError,
    HandlerCommittedError,
    LedgerUnavailableError,
    NotConfirmedError,
    NotStoredError,
    NotYoursError,
    PartsCorruptError,
    SettingsError,
    TicketUsedError,
    UnverifiedError,
)
from ..ledger.base import Ledger, StoredResponse, UploadIdentity
from ..object_names import MAX_KEY_BYTES, has_dot_segment
from ..threads import cached_property
from .delivery import Delivered

Pair = tuple[str, str]
Known = Callable[[Sequence[Pair]], Iterable[Pair]]
OnOrphan = Callable[[Upload], object]
#: The outcome of one object, and the reason if it was not handled.
Outcome = tuple[str, str | None]

#: What can never be handled, and what another try may handle.
_REFUSALS = (TicketUsedError, NotYoursError, NotConfirmedError, PartsCorruptError)
_UNDECIDED = (LedgerUnavailableError, ConfirmationUnavailableError)
KNOWN: Outcome = "known", None
_UNREACHABLE: Outcome = "refused", "name_unreachable"
#: The outcome of an object whose receipt is missing or does not open, by the reason.
_WITHOUT_RECEIPT = {
    "receipt_missing": "no_receipt",
    **dict.fromkeys(("receipt_foreign", "receipt_altered", "receipt_expired"), "foreign"),
}
#: The outcomes that the object alone decides, by the reason: they are noted. A refusal is noted once it is told.
NOTED = {**_WITHOUT_RECEIPT, **dict.fromkeys(("ticket_mismatch", "name_unreachable"), "settled")}
#: Replaces an object's name in the ledger's entry of an orphan; a hash of object and ETag replaces the ETag.
_ORPHAN = "oss_wsgi orphan"
_TOLD = StoredResponse("200 OK", "", b"")
_NOT_TOLD = StoredResponse("500 Internal Server Error", "", b"")
_TICKET_IN_BODY = re.compile(rf"""(?:^|[&,{{])\s*"?{TICKET_MEMBER}"?\s*[=:]\s*"?([A-Za-z0-9_-]+)""")

log = logging.getLogger(__name__)


class FoundUpload(NamedTuple):
    """An upload that was found in the bucket, and OSS's ID of the HEAD request that found it."""

    upload: Upload
    request_id: str | None


@dataclass(frozen=True, eq=False, repr=False)
class Recovery:
    """Asks the bucket for one object, and decides by ticket and receipt whether it may be handled, and as which upload.

    The bucket is asked over TLS with our own key, and only a form of ours could give the object its receipt: together
    they prove what the callback would have proved. The upload has the same identity as in the callback (ticket ID,
    object, ETag). So callback and recovery may come in any order, and the ledger lets only one of them reach the
    application.

    :param bucket_name: the bucket that ``bucket`` asks.
    :param clock: returns Unix seconds.
    """

    bucket: BucketClient
    bucket_name: str
    tickets: TicketBook
    receipts: ReceiptBook
    _: KW_ONLY
    clock: Callable[[], float]

    def open(self, proof: str, key: str) -> Ticket:
        """Return the ticket in a page's proof, which is a ticket or a form's ``callback`` field that contains one.

        Raises UnverifiedError, also if the ticket is not for the object ``key``; NotYoursError for the ticket of a
        prefix form, whose objects have no receipt (OSS is not asked, so the ticket's owner learns nothing about other
        objects).
        """
        ticket = self.tickets.open(_ticket_in(proof))
        if ticket.key is None:
            hint = (
                "the ticket is for a prefix form, whose objects have no receipt, so a lost report cannot be recovered"
            )
            raise NotYoursError("not_yours", hint)
        if key != ticket.key:
            raise UnverifiedError("recover_mismatch", "the ticket is for another object than the page asks for")
        return ticket

    def find(self, ticket: Ticket, key: str, *, recovered: bool = True) -> FoundUpload:
        """Return the upload of a ticket, as OSS stored it.

        ``recovered`` is False if this is the upload's usual report: its page reports it, or completes it in parts.

        Raises NotStoredError; NotYoursError unless the object's receipt is this ticket's; UnverifiedError if the ticket
        does not allow the stored object; BucketError.
        """
        return self.accept(self.head(key), ticket, recovered=recovered)

    def accept(self, stored: StoredObject, ticket: Ticket, *, recovered: bool) -> FoundUpload:
        """Return the upload of a ticket whose object is ``stored``; raises as ``find`` does."""
        try:
            receipt = self.receipts.open(stored.metadata.get(RECEIPT_NAME))
        except UnverifiedError as error:
            raise NotYoursError("not_yours", f"the object does not belong to this ticket: {error.hint}") from error
        if receipt.ticket.id != ticket.id:
            raise NotYoursError("not_yours", "the object's receipt belongs to another ticket")
        return self._checked(stored, receipt, recovered=recovered)  # its ticket is the same, sealed once more

    def accept_by_receipt(self, stored: StoredObject) -> FoundUpload:
        """Return the upload that an object's own receipt describes.

        Raises UnverifiedError for an invalid receipt (``receipt_...``) or one that does not allow the stored object
        (``ticket_mismatch``).
        """
        return self._checked(stored, self.receipts.open(stored.metadata.get(RECEIPT_NAME)))

    def head(self, key: str) -> StoredObject:
        """Return the object stored under a name, in any thread. Raises NotStoredError and BucketError."""
        if not 0 < len(key.encode("utf-8", "replace")) <= MAX_KEY_BYTES:
            raise NotStoredError("not_stored", f"no such object: a name has 1 to {MAX_KEY_BYTES} bytes")
        stored = self.bucket.head(key)
        if stored is None:
            raise NotStoredError("not_stored", "OSS was asked, and holds no such object: it may be sent again")
        return stored

    def _checked(self, stored: StoredObject, receipt: Receipt, *, recovered: bool = True) -> FoundUpload:
        ticket = receipt.ticket
        upload = upload_of(stored, self.bucket_name, receipt).with_ticket(ticket)
        try:
            ticket.check_name(upload.bucket, upload.object, upload.etag)
            ticket.check_content(upload.size, upload.mime_type)
            receipt.check(stored)
        except UnverifiedError as error:
            error.upload = upload
            raise
        # The ledger must remember the upload as long as a sweep may find it again, even after the ticket has expired.
        until = max(ticket.expires_at, int(self.clock()))
        upload = replace(upload, recovered=recovered, confirmed=True, ticket_until=until)
        return FoundUpload(upload, stored.request_id)


def upload_of(stored: StoredObject, bucket: str, receipt: Receipt) -> Upload:
    """Return the upload that a callback would have reported, as far as HEAD tells it.

    ``members`` has the names of the usual callback body, without values that only a callback has.
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
    """Return the ticket in the text of a ``callback`` field; any other text is returned as it is."""
    try:
        parameters = json.loads(base64.b64decode(proof, validate=True))
        body = parameters["callbackBody"]
        match = _TICKET_IN_BODY.search(body)
    except (ValueError, binascii.Error, LookupError, TypeError, RecursionError):
        return proof
    return match[1] if match is not None else proof


@dataclass(frozen=True, eq=False, repr=False)
class LostUploads:
    """Recovers uploads by the names of their stored objects, one at a time, and passes them to the application.

    :param deliver: passes an upload through the ledger to the application.
    :param known: ``(pairs of object and ETag) -> those that the application has handled``, called with objects that the
        ledger does not know.
    :param on_orphan: called with each upload that the checks refuse. The ledger makes this happen once, and again only
        after an exception or the end of the process in between.
    :param remember_until: the Unix seconds until which the ledger remembers that it was called.
    :param dry_run: handle nothing, call nothing, store nothing.
    """

    recovery: Recovery
    deliver: Callable[[Upload], Delivered]
    ledger: Ledger
    _: KW_ONLY
    known: Known | None
    on_orphan: OnOrphan | None
    remember_until: int
    dry_run: bool

    def unknown(self, page: Sequence[ListedObject]) -> list[ListedObject]:
        """Return the objects of a page that neither the ledger nor the application knows."""
        pairs = [(listed.key, listed.etag) for listed in page]
        known = self.ledger.known(pairs)
        rest = [pair for pair in pairs if pair not in known]
        known = known.union(self._known_to_application(rest))
        return [listed for listed, pair in zip(page, pairs, strict=True) if pair not in known]

    def _known_to_application(self, pairs: Sequence[Pair]) -> set[Pair]:
        """Ask the application's ``known``; LedgerUnavailableError if it fails, because then nothing may be handled."""
        if not pairs or self.known is None:
            return set()
        try:
            return {(name, etag) for name, etag in self.known(pairs)}
        except Exception as error:
            log.exception("known= failed, so it is unknown what was handled")
            hint = f"known= must return those of the pairs that were handled, but it raised {type(error).__name__}"
            raise LedgerUnavailableError("known_failed", hint) from error

    def noted(self, page: Sequence[ListedObject]) -> dict[str, Outcome]:
        """Return the outcomes, by name, of those objects of a page that ``note`` has noted."""
        found: dict[str, Outcome] = {}
        for reason, outcome in NOTED.items():
            pairs = [(listed.key, self._mark(listed, reason)) for listed in page if listed.key not in found]
            if pairs:
                found.update((name, (outcome, reason)) for name, _ in self.ledger.known(pairs))
        return found

    def note(self, looked_at: Sequence[tuple[ListedObject, str]]) -> None:
        """Note objects with their reasons, which are in ``NOTED``, so that no sweep asks OSS for them again."""
        if looked_at and not self.dry_run:
            pairs = [(listed.key, self._mark(listed, reason)) for listed, reason in looked_at]
            self.ledger.note(pairs, self.remember_until)

    def _mark(self, listed: ListedObject, reason: str) -> str:
        """Return the mark of an object's outcome; it changes when the outcome may have changed.

        An object that is stored again, or copied onto itself with other metadata, has another time. Other secrets, or a
        longer memory, may open a receipt.
        """
        secrets = "" if reason == "receipt_missing" else self._secrets
        return f"{reason} {self.recovery.bucket_name} {listed.etag} {listed.last_modified} {secrets}"

    @cached_property
    def _secrets(self) -> str:
        # Read once for all objects: if the secrets change meanwhile, the next sweep asks again.
        return self.recovery.receipts.fingerprint

    def handle_listed(self, listed: ListedObject, head: Callable[[], StoredObject] | None = None) -> Outcome:
        """Do what ``handle`` does, for a listed object, which exists even if no request can name it."""
        try:
            outcome, reason = self.handle(listed, head)
        except BucketRefusedError as error:
            if error.code != "SignatureDoesNotMatch":  # the same key could list, so it is right
                raise
            outcome, reason = _UNREACHABLE
        if (outcome, reason) == _UNREACHABLE:
            hint = (
                "HTTP clients change this name, or OSS refuses it, so no form with an exact name stored it: the "
                "sweep leaves it"
            )
            orphan = Upload(self.recovery.bucket_name, listed.key, listed.etag or None, listed.size)
            unreachable = UnverifiedError("name_unreachable", hint)
            return self._refuse(orphan, unreachable.reason, unreachable.hint)
        return outcome, reason

    def handle(self, listed: ListedObject, head: Callable[[], StoredObject] | None = None) -> Outcome:
        """Handle one object that the ledger does not know; return its outcome and the reason. Raises BucketError.

        ``head`` returns what ``Recovery.head`` does; it is not called for a name that nobody can ask for.
        """
        if has_dot_segment(listed.key):  # not ours: such names are never signed
            return _UNREACHABLE
        try:
            stored = self.recovery.head(listed.key) if head is None else head()
            upload, head_request_id = self.recovery.accept_by_receipt(stored)
        except NotStoredError:
            return "gone", None
        except BucketRefusedError as error:
            if error.code != "InvalidObjectName":
                raise
            return _UNREACHABLE
        except UnverifiedError as error:
            if error.reason in _WITHOUT_RECEIPT:
                return _WITHOUT_RECEIPT[error.reason], error.reason
            return self._refuse(cast("Upload", error.upload), error.reason, error.hint)  # set by `Recovery`
        etag = upload.etag or ""
        if etag != listed.etag and not self.unknown([listed._replace(etag=etag)]):
            return KNOWN
        if self.dry_run:
            return "untold", None
        refusal = None
        try:
            outcome, reason = self._deliver(upload)
        except _REFUSALS as error:
            outcome, reason, refusal = "refused", error.reason, error.hint
        line = "recover: outcome=%s object=%r user=%r reason=%s oss_request_id=%s"
        log.info(line, outcome, upload.object, upload.user, reason, head_request_id or "-")
        return (outcome, reason) if refusal is None else self._refuse(upload, reason, refusal)

    def _deliver(self, upload: Upload) -> Outcome:
        """Have an upload handled; log what failed, since no server is around it. Raises what is in ``_REFUSALS``."""
        try:
            response, is_repeated, _ = self.deliver(upload)
        except (SettingsError, *_REFUSALS):
            raise
        except CallbackError as error:
            level = logging.WARNING if error.__cause__ is None else logging.ERROR
            line = "recover failed for %r: reason=%s hint=%r"
            log.log(level, line, upload.object, error.reason, error.hint, exc_info=error.__cause__)
            return "unavailable" if isinstance(error, _UNDECIDED) else "failed", error.reason
        except (Exception, SystemExit):  # from the application's own view
            log.exception("the application raised for %r: the upload does not count as handled", upload.object)
            return "failed", "handler_failed"
        if response.is_success:
            return ("known", "repeated") if is_repeated else ("recovered", None)
        return "unavailable" if response.status.startswith("503") else "failed", None

    def _refuse(self, orphan: Upload, reason: str | None, hint: str) -> Outcome:
        """Call ``on_orphan`` for an upload that can never be handled: return ``refused``, or ``settled`` later."""
        text = json.dumps([self.recovery.bucket_name, orphan.object, orphan.etag])
        digest = hashlib.sha256(text.encode()).hexdigest()  # a database may not accept every name that OSS accepts
        identity = UploadIdentity(digest[:32], _ORPHAN, digest, self.remember_until, may_wait=False)
        if self.dry_run:
            return ("settled" if self.ledger.known([(_ORPHAN, digest)]) else "refused"), reason
        outcome = "settled"

        def tell(transaction: object | None) -> StoredResponse:
            nonlocal outcome
            outcome = "refused"
            log.warning("recover refused %r: reason=%s hint=%r", orphan.object, reason, hint)
            try:
                if self.on_orphan is not None:
                    self.on_orphan(replace(orphan, transaction=transaction))
            except Exception:
                log.exception("on_orphan raised for %r; it will be called again", orphan.object)
                return _NOT_TOLD
            return _TOLD

        try:
            self.ledger.run_once(identity, tell)
        except HandlerCommittedError:
            log.exception("on_orphan ended or broke the ledger's transaction; it will be called again")
        except LedgerUnavailableError as error:
            if error.reason != "ledger_busy":
                raise
            return "unavailable", error.reason  # another thread or process is calling on_orphan, which may yet raise
        return outcome, reason
