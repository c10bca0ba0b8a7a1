"""Signed IDs: sealed proofs of handled uploads, which a form carries back to the application."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from json.encoder import encode_basestring
from os import urandom

from ..exceptions import SignedIDError, UnverifiedError
from .sealing import DAY, NONCE_BYTES, Sealer, Secrets
from .upload import Upload

#: The environ key under which an application finds ``DirectUpload.find_upload``.
FIND_KEY = "oss_wsgi.find_upload"

#: The member of a page's JSON that holds the signed ID.
SIGNED_ID_MEMBER = "signed_id"

#: The most characters of a signed ID; a usual one has 320.
MAX_SIGNED_ID = 4000

#: Seconds for which a signed ID is valid, unless the application says otherwise.
MAX_AGE = DAY

_LABEL = b"oss_wsgi signed id"
_WELL_FORMED = re.compile(rf"[A-Za-z0-9_-]{{48,{MAX_SIGNED_ID}}}")
_HINTS = {
    "ticket_foreign": "the signed ID was sealed with another secret, or is another sealed text, such as a ticket: set "
    "the same OSS_TICKET_SECRET everywhere",
    "ticket_altered": "the signed ID was changed or cut on its way, or is not a signed ID",
}

log = logging.getLogger(__name__)


class SignedIDBook:
    """Seals signed IDs and opens them.

    A signed ID says which upload was handled: bucket, object, ETag, size, type, file name, user, data, the ticket's ID,
    and when the ID was made. It is sealed under its own label, so it opens as no ticket and no receipt, and neither of
    them opens as a signed ID. It needs no ledger, and may be used more than once.

    :param secrets: the ticket secrets.
    :param bucket: the bucket whose uploads have signed IDs; those of other buckets are refused.
    :param clock: returns Unix seconds.
    """

    def __init__(self, secrets: Secrets, bucket: str, *, clock: Callable[[], float]) -> None:
        self._sealer = Sealer(secrets, clock=clock, label=_LABEL, max_text=MAX_SIGNED_ID)
        self._bucket = bucket
        self._clock = clock

    def signed(self, upload: Upload) -> Upload:
        """Return a copy of a verified upload with a new signed ID.

        A test upload gets none, and neither does one whose names and texts are so long that the ID would have more than
        4,000 characters; the log says so.
        """
        if upload.is_trial:
            return upload
        signed_id = self._seal(upload)
        if len(signed_id) > MAX_SIGNED_ID:
            line = "no signed ID for %r: it would have %d characters and may have %d; shorten the grant's data and user"
            log.warning(line, upload.object, len(signed_id), MAX_SIGNED_ID)
            return upload
        return upload.with_signed_id(signed_id)

    def open(self, signed_id: object, *, max_age: float = MAX_AGE) -> Upload:
        """Return the upload of a signed ID, with any user; ``find_upload`` also compares the user.

        Raises SignedIDError: ``signed_id_malformed``, ``signed_id_altered`` or ``signed_id_expired``.
        """
        if not isinstance(signed_id, str) or not _WELL_FORMED.fullmatch(signed_id):
            raise SignedIDError("signed_id_malformed", "the text is not a signed ID: it is missing, or of another form")
        try:
            plain = self._sealer.open(signed_id).plain
        except UnverifiedError as error:
            raise SignedIDError("signed_id_altered", _HINTS[error.reason]) from None
        members = json.loads(plain.decode("utf-8", "surrogatepass"))
        bucket, name, etag, size, mime_type, filename, user, data, ticket_id, made_at = members
        if bucket != self._bucket:  # two buckets may share the secrets
            raise SignedIDError("signed_id_altered", "the signed ID is of an upload to another bucket")
        if self._clock() - made_at > max_age:
            raise SignedIDError("signed_id_expired", f"the signed ID is older than {max_age:.0f} s")
        return Upload(
            bucket=bucket,
            object=name,
            etag=etag,
            size=size,
            mime_type=mime_type,
            filename=filename,
            user=user,
            data=data,
            ticket_id=ticket_id,
            signed_id=signed_id,
        )

    def find_upload(self, signed_id: object, *, user: str | None, max_age: float = MAX_AGE) -> Upload:
        """Return the upload of a signed ID if it is this user's; see ``DirectUpload.find_upload``."""
        if not isinstance(user, str | None):
            raise TypeError(f"user must be the text that was the Grant's user, or None, not {type(user).__name__}.")
        try:
            upload = self.open(signed_id, max_age=max_age)
            if upload.user != user:
                hint = "the upload belongs to another user than the one whose request has the signed ID"
                raise SignedIDError("signed_id_other_user", hint)
        except SignedIDError as error:  # anybody can send any text, so INFO
            line = "a signed ID was refused: reason=%s hint=%r"
            log.info(line, error.reason, error.hint, extra={"reason": error.reason})
            raise
        return upload

    def _seal(self, upload: Upload) -> str:
        size = "null" if upload.size is None else upload.size
        # Non-ASCII names take half of what they would take as escapes.
        text = (
            f"[{_text(upload.bucket)},{_text(upload.object)},{_text(upload.etag)},{size},{_text(upload.mime_type)},"
            f"{_text(upload.filename)},{_text(upload.user)},{json.dumps(upload.data) if upload.data else '{}'},"
            f"{_text(upload.ticket_id)},{int(self._clock())}]"
        )
        return self._sealer.seal(urandom(NONCE_BYTES), text.encode("utf-8", "surrogatepass"))


def _text(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)
