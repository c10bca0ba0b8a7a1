"""Receipts: sealed under another key than tickets, with the same ID, and only the bucket's owner reads them."""

from __future__ import annotations

import base64
import re
from contextlib import nullcontext
from typing import Any

import pytest

from oss_wsgi.bucket import StoredObject
from oss_wsgi.callback.ticket import RECEIPT_FIELD, UPLOAD_SECONDS, NewTicket, ReceiptBook, TicketBook, new_ticket
from oss_wsgi.exceptions import UnverifiedError
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
SECRET = "a secret of at least 32 characters"
WEEK = 7 * 24 * 3600


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture
def tickets(clock: FrozenClock) -> TicketBook:
    return TicketBook([SECRET], clock=clock)


@pytest.fixture
def receipts(clock: FrozenClock) -> ReceiptBook:
    return ReceiptBook([SECRET], clock=clock, keep_seconds=WEEK)


def a_ticket(**changes: object) -> NewTicket:
    values: dict[str, object] = {
        "bucket": "examplebucket",
        "key": "users/猫/1.png",
        "prefix": "users/猫/",
        "sizes": (0, 10),
        "content_types": ["image/png"],
        "expires_at": NOW + 300,
        "user": "eric",
        "data": {"album": 7},
        "filename": "海 1.png",
        "forbid_overwrite": True,
    }
    return new_ticket(**{**values, **changes})  # type: ignore[arg-type]


def reason(book: ReceiptBook | TicketBook, text: str | None) -> str:
    with pytest.raises(UnverifiedError) as raised:
        book.open(text)
    return raised.value.reason


def test_a_receipt_says_what_its_ticket_says(tickets: TicketBook, receipts: ReceiptBook) -> None:
    new = a_ticket()
    receipt = receipts.open(receipts.seal(new))
    assert receipt.ticket == tickets.open(tickets.seal(new))
    assert (receipt.operation, receipt.custom) == ("PostObject", {})


def test_a_receipt_can_name_the_operation_and_the_custom_variables(receipts: ReceiptBook) -> None:
    text = receipts.seal(a_ticket(), operation="PutObject", custom={"album": 'a "b" 猫'})
    receipt = receipts.open(text)
    assert (receipt.operation, receipt.custom) == ("PutObject", {"album": 'a "b" 猫'})
    assert receipt.ticket.filename == "海 1.png"
    assert receipt.ticket.user == "eric"


#: Sealed at NOW by the version of November 2026; objects keep theirs for as long as they are stored.
SEALED = (
    "2-UDOQAATly7WV-HY1hxANu9jDRMBJ5gsBu42b3l8Xykc4Gq4i5ptACB8Dp9VmtATKvpxeufGANSxsDhr1noR0_okcF-7QsgJ_H4oui0nxgFSwJR"
    "r7qipBHWYG0rktL3KKxvlO0N2BDf-5e6jXXZSv2X_GqObSpoihdDV3aWaFKHN24UgX16UK4fVQLDpP8AIxHVnKiexXeU2h8lmIHbmjwXPaxgNz1r"
    "mAGtUF-CUptGx7aW_WcufMgv3Kjvaz_ENP-BqqY5FB-0"
)


def test_a_receipt_of_an_older_version_opens(receipts: ReceiptBook) -> None:
    receipt = receipts.open(SEALED)
    assert (receipt.ticket.user, receipt.operation, receipt.custom) == ("eric", "PutObject", {"a": "1"})
    receipt.check(STORED._replace(metadata={"album": "summer 2026"}))


def test_neither_opens_as_the_other(tickets: TicketBook, receipts: ReceiptBook) -> None:
    new = a_ticket()
    assert reason(tickets, receipts.seal(new)) == "ticket_foreign"
    assert reason(receipts, tickets.seal(new)) == "receipt_foreign"


def test_the_key_id_of_one_does_not_make_it_the_other(tickets: TicketBook, receipts: ReceiptBook) -> None:
    """Even with the other's ID in front, the keys differ."""
    ticket = base64.urlsafe_b64decode(tickets.seal(a_ticket()))
    receipt = base64.urlsafe_b64decode(receipts.seal(a_ticket()))
    assert reason(tickets, base64.urlsafe_b64encode(ticket[:4] + receipt[4:]).decode()) == "ticket_altered"
    assert reason(receipts, base64.urlsafe_b64encode(receipt[:4] + ticket[4:]).decode()) == "receipt_altered"


def test_a_receipt_shows_nobody_user_or_data(receipts: ReceiptBook) -> None:
    text = receipts.seal(a_ticket(), custom={"album": "holiday"})
    assert re.fullmatch(r"[A-Za-z0-9_-]{100,500}", text)
    plain = base64.urlsafe_b64decode(text)
    assert not any(secret in plain for secret in (b"eric", b"album", b"holiday", b"examplebucket"))


@pytest.mark.parametrize("text", [None, ""])
def test_an_object_without_a_receipt_has_a_reason_of_its_own(receipts: ReceiptBook, text: str | None) -> None:
    assert reason(receipts, text) == "receipt_missing"


def test_a_changed_receipt_does_not_open(receipts: ReceiptBook) -> None:
    text = receipts.seal(a_ticket())
    for changed in (text[:-4], text[:-1] + ("A" if text[-1] != "A" else "B"), text + "AAAA", "garbage", "é" * 100):
        assert reason(receipts, changed) == "receipt_altered"


