"""A bucket's client on Alibaba Cloud's official SDK, with a time limit for each call and errors that name the fix."""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from ..bucket import ListedObject, StoredObject, StoredPart
from ..callback.upload import plain_etag
from ..credentials import CredentialsProvider
from ..exceptions import BucketRefusedError, BucketUnreachableError, NotStoredError
from ..explanations.text import Text
from ..settings import Settings
from .client import SDKBrokenError, SDKCallError, SDKClient

T = TypeVar("T")

#: Seconds for listing, which takes OSS longer than a HEAD; and the factor for joining up to 10,000 parts, and for
#: copying, which take longer still.
LONG_TIMEOUT = 30.0
_COMPLETE_TIMES = 4
#: Bytes of an object that are read at a time, each time within LONG_TIMEOUT.
_PIECE = 256 * 1024


class SDKBucket:
    """A ``BucketClient`` on ``alibabacloud-oss-v2``, for the bucket of the settings.

        DirectUpload(app, settings, bucket_client=SDKBucket(settings, credentials=provider, clock=time.time))

    The SDK is imported at the first call. The SDK's retries are off: the caller decides whether to ask again.

    Needs ``pip install oss-wsgi[sdk]``; SettingsError without it, and for settings without a bucket or a key.

    :param credentials: provider of the access key, called for each request; without it the settings' own key.
    :param clock: returns Unix seconds: an access key that has expired by this clock is not used.
    :param timeout: seconds for a whole call, including the name look-up; listing and storing may take 30, completing
        and copying 120, and reading 30 for each 256 KiB.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        credentials: CredentialsProvider | None = None,
        clock: Callable[[], float],
        timeout: float = 3.0,
    ) -> None:
        if timeout <= 0:
            raise ValueError(f"timeout must be more than 0 s, not {timeout!r}.")
        self._oss = SDKClient(settings, credentials=credentials, clock=clock, timeout=timeout, who="SDKBucket")
        self._timeout = timeout

    def head(self, key: str) -> StoredObject | None:
        """Return what is stored under a name, or None, as ``BucketClient.head`` describes."""

        def head() -> StoredObject:
            result = self._oss.send("head_object", "HeadObjectRequest", key=key)
            return StoredObject(
                key,
                result.content_length or 0,
                plain_etag(result.etag or ""),
                result.last_modified.timestamp() if result.last_modified else 0.0,
                result.content_type,
                int(result.hash_crc64) if result.hash_crc64 else None,
                {name.lower(): value for name, value in (result.metadata or {}).items()},
                result.headers.get("x-oss-request-id"),
                result.object_type,
            )

        try:
            return self._call(head, "HEAD of the object", "oss:GetObject", self._timeout)
        except NotStoredError:
            return None

    def list(self, prefix: str, start_after: str, limit: int) -> Sequence[ListedObject]:
        """Return objects in order, as ``BucketClient.list`` describes."""

        def page() -> Sequence[ListedObject]:
            result = self._oss.send(
                "list_objects_v2",
                "ListObjectsV2Request",
                prefix=prefix,
                start_after=start_after or None,
                max_keys=limit,
                encoding_type="url",
            )
            return [
                ListedObject(
                    entry.key,
                    entry.size or 0,
                    plain_etag(entry.etag or ""),
                    entry.last_modified.timestamp() if entry.last_modified else 0.0,
                )
                for entry in result.contents or ()
            ]

        return self._call(page, "listing the bucket", "oss:ListObjects", LONG_TIMEOUT)

    def read(self, key: str, etag: str, start: int) -> Iterator[bytes]:
        """Yield the bytes of an object from ``start`` on, as ``BucketClient.read`` describes."""

        def pieces() -> Generator[bytes]:
            result = self._oss.send(
                "get_object",
                "GetObjectRequest",
                key=key,
                if_match=f'"{etag}"',
                range_header=f"bytes={start}-" if start else None,
                range_behavior="standard" if start else None,
                # The HTTP client would decompress an object that is stored with a Content-Encoding.
                response_content_encoding="identity",
            )
            with result.body as body:
                if start and not (result.content_range or "").startswith(f"bytes {start}-"):
                    raise OSError(errno.EIO, "the answer begins at another byte")
                yield from body.iter_bytes(block_size=_PIECE)

        # After a time limit a thread still reads; the response is closed when that thread lets go of it.
        reading = pieces()
        while piece := self._call(partial(next, reading, b""), "reading the object", "oss:GetObject", LONG_TIMEOUT):
            yield piece

    def begin(self, key: str, headers: Mapping[str, str]) -> str:
        """Begin an upload in parts, and return its ID, as ``BucketClient.begin`` describes."""

        def begin() -> str:
            result = self._oss.send(
                "initiate_multipart_upload",
                "InitiateMultipartUploadRequest",
                key=key,
                headers=dict(headers),
                disable_auto_detect_mime_type=True,
            )
            return str(result.upload_id)

        return self._call(begin, "beginning an upload in parts", "oss:PutObject", self._timeout)

    def list_parts(self, key: str, upload_id: str) -> Sequence[StoredPart]:
        """Return the stored parts, as ``BucketClient.list_parts`` describes."""

        def parts() -> Sequence[StoredPart]:
            stored: list[StoredPart] = []
            while True:
                marker = stored[-1].number if stored else None
                result = self._oss.send(
                    "list_parts",
                    "ListPartsRequest",
                    key=key,
                    upload_id=upload_id,
                    max_parts=1000,
                    part_number_marker=marker,
                )
                for part in result.parts or ():
                    crc64 = int(part.hash_crc64) if part.hash_crc64 else None
                    stored.append(StoredPart(part.part_number, part.size, part.etag, crc64))
                if not (result.is_truncated and result.parts):
                    return stored

        return self._call(parts, "listing the parts of an upload", "oss:ListParts", LONG_TIMEOUT)

    def complete(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], headers: Mapping[str, str]
    ) -> StoredObject:
        """Join parts to the object, and return it, as ``BucketClient.complete`` describes."""

        def complete() -> str | None:
            sdk = self._oss.sdk
            result = self._oss.send(
                "complete_multipart_upload",
                "CompleteMultipartUploadRequest",
                key=key,
                upload_id=upload_id,
                complete_multipart_upload=sdk.CompleteMultipartUpload(
                    parts=[sdk.UploadPart(part_number=number, etag=etag) for number, etag in parts]
                ),
                headers=dict(headers),
            )
            identifier: str | None = result.headers.get("x-oss-request-id")
            return identifier

        limit = _COMPLETE_TIMES * LONG_TIMEOUT
        request_id = self._call(complete, "completing an upload in parts", "oss:PutObject", limit)
        stored = self.head(key)
        if stored is None:
            raise NotStoredError("not_stored", "OSS completed the upload, but holds no object now: was it deleted?")
        return stored._replace(request_id=request_id)

    def abort(self, key: str, upload_id: str) -> None:
        """Remove an upload and its parts, as ``BucketClient.abort`` describes."""

        def abort() -> None:
            self._oss.send("abort_multipart_upload", "AbortMultipartUploadRequest", key=key, upload_id=upload_id)

        try:
            self._call(abort, "aborting an upload in parts", "oss:AbortMultipartUpload", self._timeout)
        except NotStoredError:
            return

    def put(self, key: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Store an object, as ``BucketClient.put`` describes."""

        def put() -> None:
            self._oss.send("put_object", "PutObjectRequest", key=key, body=data, headers=dict(headers))

        self._call(put, "storing an object", "oss:PutObject", LONG_TIMEOUT)

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """Store a part, and return its ETag, as ``BucketClient.put_part`` describes."""

        def put() -> str:
            result = self._oss.send(
                "upload_part", "UploadPartRequest", key=key, upload_id=upload_id, part_number=number, body=data
            )
            return str(result.etag)

        return self._call(put, "storing a part", "oss:PutObject", LONG_TIMEOUT)

    def copy(self, source: str, etag: str, key: str, headers: Mapping[str, str]) -> str:
        """Copy an object, and return the copy's ETag, as ``BucketClient.copy`` describes."""

        def copy() -> str:
            result = self._oss.send(
                "copy_object",
                "CopyObjectRequest",
                key=key,
                source_key=source,
                if_match=f'"{etag}"',
                metadata_directive="REPLACE",
                headers=dict(headers),
            )
            return plain_etag(result.etag or "")

        limit = _COMPLETE_TIMES * LONG_TIMEOUT
        return self._call(copy, "copying an object", "oss:GetObject and oss:PutObject", limit)

    def copy_part(self, source: str, etag: str, start: int, end: int, key: str, upload_id: str, number: int) -> str:
        """Copy bytes as a part, and return its ETag, as ``BucketClient.copy_part`` describes."""

        def copy() -> str:
            result = self._oss.send(
                "upload_part_copy",
                "UploadPartCopyRequest",
                key=key,
                upload_id=upload_id,
                part_number=number,
                source_key=source,
                source_range=f"bytes={start}-{end - 1}",
                if_match=f'"{etag}"',
            )
            return str(result.etag)

        limit = _COMPLETE_TIMES * LONG_TIMEOUT
        return self._call(copy, "copying a part", "oss:GetObject and oss:PutObject", limit)

    def delete(self, key: str) -> None:
        """Delete an object, as ``BucketClient.delete`` describes."""

        def delete() -> None:
            self._oss.send("delete_object", "DeleteObjectRequest", key=key)

        self._call(delete, "deleting an object", "oss:DeleteObject", self._timeout)

    def list_folder(self, prefix: str) -> tuple[Sequence[str], Sequence[str]]:
        """Return folders and objects, as ``BucketClient.list_folder`` describes."""
        folders: list[str] = []
        keys: list[str] = []

        def page(token: str | None) -> str | None:
            result = self._oss.send(
                "list_objects_v2",
                "ListObjectsV2Request",
                prefix=prefix,
                delimiter="/",
                continuation_token=token,
                max_keys=1000,
                encoding_type="url",
            )
            folders.extend(entry.prefix for entry in result.common_prefixes or ())
            keys.extend(entry.key for entry in result.contents or ())
            return result.next_continuation_token if result.is_truncated else None

        token: str | None = None
        while True:
            token = self._call(partial(page, token), "listing the bucket", "oss:ListObjects", LONG_TIMEOUT)
            if token is None:
                return folders, keys

    def close(self) -> None:
        """Close the open connections; the next call opens new ones."""
        self._oss.close()

    def connect(self) -> None:
        """Import the SDK and make its client, as the first call would do; this sends nothing.

        Raises BucketRefusedError if the SDK cannot be imported.
        """
        try:
            self._oss.connect()
        except SDKBrokenError as error:
            raise BucketRefusedError("bucket_failed", error.hint) from error

    def _call(self, function: Callable[[], T], action: str, right: str, timeout: float) -> T:
        """Return the result of calls of the SDK that end within ``timeout``, or raise a BucketError."""
        self.connect()
        try:
            return self._oss.within(timeout, function)
        except SDKCallError as error:
            raise _bucket_error(error, action, right, timeout) from error


