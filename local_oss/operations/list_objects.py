"""ListObjects, versions 1 and 2: one page of the keys of a bucket."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from ..errors import Response, invalid_argument
from ..object_headers import storage_class
from ..request import EncodingType, Request
from ..storage.index import CommonPrefix
from ..storage.storage import Entry
from ..xml_document import Node, iso_time, xml_response
from .buckets import OWNER

DEFAULT_KEYS = 100
MAX_KEYS = 1000
MAX_PARAMETER_SIZE = 1023


def list_objects(request: Request) -> Response:
    encoding, marker = EncodingType(request), request.query.get("marker", "")
    entries, more, nodes = _page(request, encoding, marker, [("Marker", encoding(marker))])
    nodes += [("NextMarker", encoding(entries[-1].key))] if more else []
    return _listing("ListBucketResult", nodes, entries, encoding)


def list_objects_v2(request: Request) -> Response:
    query = request.query
    if query["list-type"] != "2":
        raise invalid_argument("The list-type must be 2.", "0015-00000401", name="list-type", value=query["list-type"])
    encoding = EncodingType(request)
    token, start = query.get("continuation-token", ""), query.get("start-after", "")
    entries, more, nodes = _page(request, encoding, _read_token(token) if token else start)
    nodes += [("StartAfter", encoding(start))] if start else []
    nodes += [("ContinuationToken", token)] if token else []
    nodes += [("KeyCount", str(len(entries)))]
    nodes += [("NextContinuationToken", _token(entries[-1].key))] if more else []
    owner = query.get("fetch-owner", "").lower() == "true"
    return _listing("ListBucketResult", nodes, entries, encoding, owner=owner)


def list_object_versions(request: Request) -> Response:
    """GET `?versions`: list each object as its one version, whose ID is `null` where versioning was never on."""
    encoding, marker = EncodingType(request), request.query.get("key-marker", "")
    markers: list[Node] = [
        ("KeyMarker", encoding(marker)),
        ("VersionIdMarker", request.query.get("version-id-marker", "")),
    ]
    entries, more, nodes = _page(request, encoding, marker, markers)
    if more:
        nodes += [("NextKeyMarker", encoding(entries[-1].key)), ("NextVersionIdMarker", "null")]
    version: list[Node] = [("VersionId", "null"), ("IsLatest", "true")]
    return _listing("ListVersionsResult", nodes, entries, encoding, name="Version", members=version)


def _page(
    request: Request, encoding: EncodingType, after: str, markers: Sequence[Node] = ()
) -> tuple[list[Entry], bool, list[Node]]:
    """Return the entries after a key, whether more follow, and the elements that all lists have.

    :param markers: the elements that say where the list begins.
    """
    query = request.query
    for name in ("prefix", "delimiter", "marker", "start-after", "key-marker"):
        if len(query.get(name, "").encode()) > MAX_PARAMETER_SIZE:
            raise invalid_argument(f"The {name} is longer than {MAX_PARAMETER_SIZE} bytes.", name=name)
    limit = request.whole_number("max-keys", DEFAULT_KEYS, 1, MAX_KEYS)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    entries, more = request.storage.page(prefix=prefix, delimiter=delimiter, after=after, limit=limit)
    nodes: list[Node] = [
        ("Name", request.bucket),
        ("Prefix", encoding(prefix)),
        *markers,
        ("MaxKeys", str(limit)),
        ("Delimiter", encoding(delimiter)),
        *encoding.nodes,
        ("IsTruncated", str(more).lower()),
    ]
    return entries, more, nodes


def _listing(
    root: str,
    nodes: list[Node],
    entries: list[Entry],
    encoding: EncodingType,
    *,
    name: str = "Contents",
    members: Iterable[Node] = (),
    owner: bool = True,
) -> Response:
    """Return the response with an element for each entry.

    :param name: the name of an object's element.
    :param members: further elements of each object.
    """
    for entry in entries:
        if isinstance(entry, CommonPrefix):
            nodes.append(("CommonPrefixes", [("Prefix", encoding(entry.key))]))
            continue
        described: list[Node] = [
            ("Key", encoding(entry.key)),
            *members,
            ("LastModified", iso_time(entry.last_modified)),
            ("ETag", f'"{entry.etag}"'),
            ("Type", entry.type),
            ("Size", str(entry.size)),
            ("StorageClass", storage_class(entry.headers)),
        ]
        nodes.append((name, [*described, OWNER] if owner else described))
    return xml_response(root, nodes)


def _token(key: str) -> str:
    """Return a key as a continuation token, in letters that no decoding changes: some clients decode it twice."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _read_token(token: str) -> str:
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid_argument("The continuation token is not valid.", name="continuation-token", value=token) from None
