"""The sealed ID of an upload in parts."""

from __future__ import annotations

from typing import Any

import pytest

from oss_wsgi.callback.ticket import NewTicket, ReceiptBook, TicketBook, new_ticket
from oss_wsgi.exceptions import UnverifiedError
from oss_wsgi.parts.ticket import PartsBook
from oss_wsgi.testing import FrozenClock

from .site import NOW, PART, SECRET


def books(clock: FrozenClock, secrets: tuple[str, ...] = (SECRET,)) -> tuple[TicketBook, PartsBook]:
    tickets = TicketBook(secrets, clock=clock)
    return tickets, PartsBook(secrets, clock=clock)


def a_ticket(**members: Any) -> NewTicket:
    options: dict[str, Any] = {
        "bucket": "examplebucket",
        "key": "u/大 film.mp4",
        "prefix": "",
        "sizes": (0, 10**9),
        "content_types": [],
        "expires_at": int(NOW) + 60,
        "user": "eric",
        "data": {"album": 7},
        "filename": "海 1.png",
    }
    return new_ticket(**{**options, **members})


def test_it_holds_the_ticket_and_what_oss_calls_the_upload() -> None:
    tickets, book = books(FrozenClock(NOW))
    new = a_ticket()
    opened = book.open(book.seal(new, "0004B9894A22E5B1888A1E29F8230000", PART, "private"))
    assert opened.ticket == tickets.open(tickets.seal(new))
    assert (opened.key, opened.upload_id) == ("u/大 film.mp4", "0004B9894A22E5B1888A1E29F8230000")
    assert (opened.part_size, opened.acl, opened.size) == (PART, "private", None)


@pytest.mark.parametrize(
    ("sizes", "part_size", "allowed", "lengths"),
    [
        ((0, 10 * PART), None, 10, [None, None]),
        ((250_000, 250_000), None, 3, [None, None, None]),
        ((250_000, 250_000), PART, 3, [PART, PART, 250_000 - 2 * PART]),
        ((250_000, 250_000), 2 * PART, 2, [2 * PART, 250_000 - 2 * PART]),
        ((2 * PART, 2 * PART), PART, 2, [PART, PART]),
        ((0, 0), PART, 1, [0]),
    ],
)
def test_it_says_how_many_parts_there_may_be_and_how_long(
    sizes: tuple[int, int], part_size: int | None, allowed: int, lengths: list[int | None]
) -> None:
    _, book = books(FrozenClock(NOW))
    opened = book.open(book.seal(a_ticket(sizes=sizes), "ID", part_size, None))
    assert opened.allowed_parts == allowed
    assert opened.size == (sizes[1] if sizes[0] == sizes[1] else None)
    assert [opened.length(number) for number in range(1, len(lengths) + 1)] == lengths


def test_tickets_receipts_and_ids_do_not_open_as_one_another() -> None:
    clock = FrozenClock(NOW)
    tickets, book = books(clock)
    receipts = ReceiptBook([SECRET], clock=clock, keep_seconds=60)
    new = a_ticket()
    ticket, upload_id, receipt = tickets.seal(new), book.seal(new, "ID", None, None), receipts.seal(new)
    for text in (ticket, receipt, "", "garbage", upload_id[:-4] + "AAAA"):
        with pytest.raises(UnverifiedError):
            book.open(text)
    for text in (upload_id, receipt):
        with pytest.raises(UnverifiedError):
            tickets.open(text)
    with pytest.raises(UnverifiedError):
        receipts.open(upload_id)


def test_it_expires_and_a_secret_can_be_rotated() -> None:
    clock = FrozenClock(NOW)
    _, book = books(clock)
    text = book.seal(a_ticket(), "ID", None, None)
    assert books(clock, ("a new secret of 32 characters at least", SECRET))[1].open(text).upload_id == "ID"
    clock.advance(12 * 3600 + 61)
    with pytest.raises(UnverifiedError, match="ticket_expired"):
        book.open(text)


def test_the_longest_fits_into_a_path() -> None:
    _, book = books(FrozenClock(NOW))
    longest = a_ticket(user="u" * 256, data={"x": "d" * 1000}, key="k" * 1023)
    text = book.seal(longest, "0" * 32, 5 * 1024**3, "public-read-write")
    assert len(text) < 4000, "the header buffer of uWSGI has 4 KB"
