"""One upload whose report was lost: whose its object is, what it says, and what becomes of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from oss_wsgi import MemoryLedger, Upload
from oss_wsgi.bucket import ListedObject, StoredObject
from oss_wsgi.callback.ticket import NewTicket, ReceiptBook, TicketBook, new_ticket
from oss_wsgi.exceptions import (
    BucketRefusedError,
    ConfirmationUnavailableError,
    HandlerCommittedError,
    HandlerFailedError,
    LedgerUnavailableError,
    NotConfirmedError,
    NotStoredError,
    NotYoursError,
    PartsCorruptError,
    TicketUsedError,
    UnverifiedError,
)
from oss_wsgi.ledger.base import Handle, StoredResponse, UploadIdentity
from oss_wsgi.recovery.delivery import Delivered
from oss_wsgi.recovery.recovery import LostUploads, Recovery
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
OK = StoredResponse("200 OK", "application/json", b"{}")
SECRET = "a secret of at least 32 characters"
KEY = "u/猫.png"
TICKETS = TicketBook([SECRET], clock=FrozenClock(NOW))
RECEIPTS = ReceiptBook([SECRET], clock=FrozenClock(NOW), keep_seconds=7 * 86_400)


def a_ticket(**changes: Any) -> NewTicket:
    values = {"bucket": "examplebucket", "key": KEY, "prefix": "u/", "sizes": (0, 10), "content_types": []}
    return new_ticket(**{**values, "expires_at": NOW + 300, "user": "eric", "data": {"album": 7}, **changes})


def stored(ticket: NewTicket, **changes: Any) -> StoredObject:
    metadata = {"oss-wsgi": RECEIPTS.seal(ticket, custom={"mood": "good"})}
    found = StoredObject(KEY, 5, "5B3C", NOW + 10.0, "image/png", 7, metadata, "REQUEST", "Normal")
    return found._replace(**changes)


def refusal(code: str) -> BucketRefusedError:
    return BucketRefusedError("bucket_refused", "OSS refused", code=code)


class Bucket:
    """A bucket that answers every HEAD alike."""

    def __init__(self, answer: StoredObject | Exception | None) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def head(self, key: str) -> StoredObject | None:
        self.asked.append(key)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def recovery_of(answer: StoredObject | Exception | None = None) -> Recovery:
    bucket: Any = Bucket(answer)
    return Recovery(bucket, "examplebucket", TICKETS, RECEIPTS, clock=FrozenClock(NOW))


def callback_field(body: object) -> str:
    return base64.b64encode(json.dumps({"callbackBody": body}).encode()).decode()


# The page's proof.


@pytest.mark.parametrize(
    "write",
    [
        lambda ticket: ticket,
        lambda ticket: callback_field(f"ticket={ticket}"),
        lambda ticket: callback_field(f"object=${{object}}&myticket=another&ticket={ticket}"),
        lambda ticket: callback_field(f"ticket={ticket}&object=${{object}}"),
        lambda ticket: callback_field(f'{{"ticket":"{ticket}"}}'),
        lambda ticket: callback_field(f'{{"object":${{object}}, "ticket" : "{ticket}"}}'),
    ],
    ids=["bare", "form", "form, at the end", "form, first", "JSON", "JSON, at the end"],
)
def test_a_ticket_is_found_in_what_the_page_has(write: Callable[[str], str]) -> None:
    ticket = recovery_of().open(write(TICKETS.seal(a_ticket())), KEY)
    assert (ticket.user, ticket.key) == ("eric", KEY)


@pytest.mark.parametrize(
    "proof",
    [
        "no Base64",
        base64.b64encode(b"no JSON").decode(),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b"{}").decode(),
        base64.b64encode(b"[" * 100_000).decode(),
        callback_field(7),
        callback_field("other_ticket=AAAA"),
        callback_field("object=a"),
        "*" + callback_field(f"ticket={TICKETS.seal(a_ticket())}"),
    ],
    ids=lambda proof: proof[:12],
)
def test_any_other_proof_is_refused(proof: str) -> None:
    with pytest.raises(UnverifiedError, match="ticket_altered"):
        recovery_of().open(proof, KEY)


@pytest.mark.parametrize(
    ("changes", "key", "error", "reason"),
    [
        ({}, "u/another.png", UnverifiedError, "recover_mismatch"),
        ({"key": None}, "u/a.png", NotYoursError, "not_yours"),
        ({"expires_at": NOW - 86_400}, KEY, UnverifiedError, "ticket_expired"),
    ],
    ids=["another object", "a prefix form", "expired"],
)
def test_a_ticket_opens_for_its_one_object(changes: dict[str, Any], key: str, error: Any, reason: str) -> None:
    with pytest.raises(error) as raised:
        recovery_of().open(TICKETS.seal(a_ticket(**changes)), key)
    assert raised.value.reason == reason


# The object.


@pytest.mark.parametrize("recovered", [True, False])
def test_an_object_is_the_upload_that_a_callback_would_have_reported(recovered: bool) -> None:
    new = a_ticket()
    ticket = TICKETS.open(TICKETS.seal(new))
    upload, request_id = recovery_of(stored(new)).find(ticket, KEY, recovered=recovered)
    assert request_id == "REQUEST"
    members = {"filename": KEY, "size": "5", "mimeType": "image/png", "bucket": "examplebucket", "etag": "5B3C"}
    assert upload.members == {**members, "crc64": "7", "operation": "PostObject", "x:mood": "good"}
    assert upload == Upload(
        bucket="examplebucket",
        object=KEY,
        etag="5B3C",
        size=5,
        mime_type="image/png",
        crc64=7,
        operation="PostObject",
        custom={"mood": "good"},
        members=upload.members,
        user="eric",
        data={"album": 7},
        ticket_id=ticket.id,
        ticket_until=ticket.expires_at,
        confirmed=True,
        recovered=recovered,
    )


@pytest.mark.parametrize("content_type", ["", None])
def test_what_head_does_not_say_is_none(content_type: str | None) -> None:
    new = a_ticket()
    ticket = TICKETS.open(TICKETS.seal(new))
    upload = recovery_of(stored(new, etag="", content_type=content_type, crc64=None)).find(ticket, KEY).upload
    assert (upload.etag, upload.mime_type, upload.crc64) == (None, None, None)
    assert (upload.members["mimeType"], upload.members["crc64"]) == ("", "")
    assert upload.recovered


@pytest.mark.parametrize("key", ["", "k" * 1024, "中" * 342], ids=["empty", "1024 bytes", "1026 bytes"])
def test_a_name_that_oss_cannot_have_is_not_asked_for(key: str) -> None:
    recovery = recovery_of(AssertionError("asked"))
    with pytest.raises(NotStoredError) as raised:
        recovery.head(key)
    assert raised.value.reason == "not_stored"


@pytest.mark.parametrize("key", ["k", "k" * 1023, "\ud800"], ids=["one byte", "1023 bytes", "no text"])
def test_an_object_that_oss_does_not_hold_is_not_stored(key: str) -> None:
    recovery = recovery_of(None)
    with pytest.raises(NotStoredError) as raised:
        recovery.head(key)
    bucket: Any = recovery.bucket
    assert (raised.value.reason, bucket.asked) == ("not_stored", [key])


@pytest.mark.parametrize(
    "metadata",
    [{}, {"oss-wsgi": "garbage"}, {"oss-wsgi": RECEIPTS.seal(a_ticket())}],
    ids=["no receipt", "garbage", "another ticket's"],
)
def test_an_object_without_the_tickets_receipt_is_somebody_elses(metadata: dict[str, str]) -> None:
    new = a_ticket()
    ticket = TICKETS.open(TICKETS.seal(new))
    with pytest.raises(NotYoursError) as raised:
        recovery_of(stored(new, metadata=metadata)).find(ticket, KEY)
    assert raised.value.reason == "not_yours"


@pytest.mark.parametrize(
    "changes",
    [{"key": "u/a copy.png"}, {"etag": "E" * 65}, {"size": 11}, {"last_modified": 1.0}],
    ids=["a copy of another name", "a long ETag", "the ticket refuses", "the receipt refuses"],
)
def test_an_upload_that_is_refused_is_told_with_the_error(changes: dict[str, Any]) -> None:
    with pytest.raises(UnverifiedError) as raised:
        recovery_of(None).accept_by_receipt(stored(a_ticket(), **changes))
    upload = raised.value.upload
    assert isinstance(upload, Upload)
    assert (upload.object, upload.user, raised.value.reason) == (changes.get("key", KEY), "eric", "ticket_mismatch")


# What becomes of it.


class Told:
    """What a handler, an ``on_orphan`` and a ``known`` are told."""

    def __init__(self, delivered: Delivered | BaseException = Delivered(OK)) -> None:  # noqa: B008 - immutable
        self.delivered = delivered
        self.uploads: list[Upload] = []
        self.orphans: list[Upload] = []
        self.ledger = MemoryLedger(clock=FrozenClock(NOW))

    def deliver(self, upload: Upload) -> Delivered:
        self.uploads.append(upload)
        if isinstance(self.delivered, BaseException):
            raise self.delivered
        return self.delivered

    def lost(self, answer: Any, *, known: Any = None, dry_run: bool = False, orphans: bool = True) -> LostUploads:
        return LostUploads(
            recovery_of(answer),
            self.deliver,
            self.ledger,
            known=known,
            on_orphan=self.orphans.append if orphans else None,
            remember_until=NOW + 86_400,
            dry_run=dry_run,
        )


LISTED = ListedObject(KEY, 5, "5B3C", NOW + 10.0)


def answered(status: str, is_repeated: bool = False) -> Delivered:
    return Delivered(StoredResponse(status, "", b""), is_repeated)


@pytest.mark.parametrize(
    ("delivered", "outcome"),
    [
        (answered("200 OK"), ("recovered", None)),
        (answered("204 No Content"), ("recovered", None)),
        (answered("200 OK", True), ("known", "repeated")),
        (TicketUsedError("ticket_used", ""), ("refused", "ticket_used")),
        (NotYoursError("not_yours", ""), ("refused", "not_yours")),
        (NotConfirmedError("not_confirmed", ""), ("refused", "not_confirmed")),
        (PartsCorruptError("crc64_mismatch", ""), ("refused", "crc64_mismatch")),
        (LedgerUnavailableError("ledger_unavailable", ""), ("unavailable", "ledger_unavailable")),
        (ConfirmationUnavailableError("oss_unreachable", ""), ("unavailable", "oss_unreachable")),
        (HandlerFailedError("handler_failed", ""), ("failed", "handler_failed")),
        (HandlerCommittedError("handler_committed", ""), ("failed", "handler_committed")),
        (answered("404 Not Found"), ("failed", None)),
        (answered("503 Service Unavailable"), ("unavailable", None)),
        (ValueError("a view raised"), ("failed", "handler_failed")),
        (SystemExit(1), ("failed", "handler_failed")),
    ],
    ids=str,
)
def test_the_outcome_is_what_became_of_the_upload(
    delivered: Delivered | BaseException, outcome: tuple[str, str | None]
) -> None:
    told = Told(delivered)
    assert told.lost(stored(a_ticket())).handle(LISTED) == outcome
    assert [(upload.object, upload.recovered) for upload in told.uploads] == [(KEY, True)]
    assert [orphan.object for orphan in told.orphans] == ([KEY] if outcome[0] == "refused" else [])


def test_what_a_handler_raised_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    failed = HandlerFailedError("handler_failed", "on_upload raised ValueError")
    failed.__cause__ = ValueError("the reason")
    assert Told(failed).lost(stored(a_ticket())).handle(LISTED)[0] == "failed"
    (record,) = (record for record in caplog.records if record.levelname == "ERROR")
    assert record.exc_info is not None
    assert record.exc_info[1] is failed.__cause__
    assert "reason=handler_failed" in record.getMessage()


@pytest.mark.parametrize(
    ("answer", "outcome", "orphans"),
    [
        (None, ("gone", None), 0),
        (stored(a_ticket(), metadata={}), ("no_receipt", "receipt_missing"), 0),
        (stored(a_ticket(), metadata={"oss-wsgi": "garbage"}), ("foreign", "receipt_altered"), 0),
        (stored(a_ticket(), size=11), ("refused", "ticket_mismatch"), 1),
        (refusal("InvalidObjectName"), ("refused", "name_unreachable"), 1),
        (refusal("SignatureDoesNotMatch"), ("refused", "name_unreachable"), 1),
    ],
    ids=["gone", "no receipt", "foreign", "refused", "no name", "another name signed"],
)
def test_what_is_not_handled_has_a_reason(answer: Any, outcome: tuple[str, str | None], orphans: int) -> None:
    told = Told()
    assert told.lost(answer).handle_listed(LISTED) == outcome
    assert [(orphan.object, orphan.size) for orphan in told.orphans] in ([], [(KEY, 5)], [(KEY, 11)])
    assert [orphan.etag for orphan in told.orphans] == ["5B3C"] * orphans
    again = ("settled", outcome[1]) if orphans else outcome
    assert told.lost(answer, dry_run=True).handle_listed(LISTED) == again
    assert told.lost(answer).handle_listed(LISTED) == again, "an orphan is told once"
    assert (len(told.orphans), told.uploads) == (orphans, [])


@pytest.mark.parametrize("code", ["AccessDenied", "SignatureDoesNotMatch"])
def test_a_refusal_of_the_key_is_no_outcome(code: str) -> None:
    lost = Told().lost(refusal(code))
    with pytest.raises(BucketRefusedError):
        lost.handle(LISTED)
    if code == "AccessDenied":
        with pytest.raises(BucketRefusedError):
            lost.handle_listed(LISTED)


def test_a_name_with_a_dot_segment_is_not_asked_for() -> None:
    told = Told()
    lost = told.lost(AssertionError("asked"))
    listed = LISTED._replace(key="u/../a.png", etag="")
    assert lost.handle(listed) == ("refused", "name_unreachable")
    assert told.orphans == [], "it may not even be stored"
    assert lost.handle_listed(listed) == ("refused", "name_unreachable")
    assert told.orphans == [Upload("examplebucket", "u/../a.png", None, 5)]
    other = replace(lost, recovery=replace(lost.recovery, bucket_name="other"))
    assert other.handle_listed(listed) == ("refused", "name_unreachable"), "buckets may share a ledger"


@pytest.mark.parametrize("etag", ["OTHER", ""])
def test_an_object_that_was_replaced_by_a_known_one_is_known(etag: str) -> None:
    told = Told()
    known: list[Any] = []

    def ask(pairs: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
        known.extend(pairs)
        return pairs

    assert told.lost(stored(a_ticket(), etag=etag), known=ask).handle(LISTED) == ("known", None)
    assert known == [(KEY, etag)]
    assert told.lost(stored(a_ticket(), etag=etag), known=lambda pairs: ()).handle(LISTED) == ("recovered", None)


def test_an_orphan_that_nobody_wants_to_know_of_is_settled_too() -> None:
    told = Told()
    outcomes = [told.lost(stored(a_ticket(), size=11), orphans=False).handle(LISTED)[0] for _ in range(2)]
    assert outcomes == ["refused", "settled"]


class Ledger(MemoryLedger):
    """A ledger that hands on a transaction, or raises what it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(clock=FrozenClock(NOW))
        self.error = error
        self.asked: list[UploadIdentity] = []

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        self.asked.append(identity)
        if self.error is not None:
            raise self.error
        return super().run_once(identity, lambda transaction: handle("the transaction"))


