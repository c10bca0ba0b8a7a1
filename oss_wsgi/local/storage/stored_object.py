"""What a storage knows of an object, of an upload in parts, and of a bucket."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field


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
