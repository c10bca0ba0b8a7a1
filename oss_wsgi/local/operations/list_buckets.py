"""ListBuckets: the buckets of this OSS, in pages."""

from __future__ import annotations

import re

from ..answer import Answer
from ..errors import invalid_argument
from ..request import Request
from ..xml_document import Node, xml_answer
from .buckets import OWNER, bucket_nodes

MAX_KEYS = 1000


def list_buckets(request: Request) -> Answer:
    query = request.query
    prefix, marker, asked = query.get("prefix", ""), query.get("marker", ""), query.get("max-keys") or "100"
    if not re.fullmatch("[0-9]{1,4}", asked) or not 1 <= int(asked) <= MAX_KEYS:
        message = f"The max-keys must be a number from 1 to {MAX_KEYS}."
        raise invalid_argument(message, name="max-keys", value=asked)
    buckets = request.service.storage.buckets()
    found = [bucket for bucket in buckets if bucket.name.startswith(prefix) and bucket.name > marker]
    shown = found[: int(asked)]
    nodes: list[Node] = [
        OWNER,
        ("Prefix", prefix),
        ("Marker", marker),
        ("MaxKeys", asked),
        ("IsTruncated", "true" if len(shown) < len(found) else "false"),
    ]
    if len(shown) < len(found):
        nodes.append(("NextMarker", shown[-1].name))
    region: Node = ("Region", request.service.region)
    nodes.append(("Buckets", [("Bucket", [*bucket_nodes(bucket, request), region]) for bucket in shown]))
    return xml_answer("ListAllMyBucketsResult", nodes)
