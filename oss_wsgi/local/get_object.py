"""GetObject and HeadObject, for anybody: the real OSS wants a signature unless the bucket is public to read.

Anonymous reading is what lets the demonstration page show what it stored; a signature that comes is checked all the
same, and before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import Any, BinaryIO

from .answer import Answer, Headers, header_value
from .errors import OSSError
from .request import Request
from .storage import StoredObject

CHUNK_SIZE = 256 * 1024
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class FileRange:
    """A part of an open file as a WSGI iterable; closes the file."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._file.seek(start)
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        while self._length > 0 and (chunk := self._file.read(min(CHUNK_SIZE, self._length))):
            self._length -= len(chunk)
            yield chunk

    def close(self) -> None:
        self._file.close()


def get_object(request: Request) -> Answer:
    environ = request.environ
    found = request.storage.open(request.key)
    if found is None:
        raise OSSError(404, "NoSuchKey", "The specified key does not exist.", "0026-00000001", Key=request.key)
    stored, file = found
    try:
        answer = _answer(stored, file, environ)
    except OSSError:
        file.close()
        raise
    if not isinstance(answer.body, FileRange):
        file.close()
    return answer


def _answer(stored: StoredObject, file: BinaryIO, environ: Mapping[str, Any]) -> Answer:
    headers: Headers = [
        *stored.checksum_headers,
        ("Last-Modified", formatdate(stored.last_modified, usegmt=True)),
        ("Accept-Ranges", "bytes"),
        ("x-oss-object-type", "Normal"),
        # Of the ACL only GetObjectACL tells.
        *((name, header_value(value)) for name, value in stored.headers.items() if name != "x-oss-object-acl"),
    ]
    if "x-oss-storage-class" not in stored.headers:
        headers.append(("x-oss-storage-class", "Standard"))
    if _is_unmodified(stored, environ):
        return Answer(304, headers)
    headers.append(("Content-Type", header_value(stored.content_type)))
    asked = _range(environ.get("HTTP_RANGE", ""), stored.size)
    start, length = asked or (0, stored.size)
    if asked:
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{stored.size}"))
    headers.append(("Content-Length", str(length)))
    status = 206 if asked else 200
    return Answer(status, headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else FileRange(file, start, length))


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Start and length; None for a header that is no single range, which OSS ignores."""
    match = _RANGE.fullmatch(header.strip())
    if not match or match[0] == "bytes=-" or (match[1] and match[2] and int(match[2]) < int(match[1])):
        return None
    if match[1]:
        start, last = int(match[1]), min(int(match[2] or size), size - 1)
    else:
        start, last = size - min(int(match[2]), size), size - 1
    if start >= size:
        message = "The requested range cannot be satisfied."
        error = OSSError(416, "InvalidRange", message, ActualObjectSize=str(size), RangeRequested=header)
        error.headers = [("Content-Range", f"bytes */{size}")]
        raise error
    return start, last - start + 1


def _is_unmodified(stored: StoredObject, environ: Mapping[str, Any]) -> bool:
    tags = environ.get("HTTP_IF_NONE_MATCH", "")
    if tags:
        return tags.strip() == "*" or stored.etag in (
            tag.strip().removeprefix("W/").strip('"') for tag in tags.split(",")
        )
    try:
        since = parsedate_to_datetime(environ.get("HTTP_IF_MODIFIED_SINCE", "")).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return False
    return int(stored.last_modified) <= since