def _bucket_error(
    error: SDKCallError, action: str, right: str, timeout: float
) -> BucketUnreachableError | BucketRefusedError | NotStoredError:
    """Return the error that callers of a ``BucketClient`` know."""
    if error.kind == "late":
        return BucketUnreachableError(
            "bucket_unreachable", Text("{1}: OSS did not answer within {2} s", action, f"{timeout:g}")
        )
    if error.kind == "network":
        return BucketUnreachableError("bucket_unreachable", Text("{1}: OSS could not be reached: {2}", action, error))
    if error.kind == "credentials":
        return BucketRefusedError("credentials_unavailable", str(error), right=right)
    if error.kind == "failed":
        return BucketRefusedError("bucket_failed", Text("{1}: {2}", action, error), right=right)
    hint = Text("OSS answered {1} {2} ({3})", error.status, error.code, error.ec or "no EC")
    if error.status == 412 or (error.status == 404 and error.code != "NoSuchBucket"):
        return NotStoredError("not_stored", Text("OSS does not hold the object: {1}", hint))
    if error.status >= 500:
        return BucketUnreachableError("bucket_unreachable", Text("{1}: {2}", action, hint))
    check: str = "check the access key, bucket and region"
    if error.status == 403:
        check = Text("check the access key, bucket and region, and that it has {1}", right)
    return BucketRefusedError(
        "bucket_refused", Text("{1}: {2}: {3}", action, hint, check), code=error.code, right=right
    )
