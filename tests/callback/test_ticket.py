"""TicketBook: a ticket opens as it was sealed, and nothing else opens."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from oss_wsgi.callback.ticket import (
    TRIAL_WITH_HANDLER,
    TRIAL_WITHOUT_HANDLER,
    Ticket,
    TicketBook,
)
from oss_wsgi.callback.upload import Upload
from oss_wsgi.exceptions import UnverifiedError
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
OLD, NEW = "an old secret of 32 characters ..", "a new secret of 32 characters ..."
VALUES: dict[str, Any] = {
    "bucket": "examplebucket",
    "key": "user/eric/猫.png",
    "prefix": "user/eric/",
    "sizes": (1, 1000),
    "content_types": ("image/png", "image/jpeg"),
    "expires": NOW + 300,
    "user": "eric",
    "data": {"album": 7, "tags": ["a", "ü"]},
}
GOOD = {"bucket": "examplebucket", "object": "user/eric/猫.png", "size": 1000, "mime_type": "image/png"}


def book(*secrets: str, clock: FrozenClock | None = None, **options: Any) -> TicketBook:
    return TicketBook(secrets or (NEW,), clock=clock or FrozenClock(NOW), **options)


def reason(tickets: TicketBook, text: object) -> str:
    with pytest.raises(UnverifiedError) as raised:
        tickets.open(text)
    assert not text or len(str(text)) < 40 or str(text) not in str(raised.value)
    return raised.value.reason


def test_a_ticket_opens_as_it_was_issued() -> None:
    ticket = book().open(book().issue(**VALUES))
    assert (ticket.bucket, ticket.key, ticket.prefix) == ("examplebucket", "user/eric/猫.png", "user/eric/")
    assert (ticket.min_size, ticket.max_size) == (1, 1000)
    assert list(ticket.content_types) == ["image/png", "image/jpeg"]
    assert (ticket.user, ticket.data) == ("eric", {"album": 7, "tags": ["a", "ü"]})
    assert ticket.expires_at == NOW + 300 + 12 * 3600
    assert (ticket.forbid_overwrite, ticket.max_objects, ticket.filename, ticket.trial) == (False, 1, None, None)
    assert book().open(book().issue(**{**VALUES, "key": None})).max_objects == 1
    assert book().open(book().issue(**{**VALUES, "data": None})).data == {}


@pytest.mark.parametrize("filename", [None, "a.png"])
@pytest.mark.parametrize(
    ("changes", "forbids", "number"),
    [
        ({"max_objects": 1000}, False, 1),
        ({"max_objects": 1000, "forbid_overwrite": True}, True, 1),
        ({"key": None, "max_objects": 7, "forbid_overwrite": True}, False, 7),
        ({"key": None, "max_objects": 1, "forbid_overwrite": True}, False, 1),
    ],
)
def test_a_ticket_with_a_key_may_forbid_to_overwrite_and_one_with_a_prefix_counts_objects(
    changes: dict[str, Any], forbids: bool, number: int, filename: str | None
) -> None:
    ticket = book().open(book().issue(**VALUES | changes, filename=filename))
    assert (ticket.forbid_overwrite, ticket.max_objects, ticket.filename) == (forbids, number, filename)
    upload = Upload().with_ticket(ticket)
    assert (upload.forbid_overwrite, upload.max_objects, upload.filename) == (forbids, number, filename)


@pytest.mark.parametrize(
    ("filename", "sealed"),
    [
        ("", None),
        ("年 1.png", "年 1.png"),
        ('a"b\\c\n/../d', 'a"b\\c\n/../d'),
        ("a" * 255, "a" * 255),
        ("a" * 256, "a" * 255),
        ("a" + "猫" * 85, "a" + "猫" * 84),
        ("a\ud800b", "a?b"),
    ],
)
def test_a_ticket_has_the_files_name_cut_between_characters(filename: str, sealed: str | None) -> None:
    assert book().open(book().issue(**VALUES, filename=filename)).filename == sealed


@pytest.mark.parametrize(
    ("trial", "expected"),
    [(None, (False, False)), (TRIAL_WITH_HANDLER, (True, False)), (TRIAL_WITHOUT_HANDLER, (True, True))],
)
def test_a_ticket_says_that_its_upload_is_a_trial(trial: str | None, expected: tuple[bool, bool]) -> None:
    upload = Upload().with_ticket(book().open(book().issue(**VALUES, trial=trial)))
    assert (upload.is_trial, upload.skips_handler) == expected
    assert (upload.filename, upload.user, upload.max_objects) == (None, "eric", 1)


#: Sealed with OLD at NOW by the version of November 2026: one that opens no such ticket refuses what it finds.
SEALED = (
    "kO4esgAATlwVT3ecKjJvzXqiaqAKYIC0QLdLFMBB6UmN9Ct9HH2SakGRqhEOWapQg8CzQKVJNJ4D7HsTG1bGxkKwLLEnVMpHa-UNoO9ckdwaQeHM"
    "r7ABNmoRbHJReYwOTIEzxcDy-tmWx3IUy-hbLgCKN9FCJ_O_CKLRDMCHmkHBQSbJNeJjMX51aIXEzyZ_7loQax17UVCBnCz_SAsWRJcW"
)


def test_a_ticket_of_an_older_version_opens() -> None:
    ticket = book(OLD).open(SEALED)
    assert ticket.id == "674ef6c8154f779c2a326fcd7aa26aa0"
    assert (ticket.key, ticket.filename, ticket.user, ticket.data) == (
        "user/eric/猫.png",
        "猫.png",
        "eric",
        {"album": 7},
    )
    assert (ticket.min_size, ticket.max_size, ticket.content_types) == (1, 1000, ["image/png"])


def test_each_ticket_has_its_own_id_and_hides_its_content() -> None:
    texts = [book().issue(**VALUES) for _ in range(50)]
    assert len({book().open(text).id for text in texts}) == 50
    for text in texts:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        assert b"eric" not in raw
        assert b"examplebucket" not in raw


def test_the_text_needs_no_escape_in_forms_and_json() -> None:
    assert set(book().issue(**VALUES)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_missing_ticket_is_refused(nothing: object) -> None:
    assert reason(book(), nothing) == "ticket_missing"


@pytest.mark.parametrize(
    "text",
    ["A" * 44, "A" * 47, "ä" * 60, "\ud800" * 60, "A" * 6004, 7],
)
def test_a_text_that_is_not_a_ticket_is_refused(text: object) -> None:
    assert reason(book(), text) == "ticket_altered"


def test_a_ticket_of_another_secret_is_refused() -> None:
    assert reason(book(OLD), book(NEW).issue(**VALUES)) == "ticket_foreign"


def test_a_secret_is_rotated_by_putting_a_new_one_before_it() -> None:
    before = book(OLD).issue(**VALUES)
    assert book(NEW, OLD).open(before).user == "eric"
    after = book(NEW, OLD).issue(**VALUES)
    assert book(NEW).open(after).user == "eric"
    assert reason(book(OLD), after) == "ticket_foreign"


def test_secrets_that_are_asked_for_are_those_of_now() -> None:
    secrets = [OLD]
    tickets = TicketBook(lambda: tuple(secrets), clock=FrozenClock(NOW))
    before = tickets.issue(**VALUES)
    secrets[:] = [NEW]
    assert reason(tickets, before) == "ticket_foreign"
    assert book(NEW).open(tickets.issue(**VALUES)).user == "eric"


def test_a_ticket_outlives_its_signature_by_upload_seconds() -> None:
    clock = FrozenClock(NOW)
    tickets = book(clock=clock, upload_seconds=3600)
    text = tickets.issue(**VALUES)
    clock.advance(300 + 3600)
    assert tickets.open(text).user == "eric"
    clock.advance(1)
    assert reason(tickets, text) == "ticket_expired"


def test_tickets_of_several_days_open() -> None:
    clock = FrozenClock(NOW)
    tickets = book(clock=clock)
    texts = []
    for _ in range(12):
        texts.append(tickets.issue(**{**VALUES, "expires": int(clock()) + 30 * 86400}))
        clock.advance(86400)
    assert [tickets.open(text).user for text in texts] == ["eric"] * 12


def test_a_book_does_not_show_its_secrets() -> None:
    tickets = book()
    assert NEW not in repr(tickets) + repr(vars(tickets))
    assert [reason(tickets, "A" * length) for length in (48, 6000)] == ["ticket_foreign"] * 2


def ticket(**values: Any) -> Ticket:
    return book().open(book().issue(**{**VALUES, **values}))


def check(ticket: Ticket, upload: Upload) -> None:
    ticket.check_name(upload.bucket, upload.object, upload.etag)
    ticket.check_content(upload.size, upload.mime_type)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"size": 1},
        {"mime_type": "IMAGE/JPEG"},
        {"mime_type": "image/png; name=x"},
    ],
)
def test_an_upload_that_the_ticket_allows_passes(changed: dict[str, Any]) -> None:
    check(ticket(), Upload(**{**GOOD, **changed}))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"bucket": "otherbucket"}, "bucket"),
        ({"bucket": None}, "bucket"),
        ({"object": "user/eric/猫.png2"}, "object"),
        ({"object": "user/eric/"}, "object"),
        ({"object": None}, "object"),
        ({"size": 0}, "size"),
        ({"size": 1001}, "size"),
        ({"size": None}, "size"),
        ({"mime_type": "text/html"}, "mimeType"),
        ({"mime_type": "image/png, text/html"}, "mimeType"),
        ({"mime_type": None}, "mimeType"),
    ],
)
def test_an_upload_that_the_ticket_does_not_allow_is_refused(changed: dict[str, Any], what: str) -> None:
    with pytest.raises(UnverifiedError, match=f"ticket_mismatch: the ticket does not allow the report's {what}$"):
        check(ticket(), Upload(**{**GOOD, **changed}))


def test_a_type_with_a_parameter_allows_exactly_that() -> None:
    typed = ticket(content_types=("text/html; charset=utf-8",))
    check(typed, Upload(**{**GOOD, "mime_type": "text/html; charset=utf-8"}))
    with pytest.raises(UnverifiedError, match="mimeType"):
        check(typed, Upload(**{**GOOD, "mime_type": "text/html"}))


def test_a_prefix_allows_only_objects_below_it() -> None:
    below = ticket(key=None)
    check(below, Upload(**{**GOOD, "object": "user/eric/b/c.png"}))
    for name in ("user/eric2/c.png", "user/eri", "other/user/eric/c.png", None):
        with pytest.raises(UnverifiedError, match="object"):
            check(below, Upload(**{**GOOD, "object": name}))


def test_names_and_etags_longer_than_osss_are_refused() -> None:
    below = ticket(key=None)
    check(below, Upload(**{**GOOD, "object": "user/eric/".ljust(1023, "n"), "etag": "E" * 64}))
    long = [{"object": "user/eric/".ljust(1024, "n")}, {"object": "user/eric/" + "中" * 340}, {"etag": "E" * 65}]
    for changed in long:
        with pytest.raises(UnverifiedError, match=r"ticket_mismatch: .* length"):
            check(below, Upload(**{**GOOD, **changed}))


def test_a_ticket_without_types_allows_any() -> None:
    for mime_type in ("text/html", "", None):
        check(ticket(content_types=()), Upload(**{**GOOD, "mime_type": mime_type}))
