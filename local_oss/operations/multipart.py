"""Multipart uploads: start, add parts, complete, abort and list."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ..bodies import read_small_body, receive_body
from ..callbacks.upload_callback import read_callback
from ..errors import OSSError, Response, file_already_exists, invalid_argument, invalid_part
from ..faults import UploadFaults
from ..object_headers import (
    METADATA,
    check_key,
    encryption_headers,
    forbids_overwrite,
    headers_to_store,
    one_of,
    storage_class,
    upload_headers,
)
from ..request import EncodingType, Request
from ..storage.index import MultipartUpload, Part, StoredObject, common_prefix
from ..storage.storage import Incoming
from ..xml_document import Node, iso_time, malformed_xml, read_xml, xml_response
from .read_objects import OBJECT_ACL, FileRange, requested_range
from .write_objects import copied_headers, described, open_source, store

MAX_PARTS = 10000

#: The smallest size in bytes of every part except the last.
MIN_PART_SIZE = 100 * 1024

MAX_BODY_SIZE = 4 * 1024 * 1024

MAX_UPLOADS = 1000

MAX_LISTED_PARTS = 1000

#: The EC for a list of parts that is not XML.
_MALFORMED = "0042-00000205"

#: The metadata of an object that its client encrypts, and the elements of ListParts that repeat them.
_CLIENT_ENCRYPTION = {
    "key": "ClientEncryptionKey",
    "start": "ClientEncryptionStart",
    "cek-alg": "ClientEncryptionCekAlg",
    "wrap-alg": "ClientEncryptionWrapAlg",
    "data-size": "ClientEncryptionDataSize",
    "part-size": "ClientEncryptionPartSize",
}


@contextmanager
def _without_upload(ec: str) -> Iterator[None]:
    """Add the operation's own EC to the error for an upload that does not exist."""
    try:
        yield
    except OSSError as error:
        if error.code == "NoSuchUpload":
            error.ec = ec
        raise


def initiate_multipart_upload(request: Request) -> Response:
    """POST `?uploads`: start an upload and return its ID; with `sequential` its parts have to come in order."""
    check_key(request.key)
    encoding = EncodingType(request)
    if forbids_overwrite(request.headers) and request.storage.get(request.key):
        raise file_already_exists()
    sequential = "sequential" in request.query
    upload = request.storage.begin(*described(request), now=request.exchange.started, sequential=sequential)
    nodes = [("Bucket", request.bucket), ("Key", encoding(request.key)), ("UploadId", upload.id)]
    headers = encryption_headers(upload.headers)
    return xml_response("InitiateMultipartUploadResult", [*encoding.nodes, *nodes], headers)


@_without_upload("0042-00000104")
def upload_part(request: Request) -> Response:
    number, upload = _part_number(request), _upload(request)
    faults = UploadFaults(request.faults)
    with request.storage.incoming() as incoming:
        receive_body(request, incoming)
        faults.arrived()
        part = incoming.commit_part(upload, number, now=request.oss.options.clock())
    with faults:
        return Response(200, [*part.checksum_headers, *encryption_headers(upload.headers)])


@_without_upload("0042-00000311")
def upload_part_copy(request: Request) -> Response:
    number, upload = _part_number(request), _upload(request)
    with open_source(request) as (source, content), request.storage.incoming() as incoming:
        # OSS ignores a range that is not inside the object and copies the whole object (UploadPartCopy's page).
        part_range = requested_range(request.headers.get("x-oss-copy-source-range", ""), source.size)
        start, length = part_range or (0, source.size)
        last = start + length - 1
        incoming.receive(FileRange(content, start, length), None)
        part = incoming.commit_part(upload, number, now=request.oss.options.clock())
    nodes = [("LastModified", iso_time(part.last_modified)), ("ETag", f'"{part.etag}"')]
    headers = copied_headers(part, upload.headers)
    headers += [("Content-Range", f"bytes {start}-{last}/{source.size}")] if part_range else []
    return xml_response("CopyPartResult", nodes, headers)


