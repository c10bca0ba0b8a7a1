"""What the object of an upload in parts must be: remembered in any ledger, and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from oss_wsgi import MemoryLedger, SQLiteLedger, Upload
from oss_wsgi.bucket import StoredPart
from oss_wsgi.exceptions import PartsCorruptError
from oss_wsgi.ledger.base import Ledger
from oss_wsgi.parts import crc64
from oss_wsgi.parts.expected import COMPLETE_OPERATION, ExpectedObjects
from oss_wsgi.parts.ticket import PartsTicket
from oss_wsgi.testing import FrozenClock

from .site import NOW, PART
from .test_ticket import books, issue

DAY = 24 * 3600
FIRST = [StoredPart(1, PART, '"A"', 5), StoredPart(2, 7, '"B"', 6)]
SECOND = [FIRST[0], FIRST[1]._replace(crc64=8)]


def crc_of(parts: list[StoredPart]) -> int:
    return crc64.joined([(part.crc64 or 0, part.size) for part in parts])


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOW)


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, clock: FrozenClock, tmp_path: Path) -> Ledger:
    return MemoryLedger(clock=clock) if request.param == "memory" else SQLiteLedger(tmp_path / "ledger", clock=clock)


@pytest.fixture
def expected(ledger: Ledger) -> ExpectedObjects:
    return ExpectedObjects(ledger, keep_seconds=DAY)


@pytest.fixture
def opened(clock: FrozenClock) -> PartsTicket:
    tickets, book = books(clock)
    return book.open(book.issue(issue(tickets), "0004B9894A22E5B1", None, None))


@pytest.fixture
def upload(opened: PartsTicket) -> Upload:
    upload = Upload(object=opened.key, operation=COMPLETE_OPERATION, crc64=crc_of(FIRST), members={})
    return upload.with_ticket(opened.ticket)


def test_an_upload_of_which_nothing_is_known_passes(expected: ExpectedObjects, upload: Upload) -> None:
    expected.check(upload)


def test_what_was_remembered_passes_and_anything_else_does_not(
    expected: ExpectedObjects, opened: PartsTicket, upload: Upload, ledger: Ledger
) -> None:
    for _ in range(3):
        expected.remember(opened, FIRST)
    assert len(ledger) == 2
    expected.check(upload)
    for crc in (0, crc_of(FIRST) ^ 1, crc_of(SECOND)):
        with pytest.raises(PartsCorruptError):
            expected.check(replace(upload, crc64=crc))
    expected.remember(opened, SECOND)  # a part was sent again
    expected.check(upload)
    expected.check(replace(upload, crc64=crc_of(SECOND)))


@pytest.mark.parametrize(
    "other",
    [
        lambda upload: replace(upload, ticket_id="another"),
        lambda upload: replace(upload, object="u/another.mp4"),
        lambda upload: replace(upload, operation="PostObject"),
        lambda upload: replace(upload, crc64=None),
    ],
    ids=["ticket", "object", "operation", "no_crc"],
)
def test_other_uploads_are_not_compared(
    expected: ExpectedObjects, opened: PartsTicket, upload: Upload, other: Callable[[Upload], Upload]
) -> None:
    expected.remember(opened, FIRST)
    expected.check(other(replace(upload, crc64=1)))


def test_parts_of_which_one_has_no_crc_are_not_remembered(
    expected: ExpectedObjects, opened: PartsTicket, upload: Upload, ledger: Ledger
) -> None:
    expected.remember(opened, [FIRST[0], FIRST[1]._replace(crc64=None)])
    assert len(ledger) == 0
    expected.check(replace(upload, crc64=1))


def test_it_is_remembered_as_long_as_the_object_may_be_found(
    expected: ExpectedObjects, opened: PartsTicket, upload: Upload, clock: FrozenClock
) -> None:
    expected.remember(opened, FIRST)
    clock.advance(opened.ticket.accepted_until + DAY - NOW - 1)
    with pytest.raises(PartsCorruptError):
        expected.check(replace(upload, crc64=1))
