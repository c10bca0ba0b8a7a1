"""GetObject, HeadObject and GetObjectMeta, with their conditions and ranges.

A request without a signature may read an object if its ACL, or else the bucket's ACL, lets everybody read.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from email.utils import formatdate
from typing import BinaryIO

from ..bodies import chunks
from ..environ import default_domain, http_time
from ..errors import (
    Headers,
    OSSError,
    Response,
    access_denied,
    denied_by_bucket_acl,
    header_value,
    invalid_argument,
    is_header_value,
    not_installed,
)
from ..object_headers import PUBLIC_ACLS
from ..request import Request
from ..storage.index import StoredObject

OBJECT_ACL = "x-oss-object-acl"
#: Stored with an object, but not sent as a header.
HIDDEN = (OBJECT_ACL,)

#: The parameter that asks for a thumbnail and the like.
PROCESS = "x-oss-process"

_VARY = ("Vary", "Accept-Encoding")

OVERRIDABLE = (
    "Content-Type",
    "Content-Language",
    "Expires",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
)

#: GetObject compresses texts of these types, from this size on, for clients that accept gzip (GetObject's page).
COMPRESSED_TYPES = frozenset(
    """
    text/cache-manifest text/xml text/plain text/css text/html application/javascript application/x-javascript
    application/rss+xml application/json text/json
    """.split()  # noqa: SIM905
)
MIN_COMPRESSED_SIZE = 1024

#: Programs for phones: their types, and how their names end. OSS's default domains do not serve them to everybody.
PACKAGE_TYPES = ("application/vnd.android.package-archive", "application/iphone")
PACKAGE_NAMES = (".apk", ".ipa")
#: Browsers download this type from a default domain; from the owner's own domain they show it.
DOWNLOADED_TYPE = "text/html"

_REFUSED = re.compile(r"q=0(\.0*)?")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def get_object(request: Request) -> Response:
    overrides = _overrides(request)
    stored, file = _open(request)
    with ExitStack() as stack:
        stack.enter_context(file)
        try:
            _check_domain(request, stored)
            if request.query.get(PROCESS):
                response = _processed(stored, file, request.query[PROCESS], overrides)
            else:
                response = _object_response(stored, file, request, overrides)
        except OSSError as error:  # the error has the headers of the object that was found
            error.headers[:0] = _identity_headers(stored)
            raise
        if isinstance(response.body, FileRange):
            stack.pop_all()
    return response


def get_object_meta(request: Request) -> Response:
    """Answer with size, time and checksums only."""
    stored, file = _open(request)
    file.close()
    modified = formatdate(stored.last_modified, usegmt=True)
    headers: Headers = [("ETag", f'"{stored.etag}"'), ("Last-Modified", modified), stored.crc64_header]
    # A GET has no body here, so the object's size would be a wrong Content-Length.
    if request.method == "HEAD":
        headers.append(("Content-Length", str(stored.size)))
    return Response(200, headers)


class FileRange:
    """A part of an open file as a WSGI iterable, which closes the file."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._file.seek(start)
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        return chunks(self._file, self._length)

    def close(self) -> None:
        self._file.close()


class Gzipped(FileRange):
    """A file as gzip, compressed while it is sent."""

    def __iter__(self) -> Iterator[bytes]:
        compressor = zlib.compressobj(wbits=31)
        for chunk in super().__iter__():
            yield compressor.compress(chunk)
        yield compressor.flush()


def no_such_key(key: str) -> OSSError:
    return OSSError(404, "NoSuchKey", "The specified key does not exist.", "0026-00000001", Key=key)


def is_unmodified(stored: StoredObject, headers: Mapping[str, str], prefix: str = "") -> bool:
    """Return whether the response is 304, because the client has this object already.

    :param prefix: the prefix of the headers' names: a copy has conditions on its source.
    :raises OSSError: 412, when If-Match or If-Unmodified-Since does not hold.
    """
    # OSS ignores an invalid date.
    etags, time = headers.get(f"{prefix}if-match", ""), http_time(headers.get(f"{prefix}if-unmodified-since", ""))
    ec = "" if prefix else "0017-00001001"
    if etags and not _matches(stored, etags):
        raise _precondition_failed("If-Match", ec)
    if time is not None and int(stored.last_modified) > time:
        raise _precondition_failed("If-Unmodified-Since", ec)
    etags = headers.get(f"{prefix}if-none-match", "")
    if etags:
        return _matches(stored, etags)
    time = http_time(headers.get(f"{prefix}if-modified-since", ""))
    return time is not None and int(stored.last_modified) <= time


def requested_range(header: str, size: int, *, standard: bool = False) -> tuple[int, int] | None:
    """Return the start and the length of the requested range; None for the whole object.

    OSS returns the whole object for a header that is no single range, and for a range that is not inside the object.
    It ignores a text after a comma that is not a range.

    :param standard: follow HTTP for a range that is not inside the object: cut a range that ends after the object.
    :raises OSSError: 416, when `standard` is set and the range begins after the object.
    """
    first, *others = header.strip().split(",")
    match = None if any(_RANGE.fullmatch(f"bytes={other.strip()}") for other in others) else _RANGE.fullmatch(first)
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


def _open(request: Request) -> tuple[StoredObject, BinaryIO]:
    """Return an object and its content.

    :raises OSSError: the object is missing, or the request may not read it; then the error hides whether it exists.
    """
    opened = request.storage.open(request.key)
    try:
        _check_readable(request, opened[0] if opened else None)
    except OSSError:
        if opened:
            opened[1].close()
        raise
    if opened is None:
        raise no_such_key(request.key)
    return opened