def complete_multipart_upload(request: Request) -> Response:
    encoding = EncodingType(request)
    callback = read_callback(request)
    forbid_overwrite = forbids_overwrite(request.headers)
    upload = _upload(request)
    uploaded, _ = request.storage.parts(upload, limit=MAX_PARTS)
    parts = _requested_parts(request, uploaded)
    if any(part.size < MIN_PART_SIZE for part in parts[:-1]):
        message = "Your proposed upload smaller than the minimum allowed size."
        raise OSSError(400, "EntityTooSmall", message, "0042-00000213", MinSizeAllowed=str(MIN_PART_SIZE))
    if request.headers.get(OBJECT_ACL):  # replaces the ACL that began the upload
        others = {name: value for name, value in upload.headers.items() if name != OBJECT_ACL}
        acl = headers_to_store(request.storage, {OBJECT_ACL: request.headers[OBJECT_ACL]}).get(OBJECT_ACL)
        upload = replace(upload, headers=others | ({OBJECT_ACL: acl} if acl else {}))

    def receive(incoming: Incoming) -> None:
        incoming.join(upload, parts)
        if parts and request.faults.pop("damaged_object"):
            incoming.crc64 ^= 1

    def respond(stored: StoredObject) -> Response:
        location = f"{request.oss.url}/{request.bucket}/{encoding(request.key)}"
        nodes = [
            *encoding.nodes,
            ("Location", location),
            ("Bucket", request.bucket),
            ("Key", encoding(request.key)),
            ("ETag", f'"{stored.etag}"'),
        ]
        return xml_response("CompleteMultipartUploadResult", nodes, upload_headers(stored))

    return store(
        request,
        receive,
        respond,
        (upload.key, upload.content_type, upload.headers),
        forbid_overwrite=forbid_overwrite,
        callback=callback,
        operation="CompleteMultipartUpload",
    )


@_without_upload("0042-00000002")
def abort_multipart_upload(request: Request) -> Response:
    request.storage.abort(_upload(request))
    return Response(204)


def list_multipart_uploads(request: Request) -> Response:
    query = request.query
    encoding = EncodingType(request)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker = query.get("key-marker", "")
    id_marker = query.get("upload-id-marker", "") if key_marker else ""
    limit = request.whole_number("max-uploads", MAX_UPLOADS, 1, MAX_UPLOADS)
    entries: dict[tuple[str, str], Node] = {}
    for upload in request.storage.uploads(prefix):
        if (upload.key, upload.id) <= (key_marker, id_marker or "~"):  # every id sorts before a tilde
            continue
        common = common_prefix(upload.key.encode(), prefix.encode(), delimiter.encode()).decode()
        if not common:
            entries[upload.key, upload.id] = (
                "Upload",
                [
                    ("Key", encoding(upload.key)),
                    ("UploadId", upload.id),
                    ("StorageClass", storage_class(upload.headers)),
                    ("Initiated", iso_time(upload.started)),
                ],
            )
        elif common != key_marker:
            entries[common, ""] = "CommonPrefixes", [("Prefix", encoding(common))]
    more = len(entries) > limit
    next_key, next_id = list(entries)[:limit][-1] if entries else ("", "")  # OSS names the last entry in any case
    return xml_response(
        "ListMultipartUploadsResult",
        [
            *encoding.nodes,
            ("Bucket", request.bucket),
            ("KeyMarker", encoding(key_marker)),
            ("UploadIdMarker", id_marker),
            ("NextKeyMarker", encoding(next_key)),
            ("NextUploadIdMarker", next_id),
            ("Delimiter", encoding(delimiter)),
            ("Prefix", encoding(prefix)),
            ("MaxUploads", str(limit)),
            ("IsTruncated", str(more).lower()),
            *list(entries.values())[:limit],
        ],
    )


