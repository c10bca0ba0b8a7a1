"""What a storage knows of objects, and of uploads in parts: their records, without content."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TypeVar


@dataclass(frozen=True)
class StoredObject:
    """An object, without its content.

    :param md5: hexadecimal; "" for an object made of parts, unless they came in order (`sequential`).
    :param last_modified: Unix seconds.
    :param file: the name of the file with the content.
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
    def content_md5(self) -> str:
        return base64.b64encode(bytes.fromhex(self.md5)).decode()

    @property
    def checksum_headers(self) -> list[tuple[str, str]]:
        return [("ETag", f'"{self.etag}"'), ("x-oss-hash-crc64ecma", str(self.crc64))]


Record = TypeVar("Record", StoredObject, MultipartUpload, Part)


def to_text(record: StoredObject | MultipartUpload | Part) -> str:
    """Return a record as JSON."""
    return json.dumps(vars(record), ensure_ascii=False)


def from_text(kind: type[Record], text: str) -> Record:
    """Return the record of a text of `to_text`."""
    return kind(**json.loads(text))