def _check_readable(request: Request, stored: StoredObject | None) -> None:
    acl = stored.headers.get(OBJECT_ACL) if stored else None
    # Block Public Access does not change the ACLs, but they have no effect.
    is_public = (acl or request.storage.acl) in PUBLIC_ACLS and not request.storage.blocks_public_access
    if request.signed or is_public:
        return
    if stored is None and not request.names_bucket:  # it may mean a missing bucket, which is 404 too
        return
    if acl:
        raise access_denied("You do not have read permission on this object.", "0003-00000005")
    raise denied_by_bucket_acl()


def _browsed_domain(request: Request) -> str:
    """Return the default domain at which a browser asks, without a signature or by a signed URL; else ""."""
    return "" if request.headers.get("authorization") else default_domain(request.environ)


def _check_domain(request: Request, stored: StoredObject) -> None:
    """Raise OSSError if a browser asks for a phone's program at a default domain."""
    domain = _browsed_domain(request)
    is_package = stored.content_type in PACKAGE_TYPES or stored.key.lower().endswith(PACKAGE_NAMES)
    if domain and is_package and request.method == "GET":
        message = (
            "The APK file is not allowed to be distributed in a public network using the OSS endpoint, please use CNAME"
            " instead."
        )
        ec = "0048-00000203" if ".oss-accelerate" in domain else "0048-00000200"
        raise OSSError(400, "ApkDownloadForbidden", message, ec)


def _overrides(request: Request) -> dict[str, str]:
    """Return the headers that a signed request wants in place of the stored ones."""
    parameters = {name: f"response-{name.lower()}" for name in OVERRIDABLE}
    overrides = {name: request.query[key] for name, key in parameters.items() if key in request.query}
    if overrides and not request.signed:
        raise access_denied("A request without a signature cannot choose the headers of its response.")
    for name, value in overrides.items():
        if not is_header_value(value):
            raise invalid_argument(f"The {parameters[name]} is not a valid header value.", name=name, value=value)
    return overrides


def _object_response(stored: StoredObject, file: BinaryIO, request: Request, overrides: dict[str, str]) -> Response:
    headers = _identity_headers(stored)
    described = {"Content-Type": stored.content_type, **stored.headers, **overrides}
    forced: Headers = []
    if _browsed_domain(request) and described["Content-Type"].partition(";")[0].strip().lower() == DOWNLOADED_TYPE:
        described["Content-Disposition"] = "attachment"
        forced = [("x-oss-force-download", "true"), ("x-oss-ec", "0048-00000001")]
    unmodified = is_unmodified(stored, request.headers)
    omitted = ("Content-Type",) if unmodified else ()
    headers += [
        (name, header_value(value))
        for name, value in described.items()
        if not name.startswith("x-oss-") and name not in omitted
    ]
    headers += forced
    if unmodified:
        return Response(304, headers)
    standard = request.headers.get("x-oss-range-behavior", "") == "standard"
    part = requested_range(request.headers.get("range", ""), stored.size, standard=standard)
    start, length = part or (0, stored.size)
    if part:
        headers.append(("Content-Range", f"bytes {start}-{start + length - 1}/{stored.size}"))
    elif request.method == "GET" and _is_compressed(request, described, stored.size):
        # The length is unknown, and the ETag is not the object's.
        own = ("etag", "content-md5", "accept-ranges")
        headers = [(name, value) for name, value in headers if name.lower() not in own]
        return Response(200, [*headers, ("Content-Encoding", "gzip"), _VARY], Gzipped(file, 0, stored.size))
    headers.append(("Content-Length", str(length)))
    status = 206 if part else 200
    return Response(status, headers, b"" if request.method == "HEAD" else FileRange(file, start, length))


def _identity_headers(stored: StoredObject) -> Headers:
    """Return the headers that identify the object, in OSS's order, without those that describe its content."""
    own = {"x-oss-storage-class": "Standard", **stored.headers}
    return [
        ("Accept-Ranges", "bytes"),
        ("ETag", f'"{stored.etag}"'),
        ("Last-Modified", formatdate(stored.last_modified, usegmt=True)),
        ("x-oss-object-type", stored.type),
        stored.crc64_header,
        *((name, header_value(own[name])) for name in own if name.startswith("x-oss-") and name not in HIDDEN),
        *stored.content_md5_header,
    ]


def _processed(stored: StoredObject, file: BinaryIO, text: str, overrides: dict[str, str]) -> Response:
    try:
        from .image_process import process  # loads Pillow
    except ModuleNotFoundError:
        raise not_installed("x-oss-process", "Pillow") from None
    response = process(text, stored, file)
    modified = ("Last-Modified", formatdate(stored.last_modified, usegmt=True))
    headers = {**dict(response.headers), **overrides}
    return Response(200, [modified, *((name, header_value(value)) for name, value in headers.items())], response.body)


def _is_compressed(request: Request, described: Mapping[str, str], size: int) -> bool:
    encodings = [member.partition(";") for member in request.headers.get("accept-encoding", "").lower().split(",")]
    accepted = [name.strip() for name, _, weight in encodings if not _REFUSED.fullmatch(weight.strip())]
    kind = described["Content-Type"].partition(";")[0].strip().lower()
    is_text = kind in COMPRESSED_TYPES and "Content-Encoding" not in described
    return is_text and size >= MIN_COMPRESSED_SIZE and "gzip" in accepted


def _matches(stored: StoredObject, etags: str) -> bool:
    return etags.strip() == "*" or stored.etag in (
        etag.strip().removeprefix("W/").strip('"').upper() for etag in etags.split(",")
    )


def _precondition_failed(condition: str, ec: str) -> OSSError:
    message = "At least one of the pre-conditions you specified did not hold."
    return OSSError(412, "PreconditionFailed", message, ec, Condition=condition)