def test_a_receipt_opens_after_its_ticket_has_expired_for_as_long_as_the_ledger_remembers(
    clock: FrozenClock, tickets: TicketBook, receipts: ReceiptBook
) -> None:
    new = a_ticket()
    ticket, receipt = tickets.seal(new), receipts.seal(new)
    clock.advance(300 + UPLOAD_SECONDS + 1)
    assert reason(tickets, ticket) == "ticket_expired"
    assert receipts.open(receipt).ticket.expires_at == NOW + 300 + UPLOAD_SECONDS
    clock.advance(WEEK - UPLOAD_SECONDS - 1)
    assert receipts.open(receipt).ticket.user == "eric"
    clock.advance(1)
    assert reason(receipts, receipt) == "receipt_expired"


def test_a_short_keeping_never_ends_before_the_ticket(clock: FrozenClock) -> None:
    receipts = ReceiptBook([SECRET], clock=clock, keep_seconds=1)
    receipt = receipts.seal(a_ticket())
    clock.advance(300 + UPLOAD_SECONDS)
    assert receipts.open(receipt).ticket.expires_at == NOW + 300 + UPLOAD_SECONDS
    clock.advance(1)
    assert reason(receipts, receipt) == "receipt_expired"


def test_a_former_secret_still_opens_receipts(clock: FrozenClock, receipts: ReceiptBook) -> None:
    receipt = receipts.seal(a_ticket())
    rotated = ReceiptBook(["another secret of 32 characters or more", SECRET], clock=clock, keep_seconds=WEEK)
    assert rotated.open(receipt).ticket.user == "eric"
    alone = ReceiptBook(["another secret of 32 characters or more"], clock=clock, keep_seconds=WEEK)
    assert reason(alone, receipt) == "receipt_foreign"


def test_a_receipt_opens_at_any_length_that_oss_takes(receipts: ReceiptBook) -> None:
    custom = {"note": "x" * 5_939}
    text = receipts.seal(a_ticket(), custom=custom)
    assert 8_192 - 4 < len(RECEIPT_FIELD) + len(text) <= 8_192
    assert receipts.open(text).custom == custom


STORED = StoredObject("users/猫/1.png", 5, "5B3C", NOW + 10.0, "image/png")
DAY = NOW - NOW % 86_400
PINNED = {"album": "summer 2026", "empty": "", "place": "海"}


@pytest.mark.parametrize(
    ("operation", "changes", "problem"),
    [
        ("PostObject", {}, None),
        ("PostObject", {"object_type": "Normal"}, None),
        ("PostObject", {"object_type": "Multipart"}, "type of object"),
        ("PostObject", {"object_type": "Appendable"}, "type of object"),
        ("PutObject", {"object_type": "Multipart"}, "type of object"),
        ("CompleteMultipartUpload", {"object_type": "Multipart"}, None),
        ("CompleteMultipartUpload", {"object_type": "Normal"}, "type of object"),
        ("PostObject", {"last_modified": 0.0}, None),
        ("PostObject", {"last_modified": DAY - 900}, None),
        ("PostObject", {"last_modified": DAY - 901}, "time"),
        ("PostObject", {"last_modified": NOW + 300 + UPLOAD_SECONDS + 900}, None),
        ("PostObject", {"last_modified": NOW + 300 + UPLOAD_SECONDS + 901}, "time"),
        ("PostObject", {"metadata": {"album": " summer 2026", "place": "æµ·", "more": "of the browser's"}}, None),
        ("PostObject", {"metadata": {"album": "winter", "place": "海"}}, "metadata"),
        ("PostObject", {"metadata": {}}, "metadata"),
        ("PutObject", {"metadata": {"album": "summer 2026", "more": "of nobody's"}}, "metadata"),
        ("CompleteMultipartUpload", {"metadata": {"album": "summer 2026", "more": "of nobody's"}}, "metadata"),
        ("PutObject", {"metadata": {"album": "summer 2026", "oss-wsgi": "the receipt"}}, None),
    ],
)
def test_an_object_must_fit_what_its_receipt_can_know(
    receipts: ReceiptBook, operation: str, changes: dict[str, Any], problem: str | None
) -> None:
    receipt = receipts.open(receipts.seal(a_ticket(), operation=operation, metadata=PINNED))
    stored = STORED._replace(**{"metadata": {"album": "summer 2026"}, **changes})
    expected = f"ticket_mismatch: .*{problem} is not the one that"
    with nullcontext() if problem is None else pytest.raises(UnverifiedError, match=expected):
        receipt.check(stored)


@pytest.mark.parametrize("operation", ["PostObject", "PutObject"])
def test_all_pinned_metadata_must_be_there(receipts: ReceiptBook, operation: str) -> None:
    receipt = receipts.open(receipts.seal(a_ticket(), operation=operation, metadata={"a": "1", "b": "2"}))
    receipt.check(STORED._replace(metadata={"a": "1", "b": "2"}))
    for metadata in ({"a": "1"}, {"a": "1", "c": "2"}):
        with pytest.raises(UnverifiedError, match="metadata"):
            receipt.check(STORED._replace(metadata=metadata))


def test_without_pinned_metadata_a_form_may_have_any_and_a_put_none(receipts: ReceiptBook) -> None:
    stored = STORED._replace(metadata={"of": "the browser's"})
    receipts.open(receipts.seal(a_ticket())).check(stored)
    with pytest.raises(UnverifiedError):
        receipts.open(receipts.seal(a_ticket(), operation="PutObject")).check(stored)
