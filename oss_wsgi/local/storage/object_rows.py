"""Objects, uploads and parts as rows of the index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .stored_object import MultipartUpload, Part, StoredObject

OBJECT = "key, size, md5, crc64, content_type, last_modified, headers, file, multipart_etag"
UPLOAD = "id, key, started, content_type, headers"
PART = "number, size, md5, crc64, last_modified, file"


def object_row(stored: StoredObject) -> tuple[Any, ...]:
    headers = json.dumps(stored.headers, ensure_ascii=False)
    # The checksum has 64 bits, the integers of SQLite 63.
    return (
        stored.key.encode(),
        stored.size,
        stored.md5,
        str(stored.crc64),
        stored.content_type,
        stored.last_modified,
        headers,
        stored.file,
        stored.multipart_etag,
    )


def read_object(row: Sequence[Any]) -> StoredObject:
    key, size, md5, crc64, content_type, last_modified, headers, file, etag = row
    return StoredObject(
        key.decode(), size, md5, int(crc64), content_type, last_modified, json.loads(headers), file, etag
    )


def upload_row(upload: MultipartUpload) -> tuple[Any, ...]:
    headers = json.dumps(upload.headers, ensure_ascii=False)
    return upload.id, upload.key.encode(), upload.started, upload.content_type, headers


def read_upload(row: Sequence[Any]) -> MultipartUpload:
    upload_id, key, started, content_type, headers = row
    return MultipartUpload(upload_id, key.decode(), started, content_type, json.loads(headers))


def part_row(part: Part) -> tuple[Any, ...]:
    return part.number, part.size, part.md5, str(part.crc64), part.last_modified, part.file


def read_part(row: Sequence[Any]) -> Part:
    number, size, md5, crc64, last_modified, file = row
    return Part(number, size, md5, int(crc64), last_modified, file)
