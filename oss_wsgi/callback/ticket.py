"""Tickets and receipts: sealed texts that say what a signature allowed, in a callback and in an object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring, encode_basestring_ascii
from os import urandom
from typing import TYPE_CHECKING, Any, NamedTuple

from ..exceptions import UnverifiedError
from ..http import essence
from ..object_names import MAX_KEY_BYTES
from .sealing import DAY, NONCE_BYTES, Sealer, Secrets

if TYPE_CHECKING:
    from ..bucket import StoredObject

#: Seconds that an upload may take after its signature has expired: 5 GB, a form's maximum, at 1 Mbit/s.
UPLOAD_SECONDS = 12 * 3600

#: Name of the user metadata that holds the receipt, without ``x-oss-meta-``.
RECEIPT_NAME = "oss-wsgi"

#: Name of the form field, and of the object's header.
RECEIPT_FIELD = f"x-oss-meta-{RECEIPT_NAME}"

#: OSS's names for an upload by form, by PUT and in parts.
POST_OBJECT = "PostObject"
PUT_OBJECT = "PutObject"
COMPLETE_OPERATION = "CompleteMultipartUpload"

#: The ``trial`` of a test ticket of `oss-wsgi doctor`: whether the application's handler gets the upload.
TRIAL_WITHOUT_HANDLER = "no_handler"
TRIAL_WITH_HANDLER = "handler"

#: OSS's limit for all names and values of an object's user metadata (never-lost.md 7.2).
MAX_METADATA_BYTES = 8192

# How far the clocks of OSS and of this machine may differ: OSS refuses requests with a larger difference (protocol.md
# 5.4).
_CLOCK_SLACK = 15 * 60
_LABEL = b"oss_wsgi upload ticket"
_RECEIPT_LABEL = b"oss_wsgi upload receipt"
_JSON = json.JSONDecoder()
_MAX_TEXT = 6000
_MAX_FILENAME_BYTES = 255  # of UTF-8: no usual file system has longer names
_MAX_ETAG = 64  # OSS's have 32 characters, and a few more after an upload in parts
_NO_CALLBACK = (
    "the ticket is for the report of a page: its form asked for no callback, so whoever had the form has added one"
)
_RECEIPT_HINTS = {
    "missing": "the object has no receipt: it was not stored by a form of this server for an exact name, or "
    "OSS_RECEIPTS was off",
    "foreign": "the receipt was sealed with another secret: set the same OSS_TICKET_SECRET everywhere",
    "altered": "the object's receipt was changed, or is not a receipt",
    "expired": "the receipt is older than OSS_LEDGER_KEEP, so the ledger no longer knows whether the upload was "
    "handled",
}


class Ticket(NamedTuple):
    """What one signature allowed.

    ``id`` has 32 hex digits: 8 for the signature's expiry, so that a ledger's keys are in the order of time, and 24
    random ones. The object's name is ``key`` or, where that is None, begins with ``prefix``. Sizes are in bytes;
    ``content_types`` lists the allowed types, empty for any; reports are refused after ``expires_at`` (Unix seconds);
    ``user`` and ``data`` are the grant's. ``forbid_overwrite`` says that the form pins ``x-oss-forbid-overwrite`` for
    its one object, which can then have only one ETag. ``max_objects`` is how many objects the ticket is valid for: 1
    with ``key``, the grant's number with ``prefix``. ``filename`` is the name of the user's file. ``trial`` is None
    except in the ticket of a test upload. ``by_page`` says that the page reports the upload, so that no callback may
    bring the ticket: the form asks for none, and its user could add one with any content.
    """

    id: str
    bucket: str
    key: str | None
    prefix: str
    min_size: int
    max_size: int
    content_types: Sequence[str]
    expires_at: int
    user: str | None
    data: Mapping[str, Any]
    forbid_overwrite: bool
    max_objects: int
    filename: str | None
    trial: str | None
    by_page: bool = False

    def check_callback(self) -> None:
        """Raise UnverifiedError if the ticket is for the report of a page, not for a callback."""
        if self.by_page:
            raise UnverifiedError("ticket_mismatch", _NO_CALLBACK)

    def check_name(self, bucket: str | None, name: str | None, etag: str | None) -> None:
        """Raise UnverifiedError unless the ticket allows a bucket and an object.

        Object and ETag must not be longer than OSS makes them, because a ledger stores both.
        """
        if bucket != self.bucket:
            raise _mismatch("bucket")
        if name is None or (name != self.key if self.key is not None else not name.startswith(self.prefix)):
            raise _mismatch("object")
        if self.key is None and len(name.encode()) > MAX_KEY_BYTES:
            raise _mismatch("object's length")
        if len(etag or "") > _MAX_ETAG:
            raise _mismatch("etag's length")

    def check_content(self, size: int | None, mime_type: str | None) -> None:
        """Raise UnverifiedError unless the ticket allows size and type."""
        if size is None or not self.min_size <= size <= self.max_size:
            raise _mismatch("size")
        types, mime_type = self.content_types, mime_type or ""
        if types and mime_type not in types and essence(mime_type) not in types:
            raise _mismatch("mimeType")


class NewTicket(NamedTuple):
    """A ticket before it is sealed: a nonce, which is the random half of its ID, and its JSON.

    A receipt and the ID of an upload in parts contain the same JSON, each sealed under its own keys.
    """

    nonce: bytes
    json: bytes

    def with_members(self, *members: Any) -> NewTicket:
        """Return the ticket with further members at the end of its JSON."""
        more = json.dumps(members, separators=(",", ":")).encode()
        return NewTicket(self.nonce, b"%s,%s" % (self.json[:-1], more[1:]))


def new_ticket(
    *,
    bucket: str,
    key: str | None,
    prefix: str,
    sizes: tuple[int, int],
    content_types: Sequence[str],
    expires_at: int,
    user: str | None = None,
    data: Mapping[str, Any] | None = None,
    forbid_overwrite: bool = False,
    max_objects: int = 1,
    filename: str | None = None,
    trial: str | None = None,
    by_page: bool = False,
) -> NewTicket:
    """Return a new ticket whose signature expires at ``expires_at``; for the rest see ``TicketBook.issue``.

    ``trial`` is one of the constants TRIAL_..., for a test upload of `oss-wsgi doctor`. ``by_page`` says that the page
    reports the upload, in place of OSS.
    """
    min_size, max_size = sizes
    types = ",".join(map(_quoted, content_types))
    number = max_objects if key is None else int(forbid_overwrite)
    # OSS limits a callback's length: 85 Chinese characters take 255 bytes here, and 510 as escapes.
    name = encode_basestring(_shortened(filename)) if filename else "null"
    rest = str(number)
    if filename or trial or by_page:
        rest = f"[{number},{name},{_quoted_or_null(trial)}{',1' if by_page else ''}]"
    text = (
        f"[{_quoted(bucket)},{_quoted_or_null(key)},{_quoted(prefix)},{min_size},{max_size},[{types}],{expires_at},"
        f"{_quoted_or_null(user)},{json.dumps(data) if data else '{}'},{rest}]"
    )
    return NewTicket(urandom(NONCE_BYTES), text.encode())


class TicketBook:
    """Issues tickets and opens them.

    A ticket is encrypted and authenticated with the first secret; tickets sealed with the other secrets still open. To
    rotate a secret, set OLD,NEW everywhere, then NEW,OLD everywhere, and then NEW alone after ``upload_seconds`` plus
    the longest expiry.

    :param secrets: texts of at least 32 characters each, or a callable that returns the current ones.
    :param clock: returns Unix seconds.
    :param upload_seconds: how long a ticket is valid after its signature has expired: the time for the upload itself.
    :param label: goes into the keys: a book opens nothing that was sealed under another label.
    :param max_text: characters of a sealed text; a longer one is not opened.
    :param keep_seconds: how long a ticket can still be opened after it is no longer valid.
    """

    def __init__(
        self,
        secrets: Secrets,
        *,
        clock: Callable[[], float],
        upload_seconds: int = UPLOAD_SECONDS,
        label: bytes = _LABEL,
        max_text: int = _MAX_TEXT,
        keep_seconds: int = 0,
    ) -> None:
        self._sealer = Sealer(secrets, clock=clock, label=label, max_text=max_text)
        self._clock = clock
        self._upload_seconds = upload_seconds
        self._keep_seconds = keep_seconds

    def issue(self, *, expires: int, **allowed: Any) -> str:
        """Return a new ticket, sealed; the text consists of letters, digits, ``-`` and ``_``.

        :param expires: when the signature expires, in Unix seconds.
        :param allowed: what the signature allows: ``bucket``, ``key``, ``prefix``, ``sizes`` (the smallest and the
            largest, in bytes) and ``content_types``, each of which is required, and ``user``, ``data``,
            ``forbid_overwrite`` (used only with a key), ``max_objects`` (used only without) and ``filename`` (cut to
            255 bytes of UTF-8). ``Ticket`` explains them.
        """
        return self.seal(new_ticket(expires_at=expires, **allowed))

    def open(self, text: object) -> Ticket:
        """Return the ticket that was sealed as ``text``.

        Raises UnverifiedError: ``ticket_missing``, ``ticket_foreign`` (sealed with another secret), ``ticket_altered``
        or ``ticket_expired``.
        """
        return self.unseal(text)[0]

    def unseal(self, text: object) -> tuple[Ticket, int, list[Any]]:
        """Return a ticket, the day on which it was sealed, and the members that were added to it.

        Raises UnverifiedError as ``open`` does.
        """
        if text in (None, ""):
            raise UnverifiedError("ticket_missing", "the report has no ticket: this server did not sign the upload")
        nonce, day, plain = self._sealer.open(text)
        (bucket, key, prefix, min_size, max_size, types, expires, user, data, rest, *added), _ = _JSON.raw_decode(
            plain.decode()
        )
        # With a prefix the number is ``max_objects``; with a key it is 1 if the object may not be overwritten, else 0.
        number, filename, trial, *by_page = rest if isinstance(rest, list) else (rest, None, None)
        expires_at = expires + self._upload_seconds
        if self._clock() > expires_at + self._keep_seconds:
            raise UnverifiedError(
                "ticket_expired", "the ticket has expired: if the upload is fresh, check this machine's clock"
            )
        ticket = Ticket(
            f"{expires:08x}{nonce.hex()}", bucket, key, prefix, min_size, max_size, types, expires_at, user, data,
            key is not None and number == 1, number if key is None else 1, filename, trial, bool(by_page),
        )  # fmt: skip
        return ticket, day, added

    @property
    def fingerprint(self) -> str:
        """A text that changes with the secrets and ``keep_seconds``: what did not open before may open then."""
        return f"{self._sealer.fingerprint} {self._keep_seconds}"

    def seal(self, ticket: NewTicket) -> str:
        """Return a ticket sealed under the first secret and today's key."""
        return self._sealer.seal(ticket.nonce, ticket.json)


