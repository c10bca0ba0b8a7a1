"""ListObjects, versions 1 and 2: one page of the keys of a bucket."""

from __future__ import annotations

import base64
import time

from ..callbacks.message import ACCOUNT_ID
from ..errors import Answer, invalid_argument
from ..request import Request
from ..storage.interface import CommonPrefix, StoredObject
from ..xml_document import Node, xml_answer
from .parameters import EncodingType, whole_number

DEFAULT_KEYS = 100
MAX_KEYS = 1000


def list_objects(request: Request) -> Answer:
    query = request.query
    encoding = EncodingType(request)
    marker = query.get("marker", "")
    entries, limit, more = _page(request, marker)
    nodes: list[Node] = [("Name", request.bucket), ("Prefix", encoding(query.get("prefix", "")))]
    nodes += [
        ("Marker", encoding(marker)),
        ("MaxKeys", str(limit)),
        ("Delimiter", encoding(query.get("delimiter", ""))),
    ]
    nodes += [*encoding.nodes, ("IsTruncated", str(more).lower())]
    if more:
        nodes.append(("NextMarker", encoding(entries[-1].key)))
    return xml_answer("ListBucketResult", [*nodes, *(_entry(entry, encoding, owner=True) for entry in entries)])


def list_objects_v2(request: Request) -> Answer:
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
    return xml_answer("ListBucketResult", [*nodes, *(_entry(entry, encoding, owner=owner) for entry in entries)])


def iso_time(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def owner_node() -> Node:
    return "Owner", [("ID", ACCOUNT_ID), ("DisplayName", ACCOUNT_ID)]


def _page(request: Request, after: str) -> tuple[list[StoredObject | CommonPrefix], int, bool]:
    query = request.query
    for name in ("prefix", "delimiter", "marker", "start-after"):
        if len(query.get(name, "").encode()) > 1023:
            raise invalid_argument(f"The {name} is longer than 1023 bytes.", name=name)
    limit = whole_number(request, "max-keys", DEFAULT_KEYS, 1, MAX_KEYS)
    entries, more = request.storage.page(
        prefix=query.get("prefix", ""), delimiter=query.get("delimiter", ""), after=after, limit=limit
    )
    return entries, limit, more


def _entry(entry: StoredObject | CommonPrefix, encoding: EncodingType, *, owner: bool) -> Node:
    if isinstance(entry, CommonPrefix):
        return "CommonPrefixes", [("Prefix", encoding(entry.key))]
    members: list[Node] = [
        ("Key", encoding(entry.key)),
        ("LastModified", iso_time(entry.last_modified)),
        ("ETag", f'"{entry.etag}"'),
        ("Type", entry.type),
        ("Size", str(entry.size)),
        ("StorageClass", entry.headers.get("x-oss-storage-class", "Standard")),
    ]
    return "Contents", [*members, owner_node()] if owner else members


def _token(key: str) -> str:
    """Letters that no encoding changes, for a client may decode them once too often."""
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def _read_token(token: str) -> str:
    try:
        key = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid_argument("The continuation token is not valid.", name="continuation-token", value=token) from None
    return key
