"""Operations on a bucket: PutBucket, DeleteBucket, HeadBucket, GetBucketInfo, GetBucketLocation, and its ACL.

An ACL is kept and told, but not obeyed: a stranger may read every object here, and change none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..answer import Answer
from ..callbacks.message import ACCOUNT_ID
from ..errors import OSSError, invalid_argument
from ..request import Request
from ..storage.interface import Bucket
from ..xml_document import Node, malformed_xml, read_xml, xml_answer
from .bucket_settings import (
    ACLS,
    REDUNDANCIES,
    STORAGE_CLASSES,
    acl,
    check_bucket_name,
    one_of,
    redundancy,
    storage_class,
)
from .small_body import read_small_body

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