class Receipt(NamedTuple):
    """What the signature of one upload allowed.

    ``operation`` is OSS's name for the way of uploading, ``custom`` has the ``x:`` variables. ``metadata`` are the
    fingerprints of the object's other user metadata. ``issued_after`` is the start of the day on which the receipt was
    sealed, in Unix seconds.
    """

    ticket: Ticket
    operation: str
    custom: Mapping[str, str]
    metadata: Sequence[str]
    issued_after: int

    def check(self, stored: StoredObject) -> None:
        """Raise UnverifiedError if the object cannot come from the upload for which the receipt was issued.

        Anybody who may read an object can copy its receipt to another object, so the receipt alone proves nothing. The
        ticket checks bucket, name, size and type; this checks time, type of object and metadata.
        """
        first, last = self.issued_after - _CLOCK_SLACK, self.ticket.expires_at + _CLOCK_SLACK
        if stored.last_modified and not first <= stored.last_modified <= last:  # 0 if the client does not know it
            raise _another_upload("time")
        object_type = "Multipart" if self.operation == COMPLETE_OPERATION else "Normal"
        if stored.object_type not in (None, object_type):
            raise _another_upload("type of object")
        pinned = set(self.metadata)
        found = set(_fingerprints({name: text for name, text in stored.metadata.items() if name != RECEIPT_NAME}))
        # A form may have further fields that no condition names; a PUT and an upload in parts have only signed headers.
        if not pinned <= found or (self.operation != POST_OBJECT and found != pinned):
            raise _another_upload("metadata")


