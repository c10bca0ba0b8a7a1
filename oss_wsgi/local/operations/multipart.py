"""Uploads in parts: begun, filled part by part, completed or aborted."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

from ..callbacks.image_info import ImageInfo, read_image_info
from ..callbacks.upload_callback import call_back, read_callback
from ..errors import Answer, OSSError, file_already_exists, invalid_argument
from ..faults import UploadFaults
from ..object_headers import check_key, content_type, forbids_overwrite, object_headers
from ..request import Request
from ..storage.interface import MultipartUpload, Part, StoredObject
from ..xml_document import Node, malformed_xml, read_xml, xml_answer
from .bodies import read_small_body, receive_body
from .list_objects import iso_time
from .parameters import EncodingType, whole_number
from .read_objects import CHUNK_SIZE
from .write_objects import open_source

MAX_PARTS = 10000

#: of every part but the last
MIN_PART_SIZE = 100 * 1024

MAX_BODY_SIZE = 4 * 1024 * 1024


def initiate(request: Request) -> Answer:
    check_key(request.key)
    encoding = EncodingType(request)
    kind = content_type({"content-type": request.headers.get("content-type", "")}, "")
    headers = object_headers(request.headers)
    if forbids_overwrite(request.headers) and request.storage.get(request.key):
        raise file_already_exists()
    upload = request.storage.begin(request.key, kind, headers, now=request.now)
    members = [("Bucket", request.bucket), ("Key", encoding(request.key)), ("UploadId", upload.id)]
    return xml_answer("InitiateMultipartUploadResult", [*encoding.nodes, *members])


def upload_part(request: Request) -> Answer:
    number, upload = _part_number(request), _upload(request)
    failing = UploadFaults(request.faults)
    with request.storage.incoming() as incoming:
        failing.arriving()
        receive_body(request, incoming)
        failing.arrived()
        part = incoming.commit_part(upload, number, now=request.service.clock())
    with failing:
        return Answer(200, part.checksum_headers)


def upload_part_copy(request: Request) -> Answer:
    number, upload = _part_number(request), _upload(request)
    with open_source(request) as (source, content), request.storage.incoming() as incoming:
        start, length = _source_range(request.headers.get("x-oss-copy-source-range", ""), source.size)
        content.seek(start)
        while length and (chunk := content.read(min(CHUNK_SIZE, length))):
            length -= len(chunk)
            incoming.write(chunk)
        part = incoming.commit_part(upload, number, now=request.service.clock())
    members = [("LastModified", iso_time(part.last_modified)), ("ETag", f'"{part.etag}"')]
    return xml_answer("CopyPartResult", members, part.checksum_headers)


def complete(request: Request) -> Answer:
    encoding = EncodingType(request)
    callback = read_callback(request)
    forbid_overwrite = forbids_overwrite(request.headers)
    upload = _upload(request)
    there, _ = request.storage.parts(upload, limit=MAX_PARTS)
    parts = _chosen(request, there)
    if any(part.size < MIN_PART_SIZE for part in parts[:-1]):
        message = "Your proposed upload smaller than the minimum allowed size."
        raise OSSError(400, "EntityTooSmall", message, MinSizeAllowed=str(MIN_PART_SIZE))
    failing = UploadFaults(request.faults)
    failing.arriving()
    failing.arrived()
    now = request.service.clock()
    stored = request.storage.complete(upload, parts, now=now, forbid_overwrite=forbid_overwrite)
    with failing:
        if callback:
            return call_back(request, callback, stored, _image_info(request, stored), "CompleteMultipartUpload")
        location = f"{request.url}/{request.bucket}/{encoding(request.key)}"
        members = [("Location", location), ("Bucket", request.bucket), ("Key", encoding(request.key))]
        nodes = [*encoding.nodes, *members, ("ETag", f'"{stored.etag}"')]
        return xml_answer("CompleteMultipartUploadResult", nodes, stored.checksum_headers)


def _image_info(request: Request, stored: StoredObject) -> ImageInfo | None:
    """Of what was completed, unless another upload has replaced it by now."""
    found = request.storage.open(stored.key)
    if found is None:
        return None
    with found[1]:
        return read_image_info(found[1]) if found[0].file == stored.file else None


def abort(request: Request) -> Answer:
    request.storage.abort(_upload(request))
    return Answer(204)


def _upload(request: Request) -> MultipartUpload:
    return request.storage.upload(request.key, request.query["uploadId"])


def _part_number(request: Request) -> int:
    if "uploadId" not in request.query:
        raise invalid_argument("A partNumber goes with an uploadId.", name="uploadId")
    number = whole_number(request, "partNumber", 0, 1, MAX_PARTS)
    if not number:
        raise invalid_argument(f"The partNumber must be from 1 to {MAX_PARTS}.", name="partNumber")
    return number


def _source_range(header: str, size: int) -> tuple[int, int]:
    match = re.fullmatch(r"bytes=([0-9]{1,18})-([0-9]{1,18})", header.strip())
    if not header:
        return 0, size
    if not match or not int(match[1]) <= int(match[2]) < size:
        message = "The requested range cannot be satisfied."
        raise OSSError(416, "InvalidRange", message, ActualObjectSize=str(size), RangeRequested=header)
    return int(match[1]), int(match[2]) - int(match[1]) + 1


def _chosen(request: Request, there: list[Part]) -> list[Part]:
    """The parts that the body lists, in the order of their numbers; or all there are, where a header says so."""
    body = read_small_body(request.environ, MAX_BODY_SIZE)
    everything = request.headers.get("x-oss-complete-all", "")
    if everything:
        if everything != "yes" or body:
            raise invalid_argument("With x-oss-complete-all: yes there is no body.", name="x-oss-complete-all")
        chosen = there
    else:
        known = {part.number: part for part in there}
        elements = read_xml(body, "CompleteMultipartUpload").findall("Part")
        chosen = [_listed(element, known) for element in elements]
        numbers = [part.number for part in chosen]
        if numbers != sorted(set(numbers)):
            message = "The list of parts was not in ascending order. Parts list must specified in order by part number."
            raise OSSError(400, "InvalidPartOrder", message)
    if not chosen:
        raise malformed_xml()
    return chosen


def _listed(element: ElementTree.Element, known: dict[int, Part]) -> Part:
    number, etag = element.findtext("PartNumber", "").strip(), element.findtext("ETag", "").strip().strip('"').upper()
    if not (number.isascii() and number.isdigit()) or len(number) > 9:
        raise malformed_xml()
    part = known.get(int(number))
    if part is None or part.etag != etag:
        message = (
            "One or more of the specified parts could not be found or the specified entity tag might not have matched"
            " the part's entity tag."
        )
        raise OSSError(400, "InvalidPart", message, PartNumber=number)
    return part


MAX_UPLOADS = 1000


def list_uploads(request: Request) -> Answer:
    query = request.query
    encoding = EncodingType(request)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker = query.get("key-marker", "")
    id_marker = query.get("upload-id-marker", "") if key_marker else ""
    limit = whole_number(request, "max-uploads", MAX_UPLOADS, 1, MAX_UPLOADS)
    found: list[Node] = []
    after, more, folded = (key_marker, id_marker), True, ""
    while more and len(found) < limit:
        (*uploads,), more = request.storage.uploads(prefix=prefix, after=after, limit=1 if delimiter else limit)
        for upload in uploads:
            after = (upload.key, upload.id)
            group = _group(upload.key, prefix, delimiter)
            if not group:
                members = [("Key", encoding(upload.key)), ("UploadId", upload.id)]
                found.append(("Upload", [*members, ("Initiated", iso_time(upload.started))]))
            elif group not in (folded, key_marker):
                folded = group
                found.append(("CommonPrefixes", [("Prefix", encoding(group))]))
    following = after if more else ("", "")
    if more and folded and following[0].startswith(folded):
        following = (folded, "")
    nodes: list[Node] = [
        ("Bucket", request.bucket),
        ("KeyMarker", encoding(key_marker)),
        ("UploadIdMarker", id_marker),
        *encoding.nodes,
        ("NextKeyMarker", encoding(following[0])),
        ("NextUploadIdMarker", following[1]),
        ("Delimiter", encoding(delimiter)),
        ("Prefix", encoding(prefix)),
        ("MaxUploads", str(limit)),
        ("IsTruncated", str(more).lower()),
        *found,
    ]
    return xml_answer("ListMultipartUploadsResult", nodes)


def list_parts(request: Request) -> Answer:
    encoding = EncodingType(request)
    limit = whole_number(request, "max-parts", 1000, 1, 1000)
    marker = whole_number(request, "part-number-marker", 0, 0, MAX_PARTS)
    upload = request.storage.upload(request.key, request.query["uploadId"])
    parts, more = request.storage.parts(upload, after=marker, limit=limit)
    nodes: list[Node] = [
        *encoding.nodes,
        ("Bucket", request.bucket),
        ("Key", encoding(request.key)),
        ("UploadId", upload.id),
        ("StorageClass", upload.headers.get("x-oss-storage-class", "Standard")),
        ("PartNumberMarker", str(marker)),
        ("NextPartNumberMarker", str(parts[-1].number if parts else marker)),
        ("MaxParts", str(limit)),
        ("IsTruncated", str(more).lower()),
    ]
    for part in parts:
        members: list[Node] = [("PartNumber", str(part.number)), ("LastModified", iso_time(part.last_modified))]
        members += [("ETag", f'"{part.etag}"'), ("HashCrc64ecma", str(part.crc64)), ("Size", str(part.size))]
        nodes.append(("Part", members))
    return xml_answer("ListPartsResult", nodes)


def _group(key: str, prefix: str, delimiter: str) -> str:
    found = key.find(delimiter, len(prefix)) if delimiter else -1
    return "" if found < 0 else key[: found + len(delimiter)]
