"""SignedIDBook: a signed ID opens as the upload for which it was made, for its bucket, user and time only."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from oss_wsgi.callback.signed_id import MAX_SIGNED_ID, SignedIDBook
from oss_wsgi.callback.ticket import ReceiptBook, TicketBook, new_ticket
from oss_wsgi.callback.upload import Upload
from oss_wsgi.exceptions import SignedIDError, UnverifiedError
from oss_wsgi.parts.ticket import PartsBook
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
OLD, NEW = "an old secret of 32 characters ..", "a new secret of 32 characters ..."
VALUES: dict[str, Any] = {
    "bucket": "examplebucket",
    "object": "user-dir-prefix/20241203/5e8f1a0b2c3d4e5f60718293a4b5c6d7.png",
    "etag": "5D41402ABC4B2A76B9719D911017C592",
    "size": 123456,
    "mime_type": "image/png",
    "filename": "猫 1.png",
    "user": "eric",
    "data": {"album": 7, "tags": ["a", "ü"]},
    "ticket_id": "674ef4dc" + "0123456789abcdef01234567",
}
UPLOAD = Upload(**VALUES, operation="PostObject", crc64=7, body=b"x", custom={"x": "1"}, ticket_until=NOW + 300)


def book(*secrets: str, bucket: str = "examplebucket", clock: FrozenClock | None = None) -> SignedIDBook:
    return SignedIDBook(secrets or (NEW,), bucket, clock=clock or FrozenClock(NOW))


def signed_id(upload: Upload = UPLOAD, **options: Any) -> str:
    return book(**options).signed(upload).signed_id


def reason(text: object, signed_ids: SignedIDBook | None = None, **options: Any) -> str:
    options = {"user": "eric", **options}
    with pytest.raises(SignedIDError) as raised:
        (signed_ids or book()).find_upload(text, **options)
    assert not text or len(str(text)) < 40 or str(text) not in f"{raised.value!r} {raised.value}"
    return raised.value.reason


def test_it_opens_as_the_upload_that_was_handled() -> None:
    text = signed_id()
    upload = book().find_upload(text, user="eric")
    assert dataclasses.asdict(upload) == dataclasses.asdict(Upload(**VALUES, signed_id=text))


@pytest.mark.parametrize("name", sorted(VALUES.keys() - {"bucket", "data"}))
def test_what_the_upload_does_not_have_stays_none(name: str) -> None:
    upload = dataclasses.replace(UPLOAD, **{name: None})
    opened = book().find_upload(signed_id(upload), user=upload.user)
    assert getattr(opened, name) is None


@pytest.mark.parametrize("text", ["", "a", 'quo"te\\', "\n\0\x1f", "猫.png", "🐈", "\ud800"])
def test_any_text_stays_as_it_is(text: str) -> None:
    upload = dataclasses.replace(UPLOAD, object=text, mime_type=text, filename=text, user=text, data={"a": text})
    opened = book().find_upload(signed_id(upload), user=text)
    assert (opened.object, opened.mime_type, opened.filename, opened.user, opened.data) == (*[text] * 4, {"a": text})


def test_a_usual_one_has_some_320_characters_that_need_no_escape() -> None:
    text = signed_id(dataclasses.replace(UPLOAD, data={}))
    assert 280 < len(text) < 360
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_each_is_new() -> None:
    signed_ids = book()
    assert len({signed_ids.signed(UPLOAD).signed_id for _ in range(50)}) == 50


LONGEST: dict[str, Any] = {
    "bucket": "b" * 63,
    "object": "o" * 1023,
    "etag": "E" * 64,
    "size": 48 * 2**40,
    "mime_type": "t/" + "y" * 80,
    "filename": "f" * 255,
    "user": "u" * 256,
    "data": {"d": "d" * (1024 - len('{"d": ""}'))},
}


def test_the_longest_names_in_ascii_fit() -> None:
    upload = dataclasses.replace(UPLOAD, **LONGEST)
    text = signed_id(upload, bucket="b" * 63)
    assert 3500 < len(text) <= MAX_SIGNED_ID
    assert book(bucket="b" * 63).find_upload(text, user="u" * 256).data == LONGEST["data"]


def test_an_upload_whose_names_are_too_long_has_none_and_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    upload = dataclasses.replace(UPLOAD, **LONGEST | {"user": "用" * 256})
    assert book().signed(upload) == upload and book().signed(upload).signed_id == ""
    assert "characters and may have 4000; shorten the grant's data and user" in caplog.messages[0]


def test_none_has_more_than_4000_characters() -> None:
    lengths = {len(signed_id(dataclasses.replace(UPLOAD, filename="f" * length))) for length in range(2600, 2800)}
    assert (min(lengths), max(lengths)) == (0, MAX_SIGNED_ID)


def test_a_trial_has_none() -> None:
    assert signed_id(dataclasses.replace(UPLOAD, is_trial=True)) == ""


def test_an_upload_without_a_book_has_none() -> None:
    assert (Upload().signed_id, UPLOAD.signed_id) == ("", "")


def test_a_signed_upload_is_the_same_upload_and_does_not_show_its_id() -> None:
    signed = book().signed(UPLOAD)
    assert signed == UPLOAD
    assert signed.signed_id not in repr(signed)
    for copied in (pickle.loads(pickle.dumps(signed)), copy.deepcopy(signed), dataclasses.replace(signed, size=1)):
        assert copied.signed_id == signed.signed_id


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "A" * 47, "A" * 4001, "ä" * 60, "\ud800" * 60, "A" * 60 + "\n", "A" * 45 + "!!!"),
        *(7, b"A" * 60, "members/eric/never-uploaded.png" * 3),
    ],
)
def test_a_text_of_another_form_is_malformed(text: object) -> None:
    assert reason(text) == "signed_id_malformed"


def test_a_changed_character_is_detected() -> None:
    text = signed_id()
    for place in (0, 7, 15, 100, len(text) - 1):
        other = "A" if text[place] != "A" else "B"
        assert reason(text[:place] + other + text[place + 1 :]) == "signed_id_altered"
    for changed in (text[:-1], text[:-4], text + "AAAA", text[4:], "A" * 300):
        assert reason(changed) == "signed_id_altered"


def test_what_another_secret_sealed_is_altered() -> None:
    assert reason(signed_id(), book(OLD)) == "signed_id_altered"


def test_an_upload_to_another_bucket_is_altered() -> None:
    assert reason(signed_id(), book(bucket="otherbucket")) == "signed_id_altered"


def sealed_texts() -> dict[str, str]:
    """Return one text of each kind that the same secrets seal."""
    clock = FrozenClock(NOW)
    names = {"bucket": "examplebucket", "key": "a", "prefix": "", "sizes": (0, 9), "content_types": ()}
    ticket = new_ticket(**names, expires_at=NOW + 60, user="eric")
    receipts = ReceiptBook([NEW], clock=clock, keep_seconds=60)
    return {
        "ticket": TicketBook([NEW], clock=clock).seal(ticket),
        "receipt": receipts.seal(ticket),
        "part's ticket": PartsBook([NEW], clock=clock).seal(ticket, "an upload ID", None, None),
        "signed ID": signed_id(),
    }


@pytest.mark.parametrize("kind", ["ticket", "receipt", "part's ticket"])
def test_no_other_sealed_text_opens_as_a_signed_id(kind: str) -> None:
    assert reason(sealed_texts()[kind]) == "signed_id_altered"


def test_a_signed_id_opens_as_nothing_else() -> None:
    text, clock = sealed_texts()["signed ID"], FrozenClock(NOW)
    for other in (
        TicketBook([NEW], clock=clock),
        ReceiptBook([NEW], clock=clock, keep_seconds=60),
        PartsBook([NEW], clock=clock),
    ):
        with pytest.raises(UnverifiedError, match="_foreign"):
            other.open(text)


def test_it_expires_after_max_age() -> None:
    clock = FrozenClock(NOW)
    signed_ids = book(clock=clock)
    text = signed_ids.signed(UPLOAD).signed_id
    clock.advance(86400)
    assert signed_ids.find_upload(text, user="eric") == book().find_upload(text, user="eric")
    clock.advance(1)
    assert reason(text, signed_ids) == "signed_id_expired"
    assert signed_ids.find_upload(text, user="eric", max_age=86401).object == UPLOAD.object
    assert reason(text, signed_ids, max_age=60) == "signed_id_expired"


def test_a_machine_whose_clock_is_behind_accepts_it() -> None:
    assert book(clock=FrozenClock(NOW - 600)).find_upload(signed_id(), user="eric").user == "eric"


@pytest.mark.parametrize(
    ("owner", "user"), [("eric", "mallory"), ("eric", None), (None, "eric"), (None, ""), ("", None)]
)
def test_it_is_of_one_user_or_of_none(owner: str | None, user: str | None) -> None:
    text = signed_id(dataclasses.replace(UPLOAD, user=owner))
    assert reason(text, user=user) == "signed_id_other_user"
    assert book().find_upload(text, user=owner).user == owner
    assert book().open(text).user == owner


@pytest.mark.parametrize("user", [7, b"eric", True, ("eric",)])
def test_a_user_that_is_no_text_is_a_mistake_of_the_caller(user: Any) -> None:
    with pytest.raises(TypeError, match="user must be the text that was the Grant's user, or None, not "):
        book().find_upload(signed_id(), user=user)


def test_a_secret_is_rotated_by_putting_a_new_one_before_it() -> None:
    before, after = signed_id(), book(OLD, NEW).signed(UPLOAD).signed_id
    assert book(OLD, NEW).open(before) == book(OLD).open(after)
    assert reason(after, book(NEW)) == "signed_id_altered"


def test_secrets_that_are_asked_for_are_those_of_now() -> None:
    secrets = [OLD]
    signed_ids = SignedIDBook(lambda: tuple(secrets), "examplebucket", clock=FrozenClock(NOW))
    before = signed_ids.signed(UPLOAD).signed_id
    secrets[:] = [NEW]
    assert reason(before, signed_ids) == "signed_id_altered"
    assert book(NEW).open(signed_ids.signed(UPLOAD).signed_id).user == "eric"


def test_a_refusal_is_one_line_of_the_log_without_the_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "oss_wsgi")
    text = signed_id()
    assert reason(text, user="mallory") == "signed_id_other_user"
    (record,) = caplog.records
    assert (record.levelname, record.__dict__["reason"]) == ("INFO", "signed_id_other_user")
    assert record.getMessage().startswith(
        "a signed ID was refused: reason=signed_id_other_user hint='the upload belongs"
    )
    assert text not in caplog.text