class ReceiptBook:
    """Seals the receipt of a ticket, and opens receipts.

    Anybody who may read an object sees its receipt, so receipts are sealed under their own keys: a receipt does not
    open as a ticket, nor a ticket as a receipt. A receipt is only useful to our own HEAD of the object. It has the
    ticket's ID, because both have the same nonce.

    :param secrets: the ticket secrets.
    :param clock: returns Unix seconds.
    :param keep_seconds: how long a receipt can be opened after the form has expired; at least as long as a ticket.
    """

    def __init__(self, secrets: Secrets, *, clock: Callable[[], float], keep_seconds: int) -> None:
        # A receipt also has the `x:` variables, so it may be longer than any ticket.
        self._receipts = TicketBook(
            secrets,
            clock=clock,
            label=_RECEIPT_LABEL,
            max_text=MAX_METADATA_BYTES,
            keep_seconds=max(keep_seconds - UPLOAD_SECONDS, 0),
        )

    def seal(
        self,
        ticket: NewTicket,
        *,
        operation: str = POST_OBJECT,
        custom: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        """Return the receipt of a ticket, 250 characters or more: long names and the grant's data add to it.

        ``operation`` is OSS's name for the upload in a callback, ``custom`` the ``x:`` variables by name, ``metadata``
        the object's user metadata by name, without ``x-oss-meta-``.
        """
        if operation != POST_OBJECT or custom or metadata:
            ticket = ticket.with_members(operation, dict(custom or {}), _fingerprints(metadata or {}))
        return self._receipts.seal(ticket)

    @property
    def fingerprint(self) -> str:
        """A text that changes with the secrets and ``keep_seconds``: what did not open before may open then."""
        return self._receipts.fingerprint

    def open(self, text: str | None) -> Receipt:
        """Open ``text``, the object's metadata ``oss-wsgi``, and return the receipt; None means that it has none.

        Raises UnverifiedError: ``receipt_missing``, ``receipt_foreign``, ``receipt_altered``, ``receipt_expired``.
        """
        try:
            ticket, day, added = self._receipts.unseal(text)
        except UnverifiedError as error:
            problem = error.reason.removeprefix("ticket_")
            raise UnverifiedError(f"receipt_{problem}", _RECEIPT_HINTS[problem]) from None
        operation, custom, metadata = added or (POST_OBJECT, {}, [])
        return Receipt(ticket, operation, custom, metadata, day * DAY)


def _fingerprints(metadata: Mapping[str, str]) -> list[str]:
    """Return a short hash of each name and text, without empty and non-ASCII texts: OSS may return them changed."""
    pairs = [(name, text.strip()) for name, text in metadata.items()]
    return [
        hashlib.sha256(f"{name}:{text}".encode()).hexdigest()[:12] for name, text in pairs if text.isascii() and text
    ]


_quoted = encode_basestring_ascii  # a text in JSON; json.dumps takes four times as long


def _quoted_or_null(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


def _shortened(filename: str) -> str:
    """Return a file's name, cut between two characters if it is too long; "?" replaces lone surrogates."""
    return filename.encode(errors="replace")[:_MAX_FILENAME_BYTES].decode(errors="ignore")


def _mismatch(name: str) -> UnverifiedError:
    return UnverifiedError("ticket_mismatch", f"the ticket does not allow the report's {name}")


def _another_upload(name: str) -> UnverifiedError:
    hint = f"the object's {name} is not the one that its receipt was made for: somebody copied the receipt"
    return UnverifiedError("ticket_mismatch", hint)
