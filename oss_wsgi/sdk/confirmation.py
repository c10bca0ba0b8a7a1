"""A ``confirm`` that sends a HEAD request for the object, by Alibaba Cloud's official SDK."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

from ..bucket import StoredObject
from ..callback.upload import Upload, plain_etag
from ..credentials import CredentialsProvider
from ..exceptions import BucketError, BucketRefusedError, ConfirmationUnavailableError, NotConfirmedError
from ..http import essence
from ..settings import Settings
from .bucket import SDKBucket
from .client import require_sdk

OSS_CALLBACK_TIMEOUT = 5.0


class SDKConfirmation:
    """Callable for ``confirm``: HEADs the object with our own access key, and compares the answer with the report.

    Size, ETag, CRC-64 and type are compared if the report names them. With a ticket the report must name the ETag,
    which distinguishes uploads. Returns True when all agree. Raises NotConfirmedError when one differs, the object does
    not exist, or the report names too little; ConfirmationUnavailableError when OSS cannot be reached within
    ``timeout``, or refuses the request. The key needs ``oss:GetObject`` for the objects.

        DirectUpload(app, settings, confirm=SDKConfirmation(settings), ...)

    Needs ``pip install oss-wsgi[sdk]``; SettingsError without it, and for settings without a bucket.

    :param credentials: provider of the access key, called for each confirmation; without it the settings' own key.
    :param timeout: seconds for the whole confirmation, including the name look-up. OSS waits 5 s for the whole
        callback, and the application's own work needs part of that time.
    :param when_unreachable: ``"refuse"`` or ``"accept"`` a report when OSS does not answer in time, cannot be
        connected to, or answers 5xx; an accepted report has ``Upload.confirmed = False``. If OSS refuses the access
        key, which does not recover by itself, the report is always refused.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: CredentialsProvider | None = None,
        *,
        timeout: float = 3.0,
        when_unreachable: Literal["refuse", "accept"] = "refuse",
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not 0 < timeout < OSS_CALLBACK_TIMEOUT:
            raise ValueError(f"timeout must be more than 0 and less than {OSS_CALLBACK_TIMEOUT} s, not {timeout!r}.")
        if when_unreachable not in ("refuse", "accept"):
            raise ValueError(f"when_unreachable must be 'refuse' or 'accept', not {when_unreachable!r}.")
        require_sdk("SDKConfirmation")
        self._accept = when_unreachable == "accept"
        self._bucket, _ = settings.bucket_and_host()
        self._client = SDKBucket(settings, credentials=credentials, clock=clock, timeout=timeout)
        self._client.connect()  # importing the SDK takes half a second, which would delay a callback

    def __call__(self, upload: Upload) -> bool:
        if upload.bucket not in (None, self._bucket):
            raise NotConfirmedError("not_confirmed", "the report names another bucket")
        if not upload.object or (upload.etag is None and upload.size is None and upload.crc64 is None):
            hint = "the report names no object, or none of etag, size and crc64: the callback's body must have them"
            raise NotConfirmedError("not_confirmed", hint)
        if upload.etag is None and upload.ticket_id is not None:
            hint = "the report names no etag, by which uploads are told apart: add etag to the callback's body"
            raise NotConfirmedError("not_confirmed", hint)
        stored = self._head(upload.object)
        if stored is None:
            raise NotConfirmedError("not_confirmed", "OSS does not hold the object: OSS answered 404 NoSuchKey")
        for name, reported_value, stored_value in _comparisons(upload, stored):
            if reported_value != stored_value:
                hint = f"{name} is {stored_value!r}, and the report says {reported_value!r}"
                raise NotConfirmedError("not_confirmed", hint)
        return True

    def close(self) -> None:
        """Close the open connections."""
        self._client.close()

    def _head(self, key: str) -> StoredObject | None:
        """Return the stored object, or None; ConfirmationUnavailableError if OSS cannot be asked."""
        try:
            return self._client.head(key)
        except BucketRefusedError as error:
            if error.reason == "credentials_unavailable":
                raise ConfirmationUnavailableError("credentials_unavailable", error.hint) from error
            if error.reason == "bucket_failed":
                raise ConfirmationUnavailableError("confirm_failed", error.hint) from error
            raise ConfirmationUnavailableError("confirmation_refused", error.hint) from error
        except BucketError as error:
            raise ConfirmationUnavailableError("oss_unreachable", error.hint, accept=self._accept) from error


def _comparisons(upload: Upload, stored: StoredObject) -> list[tuple[str, Any, Any]]:
    """Return name, reported value and stored value of everything that the report names."""
    comparisons: list[tuple[str, Any, Any]] = []
    if upload.size is not None:
        comparisons.append(("size", upload.size, stored.size))
    if upload.etag is not None:
        comparisons.append(("etag", plain_etag(upload.etag), stored.etag))
    if upload.crc64 is not None:
        comparisons.append(("crc64", str(upload.crc64), str(stored.crc64)))
    if upload.mime_type is not None:
        comparisons.append(("type", essence(upload.mime_type), essence(stored.content_type or "")))
    return comparisons
