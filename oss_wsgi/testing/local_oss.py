"""A local OSS without a socket, the client of its bucket, and the settings for an application that works with it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from local_oss import LocalOSS
from local_oss.errors import OSSError, file_already_exists
from local_oss.object_headers import forbids_overwrite, headers_to_store
from local_oss.operations.multipart import MIN_PART_SIZE
from local_oss.operations.read_objects import FileRange
from local_oss.storage.index import StoredObject as LocalObject
from local_oss.storage.storage import Bucket, Incoming

from ..application import CALLBACK_PATH, DEFAULT_PREFIX
from ..bucket import ListedObject, StoredObject, StoredPart
from ..exceptions import BucketError, BucketRefusedError, NotStoredError
from ..explanations.text import Text
from ..private_file import open_own
from .callbacks import APPLICATION_URL, TICKET_SECRET

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_METADATA = "x-oss-meta-"
_PIECE = 64 * 1024


class InProcessOSS(LocalOSS):
    """A ``LocalOSS`` whose callbacks go to ``application``, whatever URL they name; without an application they fail.

    Its arguments are those of ``LocalOSS``.
    """

    def __init__(self, bucket: str = "examplebucket", region: str = "cn-hangzhou", **options: Any) -> None:
        self.application: WSGIApplication | None = None
        super().__init__(bucket, region, transport=self._deliver, **options)

    def _deliver(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self.application is None:
            start_response("502 Bad Gateway", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        return self.application(environ, start_response)


def environ_for(
    oss: LocalOSS, folder: str | Path, *, url: str = APPLICATION_URL, prefix: str = DEFAULT_PREFIX
) -> dict[str, str]:
    """Return the ``OSS_...`` variables with which an application signs for ``oss`` and trusts its callbacks.

    :param folder: where the file of the public key is written.
    :param url: where the application is served; with an ``InProcessOSS`` any URL will do.
    """
    key_file = Path(folder) / "local-oss-key.pem"
    with open(key_file, "w", encoding="ascii", opener=open_own) as file:
        file.write(oss.public_key_pem)
    return {
        "OSS_BUCKET": oss.bucket,
        "OSS_REGION": oss.region,
        "OSS_HOST": oss.host,
        "OSS_ACCESS_KEY_ID": oss.access_key_id,
        "OSS_ACCESS_KEY_SECRET": oss.access_key_secret,
        "OSS_CALLBACK_URL": f"{url}{quote(prefix)}{CALLBACK_PATH}",
        "OSS_TICKET_SECRET": TICKET_SECRET,
        "OSS_TRUSTED_KEYS": f"{oss.public_key_url}={key_file}",
    }


class InProcessBucket:
    """A ``BucketClient`` that reads a local OSS's storage, without a socket and without the SDK.

    :ivar requests: what was asked, as method and name or prefix, in order.
    """

    def __init__(self, oss: LocalOSS, bucket: str | None = None) -> None:
        self.requests: list[tuple[str, str]] = []
        self._oss = oss
        self._name = bucket or oss.bucket
        self._failures: list[BucketError] = []

    def fail_next(self, error: BucketError, times: int = 1) -> None:
        """Let the next requests raise an error, such as ``BucketUnreachableError("bucket_unreachable", "test")``."""
        self._failures += [error] * times

    def head(self, key: str) -> StoredObject | None:
        """Return what is stored under a name, or None."""
        self._ask("head", key)
        stored = self._bucket.get(key)
        return None if stored is None else _stored(stored)

    def list(self, prefix: str, start_after: str, limit: int) -> Sequence[ListedObject]:
        """Return objects in order."""
        self._ask("list", prefix)
        entries, _ = self._bucket.page(prefix=prefix, after=start_after, limit=limit)
        return [
            ListedObject(entry.key, entry.size, entry.etag, entry.last_modified)
            for entry in entries
            if isinstance(entry, LocalObject)
        ]

    def read(self, key: str, etag: str, start: int) -> Iterator[bytes]:
        """Yield the bytes of an object from ``start`` on; NotStoredError if no object has this name and this ETag."""
        self._ask("read", key)
        with self._opened(key, etag) as (_, content):
            content.seek(start)
            while piece := content.read(_PIECE):
                yield piece

    def begin(self, key: str, headers: Mapping[str, str]) -> str:
        """Begin an upload in parts, and return its ID."""
        self._ask("begin", key)
        lower = {name.lower(): value for name, value in headers.items()}
        content_type = lower.pop("content-type", "application/octet-stream")
        with _as_bucket_errors():
            if forbids_overwrite(lower) and self._bucket.get(key) is not None:
                raise file_already_exists()
            headers_kept = headers_to_store(self._bucket, lower)
            return self._bucket.begin(key, content_type, headers_kept, now=self._oss.options.clock()).id

    def list_parts(self, key: str, upload_id: str) -> Sequence[StoredPart]:
        """Return the stored parts; NotStoredError if there is no such upload."""
        self._ask("list_parts", key)
        with _as_bucket_errors():
            parts, _ = self._bucket.parts(self._bucket.upload(key, upload_id))
        return [StoredPart(part.number, part.size, part.etag, part.crc64) for part in parts]

    def complete(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], headers: Mapping[str, str]
    ) -> StoredObject:
        """Join parts to the object, and return it; NotStoredError if there is no such upload."""
        self._ask("complete", key)
        lower = {name.lower(): value for name, value in headers.items()}
        etags = {number: etag.strip('"').upper() for number, etag in parts}
        with _as_bucket_errors():
            upload = self._bucket.upload(key, upload_id)
            chosen = [part for part in self._bucket.parts(upload)[0] if part.number in etags]
            if [part.etag for part in chosen] != list(etags.values()):
                raise OSSError(400, "InvalidPart", "")
            if any(part.size < MIN_PART_SIZE for part in chosen[:-1]):
                raise OSSError(400, "EntityTooSmall", "")
            acl = {name: value for name, value in lower.items() if name == "x-oss-object-acl"}
            headers_to_store(self._bucket, acl)  # raises OSSError for a public ACL
            upload = replace(upload, headers={**upload.headers, **acl})
            now, forbid = self._oss.options.clock(), forbids_overwrite(lower)
            return _stored(self._bucket.complete(upload, chosen, now=now, forbid_overwrite=forbid))

    def abort(self, key: str, upload_id: str) -> None:
        """Remove an upload and its parts; do nothing if it is missing."""
        self._ask("abort", key)
        with contextlib.suppress(OSSError):
            self._bucket.abort(self._bucket.upload(key, upload_id))

    def put(self, key: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Store an object."""
        self._ask("put", key)
        with _as_bucket_errors(), self._bucket.incoming() as incoming:
            incoming.write(data)
            self._commit(incoming, key, headers)

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        """Store a part, and return its ETag; NotStoredError if there is no such upload."""
        self._ask("put_part", key)
        with _as_bucket_errors(), self._bucket.incoming() as incoming:
            incoming.write(data)
            upload = self._bucket.upload(key, upload_id)
            return incoming.commit_part(upload, number, now=self._oss.options.clock()).etag

    def copy(self, source: str, etag: str, key: str, headers: Mapping[str, str]) -> str:
        """Copy an object, and return its ETag; NotStoredError if no object has the source's name and ETag."""
        self._ask("copy", source)
        with self._opened(source, etag) as (stored, content), _as_bucket_errors(), self._bucket.incoming() as incoming:
            incoming.copy(stored, content)
            return self._commit(incoming, key, headers)

    def copy_part(self, source: str, etag: str, start: int, end: int, key: str, upload_id: str, number: int) -> str:
        """Copy bytes as a part, and return its ETag; NotStoredError if there is no such object, or no such upload."""
        self._ask("copy_part", source)
        with self._opened(source, etag) as (_, content), _as_bucket_errors(), self._bucket.incoming() as incoming:
            incoming.receive(FileRange(content, start, end - start), None)
            upload = self._bucket.upload(key, upload_id)
            return incoming.commit_part(upload, number, now=self._oss.options.clock()).etag

    def delete(self, key: str) -> None:
        """Delete an object; do nothing if it is missing."""
        self._ask("delete", key)
        self._bucket.delete(key)

    def list_folder(self, prefix: str) -> tuple[Sequence[str], Sequence[str]]:
        """Return the folders and the objects directly below a prefix."""
        self._ask("list_folder", prefix)
        entries, _ = self._bucket.page(prefix=prefix, delimiter="/", limit=sys.maxsize)
        keys = [entry.key for entry in entries if isinstance(entry, LocalObject)]
        return [entry.key for entry in entries if not isinstance(entry, LocalObject)], keys

    def _commit(self, incoming: Incoming, key: str, headers: Mapping[str, str]) -> str:
        """Store what has come under a name, and return its ETag."""
        lower = {name.lower(): value for name, value in headers.items()}
        content_type = lower.pop("content-type", "application/octet-stream")
        kept = headers_to_store(self._bucket, lower)
        now, forbid = self._oss.options.clock(), forbids_overwrite(lower)
        return incoming.commit(key, content_type, kept, now=now, forbid_overwrite=forbid).etag

    @contextlib.contextmanager
    def _opened(self, key: str, etag: str) -> Iterator[tuple[LocalObject, BinaryIO]]:
        opened = self._bucket.open(key)
        if opened is None:
            raise NotStoredError("not_stored", "there is no such object")
        with opened[1]:
            if opened[0].etag != etag:
                raise NotStoredError("not_stored", "the object has another ETag")
            yield opened

    @property
    def _bucket(self) -> Bucket:
        return self._oss.storage.bucket(self._name)

    def _ask(self, method: str, name: str) -> None:
        self.requests.append((method, name))
        with contextlib.suppress(IndexError):  # several threads may ask
            raise self._failures.pop(0)


@contextlib.contextmanager
def _as_bucket_errors() -> Iterator[None]:
    """Raise what a client of the bucket raises, in place of the local OSS's own errors."""
    try:
        yield
    except OSSError as error:
        if error.code == "NoSuchUpload":
            raise NotStoredError("not_stored", "there is no such upload") from error
        raise BucketRefusedError("bucket_refused", Text("OSS answered {1}", error.code), code=error.code) from error


def _stored(stored: LocalObject) -> StoredObject:
    metadata = {name[len(_METADATA) :]: value for name, value in stored.headers.items() if name.startswith(_METADATA)}
    return StoredObject(
        stored.key,
        stored.size,
        stored.etag,
        stored.last_modified,
        stored.content_type,
        stored.crc64,
        metadata,
        object_type=stored.type,
    )
