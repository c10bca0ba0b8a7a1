"""Upload tickets: what a signature allowed, sealed, so that a callback proves which of our signatures it belongs to."""

from __future__ import annotations

import base64
import binascii
import json
import secrets as random
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..exceptions import UnverifiedError
from ..http import essence
from ..object_names import MAX_KEY_BYTES

if TYPE_CHECKING:
    from .upload import Upload

#: Member of the callback's body that carries the ticket.
TICKET_MEMBER = "ticket"

#: Seconds that an upload may take after its signature has expired: 5 GB, the most a form takes, at 1 Mbit/s.
UPLOAD_SECONDS = 12 * 3600

_DAY = 24 * 3600
_JSON = json.JSONDecoder()
# Key ID and day (8 bytes, the header), nonce (12), what is sealed, tag (16); padded inside to whole groups of three
# bytes, so that Base64 has no bits to spare, and no ticket two texts.
_MIN_BYTES = 8 + 12 + 16
_MAX_TEXT = 6000
_TO_STANDARD = bytes.maketrans(b"-_+/", b"+/..")  # a dot stands for nothing in Base64
_MAX_ETAG = 64  # OSS's have 32, and those of several parts a few more


class Ticket(NamedTuple):
    """What one signature allowed.

    ``id`` is random. The object's name is ``key`` or, where that is None, begins with ``prefix``. Sizes are in bytes;
    ``content_types`` lists the types allowed, empty for any; ``accepted_until`` is in Unix seconds; ``user`` and
    ``data`` are the grant's.
    """

    id: str
    bucket: str
    key: str | None
    prefix: str
    min_size: int
    max_size: int
    content_types: Sequence[str]
    accepted_until: int
    user: str | None
    data: Mapping[str, Any]

    def check(self, upload: Upload) -> None:
        """Raise UnverifiedError unless the ticket allows what was stored: bucket, object, size and type.

        Object and ETag are no longer than OSS has them: a ledger keeps both.
        """
        if upload.bucket != self.bucket:
            raise _mismatch("bucket")
        name = upload.object
        if name is None or (name != self.key if self.key is not None else not name.startswith(self.prefix)):
            raise _mismatch("object")
        if len(name.encode()) > MAX_KEY_BYTES:
            raise _mismatch("object's length")
        if len(upload.etag or "") > _MAX_ETAG:
            raise _mismatch("etag's length")
        if upload.size is None or not self.min_size <= upload.size <= self.max_size:
            raise _mismatch("size")
        if self.content_types and essence(upload.mime_type or "") not in self.content_types:
            raise _mismatch("mimeType")


class TicketBook:
    """Issues tickets and takes them back.

    A ticket is encrypted and authenticated (AES-256-GCM) under a key of its day, derived from the first secret; those
    of the other secrets are still taken, so that a secret is rotated by putting a new one before it. (Fernet takes
    9.5 us to seal one and 12 to open it, a fifth of a signature request of 50 us; AES-GCM of the same library 2.)

    :param secrets: texts of at least 32 characters each.
    :param clock: gives Unix seconds.
    :param upload_seconds: how long after its signature's expiry a ticket is taken, for the upload itself.
    """

    def __init__(
        self, secrets: Sequence[str], *, clock: Callable[[], float], upload_seconds: int = UPLOAD_SECONDS
    ) -> None:
        if isinstance(secrets, str) or not secrets:
            raise ValueError("TicketBook needs a sequence of one secret or more.")
        self._secrets = [_Secret(secret) for secret in secrets]
        self._by_id = {secret.id: secret for secret in reversed(self._secrets)}
        self._clock = clock
        self._upload_seconds = upload_seconds

    def issue(
        self,
        *,
        bucket: str,
        key: str | None,
        prefix: str,
        sizes: tuple[int, int],
        content_types: Sequence[str],
        expires: int,
        user: str | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> str:
        """Seal a new ticket; the text has letters, digits, ``-`` and ``_`` alone.

        ``expires`` is the policy's, in Unix seconds; for the rest see ``Ticket``.
        """
        low, high = sizes
        types = ",".join(map(quoted, content_types))
        plain = (
            f"[{quoted(bucket)},{_or_null(key)},{quoted(prefix)},{low},{high},[{types}],{expires},{_or_null(user)},"
            f"{json.dumps(data) if data else '{}'}]"
        ).encode()
        day = int(self._clock()) // _DAY
        secret = self._secrets[0]
        header = secret.id + day.to_bytes(4, "big")
        # Random nonces are safe for 2**32 messages under one key (NIST SP 800-38D, 8.3): a key of the day makes that
        # 50,000 tickets each second.
        nonce = random.token_bytes(12)
        return _encode(header + nonce + secret.cipher(day).encrypt(nonce, plain + b" " * (-len(plain) % 3), header))

    def open(self, text: object) -> Ticket:
        """Give the ticket that was sealed as ``text``.

        Raises UnverifiedError: ``ticket_missing``, ``ticket_foreign`` (sealed with another secret), ``ticket_altered``,
        ``ticket_expired``.
        """
        if text in (None, ""):
            raise UnverifiedError("ticket_missing", "the report has no ticket: the upload was not asked for here")
        sealed = _decode(text)
        secret = self._by_id.get(sealed[:4])
        if secret is None:
            raise UnverifiedError(
                "ticket_foreign", "the ticket was sealed with another secret: is OSS_TICKET_SECRET the same everywhere?"
            )
        header, nonce = sealed[:8], sealed[8:20]
        try:
            plain = secret.cipher(int.from_bytes(header[4:], "big")).decrypt(nonce, sealed[20:], header)
        except InvalidTag:
            raise _altered() from None
        bucket, key, prefix, low, high, types, expires, user, data = _JSON.raw_decode(plain.decode())[0]
        accepted_until = expires + self._upload_seconds
        if self._clock() > accepted_until:
            raise UnverifiedError("ticket_expired", "the ticket's time is over")
        return Ticket(nonce.hex(), bucket, key, prefix, low, high, types, accepted_until, user, data)


class _Secret:
    """One secret: its ID, and the keys of days made from it."""

    def __init__(self, text: str) -> None:
        derived = HKDF(SHA256(), 36, salt=None, info=b"oss_wsgi upload ticket").derive(text.encode())
        self.id, self._root = derived[:4], derived[4:]
        self._ciphers: dict[int, AESGCM] = {}

    def cipher(self, day: int) -> AESGCM:
        cipher = self._ciphers.get(day)
        if cipher is None:
            key = HKDF(SHA256(), 32, salt=None, info=b"day %d" % day).derive(self._root)
            if len(self._ciphers) > 8:  # days that nobody issued, named by strangers
                self._ciphers.clear()
            cipher = self._ciphers[day] = AESGCM(key)
        return cipher


def _or_null(text: str | None) -> str:
    return "null" if text is None else quoted(text)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode()


def _decode(text: object) -> bytes:
    if isinstance(text, str) and len(text) <= _MAX_TEXT and len(text) % 4 == 0 and text.isascii():
        try:
            raw = binascii.a2b_base64(text.encode().translate(_TO_STANDARD))
        except binascii.Error:
            raise _altered() from None
        # They are fewer where a character is padding, or none of Base64's, for such ones are passed over.
        if len(raw) == len(text) // 4 * 3 >= _MIN_BYTES:
            return raw
    raise _altered()


def _altered() -> UnverifiedError:
    return UnverifiedError("ticket_altered", "the ticket is not as it was issued")


def _mismatch(what: str) -> UnverifiedError:
    return UnverifiedError("ticket_mismatch", f"the report's {what} is not what the ticket allows")
