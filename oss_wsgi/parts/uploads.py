"""Uploads in parts: beginning, signing, listing, completing and aborting them, and recognizing completed ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

from ..bucket import StoredPart
from ..callback.ticket import COMPLETE_OPERATION, RECEIPT_FIELD, ReceiptBook, new_ticket
from ..callback.upload import Upload, plain_etag
from ..exceptions import (
    BucketRefusedError,
    BucketUnreachableError,
    LedgerUnavailableError,
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
from ..ledger.base import Ledger
from ..recovery.delivery import damaged_error, damaged_mark
from ..recovery.recovery import Recovery
from ..settings_check import MAX_PART_BYTES, MIN_PART_BYTES
from ..signing.grant import Grant
from ..signing.presigned_url import PresignedURL, URLPresigner
from ..signing.presigner import PostPresigner, check_metadata_size
from . import crc64
from .ticket import PartsBook, PartsTicket, fitting_part_size, part_count

#: Seconds that an upload in parts may take, pauses included: after these days the lifecycle rule removes its parts.
UPLOAD_LIFETIME = 7 * 24 * 3600

#: If OSS does not answer when told to join the parts, the upload is unsettled for this many seconds, or up to twice as
#: many.
UNSETTLED_SECONDS = 30

#: Seconds for which the URL of a part is valid: sending must begin before its end.
PART_URL_LIFETIME = 3600

# OSS keeps the type from the beginning of the upload, and ignores a part's type.
_OF_A_WHOLE_FILE = {"Content-Type": "application/octet-stream"}

# The methods that a bucket's client needs; for recovery `head` and `list` are enough.
_METHODS = ("begin", "list_parts", "complete", "abort")

# Uppy's part size, unless the page sets another one.
_UPPY_PART_SIZE = 5 * 1024 * 1024

log = logging.getLogger(__name__)


class BegunUpload(NamedTuple):
    """An upload in parts that has begun.

    ``id`` is its sealed ticket, which the repr leaves out. ``part_size`` is the best size of a part for this file,
    ``parts`` the resulting number of parts (None if the file's size is not known), ``expire`` the Unix seconds until
    which the file may be sent.
    """

    id: str
    key: str
    part_size: int
    parts: int | None
    expire: int

    def __repr__(self) -> str:
        return f"BegunUpload(key={self.key!r}, part_size={self.part_size}, parts={self.parts}, expire={self.expire})"


@dataclass(frozen=True, eq=False, repr=False)
class PartUploads:
    """Uploads in parts of one bucket.

    This server stores nothing: the upload's ID is a sealed ticket that contains everything, so any process can continue
    the upload. The parts that OSS lists are joined, never those that only the client lists. A completed object is
    recognized by its receipt, so completing can be repeated, even after a crash.

    :param recovery: asks the bucket, and makes an Upload of the stored object.
    :param presigner: returns what a grant allows, and the object's name and headers.
    :param urls: signs the URLs of parts.
    :param ledger: notes that OSS has damaged an object, and that it did not answer.
    :param keep_seconds: how long the ledger remembers a damaged object after the ticket has expired.
    :param part_size: the settings', in bytes.
    :param clock: returns Unix seconds.

    Raises SettingsError if the bucket's client has no methods for parts.
    """

    recovery: Recovery
    presigner: PostPresigner
    urls: URLPresigner
    _: KW_ONLY
    receipts: ReceiptBook
    book: PartsBook
    ledger: Ledger
    keep_seconds: int
    part_size: int
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        missing = [name for name in _METHODS if not callable(getattr(self.recovery.bucket, name, None))]
        if missing:
            raise SettingsError(
                f"OSS_MULTIPART is on, and the bucket_client {type(self.recovery.bucket).__name__} has no method "
                f"{', '.join(missing)}: add it as BucketClient describes, use SDKBucket, or set OSS_MULTIPART=off."
            )

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

        With ``size`` the file must have exactly that many bytes. With ``part_size`` too, the client promises to cut the
        file by the returned size, and each part's length must be exact. The returned size is larger than ``part_size``
        if there would be more than 10,000 parts.

        Raises MalformedRequestError, OutsideGrantError, GrantError; PartsRefusedError if the object exists and may not
        be overwritten; BucketError.
        """
        if part_size is not None and not MIN_PART_BYTES <= part_size <= MAX_PART_BYTES:
            hint = f"The part_size must be {MIN_PART_BYTES} to {MAX_PART_BYTES} bytes (100 KB to 5 GB)."
            raise MalformedRequestError("part_size_malformed", hint)
        target = self.presigner.parts_target(grant, filename=filename, content_type=content_type, size=size)
        expires_at = int(self.clock()) + UPLOAD_LIFETIME
        ticket = new_ticket(
            bucket=self.recovery.bucket_name,
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
        receipt = self.receipts.seal(ticket, operation=COMPLETE_OPERATION, custom=grant.custom, metadata=grant.metadata)
        check_metadata_size(target.headers, receipt)
        # The ACL is sent when the upload is completed.
        headers = {name: value for name, value in target.headers.items() if name != "x-oss-object-acl"}
        headers[RECEIPT_FIELD] = receipt
        try:
            upload_id = self.recovery.bucket.begin(target.key, headers)
        except BucketRefusedError as error:
            raise _file_exists() if error.code == "FileAlreadyExists" else error from error
        chosen = self.part_size if part_size is None else part_size
        if size is not None:
            chosen = fitting_part_size(size, chosen)
        exact = chosen if size is not None and part_size is not None else None
        text = self.book.seal(ticket, upload_id, exact, grant.acl)
        return BegunUpload(text, target.key, chosen, None if size is None else part_count(size, chosen), expires_at)

    def open(self, text: str, key: str) -> PartsTicket:
        """Return the ticket in an ID; UnverifiedError if it is invalid, or for another object or bucket."""
        opened = self.book.open(text)
        if opened.ticket.bucket != self.recovery.bucket_name:  # two buckets may share the secrets
            raise UnverifiedError("parts_mismatch", "the upload ID belongs to another bucket")
        if key != opened.key:
            raise UnverifiedError(
                "parts_mismatch", "the upload ID belongs to another object than the one that the key names"
            )
        return opened

    def sign(self, opened: PartsTicket, number: int, *, typed: bool = False) -> PresignedURL:
        """Return the signed URL of one part, with its exact length if that is known (V4 only).

        ``typed`` says that the client sends the returned headers, and that its first part may be a whole file, which a
        browser sends with the file's type. OSS's signature covers a Content-Type that is present, so a fixed one is
        signed.

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
        elif length is not None:
            headers = {"content-length": str(length)}
        signed = tuple(headers or ())
        return self.urls.presign(
            "PUT", opened.key, expires=PART_URL_LIFETIME, query=query, headers=headers, additional_headers=signed
        )

    def list(self, opened: PartsTicket) -> Sequence[StoredPart]:
        """Return the stored parts; for a completed upload, the parts that it had.

        Raises UploadGoneError, UploadUnsettledError, BucketError, LedgerUnavailableError.
        """
        try:
            return self.recovery.bucket.list_parts(opened.key, opened.upload_id)
        except NotStoredError:
            return list(_former_parts(opened, self._completed(opened)))

    def complete(self, opened: PartsTicket, claimed: Mapping[int, str]) -> Upload:
        """Join the parts that OSS lists, and return the upload, also if it was completed before.

        This waits for no other request: after an error that leaves the outcome open, the client asks again. ``claimed``
        has the parts that the client has sent: number -> ETag.

        Raises PartsRefusedError, after which the parts are still stored, or PartsNotAllowedError, after which they are
        removed; PartsCorruptError if OSS damaged the object while joining the parts; UploadGoneError;
        UploadUnsettledError; UnverifiedError; BucketError; LedgerUnavailableError.
        """
        try:
            listed = self.recovery.bucket.list_parts(opened.key, opened.upload_id)
        except NotStoredError:
            return self._completed(opened)
        try:
            self._check(opened, listed, claimed)
        except PartsRefusedError as error:
            return self._completed_meanwhile(opened, error)
        return self._join(opened, listed)

    def abort(self, opened: PartsTicket) -> Upload | None:
        """Remove the upload and its parts; if it is completed already, leave its object and return the upload.

        Raises BucketError.
        """
        self.recovery.bucket.abort(opened.key, opened.upload_id)
        return self._find(opened)

    def _check(self, opened: PartsTicket, listed: Sequence[StoredPart], claimed: Mapping[int, str]) -> None:
        """Raise an error if the listed parts cannot be joined; abort the upload if its size is not allowed."""
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

    def _check_content(self, opened: PartsTicket, parts: Sequence[StoredPart], upload: Upload) -> None:
        """Raise PartsCorruptError if the joined object has another CRC-64 than its parts have together.

        The ledger notes it first: another page, the next process, a sweep or an event may find the object later, when
        there is no list of parts any more. Without the CRC-64 of the object and of each part nothing is compared.
        """
        pairs = [(part.crc64, part.size) for part in parts if part.crc64 is not None]
        if upload.crc64 is None or len(pairs) < len(parts) or upload.crc64 == crc64.joined(pairs):
            return
        expires = opened.ticket.expires_at + self.keep_seconds
        try:
            self.ledger.note([(opened.key, damaged_mark(opened.ticket.id))], expires)
        except LedgerUnavailableError as error:
            line = "%r is damaged, and the ledger cannot note that: delete it before a sweep hands it on: %s"
            log.error(line, opened.key, error.hint)
        raise damaged_error()

    def _note_unanswered(self, opened: PartsTicket) -> None:
        """Note in the ledger, for all processes, that OSS was told to join the parts and did not answer."""
        now = int(self.clock())
        self.ledger.note([(opened.key, _unanswered(opened, now))], now + 2 * UNSETTLED_SECONDS)

    def _is_unanswered(self, opened: PartsTicket) -> bool:
        """Return whether any process noted a moment ago that OSS did not answer."""
        moments = self.clock(), self.clock() - UNSETTLED_SECONDS
        return bool(self.ledger.known([(opened.key, _unanswered(opened, moment)) for moment in moments]))

    def _refuse_size(self, opened: PartsTicket, total: int) -> None:
        self.recovery.bucket.abort(opened.key, opened.upload_id)
        allowed = f"{opened.ticket.min_size} to {opened.ticket.max_size}" if opened.size is None else f"{opened.size}"
        hint = f"the parts have {total} bytes together, and the ticket allows {allowed}: they were removed"
        raise PartsNotAllowedError("parts_size", hint)

    def _join(self, opened: PartsTicket, listed: Sequence[StoredPart]) -> Upload:
        headers = {"x-oss-forbid-overwrite": "true"} if opened.ticket.forbid_overwrite else {}
        if opened.acl is not None:
            headers["x-oss-object-acl"] = opened.acl
        parts = [(part.number, f'"{plain_etag(part.etag)}"') for part in listed]
        try:
            stored = self.recovery.bucket.complete(opened.key, opened.upload_id, parts, headers)
        except NotStoredError:
            return self._completed(opened)
        except BucketRefusedError as error:
            return self._after_refusal(opened, error)
        except BucketUnreachableError:
            # OSS may be joining the parts, or may never have got the request.
            self._note_unanswered(opened)
            raise
        upload = self.recovery.accept(stored, opened.ticket, recovered=False).upload
        self._check_content(opened, listed, upload)
        return upload

    def _after_refusal(self, opened: PartsTicket, error: BucketRefusedError) -> Upload:
        """Return the upload if OSS refused because it is completed already; otherwise raise what the refusal means."""
        meanings = {
            "FileAlreadyExists": _file_exists(),
            "InvalidPart": PartsRefusedError("parts_missing", "a part was replaced while the upload was completed"),
            "EntityTooSmall": PartsRefusedError("part_too_small", "OSS finds a part that is too small"),
        }
        return self._completed_meanwhile(opened, meanings.get(error.code, error))

    def _completed_meanwhile(self, opened: PartsTicket, refusal: OSSWSGIError) -> Upload:
        """Return the upload if another page has completed it, so its parts are gone; otherwise raise ``refusal``.

        Raises BucketUnreachableError if OSS cannot be asked now.
        """
        try:
            upload = self._find(opened)
        except BucketRefusedError:
            upload = None
        if upload is None:
            raise refusal
        return upload

    def _completed(self, opened: PartsTicket) -> Upload:
        """Return a completed upload, which OSS no longer knows as an upload in parts.

        Raises UploadGoneError if its object is missing too; UploadUnsettledError if OSS was told a moment ago to join
        the parts and did not answer.
        """
        upload = self._find(opened)
        if upload is not None:
            return upload
        if self._is_unanswered(opened):
            hint = "OSS did not answer when it was told to join the parts, and shows neither them nor the object yet"
            raise UploadUnsettledError("upload_unsettled", hint)
        raise UploadGoneError("upload_gone", "OSS has neither the upload nor its object: it was aborted, or deleted")

    def _find(self, opened: PartsTicket) -> Upload | None:
        """Return the upload if its object is stored; None if no object is stored, or another upload's."""
        try:
            return self.recovery.find(opened.ticket, opened.key, recovered=False).upload
        except (NotStoredError, NotYoursError):
            return None


def _unanswered(opened: PartsTicket, moment: float) -> str:
    """Return the mark that replaces the ETag in the note that OSS did not answer."""
    return f"end of {opened.ticket.id}: {int(moment // UNSETTLED_SECONDS)}"


def _file_exists() -> PartsRefusedError:
    return PartsRefusedError("file_exists", "there is an object of this name, and the grant forbids to overwrite it")


def _former_parts(opened: PartsTicket, upload: Upload) -> Iterator[StoredPart]:
    """Yield the former parts of a completed upload; the suffix of its ETag is their number."""
    size, etag = upload.size or 0, upload.etag or ""
    _, _, suffix = etag.partition("-")
    count = int(suffix) if suffix.isdigit() else 1
    likely = [cut for cut in (opened.part_size, _UPPY_PART_SIZE) if cut and part_count(size, cut) == count]
    part_size = likely[0] if likely else max(1, -(-size // max(1, count)))
    for number in range(1, count + 1):
        start = (number - 1) * part_size
        yield StoredPart(number, max(0, min(part_size, size - start)), f'"{etag}"')
