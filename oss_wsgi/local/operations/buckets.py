"""Operations on a bucket: PutBucket, DeleteBucket, HeadBucket, GetBucketInfo, GetBucketLocation, and its ACL.

An ACL is kept and told, but not obeyed: a stranger may read every object here, and change none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from ..callbacks.message import ACCOUNT_ID
from ..cors import read_rules, rule_nodes, save_rules
from ..errors import Answer, OSSError, invalid_argument
from ..request import Request
from ..storage.interface import Bucket
from ..xml_document import Node, malformed_xml, read_xml, xml_answer
from .bodies import read_small_body

ACLS = ("private", "public-read", "public-read-write")

STORAGE_CLASSES = ("Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive")

REDUNDANCIES = ("LRS", "ZRS")


def check_bucket_name(name: str) -> None:
    if not re.fullmatch("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", name):
        raise OSSError(400, "InvalidBucketName", "The specified bucket is not valid.", BucketName=name)


def acl(settings: Mapping[str, str]) -> str:
    return settings.get("acl", "private")


def storage_class(settings: Mapping[str, str]) -> str:
    return settings.get("storage-class", "Standard")


def redundancy(settings: Mapping[str, str]) -> str:
    return settings.get("redundancy", "LRS")


def one_of(allowed: tuple[str, ...], name: str, value: str) -> str:
    if value not in allowed:
        raise invalid_argument(f"The {name} is none of {', '.join(allowed)}.", name=name, value=value)
    return value


MAX_BODY_SIZE = 16 * 1024

OWNER: Node = ("Owner", [("ID", ACCOUNT_ID), ("DisplayName", ACCOUNT_ID)])


def put_bucket(request: Request) -> Answer:
    """Whoever owns a bucket may put it again, which changes its ACL; its storage class cannot be changed."""
    check_bucket_name(request.bucket)
    asked = _configuration(read_small_body(request.environ, MAX_BODY_SIZE))
    if "x-oss-acl" in request.headers:
        asked["acl"] = one_of(ACLS, "x-oss-acl", request.headers["x-oss-acl"])
    created = request.service.storage.create_bucket(request.bucket, now=request.now)
    if not created and not _agrees(request.storage, asked):
        message = (
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system."
            " Please select a different name and try again."
        )
        raise OSSError(409, "BucketAlreadyExists", message, "0015-00000104", BucketName=request.bucket)
    request.storage.change(asked)
    return Answer(200, [("Location", f"/{request.bucket}")])


def delete_bucket(request: Request) -> Answer:
    request.service.storage.delete_bucket(request.bucket)
    return Answer(204)


def head_bucket(request: Request) -> Answer:
    kind = storage_class(request.storage.settings)
    return Answer(200, [("x-oss-bucket-region", f"oss-{request.service.region}"), ("x-oss-storage-class", kind)])


def get_bucket_info(request: Request) -> Answer:
    bucket = request.storage
    nodes: list[Node] = [
        *bucket_nodes(bucket, request),
        ("DataRedundancyType", redundancy(bucket.settings)),
        ("AccessMonitor", "Disabled"),
        ("TransferAcceleration", "Disabled"),
        ("CrossRegionReplication", "Disabled"),
        ("Comment", ""),
        OWNER,
        ("AccessControlList", [("Grant", acl(bucket.settings))]),
    ]
    return xml_answer("BucketInfo", [("Bucket", nodes)])


def bucket_nodes(bucket: Bucket, request: Request) -> Iterator[Node]:
    """What a list of buckets tells of each as well."""
    endpoint = urlsplit(request.url).netloc
    yield "Name", bucket.name
    yield "CreationDate", time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(bucket.created))
    yield "Location", f"oss-{request.service.region}"
    yield "ExtranetEndpoint", endpoint
    yield "IntranetEndpoint", endpoint
    yield "StorageClass", storage_class(bucket.settings)


def get_bucket_location(request: Request) -> Answer:
    _ = request.storage  # there must be one
    return xml_answer("LocationConstraint", f"oss-{request.service.region}")


def get_bucket_acl(request: Request) -> Answer:
    nodes: list[Node] = [OWNER, ("AccessControlList", [("Grant", acl(request.storage.settings))])]
    return xml_answer("AccessControlPolicy", nodes)


def put_bucket_acl(request: Request) -> Answer:
    if "x-oss-acl" not in request.headers:
        raise invalid_argument("The x-oss-acl header is missing.", name="x-oss-acl")
    request.storage.change({"acl": one_of(ACLS, "x-oss-acl", request.headers["x-oss-acl"])})
    return Answer(200)


def _configuration(body: bytes) -> dict[str, str | None]:
    if not body:
        return {}
    asked: dict[str, str | None] = {}
    for element in read_xml(body, "CreateBucketConfiguration"):
        text = (element.text or "").strip()
        if element.tag == "StorageClass":
            asked["storage-class"] = one_of(STORAGE_CLASSES, "StorageClass", text)
        elif element.tag == "DataRedundancyType":
            asked["redundancy"] = one_of(REDUNDANCIES, "DataRedundancyType", text)
        elif element.tag != "LocationConstraint":
            raise malformed_xml()
    return asked


def _agrees(bucket: Bucket, asked: dict[str, str | None]) -> bool:
    settings = bucket.settings
    kept = {"storage-class": storage_class(settings), "redundancy": redundancy(settings)}
    return all(asked.get(name, value) == value for name, value in kept.items())


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


def put_bucket_cors(request: Request) -> Answer:
    body = read_small_body(request.environ, MAX_BODY_SIZE)
    save_rules(request.storage, *read_rules(body, request.service.rules.max_rules))
    return Answer(200)


def get_bucket_cors(request: Request) -> Answer:
    rules, vary = request.service.rules.of(request.storage.name)
    if not rules:
        message = "The CORS Configuration does not exist."
        raise OSSError(404, "NoSuchCORSConfiguration", message, BucketName=request.bucket)
    return xml_answer("CORSConfiguration", rule_nodes(rules, vary))


def delete_bucket_cors(request: Request) -> Answer:
    save_rules(request.storage, (), vary=False)
    return Answer(204)