def test_an_orphan_is_told_in_the_ledgers_transaction_and_keeps_nobody_waiting() -> None:
    told = Told()
    told.ledger = ledger = Ledger()
    told.lost(stored(a_ticket(), size=11)).handle(LISTED)
    assert [orphan.transaction for orphan in told.orphans] == ["the transaction"]
    (identity,) = ledger.asked
    assert (len(identity.ticket), identity.expires, identity.may_wait) == (32, NOW + 86_400, False)


def test_an_orphan_is_told_again_where_its_telling_raised(caplog: pytest.LogCaptureFixture) -> None:
    class Raising(list[Upload]):
        def append(self, orphan: Upload) -> None:
            raise ZeroDivisionError

    told = Told()
    told.orphans = Raising()
    lost = told.lost(stored(a_ticket(), size=11))
    assert [lost.handle(LISTED) for _ in range(2)] == [("refused", "ticket_mismatch")] * 2
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (LedgerUnavailableError("ledger_busy", "another tells it"), False),
        (LedgerUnavailableError("ledger_unavailable", "the disk is full"), True),
        (HandlerCommittedError("handler_committed", "it ended the transaction"), False),
    ],
    ids=["busy", "unavailable", "committed"],
)
def test_only_a_ledger_that_cannot_tell_ends_it(
    error: Exception, raised: bool, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    told.ledger = Ledger(error)
    # The one that tells it may raise.
    outcome = ("unavailable", "ledger_busy") if "ledger_busy" in str(error) else ("settled", "ticket_mismatch")
    with pytest.raises(LedgerUnavailableError) if raised else nullcontext():
        assert told.lost(stored(a_ticket(), size=11)).handle(LISTED) == outcome
    tracebacks = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert tracebacks == ([error] if isinstance(error, HandlerCommittedError) else [])


def test_each_outcome_is_a_line_with_the_id_of_the_head(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "oss_wsgi")
    told = Told(TicketUsedError("ticket_used", "for another object"))
    for request_id in ("REQUEST", None):
        told.lost(stored(a_ticket(), request_id=request_id)).handle(LISTED)
    done, refused, without_id = (record.getMessage() for record in caplog.records)
    assert "oss_request_id=-" in without_id.split()
    for part in ("outcome=refused", repr(KEY), "user='eric'", "reason=ticket_used", "oss_request_id=REQUEST"):
        assert part in done
    assert repr(KEY) in refused and "reason=ticket_used" in refused


def test_a_dry_run_delivers_and_tells_nothing() -> None:
    told = Told()
    assert told.lost(stored(a_ticket()), dry_run=True).handle(LISTED) == ("untold", None)
    assert told.lost(stored(a_ticket(), size=11), dry_run=True).handle(LISTED) == ("refused", "ticket_mismatch")
    assert (told.uploads, told.orphans, len(told.ledger)) == ([], [], 0)


def test_a_page_loses_what_ledger_and_application_know(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    page = [LISTED._replace(key=name, etag=name.upper()) for name in ("a", "b", "c")]
    handled = StoredResponse("200 OK", "", b"")
    told.ledger.run_once(UploadIdentity("t1", "a", "A", NOW + 900), lambda transaction: handled)
    asked: list[Any] = []

    def known(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
        asked.append(list(pairs))
        return [["c", "C"]]  # of an application that reads JSON

    assert told.lost(None, known=known).unknown(page) == [page[1]]
    assert told.lost(None).unknown(page) == page[1:]
    assert told.lost(None, known=known).unknown([]) == []
    assert asked == [[("b", "B"), ("c", "C")]], "the application is asked for the rest, if there is any"
    with pytest.raises(LedgerUnavailableError) as raised:
        told.lost(None, known=lambda pairs: 1 / 0).unknown(page)
    assert raised.value.reason == "known_failed"

    def interrupted(pairs: object) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        told.lost(None, known=interrupted).unknown(page)
    assert "ZeroDivisionError" in caplog.text
