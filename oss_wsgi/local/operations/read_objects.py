"""GetObject, HeadObject and GetObjectMeta, for anybody: the real OSS wants a signature unless the bucket is public.

Anonymous reading is what lets the demonstration page show what it stored; a signature that comes is checked all the
same, and before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import formatdate, parsedate_to_datetime
from typing import BinaryIO

from ..errors import Answer, Headers, OSSError, access_denied, header_value, invalid_argument, is_header_value
from ..request import Request
from ..storage.interface import StoredObject

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def asked_range(header: str, size: int, *, standard: bool = False) -> tuple[int, int] | None:
    """Start and length; None for the whole.

    OSS answers the whole to a header that is no single range, and to a range that does not lie in the object, unless
    `standard`: then one that begins behind its end is 416, and one that goes on beyond it ends there, as in HTTP.
    """
    match = _RANGE.fullmatch(header.strip())
    if not match or match[0] == "bytes=-" or (match[1] and match[2] and int(match[2]) < int(match[1])):
        return None
    if match[1]:
        start, last = int(match[1]), int(match[2] or max(size - 1, int(match[1])))
    else:
        start, last = size - int(match[2]), size - 1
    if 0 <= start <= last < size:
        return start, last - start + 1
    if not standard:
        return None
    start, last = max(start, 0), min(last, size - 1)
    if start > last:
        message = "The requested range cannot be satisfied."
        error = OSSError(416, "InvalidRange", message, ActualObjectSize=str(size), RangeRequested=header)
        error.headers = [("Content-Range", f"bytes */{size}")]
        raise error
    return start, last - start + 1


def is_unmodified(stored: StoredObject, headers: Mapping[str, str], prefix: str = "") -> bool:
    """True for a 304; OSSError 412 when a condition fails that wants the object as it was.

    :param prefix: of the headers' names: a copy has conditions on its source.
    """
    tags, moment = headers.get(f"{prefix}if-match", ""), _time(headers.get(f"{prefix}if-unmodified-since", ""))
    if tags and not _matches(stored, tags):
        raise _failed("If-Match")
    if moment is not None and int(stored.last_modified) > moment:
        raise _failed("If-Unmodified-Since")
    tags = headers.get(f"{prefix}if-none-match", "")
    if tags:
        return _matches(stored, tags)
    moment = _time(headers.get(f"{prefix}if-modified-since", ""))
    return moment is not None and int(stored.last_modified) <= moment


def _matches(stored: StoredObject, tags: str) -> bool:
    return tags.strip() == "*" or stored.etag in (
        tag.strip().removeprefix("W/").strip('"').upper() for tag in tags.split(",")
    )


def _time(header: str) -> float | None:
    """None for what is no date, which OSS ignores."""
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _failed(condition: str) -> OSSError:
    message = "At least one of the pre-conditions you specified did not hold."
    return OSSError(412, "PreconditionFailed", message, Condition=condition)


CHUNK_SIZE = 256 * 1024

#: kept with the object, and no header of its answers
HIDDEN = ("x-oss-object-acl",)

OVERRIDABLE = (
    "Content-Type",
    "Content-Language",
    "Expires",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
)


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
    overrides = _overrides(request)
    stored, file = _open(request)
    try:
        answer = _answer(stored, file, request, overrides)
    except OSSError:
        file.close()
        raise
    if not isinstance(answer.body, FileRange):
        file.close()
    return answer


def get_object_meta(request: Request) -> Answer:
    """Size, time and checksums only; a GET has no body, and so another length."""
    stored, file = _open(request)
    file.close()
    modified = formatdate(stored.last_modified, usegmt=True)
    headers: Headers = [*stored.checksum_headers, ("Last-Modified", modified)]
    if request.method == "HEAD":
        headers.append(("Content-Length", str(stored.size)))
    # The type is what WSGI wants of an answer with a length.
    return Answer(200, [*headers, ("Content-Type", header_value(stored.content_type))])


def no_such_key(key: str) -> OSSError:
    return OSSError(404, "NoSuchKey", "The specified key does not exist.", "0026-00000001", Key=key)


def _open(request: Request) -> tuple[StoredObject, BinaryIO]:
    found = request.storage.open(request.key)
    if found is None:
        raise no_such_key(request.key)
    return found


def _overrides(request: Request) -> dict[str, str]:
    """What a signed request may have in place of the headers that were stored."""
    asked = {name: request.query[f"response-{name.lower()}"] for name in OVERRIDABLE if _names(request, name)}
    if asked and not request.signed:
        raise access_denied("A request without a signature cannot choose the headers of its answer.")
    for name, value in asked.items():
        if not is_header_value(value):
            raise invalid_argument(f"The response-{name.lower()} is not a valid header value.", name=name, value=value)
    return asked


def _names(request: Request, name: str) -> bool:
    return f"response-{name.lower()}" in request.query


def _answer(stored: StoredObject, file: BinaryIO, request: Request, overrides: dict[str, str]) -> Answer:
    described = {"x-oss-storage-class": "Standard", "Content-Type": stored.content_type, **stored.headers, **overrides}
    headers: Headers = [
        *stored.checksum_headers,
        ("Last-Modified", formatdate(stored.last_modified, usegmt=True)),
        ("Accept-Ranges", "bytes"),
        ("x-oss-object-type", stored.type),
    ]
    unmodified = is_unmodified(stored, request.headers)
    left_out = (*HIDDEN, "Content-Type") if unmodified else HIDDEN
    headers += [(name, header_value(value)) for name, value in described.items() if name not in left_out]
    if unmodified:
        return Answer(304, headers)
    standard = request.headers.get("x-oss-range-behavior", "") == "standard"
    asked = asked_range(request.headers.get("range", ""), stored.size, standard=standard)
    start, length = asked or (0, stored.size)
    if asked:
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{stored.size}"))
    headers.append(("Content-Length", str(length)))
    status = 206 if asked else 200
    return Answer(status, headers, b"" if request.method == "HEAD" else FileRange(file, start, length))
