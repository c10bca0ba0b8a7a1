"""The operation for a request, chosen by its method and the names in its query."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..environ import Address
from ..errors import OSSError, Response, anonymous_access, denied_by_bucket_acl, not_implemented
from ..faults import HEADER as FAULTS
from ..forms.post_object import post_object
from ..object_headers import COPY_SOURCE, ENCRYPTION_HEADERS, METADATA
from ..request import Request
from . import buckets, lifecycle, list_objects, multipart, read_objects, write_objects
from .read_objects import OBJECT_ACL, OVERRIDABLE, PROCESS
from .write_objects import check_version

Handler = Callable[[Request], Response]

#: The parameters that sign a URL, and those of S3 that tell OSS nothing: checksums, and x-id, the operation's name.
SIGNATURE_PARAMETERS = frozenset(
    """
    OSSAccessKeyId Signature Expires security-token x-oss-signature-version x-oss-credential x-oss-date x-oss-expires
    x-oss-signature x-oss-additional-headers x-oss-security-token
    X-Amz-Algorithm X-Amz-Content-Sha256 X-Amz-Credential X-Amz-Date X-Amz-Expires X-Amz-SignedHeaders
    X-Amz-Security-Token X-Amz-Signature x-amz-checksum-crc32 x-amz-checksum-mode x-amz-sdk-checksum-algorithm x-id
    """.split()  # noqa: SIM905
)
_RESPONSE = " ".join(f"response-{name.lower()}" for name in OVERRIDABLE)
_CALLBACK = "callback callback-var"
#: The parameter with the ID of an object's one version.
_VERSION = "versionId"
_LIST = "prefix delimiter max-keys encoding-type"

#: The headers that any request may have: those of its signature, and those without effect for a bucket's owner.
_COMMON_HEADERS = frozenset(
    {
        "x-oss-date",
        "x-oss-content-sha256",
        "x-oss-security-token",
        "x-oss-request-payer",
        "x-oss-user-agent",
        FAULTS,
    }
)
_OBJECT = f"{OBJECT_ACL} x-oss-storage-class x-oss-forbid-overwrite {METADATA} {' '.join(ENCRYPTION_HEADERS)}"
_CALLED_BACK = "x-oss-callback x-oss-callback-var"
_CONDITIONS = " ".join(
    f"{COPY_SOURCE}-if-{name}" for name in ("match", "none-match", "modified-since", "unmodified-since")
)
_SOURCE = f"{COPY_SOURCE} {_CONDITIONS}"
#: Clients repeat these headers in each request of an upload in parts. Only its beginning counts; for the ACL, its end.
_REPEATED = f"{OBJECT_ACL} {METADATA} x-oss-complete-all"


@dataclass(frozen=True)
class Operation:
    """An operation: its name in OSS's documentation, and the query parameters and headers that it knows.

    :param parameters: the names of further parameters of the query, with blanks between them.
    :param headers: the names of headers that begin with `x-oss-`, with blanks between them. One that ends with a
        hyphen stands for all that begin with it.
    :param anonymous: the operation accepts unsigned requests: it is open to all, or checks a signature itself.
    """

    name: str
    handle: Handler
    parameters: str = ""
    headers: str = ""
    anonymous: bool = False


#: This name in the query stands for the header of a copy: a copy and an upload have the same query.
_COPY = "(copy)"

# For each type of resource and method, the names that the query must have, in the order in which they are tried.
TABLE: dict[tuple[str, str], dict[str, Operation]] = {
    ("Object", "GET"): {
        "tagging": Operation("GetObjectTagging", write_objects.get_tags, _VERSION),
        "acl": Operation("GetObjectACL", write_objects.get_object_acl, _VERSION),
        "objectMeta": Operation("GetObjectMeta", read_objects.get_object_meta, _VERSION, anonymous=True),
        "uploadId": Operation("ListParts", multipart.list_parts, "max-parts part-number-marker encoding-type"),
        "": Operation(
            "GetObject",
            read_objects.get_object,
            f"{_RESPONSE} {_VERSION} {PROCESS}",
            "x-oss-range-behavior",
            anonymous=True,
        ),
    },
    ("Object", "HEAD"): {
        "objectMeta": Operation("GetObjectMeta", read_objects.get_object_meta, _VERSION, anonymous=True),
        "": Operation(
            "HeadObject", read_objects.get_object, f"{_RESPONSE} {_VERSION}", "x-oss-range-behavior", anonymous=True
        ),
    },
    ("Object", "PUT"): {
        "acl": Operation("PutObjectACL", write_objects.put_object_acl, _VERSION, OBJECT_ACL),
        f"partNumber {_COPY}": Operation(
            "UploadPartCopy", multipart.upload_part_copy, "uploadId", f"{_SOURCE} {COPY_SOURCE}-range {_REPEATED}"
        ),
        "partNumber": Operation("UploadPart", multipart.upload_part, "uploadId", _REPEATED),
        _COPY: Operation(
            "CopyObject",
            write_objects.copy_object,
            headers=f"{_SOURCE} {_OBJECT} x-oss-metadata-directive x-oss-tagging-directive",
        ),
        "": Operation("PutObject", write_objects.put_object, _CALLBACK, f"{_OBJECT} {_CALLED_BACK}"),
    },
    ("Object", "POST"): {
        "uploads": Operation(
            "InitiateMultipartUpload", multipart.initiate_multipart_upload, "encoding-type sequential", _OBJECT
        ),
        "uploadId": Operation(
            "CompleteMultipartUpload",
            multipart.complete_multipart_upload,
            f"encoding-type sequential {_CALLBACK}",
            f"{_REPEATED} x-oss-forbid-overwrite {_CALLED_BACK}",
        ),
    },
    ("Object", "DELETE"): {
        "uploadId": Operation("AbortMultipartUpload", multipart.abort_multipart_upload, "sequential", _REPEATED),
        "": Operation("DeleteObject", write_objects.delete_object, _VERSION),
    },
    ("Service", "GET"): {
        "": Operation("ListBuckets", buckets.list_buckets, "prefix marker max-keys", buckets.RESOURCE_GROUP_HEADER)
    },
    ("Bucket", "PUT"): {
        "acl": Operation("PutBucketAcl", buckets.put_bucket_acl, headers="x-oss-acl"),
        "cors": Operation("PutBucketCors", buckets.put_bucket_cors),
        "lifecycle": Operation("PutBucketLifecycle", lifecycle.put_bucket_lifecycle, headers=lifecycle.OVERLAP),
        "publicAccessBlock": Operation("PutBucketPublicAccessBlock", buckets.put_public_access_block),
        "": Operation("PutBucket", buckets.put_bucket, headers=f"x-oss-acl {buckets.RESOURCE_GROUP_HEADER}"),
    },
    ("Bucket", "GET"): {
        "acl": Operation("GetBucketAcl", buckets.get_bucket_acl),
        "bucketInfo": Operation("GetBucketInfo", buckets.get_bucket_info),
        "encryption": Operation("GetBucketEncryption", buckets.get_bucket_encryption),
        "policy": Operation("GetBucketPolicy", buckets.get_bucket_policy),
        "publicAccessBlock": Operation("GetBucketPublicAccessBlock", buckets.get_public_access_block),
        "stat": Operation("GetBucketStat", buckets.get_bucket_stat),
        "tagging": Operation("GetBucketTags", write_objects.get_tags),
        "versioning": Operation("GetBucketVersioning", buckets.get_bucket_versioning),
        "versions": Operation(
            "ListObjectVersions", list_objects.list_object_versions, f"{_LIST} key-marker version-id-marker"
        ),
        "cors": Operation("GetBucketCors", buckets.get_bucket_cors),
        "lifecycle": Operation("GetBucketLifecycle", lifecycle.get_bucket_lifecycle),
        "location": Operation("GetBucketLocation", buckets.get_bucket_location),
        "uploads": Operation(
            "ListMultipartUploads",
            multipart.list_multipart_uploads,
            # ossutil sends max-parts, which means nothing here.
            "prefix delimiter max-uploads max-parts key-marker upload-id-marker encoding-type",
        ),
        "list-type": Operation(
            "ListObjectsV2", list_objects.list_objects_v2, f"{_LIST} start-after continuation-token fetch-owner"
        ),
        "": Operation("ListObjects", list_objects.list_objects, f"{_LIST} marker"),
    },
    ("Bucket", "HEAD"): {"": Operation("HeadBucket", buckets.head_bucket)},
    ("Bucket", "DELETE"): {
        "cors": Operation("DeleteBucketCors", buckets.delete_bucket_cors),
        "lifecycle": Operation("DeleteBucketLifecycle", lifecycle.delete_bucket_lifecycle),
        "publicAccessBlock": Operation("DeleteBucketPublicAccessBlock", buckets.delete_public_access_block),
        "": Operation("DeleteBucket", buckets.delete_bucket),
    },
    ("Bucket", "POST"): {
        "delete": Operation("DeleteMultipleObjects", write_objects.delete_multiple_objects, "encoding-type"),
        # OSS has no such operation: it obeys the rules of the bucket now.
        "lifecycle": Operation("PostBucketLifecycle", lifecycle.post_bucket_lifecycle, "days", anonymous=True),
        "": Operation("PostObject", post_object, headers=f"{OBJECT_ACL} x-oss-callback", anonymous=True),
    },
}

#: The rights of operations whose names differ from the right's (RAM's page of OSS's actions).
ACTIONS = {
    "HeadObject": "GetObject",
    "GetObjectMeta": "GetObject",
    "GetObjectACL": "GetObjectAcl",
    "PutObjectACL": "PutObjectAcl",
    "UploadPart": "PutObject",
    "CopyObject": "PutObject",
    "UploadPartCopy": "PutObject",
    "InitiateMultipartUpload": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListObjectsV2": "ListObjects",
    "HeadBucket": "GetBucketInfo",
    "GetBucketTags": "GetBucketTagging",
}
#: The rights that the ACL of a bucket may give to everybody.
_OPENED_BY_ACL = {"PutObject", "DeleteObject", "ListObjects", "ListParts", "ListMultipartUploads"}
#: Operations that check their rights themselves, for each object.
_OWN_CHECK = ("DeleteMultipleObjects", "PostObject")

KNOWN_PARAMETERS = SIGNATURE_PARAMETERS.union(
    *(f"{names} {operation.parameters}".split() for choice in TABLE.values() for names, operation in choice.items())
) - {_COPY}


_KNOWN_HEADERS = " ".join(operation.headers for choice in TABLE.values() for operation in choice.values())


def check_parameters(names: Iterable[str]) -> None:
    for name in names:
        if name not in KNOWN_PARAMETERS:
            raise not_implemented(f"?{name}")


def operation_name(address: Address, method: str, parameters: Iterable[str], *, is_copy: bool) -> str:
    """Return the name of the operation that a request asks for; the method if no operation fits."""
    chosen = _choose(address, method, parameters, is_copy=is_copy)
    return chosen[1].name if chosen else method


def find_operation(request: Request) -> Operation:
    """Return the operation for a request.

    :raises OSSError: there is no such bucket or no such operation, or the operation needs a signature.
    """
    kind = resource_type(request.address)
    if kind != "Service" and not (kind == "Bucket" and request.method == "PUT"):
        _ = request.storage  # raises OSSError for a bucket that does not exist, before any other error
    check_parameters(request.query)
    chosen = _choose(request.address, request.method, request.query, is_copy=COPY_SOURCE in request.headers)
    if chosen is None:
        raise _no_operation(request)
    names, operation = chosen
    # An unknown name may ask for another operation, perhaps for one that changes much less than this one.
    known = {*names.split(), *operation.parameters.split(), *SIGNATURE_PARAMETERS}
    for other in request.query:
        if other not in known:
            raise not_implemented(f"?{other} in {operation.name}")
    check_version(request.query.get(_VERSION, ""))
    action = ACTIONS.get(operation.name, operation.name)
    if not (request.signed or operation.anonymous):
        is_acl_to_blame = action in _OPENED_BY_ACL and request.storage.acl == "private"
        raise denied_by_bucket_acl() if is_acl_to_blame else anonymous_access()
    _check_headers(request, operation)
    if operation.name not in _OWN_CHECK:
        request.check_right(f"oss:{action}", request.bucket, request.key)
    return operation


def _check_headers(request: Request, operation: Operation) -> None:
    """Raise OSSError for an `x-oss-` header that the operation does not know: it may ask for something essential.

    Headers that describe an object mean nothing to a read.
    """
    own = [name for name in request.headers if name.startswith("x-oss-") and name not in _COMMON_HEADERS]
    if not own:
        return
    known = (_KNOWN_HEADERS if request.method in ("GET", "HEAD") else operation.headers).split()
    beginnings = tuple(name for name in known if name.endswith("-"))
    for name in own:
        if request.headers[name] and name not in known and not name.startswith(beginnings):
            raise not_implemented(f"{name} in {operation.name}: leave it out")


def resource_type(address: Address) -> str:
    """Return the type of the resource that a request addresses, in OSS's words."""
    return "Object" if address.key else "Bucket" if address.bucket else "Service"


def _choose(address: Address, method: str, parameters: Iterable[str], *, is_copy: bool) -> tuple[str, Operation] | None:
    """Return the operation that a request asks for, with the names that choose it; None if none fits."""
    given = {*parameters, _COPY} if is_copy else {*parameters}
    choice = TABLE.get((resource_type(address), method), {})
    return next((pair for pair in choice.items() if given.issuperset(pair[0].split())), None)


def _no_operation(request: Request) -> OSSError:
    if request.method in ("GET", "HEAD") and not request.signed:
        return anonymous_access()
    if PROCESS in request.query:
        return not_implemented(f"{request.method} of ?{PROCESS}")
    message = "The specified method is not allowed against this resource."
    kind = resource_type(request.address)
    return OSSError(405, "MethodNotAllowed", message, "0017-00000001", Method=request.method, ResourceType=kind)
