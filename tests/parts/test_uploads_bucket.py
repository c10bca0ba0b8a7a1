"""What an upload in parts asks of the bucket, and what it makes of the answers, without an OSS."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from oss_wsgi import Grant, MemoryLedger, Settings
from oss_wsgi.bucket import StoredObject, StoredPart
from oss_wsgi.callback.ticket import RECEIPT_FIELD, ReceiptBook, TicketBook
from oss_wsgi.exceptions import (
    BucketRefusedError,
    BucketUnreachableError,
    GrantError,
    LedgerUnavailableError,
    MalformedRequestError,
    NotStoredError,
    OutsideGrantError,
    PartsCorruptError,
    PartsNotAllowedError,
    PartsRefusedError,
    UnverifiedError,
    UploadGoneError,
    UploadUnsettledError,
)
from oss_wsgi.parts import crc64
from oss_wsgi.parts.ticket import PartsBook, PartsTicket
from oss_wsgi.parts.uploads import UNSETTLED_SECONDS, PartUploads
from oss_wsgi.recovery.delivery import damaged_mark
from oss_wsgi.recovery.recovery import Recovery
from oss_wsgi.signing.presigned_url import URLPresigner
from oss_wsgi.signing.presigner import PostPresigner
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
DAY = 24 * 3600
KB = 1024
PART = 100 * KB
SECRETS = ["a secret of at least 32 characters"]
GONE = NotStoredError("not_stored", "NoSuchUpload")
SILENT = BucketUnreachableError("bucket_unreachable", "no answer")


def refusal(code: str) -> BucketRefusedError:
    return BucketRefusedError("bucket_refused", "OSS refused", code=code)


class Noting(MemoryLedger):
    """A ledger that shows what it is told to note."""

    def __init__(self, clock: FrozenClock) -> None:
        super().__init__(clock=clock)
        self.noted: list[tuple[str, str, int]] = []
        self.can_note = True

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        pairs = list(pairs)
        self.noted += [(*pair, expires) for pair in pairs]
        if not self.can_note:
            raise LedgerUnavailableError("ledger_unavailable", "the disk is full")
        super().note(pairs, expires)


class Uploads:
    """Uploads in parts of a bucket that answers as it is told, and notes what it is asked."""

    def __init__(self, bucket: str = "examplebucket", **settings: Any) -> None:
        self.clock = FrozenClock(NOW)
        self.asked: list[tuple[Any, ...]] = []
        self.begun: Any = "UPLOAD"
        self.parts: Any = ()
        self.completed: Any = None
        self.stored: Any = None
        self.ledger = Noting(self.clock)
        self.receipts = ReceiptBook(SECRETS, clock=self.clock, keep_seconds=8 * DAY)
        usual = {"bucket": bucket, "region": "cn-hangzhou", "access_key_id": "ID", "access_key_secret": "SECRET"}
        made = Settings(**{**usual, "multipart": True, **settings})
        client: Any = self
        self.uploads = PartUploads(
            Recovery(client, bucket, TicketBook(SECRETS, clock=self.clock), self.receipts, clock=self.clock),
            PostPresigner(made, clock=self.clock, token=lambda: "0" * 32),
            URLPresigner(made, None, clock=self.clock),
            receipts=self.receipts,
            book=PartsBook(SECRETS, clock=self.clock),
            ledger=self.ledger,
            keep_seconds=3600,
            part_size=PART,
            clock=self.clock,
        )

    def _answer(self, answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    def head(self, key: str) -> Any:
        return self._answer(self.stored)

    def begin(self, key: str, headers: Mapping[str, str]) -> Any:
        self.asked.append(("begin", key, dict(headers)))
        return self._answer(self.begun)

    def list_parts(self, key: str, upload_id: str) -> Any:
        self.asked.append(("list_parts", key, upload_id))
        return self._answer(self.parts)

    def complete(self, key: str, upload_id: str, parts: Sequence[Any], headers: Mapping[str, str]) -> Any:
        self.asked.append(("complete", key, upload_id, parts, dict(headers)))
        return self._answer(self.completed)

    def abort(self, key: str, upload_id: str) -> None:
        self.asked.append(("abort", key, upload_id))

    def start(self, grant: Grant | None = None, **members: Any) -> PartsTicket:
        """Begin an upload, and return what its ID says."""
        grant = Grant(user="eric", key="u/a.mp4", max_size=300 * KB) if grant is None else grant
        begun = self.uploads.begin(grant, filename=None, **members)
        self.receipt = self.asked[-1][2][RECEIPT_FIELD]
        self.asked.clear()
        return self.uploads.open(begun.id, begun.key)

    def store(self, **changes: Any) -> StoredObject:
        """Return the object of the upload that began last."""
        metadata = {"oss-wsgi": self.receipt}
        stored = StoredObject("u/a.mp4", 5, "5B3C-3", NOW + 10.0, "application/octet-stream", 7, metadata)
        return stored._replace(**{"object_type": "Multipart", **changes})


@pytest.fixture
def site() -> Uploads:
    return Uploads()


# Begin.


@pytest.mark.parametrize(
    ("size", "part_size", "expected", "exact"),
    [
        (None, None, (PART, None), None),
        (None, 7 * PART, (7 * PART, None), None),
        (250_000, None, (PART, 3), None),
        (250_000, 2 * PART, (2 * PART, 2), 2 * PART),
        (0, PART, (PART, 1), PART),
        (10_000 * PART + 1, PART, (KB * KB, 977), KB * KB),
    ],
)
def test_the_page_is_told_how_to_cut(
    site: Uploads, size: int | None, part_size: int | None, expected: tuple[int, int | None], exact: int | None
) -> None:
    begun = site.uploads.begin(Grant(key="u/a.mp4"), filename=None, size=size, part_size=part_size)
    assert begun[1:] == ("u/a.mp4", *expected, NOW + 7 * DAY)
    opened = site.uploads.open(begun.id, begun.key)
    assert (opened.upload_id, opened.part_size, opened.size) == ("UPLOAD", exact, size)


def test_what_the_grant_says_is_in_the_beginning_and_in_the_tickets(site: Uploads) -> None:
    grant = Grant(
        user="eric", dir="u/", acl="private", content_types=["video/mp4"], data={"album": 7},
        metadata={"tag": "v"}, custom={"mood": "good"}, max_size=9, min_size=5,
    )  # fmt: skip
    begun = site.uploads.begin(grant, filename="大 film.mp4", content_type="video/mp4")
    ((_, key, headers),) = site.asked
    assert key == begun.key == f"u/20241203/{'0' * 32}.mp4"
    receipt = site.receipts.open(headers.pop(RECEIPT_FIELD))
    assert headers == {"Content-Type": "video/mp4", "x-oss-forbid-overwrite": "true", "x-oss-meta-tag": "v"}
    assert (receipt.operation, receipt.custom, len(receipt.metadata)) == (
        "CompleteMultipartUpload", {"mood": "good"}, 1,
    )  # fmt: skip
    opened = site.uploads.open(begun.id, key)
    assert opened.ticket == receipt.ticket
    ticket = opened.ticket
    assert (ticket.bucket, ticket.key, ticket.prefix) == ("examplebucket", key, "")
    assert (ticket.user, ticket.data) == ("eric", {"album": 7})
    assert (ticket.min_size, ticket.max_size, ticket.content_types) == (5, 9, ["video/mp4"])
    assert (ticket.forbid_overwrite, ticket.filename, opened.acl) == (True, "大 film.mp4", "private")


@pytest.mark.parametrize("part_size", [PART - 1, 5 * KB**3 + 1, 0, -1])
def test_a_part_size_that_oss_does_not_take_is_refused(site: Uploads, part_size: int) -> None:
    with pytest.raises(MalformedRequestError) as raised:
        site.uploads.begin(Grant(key="u/a"), filename=None, part_size=part_size)
    assert (raised.value.reason, site.asked) == ("part_size_malformed", [])
    for allowed in (PART, 5 * KB**3):
        assert site.uploads.begin(Grant(key="u/a"), filename=None, part_size=allowed).part_size == allowed


def test_metadata_that_oss_would_refuse_does_not_begin(site: Uploads) -> None:
    with pytest.raises(GrantError, match="8 KB"):
        site.uploads.begin(Grant(key="u/a", metadata={"tag": "v" * 8000}), filename=None)
    assert site.asked == []


def test_an_object_that_exists_and_stays_is_said_and_other_refusals_are_osss(site: Uploads) -> None:
    site.begun = refusal("FileAlreadyExists")
    with pytest.raises(PartsRefusedError) as raised:
        site.uploads.begin(Grant(key="u/a"), filename=None)
    assert raised.value.reason == "file_exists"
    site.begun = refusal("AccessDenied")
    with pytest.raises(BucketRefusedError):
        site.uploads.begin(Grant(key="u/a"), filename=None)


# Open and sign.


def test_an_id_is_good_for_its_object_in_its_bucket(site: Uploads) -> None:
    text = site.uploads.begin(Grant(key="u/a"), filename=None).id
    for other, key in ((site, "u/b"), (site, "u/ab"), (Uploads("another-bucket"), "u/a")):
        with pytest.raises(UnverifiedError) as raised:
            other.uploads.open(text, key)
        assert raised.value.reason == "parts_mismatch"
    assert site.uploads.open(text, "u/a").key == "u/a"


@pytest.mark.parametrize(
    ("members", "typed", "number", "headers", "signed"),
    [
        ({}, False, 1, {}, None),
        ({}, True, 1, {"Content-Type": "application/octet-stream"}, None),
        ({}, True, 2, {}, None),
        ({"size": 250_000}, True, 2, {}, None),
        ({"size": 250_000, "part_size": PART}, True, 1, {}, "content-length"),
        ({"size": 250_000, "part_size": PART}, False, 3, {}, "content-length"),
    ],
)
def test_the_url_of_a_part_signs_what_is_known_of_it(
    site: Uploads, members: dict[str, Any], typed: bool, number: int, headers: dict[str, str], signed: str | None
) -> None:
    url = site.uploads.sign(site.start(**members), number, typed=typed)
    query = {name: values[0] for name, values in parse_qs(urlsplit(url.url).query).items()}
    assert (url.method, url.key, url.headers, url.expire) == ("PUT", "u/a.mp4", headers, NOW + 3600)
    assert (query["partNumber"], query["uploadId"]) == (str(number), "UPLOAD")
    assert query.get("x-oss-additional-headers") == signed


def test_the_lengths_of_two_parts_give_two_signatures(site: Uploads) -> None:
    opened = site.start(size=250_000, part_size=PART)
    shorter = opened._replace(part_size=PART - 1)
    assert site.uploads.sign(opened, 1).url != site.uploads.sign(shorter, 1).url


def test_v1_signs_no_length(site: Uploads) -> None:
    url = Uploads(signature_version="v1").uploads.sign(site.start(size=250_000, part_size=PART), 1)
    assert url.headers == {}


@pytest.mark.parametrize("number", [0, 4, -1])
def test_a_part_that_the_file_cannot_have_is_not_signed(site: Uploads, number: int) -> None:
    with pytest.raises(OutsideGrantError) as raised:
        site.uploads.sign(site.start(size=250_000), number)
    assert raised.value.reason == "part_not_allowed"


# List.


@pytest.mark.parametrize(
    ("members", "size", "etag", "sizes"),
    [
        ({"size": 250_000, "part_size": PART}, 250_000, "E-3", [PART, PART, 250_000 - 2 * PART]),
        ({"size": 12 * KB**2}, 12 * KB**2, "E-3", [5 * KB**2, 5 * KB**2, 2 * KB**2]),
        ({"size": 250_000}, 250_000, "E-2", [125_000, 125_000]),
        ({"size": 7}, 7, "E", [7]),
        ({"size": 0}, 0, "E-1", [0]),
        ({"size": 5}, 5, "E-7", [1, 1, 1, 1, 1, 0, 0]),
    ],
    ids=["as it was told", "as Uppy cuts", "some way", "no count", "empty", "more parts than bytes"],
)
def test_a_completed_upload_lists_its_parts_as_they_were(
    site: Uploads, members: dict[str, Any], size: int, etag: str, sizes: list[int]
) -> None:
    opened = site.start(Grant(key="u/a.mp4", max_size=10**9), **members)
    site.parts, site.stored = GONE, site.store(size=size, etag=etag)
    listed = site.uploads.list(opened)
    assert listed == [StoredPart(number, size, f'"{etag}"') for number, size in enumerate(sizes, start=1)]


def test_an_unfinished_upload_lists_what_oss_lists(site: Uploads) -> None:
    opened = site.start()
    site.parts = [StoredPart(1, 5, '"E"')]
    assert site.uploads.list(opened) == site.parts
    assert site.asked == [("list_parts", "u/a.mp4", "UPLOAD")]


# Complete.


def parts(*sizes: int) -> list[StoredPart]:
    return [StoredPart(number, size, f'"e{number}"', 7 * number) for number, size in enumerate(sizes, start=1)]


CLAIMED = {1: "E1", 2: "E2"}
#: Of two parts with 102400 and 5 bytes.
CRC = crc64.joined([(7, PART), (14, 5)])


@pytest.mark.parametrize("grant", [{"acl": "private"}, {"forbid_overwrite": False}], ids=str)
def test_the_listed_parts_are_joined(site: Uploads, grant: dict[str, Any]) -> None:
    opened = site.start(Grant(user="eric", key="u/a.mp4", **grant))
    site.parts = parts(PART, 5)
    site.completed = site.store(size=PART + 5, crc64=CRC)
    upload = site.uploads.complete(opened, dict(reversed(CLAIMED.items())))
    assert (upload.object, upload.user, upload.size, upload.recovered) == ("u/a.mp4", "eric", PART + 5, False)
    headers = {"x-oss-forbid-overwrite": "true", "x-oss-object-acl": "private"} if "acl" in grant else {}
    joined = [(1, '"E1"'), (2, '"E2"')]
    assert site.asked == [
        ("list_parts", "u/a.mp4", "UPLOAD"), ("complete", "u/a.mp4", "UPLOAD", joined, headers),
    ]  # fmt: skip
    assert site.ledger.noted == []


@pytest.mark.parametrize("can_note", [True, False])
def test_an_object_with_another_crc_than_its_parts_is_refused_and_noted(
    site: Uploads, can_note: bool, caplog: pytest.LogCaptureFixture
) -> None:
    opened = site.start()
    site.parts, site.completed = parts(PART, 5), site.store(size=PART + 5, crc64=CRC ^ 1)
    site.ledger.can_note = can_note
    with pytest.raises(PartsCorruptError) as raised:
        site.uploads.complete(opened, CLAIMED)
    assert raised.value.reason == "crc64_mismatch"
    mark = damaged_mark(opened.ticket.id)
    assert site.ledger.noted == [("u/a.mp4", mark, opened.ticket.expires_at + 3600)]
    assert ("u/a.mp4' is damaged" in caplog.text) is not can_note


@pytest.mark.parametrize("crcs", [(7, 14, None), (7, None, CRC ^ 1), (None, None, CRC ^ 1)])
def test_a_crc_that_is_not_known_refuses_nothing(site: Uploads, crcs: tuple[int | None, ...]) -> None:
    opened = site.start()
    site.parts = [part._replace(crc64=crc) for part, crc in zip(parts(PART, 5), crcs[:2], strict=True)]
    site.completed = site.store(size=PART + 5, crc64=crcs[2])
    assert site.uploads.complete(opened, CLAIMED).object == "u/a.mp4"
    assert site.ledger.noted == []


@pytest.mark.parametrize(
    ("sizes", "claimed", "error", "reason"),
    [
        ((), {}, PartsRefusedError, "parts_missing"),
        ((PART, 5), {1: "E1"}, PartsRefusedError, "parts_missing"),
        ((PART, 5), {1: "E1", 2: "OTHER"}, PartsRefusedError, "parts_missing"),
        ((PART - 1, 50), CLAIMED, PartsRefusedError, "part_too_small"),
        ((PART, 50, 5), {**CLAIMED, 3: "E3"}, PartsRefusedError, "part_too_small"),
        ((PART, 99), CLAIMED, PartsNotAllowedError, "parts_size"),
        ((PART, 201), CLAIMED, PartsNotAllowedError, "parts_size"),
        ((PART, 201), {}, PartsNotAllowedError, "parts_size"),
    ],
    ids=[
        *("none", "one is not claimed", "another one", "a small one"),
        *("a small one between", "under min_size", "over max_size", "over, hidden"),
    ],
)
def test_what_may_not_be_joined_is_not(
    site: Uploads, sizes: tuple[int, ...], claimed: dict[int, str], error: Any, reason: str
) -> None:
    opened = site.start(Grant(key="u/a.mp4", min_size=PART + 100 if reason == "parts_size" else 0, max_size=PART + 200))
    site.parts = parts(*sizes)
    with pytest.raises(error) as raised:
        site.uploads.complete(opened, claimed)
    assert raised.value.reason == reason
    aborted = [("abort", "u/a.mp4", "UPLOAD")] if reason == "parts_size" else []
    assert site.asked == [("list_parts", "u/a.mp4", "UPLOAD"), *aborted]
    assert site.ledger.noted == []


@pytest.mark.parametrize("sizes", [(PART, 100), (PART, 200)], ids=["min_size", "max_size"])
def test_the_sizes_allowed_are_included(site: Uploads, sizes: tuple[int, ...]) -> None:
    opened = site.start(Grant(key="u/a.mp4", min_size=PART + 100, max_size=PART + 200))
    site.parts, site.completed = parts(*sizes), site.store(size=sum(sizes), crc64=None)
    assert site.uploads.complete(opened, CLAIMED).size == sum(sizes)


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (refusal("FileAlreadyExists"), PartsRefusedError, "file_exists"),
        (refusal("InvalidPart"), PartsRefusedError, "parts_missing"),
        (refusal("EntityTooSmall"), PartsRefusedError, "part_too_small"),
        (refusal("AccessDenied"), BucketRefusedError, "bucket_refused"),
        (GONE, UploadGoneError, "upload_gone"),
        (SILENT, BucketUnreachableError, "bucket_unreachable"),
    ],
    ids=["exists", "replaced", "small", "denied", "gone", "silent"],
)
@pytest.mark.parametrize("completed", [True, False], ids=["by another page", "by nobody"])
def test_what_oss_answers_counts_unless_another_page_was_first(
    site: Uploads, answer: Exception, error: Any, reason: str, completed: bool
) -> None:
    opened = site.start()
    site.parts, site.completed = parts(PART, 5), answer
    site.stored = site.store() if completed else None
    if completed and answer is not SILENT:
        assert site.uploads.complete(opened, CLAIMED).object == "u/a.mp4"
        return
    with pytest.raises(error) as raised:
        site.uploads.complete(opened, CLAIMED)
    assert raised.value.reason == reason
    assert bool(site.ledger.noted) == (answer is SILENT), "after an answer nothing is unsettled"


def test_a_head_that_is_refused_does_not_hide_what_oss_refused(site: Uploads) -> None:
    opened = site.start()
    site.parts, site.completed, site.stored = parts(PART, 5), refusal("InvalidPart"), refusal("AccessDenied")
    with pytest.raises(PartsRefusedError):
        site.uploads.complete(opened, CLAIMED)


@pytest.mark.parametrize(
    ("seconds", "error"), [(0, UploadUnsettledError), (59, UploadUnsettledError), (60, UploadGoneError)]
)
def test_after_no_answer_nobody_can_tell_for_a_moment(site: Uploads, seconds: int, error: Any) -> None:
    site.clock.now = NOW - NOW % UNSETTLED_SECONDS  # the beginning of a moment, in whose middle others would end
    opened = site.start()
    site.parts, site.completed = parts(PART, 5), SILENT
    with pytest.raises(BucketUnreachableError):
        site.uploads.complete(opened, CLAIMED)
    ((name, _, expires),) = site.ledger.noted
    assert (name, expires) == ("u/a.mp4", int(site.clock.now) + 60)
    site.clock.now += seconds
    site.parts = GONE
    for ask in (lambda: site.uploads.list(opened), lambda: site.uploads.complete(opened, CLAIMED)):
        with pytest.raises(error) as raised:
            ask()
        assert raised.value.reason == ("upload_unsettled" if error is UploadUnsettledError else "upload_gone")


# Abort.


def test_cancelling_returns_what_another_page_completes_meanwhile(
    site: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = site.start()
    monkeypatch.setattr(site, "abort", lambda key, upload_id: setattr(site, "stored", site.store()))
    assert site.uploads.abort(opened) is not None


def test_cancelling_returns_what_is_completed_already(site: Uploads) -> None:
    opened = site.start()
    assert site.uploads.abort(opened) is None
    assert site.asked == [("abort", "u/a.mp4", "UPLOAD")]
    site.stored = site.store()
    upload = site.uploads.abort(opened)
    assert upload is not None
    assert (upload.object, upload.recovered) == ("u/a.mp4", False)
    site.stored = site.store(metadata={})
    assert site.uploads.abort(opened) is None, "it is somebody else's"
