"""The interface of a storage: buckets, and in each bucket objects in the order of their keys.

`oss_wsgi.testing.storage_contract` tests any storage; `oss_wsgi.local` has `directory_storage` and `memory_storage`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Protocol


class Storage(Protocol):
    """All buckets."""

    def create_bucket(self, name: str, /, *, now: float) -> bool:
        """Create a bucket; return False when it exists already."""

    def bucket(self, name: str, /) -> Bucket:
        """Return a bucket.

        :raises OSSError: 404 NoSuchBucket.
        """

    def buckets(self) -> Iterable[Bucket]:
        """Return all buckets in the order of their names."""

    def delete_bucket(self, name: str, /) -> None:
        """Delete an empty bucket.

        :raises OSSError: 404 NoSuchBucket; 409 BucketNotEmpty while it has objects or uploads.
        """

    def spool(self) -> BinaryIO | None:
        """Open a named file for a request's body, which `Incoming.receive` may turn into the content of an object.

        The caller removes a file that became no content. Return None when such a file saves nothing.
        """

    def close(self) -> None: ...


class Bucket(Protocol):
    """One bucket: its settings, its objects, and the uploads in parts that are in progress.

    Times are Unix seconds; keys are text, ordered by their UTF-8 bytes.
    """

    @property
    def name(self) -> str: ...
    @property
    def created(self) -> float: ...
    @property
    def settings(self) -> Mapping[str, str]:
        """The settings of the bucket, such as its ACL and its CORS rules, as text under the operations' own names."""

    def change(self, settings: Mapping[str, str | None], /) -> None:
        """Change these settings and leave the others; None removes a setting."""

    def incoming(self) -> Incoming:
        """Return a writer for new content."""

    def get(self, key: str, /) -> StoredObject | None:
        """Return what is known of an object; None if it does not exist."""

    def open(self, key: str, /) -> tuple[StoredObject, BinaryIO] | None:
        """Return an object and its content, which stays readable when the object is replaced or deleted."""

    def change_headers(self, key: str, headers: Mapping[str, str | None], /) -> bool:
        """Change these headers of an object and leave the others; None removes one. Return False for no object."""

    def delete(self, key: str, /) -> bool:
        """Delete an object; return False when there is none."""

    def page(
        self, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000
    ) -> tuple[list[StoredObject | CommonPrefix], bool]:
        """Return up to `limit` entries after the key `after`, and whether more follow."""

    def newest(self, limit: int, /) -> tuple[list[StoredObject], int]:
        """Return up to `limit` objects, the newest first, and the number of all objects."""

    def begin(
        self, key: str, content_type: str, headers: dict[str, str], *, now: float, sequential: bool = False
    ) -> MultipartUpload:
        """Begin an upload in parts.

        :param sequential: the parts have to come in order and once each, and the object has an MD5 of the whole.
        """

    def upload(self, key: str, upload_id: str, /) -> MultipartUpload:
        """Return an upload in progress.

        :raises OSSError: 404 NoSuchUpload.
        """

    def uploads(
        self, *, prefix: str = "", after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> tuple[list[MultipartUpload], bool]:
        """Return up to `limit` uploads after the key and the id `after`, and whether more follow."""

    def parts(self, upload: MultipartUpload, /, *, after: int = 0, limit: int = 10000) -> tuple[list[Part], bool]:
        """Return up to `limit` parts after the number `after`, and whether more follow."""

    def complete(
        self, upload: MultipartUpload, parts: Sequence[Part], /, *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        """Make one object of these parts and end the upload; other parts are deleted."""

    def abort(self, upload: MultipartUpload, /) -> None:
        """End an upload and delete its parts.

        :raises OSSError: 404 NoSuchUpload.
        """


class Incoming(Protocol):
    """A writer of new content: at the end of its `with` block, content that was not committed is deleted."""

    @property
    def size(self) -> int:
        """The number of bytes written so far."""

    @property
    def md5(self) -> str:
        """The hexadecimal MD5 of the bytes written so far."""

    def write(self, chunk: bytes, /) -> None: ...
    def receive(self, chunks: Iterable[bytes], source: BinaryIO | None, /) -> None:
        """Write the whole content.

        :param chunks: the content, read from `source`.
        :param source: a file from `Storage.spool`, which may become the content itself where that saves a copy.
        """

    def copy(self, stored: StoredObject, content: BinaryIO, /) -> None:
        """Write the whole content of another object, whose checksums are known."""

    def open(self) -> BinaryIO:
        """Open the written bytes for reading."""

    def commit(
        self, key: str, content_type: str, headers: dict[str, str], *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        """Make the content an object in one step; until then the key has its old content.

        :raises OSSError: 409 FileAlreadyExists, when `forbid_overwrite` is set and the key has an object.
        """

    def commit_part(self, upload: MultipartUpload, number: int, *, now: float) -> Part:
        """Make the content a part, which replaces a part of the same number.

        :raises OSSError: 404 NoSuchUpload, when the upload has ended. In a sequential upload 409 PartAlreadyExist for a
            second part of a number, and 400 PartNotSequential for a number that does not follow the last one.
        """

    def __enter__(self) -> Incoming: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


@dataclass(frozen=True)
class StoredObject:
    """An object, without its content.

    :param md5: hexadecimal; "" for an object made of parts, unless they came in order (`sequential`).
    :param last_modified: Unix seconds.
    :param file: the storage's own name for the content.
    """

    key: str
    size: int
    md5: str
    crc64: int
    content_type: str
    last_modified: float
    headers: dict[str, str]
    file: str = ""
    #: "" for an object that is not made of parts.
    multipart_etag: str = ""

    @property
    def etag(self) -> str:
        return self.multipart_etag or self.md5.upper()

    @property
    def type(self) -> str:
        return "Multipart" if self.multipart_etag else "Normal"

    @property
    def content_md5(self) -> str | None:
        return base64.b64encode(bytes.fromhex(self.md5)).decode() if self.md5 else None

    @property
    def checksum_headers(self) -> list[tuple[str, str]]:
        headers = [("ETag", f'"{self.etag}"'), ("x-oss-hash-crc64ecma", str(self.crc64))]
        return [*headers, ("Content-MD5", self.content_md5)] if self.content_md5 else headers


@dataclass(frozen=True)
class CommonPrefix:
    """The one entry in a listing for all keys that share a beginning up to the delimiter."""

    key: str


@dataclass(frozen=True)
class MultipartUpload:
    """An upload in parts that is in progress."""

    id: str
    key: str
    started: float
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    sequential: bool = False


@dataclass(frozen=True)
class Part:
    """A part of an upload, without its content."""

    number: int
    size: int
    md5: str
    crc64: int
    last_modified: float
    file: str = ""

    @property
    def etag(self) -> str:
        return self.md5.upper()

    @property
    def checksum_headers(self) -> list[tuple[str, str]]:
        return [("ETag", f'"{self.etag}"'), ("x-oss-hash-crc64ecma", str(self.crc64))]
