"""The operation for a request, chosen by its method and the names in its query."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..environ import Address
from ..errors import OSSError, Response, access_denied, not_implemented
from ..forms.post_object import post_object
from ..object_headers import NOT_KEPT
from ..request import Request
from . import buckets, lifecycle, list_objects, multipart, read_objects, write_objects
from .read_objects import OVERRIDABLE, PROCESS
from .write_objects import COPY_SOURCE, check_version

Handler = Callable[[Request], Response]

#: What a signed URL carries.
SIGNATURE_PARAMETERS = frozenset(
    """
    OSSAccessKeyId Signature Expires security-token x-oss-signature-version x-oss-credential x-oss-date x-oss-expires
    x-oss-signature x-oss-additional-headers x-oss-security-token
    """.split()  # noqa: SIM905
)
_RESPONSE = " ".join(f"response-{name.lower()}" for name in OVERRIDABLE)
_CALLBACK = "callback callback-var"
#: The ID that the one version of an object has.
_VERSION = "versionId"
_LIST = "prefix delimiter max-keys encoding-type"


@dataclass(frozen=True)
class Operation:
    """An operation: its name in OSS's documentation, and the further parameters of the query that it knows.

    :param parameters: their names, with blanks between them.
    :param anonymous: it needs no signed request; it is open to all, or checks a signature itself.
    """

    name: str
    handle: Handler
    parameters: str = ""
    anonymous: bool = False


#: Stands among the names of the query for the header of a copy, whose query is that of an upload.
_COPY = "(copy)"

# For each type of resource and method, the names that the query must have, in the order in which they are tried.
TABLE: dict[tuple[str, str], dict[str, Operation]] = {
    ("Object", "GET"): {
        "tagging": Operation("GetObjectTagging", write_objects.get_tags, _VERSION),
        "acl": Operation("GetObjectACL", write_objects.get_object_acl, _VERSION),
        "objectMeta": Operation("GetObjectMeta", read_objects.get_object_meta, _VERSION, anonymous=True),
        "uploadId": Operation("ListParts", multipart.list_parts, "max-parts part-number-marker encoding-type"),
        "": Operation("GetObject", read_objects.get_object, f"{_RESPONSE} {_VERSION} {PROCESS}", anonymous=True),
    },
    ("Object", "HEAD"): {
        "objectMeta": Operation("GetObjectMeta", read_objects.get_object_meta, _VERSION, anonymous=True),
        "": Operation("HeadObject", read_objects.get_object, f"{_RESPONSE} {_VERSION}", anonymous=True),
    },
    ("Object", "PUT"): {
        "acl": Operation("PutObjectACL", write_objects.put_object_acl, _VERSION),
        f"partNumber {_COPY}": Operation("UploadPartCopy", multipart.upload_part_copy, "uploadId"),
        "partNumber": Operation("UploadPart", multipart.upload_part, "uploadId"),
        _COPY: Operation("CopyObject", write_objects.copy_object),
        "": Operation("PutObject", write_objects.put_object, _CALLBACK),
    },
    ("Object", "POST"): {
        "uploads": Operation(
            "InitiateMultipartUpload", multipart.initiate_multipart_upload, "encoding-type sequential"
        ),
        "uploadId": Operation(
            "CompleteMultipartUpload", multipart.complete_multipart_upload, f"encoding-type {_CALLBACK}"
        ),
    },
    ("Object", "DELETE"): {
        "uploadId": Operation("AbortMultipartUpload", multipart.abort_multipart_upload),
        "": Operation("DeleteObject", write_objects.delete_object, _VERSION),
    },
    ("Service", "GET"): {"": Operation("ListBuckets", buckets.list_buckets, "prefix marker max-keys")},
    ("Bucket", "PUT"): {
        "acl": Operation("PutBucketAcl", buckets.put_bucket_acl),
        "cors": Operation("PutBucketCors", buckets.put_bucket_cors),
        "lifecycle": Operation("PutBucketLifecycle", lifecycle.put_bucket_lifecycle),
        "publicAccessBlock": Operation("PutBucketPublicAccessBlock", buckets.put_public_access_block),
        "": Operation("PutBucket", buckets.put_bucket),
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
            "prefix delimiter max-uploads key-marker upload-id-marker encoding-type",
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
        # Not of OSS: obeys the rules of the bucket now.
        "lifecycle": Operation("PostBucketLifecycle", lifecycle.post_bucket_lifecycle, "days", anonymous=True),
        "": Operation("PostObject", post_object, anonymous=True),
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
#: Operations that check their rights themselves, for each object.
_OWN_CHECK = ("DeleteMultipleObjects", "PostObject")

KNOWN_PARAMETERS = SIGNATURE_PARAMETERS.union(
    *(f"{names} {operation.parameters}".split() for choice in TABLE.values() for names, operation in choice.items())
) - {_COPY}


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

    :raises OSSError: there is no such bucket or no such operation, or it needs a signature.
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
    for header in NOT_KEPT:
        if request.headers.get(header):
            raise not_implemented(f"{header}: leave it out")
    if not (request.signed or operation.anonymous):
        raise _anonymous_access()
    if operation.name not in _OWN_CHECK:
        action = ACTIONS.get(operation.name, operation.name)
        request.check_right(f"oss:{action}", request.bucket, request.key)
    return operation


def resource_type(address: Address) -> str:
    """Return what a request addresses, in OSS's words."""
    return "Object" if address.key else "Bucket" if address.bucket else "Service"


def _choose(address: Address, method: str, parameters: Iterable[str], *, is_copy: bool) -> tuple[str, Operation] | None:
    """Return the operation that a request asks for, with the names that choose it; None if none fits."""
    given = {*parameters, _COPY} if is_copy else {*parameters}
    choice = TABLE.get((resource_type(address), method), {})
    return next((pair for pair in choice.items() if given.issuperset(pair[0].split())), None)


def _no_operation(request: Request) -> OSSError:
    if request.method in ("GET", "HEAD") and not request.signed:
        return _anonymous_access()
    if PROCESS in request.query:
        return not_implemented(f"{request.method} of ?{PROCESS}")
    message = "The specified method is not allowed against this resource."
    kind = resource_type(request.address)
    return OSSError(405, "MethodNotAllowed", message, Method=request.method, ResourceType=kind)


def _anonymous_access() -> OSSError:
    return access_denied("Anonymous access is forbidden for this operation.", "0003-00000001")
