"""ListMultipartUploads and ListParts: what was begun and not yet completed."""

from __future__ import annotations

from ..answer import Answer
from ..request import Request
from ..xml_document import Node, xml_answer
from .list_objects import iso_time
from .multipart import MAX_PARTS
from .parameters import EncodingType
from .whole_number import whole_number

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
