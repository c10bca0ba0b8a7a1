"""ListObjects, versions 1 and 2: one page of the keys of a bucket."""

from __future__ import annotations

import base64

from ..errors import Response, invalid_argument
from ..request import Request
from ..storage.records import CommonPrefix, StoredObject
from ..xml_document import Node, iso_time, xml_response
from .buckets import OWNER
from .parameters import EncodingType, whole_number

DEFAULT_KEYS = 100
MAX_KEYS = 1000
MAX_PARAMETER_SIZE = 1023


def list_objects(request: Request) -> Response:
    """GET Bucket: list objects, version 1."""
    query = request.query
    encoding = EncodingType(request)
    marker = query.get("marker", "")
    entries, limit, more = _page(request, marker)
    nodes: list[Node] = [
        ("Name", request.bucket),
        ("Prefix", encoding(query.get("prefix", ""))),
        ("Marker", encoding(marker)),
        ("MaxKeys", str(limit)),
        ("Delimiter", encoding(query.get("delimiter", ""))),
        *encoding.nodes,
        ("IsTruncated", str(more).lower()),
    ]
    if more:
        nodes.append(("NextMarker", encoding(entries[-1].key)))
    return xml_response("ListBucketResult", [*nodes, *(_entry(entry, encoding, owner=True) for entry in entries)])


def list_objects_v2(request: Request) -> Response:
    """GET `?list-type=2`: list objects, version 2."""
    query = request.query
    if query["list-type"] != "2":
        raise invalid_argument("The list-type must be 2.", name="list-type", value=query["list-type"])
    encoding = EncodingType(request)
    token, start = query.get("continuation-token", ""), query.get("start-after", "")
    owner = query.get("fetch-owner", "").lower() == "true"
    entries, limit, more = _page(request, _read_token(token) if token else start)
    nodes: list[Node] = [("Name", request.bucket), ("Prefix", encoding(query.get("prefix", "")))]
    nodes += [("StartAfter", encoding(start))] if start else []
    nodes += [("ContinuationToken", token)] if token else []
    nodes += [("MaxKeys", str(limit)), ("Delimiter", encoding(query.get("delimiter", ""))), *encoding.nodes]
    nodes += [("IsTruncated", str(more).lower()), ("KeyCount", str(len(entries)))]
    if more:
        nodes.append(("NextContinuationToken", _token(entries[-1].key)))
    return xml_response("ListBucketResult", [*nodes, *(_entry(entry, encoding, owner=owner) for entry in entries)])


def list_object_versions(request: Request) -> Response:
    """GET `?versions`: list each object as its one version, whose ID is `null` where versioning was never on."""
    query = request.query
    encoding = EncodingType(request)
    marker = query.get("key-marker", "")
    entries, limit, more = _page(request, marker)
    nodes: list[Node] = [
        ("Name", request.bucket),
        ("Prefix", encoding(query.get("prefix", ""))),
        ("KeyMarker", encoding(marker)),
        ("VersionIdMarker", query.get("version-id-marker", "")),
        ("MaxKeys", str(limit)),
        ("Delimiter", encoding(query.get("delimiter", ""))),
        *encoding.nodes,
        ("IsTruncated", str(more).lower()),
    ]
    if more:
        nodes += [("NextKeyMarker", encoding(entries[-1].key)), ("NextVersionIdMarker", "null")]
    return xml_response("ListVersionsResult", [*nodes, *(_version(entry, encoding) for entry in entries)])


def _version(entry: StoredObject | CommonPrefix, encoding: EncodingType) -> Node:
    name, members = _entry(entry, encoding, owner=True)
    if isinstance(entry, CommonPrefix):
        return name, members
    key, *others = members
    return "Version", [key, ("VersionId", "null"), ("IsLatest", "true"), *others]


def _page(request: Request, after: str) -> tuple[list[StoredObject | CommonPrefix], int, bool]:
    """Return the entries after a key, the limit that was used, and whether more follow."""
    query = request.query
    for name in ("prefix", "delimiter", "marker", "start-after", "key-marker"):
        if len(query.get(name, "").encode()) > MAX_PARAMETER_SIZE:
            raise invalid_argument(f"The {name} is longer than {MAX_PARAMETER_SIZE} bytes.", name=name)
    limit = whole_number(request, "max-keys", DEFAULT_KEYS, 1, MAX_KEYS)
    entries, more = request.storage.page(
        prefix=query.get("prefix", ""), delimiter=query.get("delimiter", ""), after=after, limit=limit
    )
    return entries, limit, more


def _entry(entry: StoredObject | CommonPrefix, encoding: EncodingType, *, owner: bool) -> tuple[str, list[Node]]:
    if isinstance(entry, CommonPrefix):
        return "CommonPrefixes", [("Prefix", encoding(entry.key))]
    nodes: list[Node] = [
        ("Key", encoding(entry.key)),
        ("LastModified", iso_time(entry.last_modified)),
        ("ETag", f'"{entry.etag}"'),
        ("Type", entry.type),
        ("Size", str(entry.size)),
        ("StorageClass", entry.headers.get("x-oss-storage-class", "Standard")),
    ]
    return "Contents", [*nodes, OWNER] if owner else nodes


def _token(key: str) -> str:
    """Return a key as a continuation token, in letters that no decoding changes: some clients decode it twice."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid_argument("The continuation token is not valid.", name="continuation-token", value=token) from None