@_without_upload("0042-00000002")
def list_parts(request: Request) -> Response:
    encoding = EncodingType(request)
    limit = request.whole_number("max-parts", MAX_LISTED_PARTS, 1, MAX_LISTED_PARTS)
    marker = request.whole_number("part-number-marker", 0, 0, MAX_PARTS)
    upload = _upload(request)
    parts, more = request.storage.parts(upload, after=marker, limit=limit)
    nodes: list[Node] = [
        *encoding.nodes,
        ("Bucket", request.bucket),
        ("Key", encoding(request.key)),
        ("UploadId", upload.id),
        ("StorageClass", storage_class(upload.headers)),
        *_client_encryption(upload),
        ("PartNumberMarker", str(marker)),
        ("NextPartNumberMarker", str(parts[-1].number if parts else marker)),
        ("MaxParts", str(limit)),
        ("IsTruncated", str(more).lower()),
    ]
    for part in parts:
        members: list[Node] = [
            ("PartNumber", str(part.number)),
            ("LastModified", iso_time(part.last_modified)),
            ("ETag", f'"{part.etag}"'),
            ("HashCrc64ecma", str(part.crc64)),
            ("Size", str(part.size)),
        ]
        nodes.append(("Part", members))
    return xml_response("ListPartsResult", nodes)


def _client_encryption(upload: MultipartUpload) -> Iterator[Node]:
    """Yield the elements that tell a client how it encrypts the parts, if the upload began with such metadata."""
    for name, element in _CLIENT_ENCRYPTION.items():
        value = upload.headers.get(f"{METADATA}client-side-encryption-{name}")
        if value is not None:
            yield element, value


def _upload(request: Request) -> MultipartUpload:
    return request.storage.upload(request.key, request.query["uploadId"])


def _part_number(request: Request) -> int:
    if "uploadId" not in request.query:
        raise invalid_argument("A partNumber goes with an uploadId.", name="uploadId")
    number = request.query["partNumber"]
    if not number:
        raise invalid_argument(
            "Unexpected query string parameter", "0017-00000219", name="ResourceType", value="partNumber"
        )
    if not (number.isascii() and number.isdigit()) or len(number) > 9 or not 1 <= int(number) <= MAX_PARTS:
        message = f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive."
        raise invalid_argument(message, "0017-00000220", name="PartNumber", value=number)
    return int(number)


def _requested_parts(request: Request, uploaded: Sequence[Part]) -> Sequence[Part]:
    """Return the parts that the body lists in ascending order, or all parts when a header asks for them.

    An empty list of parts makes an empty object.
    """
    body = read_small_body(request.environ, MAX_BODY_SIZE)
    complete_all = request.headers.get("x-oss-complete-all", "")
    if complete_all:
        if body:
            message = "Should not speficy both complete all header and http body."
            raise invalid_argument(message, "0042-00000216", name="x-oss-complete-all", value=complete_all)
        one_of(("yes",), "x-oss-complete-all", complete_all)
        parts = uploaded
    else:
        by_number = {part.number: part for part in uploaded}
        elements = read_xml(body, "CompleteMultipartUpload", ec=_MALFORMED).findall("Part")
        parts = [_find_part(element, by_number, request.query["uploadId"]) for element in elements]
        numbers = [part.number for part in parts]
        if numbers != sorted(set(numbers)):
            message = "The list of parts was not in ascending order. Parts list must specified in order by part number."
            raise OSSError(400, "InvalidPartOrder", message, "0042-00000209")
    return parts


def _find_part(element: ElementTree.Element, by_number: dict[int, Part], upload_id: str) -> Part:
    number, etag = element.findtext("PartNumber", "").strip(), element.findtext("ETag", "").strip()
    if not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise malformed_xml(_MALFORMED)
    part = by_number.get(int(number))
    if part is None or part.etag != etag.strip('"').upper():
        raise invalid_part(upload_id, number, etag)
    return part
