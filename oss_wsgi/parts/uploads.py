"""Uploads in parts: begun, listed, completed from what OSS lists, recognized when they are complete, and aborted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ..bucket import StoredPart
from ..callback.ticket import COMPLETE_OPERATION, RECEIPT_FIELD, ReceiptBook, new_ticket
from ..callback.upload import Upload, plain_etag
from ..exceptions import (
    BucketRefusedError,
    BucketUnreachableError,
    MalformedRequestError,
    NotStoredError,
    NotYoursError,
    OSSWSGIError,
    OutsideGrantError,
    PartsNotAllowedError,
    PartsRefusedError,
    SettingsError,
    UnverifiedError,
    UploadGoneError,
    UploadUnsettledError,
)
from ..ledger.base import Ledger, note
from ..recovery.recovery import Recovery
from ..settings_check import MAX_PART_BYTES, MIN_PART_BYTES
from ..signing.grant import Grant
from ..signing.presigned_url import PresignedURL, URLPresigner
from ..signing.presigner import PostPresigner, check_metadata_size
from . import crc64
from .sizes import fitting_part_size, part_count
from .ticket import PartsBook, PartsTicket

#: Seconds that an upload in parts may take, pauses included: the days after which the lifecycle rule removes its parts.
UPLOAD_SECONDS = 7 * 24 * 3600

#: An upload in parts that OSS was told to join, and did not answer, is unsettled for one to two times as many seconds.
UNSETTLED_SECONDS = 30

#: Seconds that the URL of a part lives: it must begin to be sent before.
PART_SECONDS = 3600

# OSS keeps the type that was given at the beginning, and none of a part's.
_OF_A_WHOLE_FILE = {"Content-Type": "application/octet-stream"}

# Of a bucket's client; one that has only `head` and `list` is enough for recovery.
_METHODS = ("begin", "list_parts", "complete", "abort")

# How Uppy cuts a file, unless its page says otherwise.
_UPPY_PART_SIZE = 5 * 1024 * 1024


class BegunUpload(NamedTuple):
    """An upload in parts that has begun.

    ``id`` is its sealed ticket, which the repr leaves out. ``part_size`` is how a file of this size is best cut,
    ``parts`` how many there are then (None if the size is not known), ``expire`` the Unix seconds until which it may be
    sent.
    """

    id: str
    key: str
    part_size: int
    parts: int | None
    expire: int

    def __repr__(self) -> str:
        return f"BegunUpload(key={self.key!r}, part_size={self.part_size}, parts={self.parts}, expire={self.expire})"


class PartUploads:
    """Uploads in parts of one bucket.

    Nothing is stored here: the upload's ID is a sealed ticket that says everything, so any process can continue the
    upload. OSS's list of parts decides what is joined, never the client's. A completed object is recognized by its
    receipt, which makes completing it repeatable, over crashes too.

    :param recovery: asks the bucket, and makes the upload of what it holds.
    :param presigner: says what a grant allows, and how the object is named and described.
    :param urls: signs the URLs of parts.
    :param ledger: is told what the joined object must be, before OSS joins it.
    :param keep_seconds: how long the ledger remembers that after the ticket has expired.
    :param part_size: the settings', in bytes.
    :param clock: returns Unix seconds.

    Raises SettingsError if the bucket's client knows no parts.
    """

    def __init__(
        self,
        recovery: Recovery,
        presigner: PostPresigner,
        urls: URLPresigner,
        *,
        receipts: ReceiptBook,
        book: PartsBook,
        ledger: Ledger,
        keep_seconds: int,
        part_size: int,
        clock: Callable[[], float],
    ) -> None:
        missing = [name for name in _METHODS if not callable(getattr(recovery.bucket, name, None))]
        if missing:
            raise SettingsError(
                f"OSS_MULTIPART is on, and the bucket_client {type(recovery.bucket).__name__} has no method "
                f"{', '.join(missing)}: add it as BucketClient describes, use SDKBucket, or set OSS_MULTIPART=off."
            )
        self._recovery = recovery
        self._bucket = recovery.bucket
        self._presigner = presigner
        self._urls = urls
        self._receipts = receipts
        self._book = book
        self._ledger = ledger
        self._keep_seconds = keep_seconds
        self._part_size = part_size
        self._clock = clock

    def begin(
        self,
        grant: Grant,
        *,
        filename: str | None,
        content_type: str | None = None,
        size: int | None = None,
        part_size: int | None = None,
    ) -> BegunUpload:
        """Begin an upload for a grant.

        With ``size`` the whole is that many bytes exactly. With ``part_size`` too the client promises to cut the file
        by the size that is returned, which is that one unless there would be more than 10,000 parts, and then each
        part's length is exact.

        Raises MalformedRequestError, OutsideGrantError, GrantError; PartsRefusedError if the object exists and may not
        be overwritten; BucketError.
        """
        if part_size is not None and not MIN_PART_BYTES <= part_size <= MAX_PART_BYTES:
            hint = f"The part_size must be {MIN_PART_BYTES} to {MAX_PART_BYTES} bytes (100 KB to 5 GB)."
            raise MalformedRequestError("part_size_malformed", hint)
        target = self._presigner.parts_target(grant, filename=filename, content_type=content_type, size=size)
        expires_at = int(self._clock()) + UPLOAD_SECONDS
        ticket = new_ticket(
            bucket=self._recovery.bucket_name,
            key=target.key,
            prefix="",
            sizes=target.sizes,
            content_types=target.content_types,
            expires_at=expires_at,
            user=grant.user,
            data=grant.data,
            forbid_overwrite=grant.forbid_overwrite,
            filename=filename,
        )
        receipt = self._receipts.seal(
            ticket, operation=COMPLETE_OPERATION, custom=grant.custom, metadata=grant.metadata
        )
        check_metadata_size(target.headers, receipt)
        # The ACL counts when the upload is completed.
        headers = {name: value for name, value in target.headers.items() if name != "x-oss-object-acl"}
        headers[RECEIPT_FIELD] = receipt
        try:
            upload_id = self._bucket.begin(target.key, headers)
        except BucketRefusedError as error:
            raise _file_exists() if error.code == "FileAlreadyExists" else error from error
        chosen = self._part_size if part_size is None else part_size
        if size is not None:
            chosen = fitting_part_size(size, chosen)
        exact = chosen if size is not None and part_size is not None else None
        text = self._book.seal(ticket, upload_id, exact, grant.acl)
        return BegunUpload(text, target.key, chosen, None if size is None else part_count(size, chosen), expires_at)

    def open(self, text: str, key: str) -> PartsTicket:
        """Return the ticket of an ID; UnverifiedError if it does not count, or is for another object or bucket."""
        opened = self._book.open(text)
        if opened.ticket.bucket != self._recovery.bucket_name:  # two buckets may share the secrets
            raise UnverifiedError("parts_mismatch", "the upload ID belongs to another bucket")
        if key != opened.key:
            raise UnverifiedError(
                "parts_mismatch", "the upload ID belongs to another object than the one that the key names"
            )
        return opened

    def sign(self, opened: PartsTicket, number: int, *, typed: bool = False) -> PresignedURL:
        """Return the signed URL of one part, with its exact length where that is known (V4 only).

        ``typed``: the client sends the headers that are returned, and its first part may be a whole file, which a
        browser sends with the file's type. OSS signs a Content-Type that is present, so one is fixed then.

        Raises OutsideGrantError for a number that a file of the allowed size cannot have; CredentialsError.
        """
        if not 1 <= number <= opened.allowed_parts:
            hint = f"There is no part {number}: this file has parts 1 to {opened.allowed_parts} at most."
            raise OutsideGrantError("part_not_allowed", hint)
        query = {"partNumber": str(number), "uploadId": opened.upload_id}
        length = opened.length(number)
        headers: Mapping[str, str] | None = None
        if length is None and typed and number == 1:
            headers = _OF_A_WHOLE_FILE
        elif length is not None and self._urls.signs_additional_headers:
            headers = {"content-length": str(length)}
        signed = () if length is None or headers is None else tuple(headers)
        return self._urls.presign(
            "PUT", opened.key, expires=PART_SECONDS, query=query, headers=headers, additional_headers=signed
        )

    def list(self, opened: PartsTicket) -> Sequence[StoredPart]:
        """Return the parts that are stored; those of a completed upload as they were.

        Raises UploadGoneError, UploadUnsettledError, BucketError, LedgerUnavailableError.
        """
        try:
            return self._bucket.list_parts(opened.key, opened.upload_id)
        except NotStoredError:
            return list(_former_parts(opened, self._completed(opened)))

    def complete(self, opened: PartsTicket, claimed: Mapping[int, str]) -> Upload:
        """Join the parts that OSS lists, and return the upload; also if it was completed before.

        Nothing is waited for: an error that says that nobody can tell now is for the client, which asks again.
        ``claimed`` are the parts that the client has sent, ETag by number.

        Raises PartsRefusedError, after which the parts are still there, PartsNotAllowedError after which they are not;
        UploadGoneError; UploadUnsettledError; UnverifiedError; BucketError; LedgerUnavailableError.
        """
        try:
            listed = self._bucket.list_parts(opened.key, opened.upload_id)
        except NotStoredError:
            return self._completed(opened)
        try:
            self._check(opened, listed, claimed)
        except PartsRefusedError as error:
            return self._completed_meanwhile(opened, error)
        self._expect(opened, listed)
        return self._join(opened, claimed)

    def abort(self, opened: PartsTicket) -> Upload | None:
        """Remove the upload and its parts; return the upload if it is completed already, whose object stays.

        Raises BucketError.
        """
        self._bucket.abort(opened.key, opened.upload_id)
        return self._find(opened)

    def _check(self, opened: PartsTicket, listed: Sequence[StoredPart], claimed: Mapping[int, str]) -> None:
        """Raise what speaks against joining the listed parts; abort the upload if its size is not allowed."""
        ticket = opened.ticket
        total = sum(part.size for part in listed)
        if total > ticket.max_size:
            self._refuse_size(opened, total)
        stored = {part.number: plain_etag(part.etag) for part in listed}
        if not stored or stored != claimed:
            differing = sorted(number for number in {*stored, *claimed} if stored.get(number) != claimed.get(number))
            shown = ", ".join(map(str, differing[:5])) or "there are none"
            hint = f"what the client sent and what OSS lists differ in {len(differing)} parts: {shown}"
            raise PartsRefusedError("parts_missing", hint)
        if total < ticket.min_size:
            self._refuse_size(opened, total)
        if any(part.size < MIN_PART_BYTES for part in listed[:-1]):
            hint = f"a part that is not the last has less than {MIN_PART_BYTES} bytes, which OSS does not join"
            raise PartsRefusedError("part_too_small", hint)

    def _expect(self, opened: PartsTicket, parts: Sequence[StoredPart]) -> None:
        """Tell the ledger what the parts are together, where OSS says the CRC-64 of each.

        Another page, the next process, a sweep or an event may find the object later, and has no list of parts then.
        """
        pairs = [(part.crc64, part.size) for part in parts if part.crc64 is not None]
        if len(pairs) == len(parts):
            expires = opened.ticket.expires_at + self._keep_seconds
            self._ledger.expect(opened.ticket.id, crc64.joined(pairs), expires)

    def _note_unanswered(self, opened: PartsTicket) -> None:
        """Note for all processes that OSS was told to join the parts and did not answer."""
        now = int(self._clock())
        expires = now + 2 * UNSETTLED_SECONDS
        note(self._ledger, opened.key, _unanswered(opened, now), expires, may_wait=False)

    def _is_unanswered(self, opened: PartsTicket) -> bool:
        """Return whether that was noted a moment ago, by any process."""
        moments = self._clock(), self._clock() - UNSETTLED_SECONDS
        return bool(self._ledger.known([(opened.key, _unanswered(opened, moment)) for moment in moments]))

    def _refuse_size(self, opened: PartsTicket, total: int) -> None:
        self._bucket.abort(opened.key, opened.upload_id)
        allowed = f"{opened.ticket.min_size} to {opened.ticket.max_size}" if opened.size is None else f"{opened.size}"
        hint = f"the parts have {total} bytes together, and the ticket allows {allowed}: they were removed"
        raise PartsNotAllowedError("parts_size", hint)

    def _join(self, opened: PartsTicket, claimed: Mapping[int, str]) -> Upload:
        headers = {"x-oss-forbid-overwrite": "true"} if opened.ticket.forbid_overwrite else {}
        if opened.acl is not None:
            headers["x-oss-object-acl"] = opened.acl
        parts = [(number, f'"{etag}"') for number, etag in sorted(claimed.items())]
        try:
            stored = self._bucket.complete(opened.key, opened.upload_id, parts, headers)
        except NotStoredError:
            return self._completed(opened)
        except BucketRefusedError as error:
            return self._after_refusal(opened, error)
        except BucketUnreachableError:
            # OSS goes on with what it got; perhaps it never got the request.
            self._note_unanswered(opened)
            raise
        return self._recovery.accept(stored, opened.ticket, recovered=False).upload

    def _after_refusal(self, opened: PartsTicket, error: BucketRefusedError) -> Upload:
        """Return the upload if OSS refused because it is completed; raise what its refusal means if not."""
        meaning: OSSWSGIError = error
        if error.code == "FileAlreadyExists":
            meaning = _file_exists()
        elif error.code == "InvalidPart":
            meaning = PartsRefusedError("parts_missing", "a part was replaced while the upload was completed")
        elif error.code == "EntityTooSmall":
            meaning = PartsRefusedError("part_too_small", "OSS finds a part that is too small")
        return self._completed_meanwhile(opened, meaning)

    def _completed_meanwhile(self, opened: PartsTicket, refusal: OSSWSGIError) -> Upload:
        """Return the upload if another page has completed it, so that its parts are gone; raise ``refusal`` if not.

        Raises BucketUnreachableError if nobody can tell now.
        """
        try:
            upload = self._find(opened)
        except BucketRefusedError:
            upload = None
        if upload is None:
            raise refusal
        return upload

    def _completed(self, opened: PartsTicket) -> Upload:
        """Return the upload that OSS does not know any more, because it is completed.

        Raises UploadGoneError where its object is not there either; UploadUnsettledError where OSS was told to join the
        parts a moment ago and did not answer.
        """
        upload = self._find(opened)
        if upload is not None:
            return upload
        if self._is_unanswered(opened):
            hint = "OSS did not answer when it was told to join the parts, and shows neither them nor the object yet"
            raise UploadUnsettledError("upload_unsettled", hint)
        raise UploadGoneError("upload_gone", "OSS has neither the upload nor its object: it was aborted, or deleted")

    def _find(self, opened: PartsTicket) -> Upload | None:
        """Return the upload if its object is stored, and None if there is none, or another one."""
        try:
            return self._recovery.find(opened.ticket, opened.key, recovered=False).upload
        except (NotStoredError, NotYoursError):
            return None


def _unanswered(opened: PartsTicket, moment: float) -> str:
    """Return what stands in the place of an ETag."""
    return f"end of {opened.ticket.id}: {int(moment // UNSETTLED_SECONDS)}"


def _file_exists() -> PartsRefusedError:
    return PartsRefusedError("file_exists", "there is an object of this name, and the grant forbids to overwrite it")


def _former_parts(opened: PartsTicket, upload: Upload) -> Iterator[StoredPart]:
    """Yield the parts of a completed upload, whose count stands in its ETag's suffix."""
    size, etag = upload.size or 0, upload.etag or ""
    _, _, suffix = etag.partition("-")
    count = int(suffix) if suffix.isdigit() else 1
    likely = [cut for cut in (opened.part_size, _UPPY_PART_SIZE) if cut and part_count(size, cut) == count]
    part_size = likely[0] if likely else max(1, -(-size // max(1, count)))
    for number in range(1, count + 1):
        start = (number - 1) * part_size
        yield StoredPart(number, max(0, min(part_size, size - start)), f'"{etag}"')
