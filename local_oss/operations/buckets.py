"""Operations on buckets: ListBuckets, and for one bucket its creation, deletion, description, ACL and CORS rules.

An ACL can let everybody read objects. The local OSS grants no other right without a signature: neither listing nor
changing anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from ..bodies import read_small_body
from ..callbacks.sender import ACCOUNT_ID
from ..cors import read_rules, rule_nodes, save_rules
from ..environ import is_bucket_name
from ..errors import OSSError, Response, access_denied, invalid_argument, not_implemented
from ..object_headers import PUBLIC_ACLS, STORAGE_CLASSES, one_of
from ..request import Request
from ..storage.storage import PUBLIC_ACCESS_BLOCK, Bucket, ClassStat
from ..xml_document import Node, iso_time, malformed_xml, read_xml, xml_response

MAX_KEYS = 1000

MAX_BODY_SIZE = 16 * 1024

ACLS = ("private", "public-read", "public-read-write")

#: The fewest bytes that OSS bills for an object of any class except Standard.
MIN_BILLED_SIZE = 64 * 1024

#: The resource group that an account has by default; its ID is made up.
RESOURCE_GROUP = "rg-acfmlocal0000000"
RESOURCE_GROUP_HEADER = "x-oss-resource-group-id"

REDUNDANCIES = ("LRS", "ZRS")

OWNER: Node = ("Owner", [("ID", ACCOUNT_ID), ("DisplayName", ACCOUNT_ID)])


def list_buckets(request: Request) -> Response:
    query = request.query
    prefix, marker = query.get("prefix", ""), query.get("marker", "")
    limit = request.whole_number("max-keys", 100, 1, MAX_KEYS)
    buckets = request.oss.storage.buckets()
    matching = [bucket for bucket in buckets if bucket.name.startswith(prefix) and bucket.name > marker]
    group = request.headers.get(RESOURCE_GROUP_HEADER, "")
    if group not in ("", RESOURCE_GROUP):
        matching = []
    page = matching[:limit]
    more: list[Node] = [("Region", request.oss.options.region)]
    if group:
        more.append(("ResourceGroupId", group))
    listed: list[Node] = [
        ("Bucket", sorted([*_bucket_nodes(bucket, request), *more], key=lambda node: node[0])) for bucket in page
    ]
    nodes: list[Node] = [
        OWNER,
        ("Buckets", listed),
        ("Prefix", prefix),
        ("Marker", marker),
        ("MaxKeys", str(limit)),
        ("IsTruncated", "true" if len(page) < len(matching) else "false"),
    ]
    if len(page) < len(matching):
        nodes.append(("NextMarker", page[-1].name))
    return xml_response("ListAllMyBucketsResult", nodes)


def put_bucket(request: Request) -> Response:
    """Create a bucket, or change the ACL of an existing one, whose storage class cannot be changed."""
    if not is_bucket_name(request.bucket):
        message = "The specified bucket is not valid."
        raise OSSError(400, "InvalidBucketName", message, "0015-00000001", BucketName=request.bucket)
    if request.headers.get(RESOURCE_GROUP_HEADER, RESOURCE_GROUP) != RESOURCE_GROUP:
        raise not_implemented(f"{RESOURCE_GROUP_HEADER} but {RESOURCE_GROUP}")
    settings = _read_configuration(read_small_body(request.environ, MAX_BODY_SIZE))
    if "x-oss-acl" in request.headers:
        message = "no such bucket access control exists"
        acl = one_of(ACLS, "x-oss-acl", request.headers["x-oss-acl"], message, "0015-00000204")
        if acl in PUBLIC_ACLS and _blocks_public_access(request):
            raise access_denied("Put public bucket acl is not allowed")
        settings["acl"] = acl
    defaults = request.oss.options.new_bucket_settings
    storage, now = request.oss.storage, request.exchange.started
    if storage.create_bucket(request.bucket, now=now, settings={**defaults, **settings}):
        return Response(200, [("Location", f"/{request.bucket}")])
    if not _has_settings(request.storage, settings):
        message = (
            "The requested bucket name is not available. The bucket namespace is shared by all users of the system."
            " Please select a different name and try again."
        )
        raise OSSError(409, "BucketAlreadyExists", message, "0015-00000104", BucketName=request.bucket)
    request.storage.change(settings)
    return Response(200, [("Location", f"/{request.bucket}")])


def delete_bucket(request: Request) -> Response:
    request.oss.storage.delete_bucket(request.bucket)
    return Response(204)


def head_bucket(request: Request) -> Response:
    region = f"oss-{request.oss.options.region}"
    headers = [("x-oss-bucket-region", region), ("x-oss-storage-class", request.storage.storage_class)]
    return Response(200, headers)


def get_bucket_info(request: Request) -> Response:
    bucket = request.storage
    nodes: list[Node] = [
        *_bucket_nodes(bucket, request),
        ("DataRedundancyType", bucket.redundancy),
        ("AccessMonitor", "Disabled"),
        ("TransferAcceleration", "Disabled"),
        ("CrossRegionReplication", "Disabled"),
        ("Comment", ""),
        ("ResourceGroupId", RESOURCE_GROUP),
        ("ResourcePoolConfig", ""),
        OWNER,
        ("AccessControlList", [("Grant", bucket.acl)]),
        ("ServerSideEncryptionRule", [("SSEAlgorithm", "None")]),
        ("BlockPublicAccess", str(bucket.blocks_public_access).lower()),
        ("BucketPolicy", [("LogBucket", ""), ("LogPrefix", "")]),
    ]
    return xml_response("BucketInfo", [("Bucket", nodes)])


def get_bucket_location(request: Request) -> Response:
    return xml_response("LocationConstraint", f"oss-{request.oss.options.region}")


def get_bucket_acl(request: Request) -> Response:
    return acl_response(request.storage.acl)


def put_bucket_acl(request: Request) -> Response:
    """PUT `?acl`: set the ACL from `x-oss-acl`; create a missing bucket, as PutBucket does."""
    if "x-oss-acl" not in request.headers:
        raise invalid_argument("The x-oss-acl header is missing.", name="x-oss-acl")
    return put_bucket(request)


def get_public_access_block(request: Request) -> Response:
    node = ("BlockPublicAccess", str(request.storage.blocks_public_access).lower())
    return xml_response("PublicAccessBlockConfiguration", [node])


def put_public_access_block(request: Request) -> Response:
    """PUT `?publicAccessBlock`: switch Block Public Access on or, without the element, off."""
    document = read_xml(read_small_body(request.environ, MAX_BODY_SIZE), "PublicAccessBlockConfiguration")
    value = document.findtext("BlockPublicAccess", "false").strip().lower()
    if value not in ("true", "false"):
        raise malformed_xml()
    request.storage.change({PUBLIC_ACCESS_BLOCK: value})
    return Response(200)


def delete_public_access_block(request: Request) -> Response:
    request.storage.change({PUBLIC_ACCESS_BLOCK: "false"})
    return Response(204)


def put_bucket_cors(request: Request) -> Response:
    body = read_small_body(request.environ, MAX_BODY_SIZE)
    save_rules(request.storage, *read_rules(body, request.oss.options.max_cors_rules))
    return Response(200)


def get_bucket_cors(request: Request) -> Response:
    cors = request.oss.cors(request.storage.name)
    if not cors.rules:
        message = "The CORS Configuration does not exist."
        raise OSSError(404, "NoSuchCORSConfiguration", message, "0034-00000001", BucketName=request.bucket)
    return xml_response("CORSConfiguration", rule_nodes(cors.rules, cors.vary))


def delete_bucket_cors(request: Request) -> Response:
    save_rules(request.storage, (), vary=False)
    return Response(204)


def get_bucket_stat(request: Request) -> Response:
    stat = request.storage.stat(MIN_BILLED_SIZE)
    nodes: list[Node] = [
        ("Storage", str(sum(each.size for each in stat.classes.values()))),
        ("ObjectCount", str(sum(each.objects for each in stat.classes.values()))),
        ("MultipartUploadCount", str(stat.uploads)),
        ("LiveChannelCount", "0"),
        # OSS counts about once an hour, the local OSS at once. For an empty bucket, 0 says that nothing was counted.
        ("LastModifiedTime", str(int(request.exchange.started)) if stat.classes else "0"),
    ]
    for name in STORAGE_CLASSES:
        counted = stat.classes.get(name, ClassStat())
        title = "InfrequentAccess" if name == "IA" else name
        if name == "Standard":
            nodes.append(("StandardStorage", str(counted.size)))
        else:
            nodes += [(f"{title}Storage", str(counted.billed_size)), (f"{title}RealStorage", str(counted.size))]
        nodes.append((f"{title}ObjectCount", str(counted.objects)))
    nodes += [("MultipartPartCount", str(stat.parts)), ("DeleteMarkerCount", "0")]
    return xml_response("BucketStat", nodes)


def get_bucket_versioning(request: Request) -> Response:
    """Say that versioning was never switched on."""
    return xml_response("VersioningConfiguration", "")


def get_bucket_encryption(request: Request) -> Response:
    message = "The server side encryption configuration does not exist."
    raise OSSError(404, "NoSuchServerSideEncryptionRule", message, "0005-00000004", BucketName=request.bucket)


def get_bucket_policy(request: Request) -> Response:
    message = "The bucket policy does not exist."
    raise OSSError(404, "NoSuchBucketPolicy", message, "0030-00000006", BucketName=request.bucket)


def acl_response(acl: str) -> Response:
    return xml_response("AccessControlPolicy", [OWNER, ("AccessControlList", [("Grant", acl)])])


def _bucket_nodes(bucket: Bucket, request: Request) -> Iterator[Node]:
    """Yield the elements that ListBuckets and GetBucketInfo share."""
    region = f"oss-{request.oss.options.region}"
    yield "CreationDate", iso_time(bucket.created)
    yield "ExtranetEndpoint", urlsplit(request.oss.url).netloc
    yield "IntranetEndpoint", f"{region}-internal.aliyuncs.com"
    yield "Location", region
    yield "Name", bucket.name
    yield "StorageClass", bucket.storage_class


def _blocks_public_access(request: Request) -> bool:
    """Return whether the bucket blocks public access, or would block it if created now."""
    try:
        return request.storage.blocks_public_access
    except OSSError:  # it does not exist
        return not request.oss.options.new_bucket_settings


def _read_configuration(body: bytes) -> dict[str, str]:
    if not body:
        return {}
    settings: dict[str, str] = {}
    for element in read_xml(body, "CreateBucketConfiguration"):
        text = (element.text or "").strip()
        if element.tag == "StorageClass":
            message = "No such bucket storage class exists."
            settings["storage-class"] = one_of(STORAGE_CLASSES, "StorageClass", text, message, "0013-00000101")
        elif element.tag == "DataRedundancyType":
            settings["redundancy"] = one_of(REDUNDANCIES, "DataRedundancyType", text)
        elif element.tag != "LocationConstraint":
            raise malformed_xml()
    return settings


def _has_settings(bucket: Bucket, settings: Mapping[str, str]) -> bool:
    """Return whether the request keeps the bucket's values of the settings that cannot be changed."""
    current = {"storage-class": bucket.storage_class, "redundancy": bucket.redundancy}
    return all(settings.get(name, value) == value for name, value in current.items())
