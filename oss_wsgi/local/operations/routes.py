"""The operation for a request, chosen by its method and the names in its query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import OSSError, Response, access_denied
from ..forms.post_object import post_object
from ..request import Request
from .buckets import (
    delete_bucket,
    delete_bucket_cors,
    get_bucket_acl,
    get_bucket_cors,
    get_bucket_info,
    get_bucket_location,
    head_bucket,
    list_buckets,
    put_bucket,
    put_bucket_acl,
    put_bucket_cors,
)
from .lifecycle import (
    delete_bucket_lifecycle,
    get_bucket_lifecycle,
    post_bucket_lifecycle,
    put_bucket_lifecycle,
)
from .list_objects import list_objects, list_objects_v2
from .multipart import (
    abort_multipart_upload,
    complete_multipart_upload,
    initiate_multipart_upload,
    list_multipart_uploads,
    list_parts,
    upload_part,
    upload_part_copy,
)
from .read_objects import get_object, get_object_meta
from .write_objects import (
    COPY_SOURCE,
    copy_object,
    delete_multiple_objects,
    delete_object,
    get_object_acl,
    put_object,
    put_object_acl,
)

Handler = Callable[[Request], Response]


@dataclass(frozen=True)
class Operation:
    """:param anonymous: it needs no signed request; it is open to all, or checks a signature itself."""

    handle: Handler
    anonymous: bool = False


def copy_or_put(copy: Handler, put: Handler) -> Handler:
    """Return a handler that chooses by a header, for the query does not tell a copy from an upload."""
    return lambda request: (copy if COPY_SOURCE in request.headers else put)(request)


# For each type of resource and method, the names in the query in the order in which they are tried. The operation of ""
# is the one for a query that has none of them.
TABLE: dict[tuple[str, str], dict[str, Operation]] = {
    ("Object", "GET"): {
        "acl": Operation(get_object_acl),
        "objectMeta": Operation(get_object_meta, anonymous=True),
        "uploadId": Operation(list_parts),
        "": Operation(get_object, anonymous=True),
    },
    ("Object", "HEAD"): {
        "objectMeta": Operation(get_object_meta, anonymous=True),
        "": Operation(get_object, anonymous=True),
    },
    ("Object", "PUT"): {
        "acl": Operation(put_object_acl),
        "partNumber": Operation(copy_or_put(upload_part_copy, upload_part)),
        "": Operation(copy_or_put(copy_object, put_object)),
    },
    ("Object", "POST"): {
        "uploads": Operation(initiate_multipart_upload),
        "uploadId": Operation(complete_multipart_upload),
    },
    ("Object", "DELETE"): {"uploadId": Operation(abort_multipart_upload), "": Operation(delete_object)},
    ("Service", "GET"): {"": Operation(list_buckets)},
    ("Bucket", "PUT"): {
        "acl": Operation(put_bucket_acl),
        "cors": Operation(put_bucket_cors),
        "lifecycle": Operation(put_bucket_lifecycle),
        "": Operation(put_bucket),
    },
    ("Bucket", "GET"): {
        "acl": Operation(get_bucket_acl),
        "bucketInfo": Operation(get_bucket_info),
        "cors": Operation(get_bucket_cors),
        "lifecycle": Operation(get_bucket_lifecycle),
        "location": Operation(get_bucket_location),
        "uploads": Operation(list_multipart_uploads),
        "list-type": Operation(list_objects_v2),
        "": Operation(list_objects),
    },
    ("Bucket", "HEAD"): {"": Operation(head_bucket)},
    ("Bucket", "DELETE"): {
        "cors": Operation(delete_bucket_cors),
        "lifecycle": Operation(delete_bucket_lifecycle),
        "": Operation(delete_bucket),
    },
    ("Bucket", "POST"): {
        "delete": Operation(delete_multiple_objects),
        "lifecycle": Operation(post_bucket_lifecycle, anonymous=True),
        "": Operation(post_object, anonymous=True),
    },
}

# Sub-resources of the real OSS. Without this list, a PUT of one that is missing here would store an object.
SUBRESOURCES = frozenset(
    """
    accessmonitor accessPoint acl append asyncFetch bucketArchiveDirectRead bucketInfo cleanRestoredObject cname
    comp cors delete encryption httpsConfig inventory lifecycle live location logging metaQuery object-link
    objectMeta partNumber policy policyStatus position publicAccessBlock qos qosInfo referer regionList replication
    replicationLocation replicationProgress requestPayment resourceGroup responseHeader restore rtc select/meta stat
    status style styleName symlink tagging transferAcceleration uploadId uploadPartCopy uploads
    userDefinedLogFieldsConfig versioning versions vod website worm wormExtend wormId x-oss-async-process
    x-oss-process x-oss-write-get-object-response
    """.split()  # noqa: SIM905
)


def find_operation(request: Request) -> Operation:
    """Return the operation for a request.

    :raises OSSError: there is no such bucket or no such operation, or it needs a signature.
    """
    kind = resource_type(request)
    operations = TABLE.get((kind, request.method))
    if kind != "Service" and not (kind == "Bucket" and request.method == "PUT"):
        _ = request.storage  # raises OSSError for a bucket that does not exist, before any other error
    if not operations:
        raise _no_operation(request)
    name = next((name for name in operations if name and name in request.query), "")
    missing = sorted(SUBRESOURCES & request.query.keys())
    if not name and missing:
        message = f"The local OSS has no operation for ?{missing[0]}."
        raise OSSError(501, "NotImplemented", message)
    if name not in operations:
        raise _no_operation(request)
    operation = operations[name]
    if not (request.signed or operation.anonymous):
        raise _anonymous_access()
    return operation


def resource_type(request: Request) -> str:
    """Return what a request addresses, in OSS's words."""
    return "Object" if request.key else "Bucket" if request.bucket else "Service"


def _no_operation(request: Request) -> OSSError:
    if request.method in ("GET", "HEAD") and not request.signed:
        return _anonymous_access()
    message = "The specified method is not allowed against this resource."
    return OSSError(405, "MethodNotAllowed", message, Method=request.method, ResourceType=resource_type(request))


def _anonymous_access() -> OSSError:
    return access_denied("Anonymous access is forbidden for this operation.", "0003-00000001")
