"""What a storage is asked to do: buckets, and in each of them objects in the order of their keys.

`oss_wsgi.testing.storage_contract` is what every storage must keep; `oss_wsgi.local` has `directory_storage` and
`memory_storage`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class StoredObject:
    """:param md5: hexadecimal; "" for what was uploaded in parts, whose `multipart_etag` stands for it.

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
    """What stands in a listing for all keys that go on after a delimiter."""

    key: str


@dataclass(frozen=True)
class MultipartUpload:
    """An upload in parts, begun and not yet completed."""

    id: str
    key: str
    started: float
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
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


__all__ = ["Bucket", "Incoming", "Storage", "StoredObject"]


class Incoming(Protocol):
    """Content under way: used in a `with` block, it vanishes at its end unless a commit made it an object or a part."""

    @property
    def size(self) -> int: ...
    @property
    def md5(self) -> str:
        """Hexadecimal, of what was written so far."""

    def write(self, chunk: bytes, /) -> None: ...
    def receive(self, chunks: Iterable[bytes], source: BinaryIO | None, /) -> None:
        """Takes `chunks` for the whole content.

        :param source: the file that they are read from, from its start on; it may become the content where that saves
            a copy.
        """

    def copy(self, stored: StoredObject, content: BinaryIO, /) -> None:
        """The whole content of another object, whose checksums are known."""

    def open(self) -> BinaryIO:
        """To read what was written."""

    def commit(
        self, key: str, content_type: str, headers: dict[str, str], *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        """Makes an object in one step; before, the key has its old content. OSSError 409 when told not to overwrite."""

    def commit_part(self, upload: MultipartUpload, number: int, *, now: float) -> Part:
        """Replaces a part of the same number; OSSError 404 when the upload has ended."""

    def __enter__(self) -> Incoming: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


class Bucket(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def created(self) -> float: ...
    @property
    def settings(self) -> Mapping[str, str]:
        """What the operations on buckets keep here: an ACL, CORS rules, as text under names of their own."""

    def change(self, settings: Mapping[str, str | None], /) -> None:
        """Changes these settings and leaves the others; None removes one."""

    def incoming(self) -> Incoming: ...
    def get(self, key: str, /) -> StoredObject | None: ...
    def open(self, key: str, /) -> tuple[StoredObject, BinaryIO] | None:
        """The object and its content, which stays readable when it is replaced or deleted meanwhile."""

    def change_headers(self, key: str, headers: Mapping[str, str | None], /) -> bool:
        """Changes these headers of an object as `change` does settings; False when there is none."""

    def delete(self, key: str, /) -> bool:
        """False when there was none."""

    def page(
        self, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000
    ) -> tuple[list[StoredObject | CommonPrefix], bool]:
        """Up to `limit` entries behind `after` in the order of their UTF-8, and whether more follow."""

    def newest(self, limit: int, /) -> tuple[list[StoredObject], int]:
        """Up to `limit` objects, the newest first, and how many there are."""

    def begin(self, key: str, content_type: str, headers: dict[str, str], *, now: float) -> MultipartUpload: ...
    def upload(self, key: str, upload_id: str, /) -> MultipartUpload:
        """OSSError 404 NoSuchUpload."""

    def uploads(
        self, *, prefix: str = "", after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> tuple[list[MultipartUpload], bool]:
        """Up to `limit` uploads behind the key and id `after`, and whether more follow."""

    def parts(self, upload: MultipartUpload, /, *, after: int = 0, limit: int = 10000) -> tuple[list[Part], bool]: ...
    def complete(
        self, upload: MultipartUpload, parts: Sequence[Part], /, *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        """Makes one object of these parts and ends the upload; the others go."""

    def abort(self, upload: MultipartUpload, /) -> None: ...


class Storage(Protocol):
    def create_bucket(self, name: str, /, *, now: float) -> bool:
        """False when it was there already."""

    def bucket(self, name: str, /) -> Bucket:
        """OSSError 404 NoSuchBucket."""

    def buckets(self) -> Iterable[Bucket]:
        """In the order of their names."""

    def delete_bucket(self, name: str, /) -> None:
        """OSSError 404 NoSuchBucket, or 409 BucketNotEmpty for one with objects or uploads."""

    def spool(self) -> BinaryIO | None:
        """A file that an `Incoming` may take; who opened it removes it if none did. None where that saves nothing."""

    def close(self) -> None: ...
