"""Which operation a request asks for: the method and a name in the query decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import Answer, OSSError, access_denied
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
from .list_objects import list_objects, list_objects_v2
from .multipart import abort, complete, initiate, list_parts, list_uploads, upload_part, upload_part_copy
from .read_objects import get_object, get_object_meta
from .write_objects import (
    SOURCE,
    copy_object,
    delete_multiple_objects,
    delete_object,
    get_object_acl,
    put_object,
    put_object_acl,
)

Handler = Callable[[Request], Answer]


@dataclass(frozen=True)
class Operation:
    """:param anonymous: a stranger may ask for it, or it reads its own signature."""

    handle: Handler
    anonymous: bool = False


def copied_or(copy: Handler, put: Handler) -> Handler:
    """A header, not the query, says that the content comes from another object."""
    return lambda request: (copy if SOURCE in request.headers else put)(request)


# For each kind of resource and method the names in the query, tried in this order; "" is what none of them asks for.
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
        "partNumber": Operation(copied_or(upload_part_copy, upload_part)),
        "": Operation(copied_or(copy_object, put_object)),
    },
    ("Object", "POST"): {"uploads": Operation(initiate), "uploadId": Operation(complete)},
    ("Object", "DELETE"): {"uploadId": Operation(abort), "": Operation(delete_object)},
    ("Service", "GET"): {"": Operation(list_buckets)},
    ("Bucket", "PUT"): {
        "acl": Operation(put_bucket_acl),
        "cors": Operation(put_bucket_cors),
        "": Operation(put_bucket),
    },
    ("Bucket", "GET"): {
        "acl": Operation(get_bucket_acl),
        "bucketInfo": Operation(get_bucket_info),
        "cors": Operation(get_bucket_cors),
        "location": Operation(get_bucket_location),
        "uploads": Operation(list_uploads),
        "list-type": Operation(list_objects_v2),
        "": Operation(list_objects),
    },
    ("Bucket", "HEAD"): {"": Operation(head_bucket)},
    ("Bucket", "DELETE"): {"cors": Operation(delete_bucket_cors), "": Operation(delete_bucket)},
    ("Bucket", "POST"): {"delete": Operation(delete_multiple_objects), "": Operation(post_object, anonymous=True)},
}

# Sub-resources of the real OSS: without this list a PUT of one that is not offered would store an object.
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
    """Raises OSSError: there is none, or a signature is wanted for it."""
    kind = resource_type(request)
    offered = TABLE.get((kind, request.method))
    if kind != "Service" and not (kind == "Bucket" and request.method == "PUT"):
        _ = request.storage  # a bucket that does not exist is said before anything else
    if not offered:
        if request.method in ("GET", "HEAD") and not request.signed:
            raise _anonymous()
        raise _not_allowed(request.method, kind)
    name = next((name for name in offered if name and name in request.query), "")
    unoffered = sorted(SUBRESOURCES & request.query.keys())
    if not name and unoffered:
        message = f"The local OSS has no operation for ?{unoffered[0]}."
        raise OSSError(501, "NotImplemented", message)
    if name not in offered:
        if request.method in ("GET", "HEAD") and not request.signed:
            raise _anonymous()
        raise _not_allowed(request.method, kind)
    operation = offered[name]
    if not (request.signed or operation.anonymous):
        raise _anonymous()
    return operation


def resource_type(request: Request) -> str:
    return "Object" if request.key else "Bucket" if request.bucket else "Service"


def _anonymous() -> OSSError:
    return access_denied("Anonymous access is forbidden for this operation.", "0003-00000001")


def _not_allowed(method: str, kind: str) -> OSSError:
    message = "The specified method is not allowed against this resource."
    return OSSError(405, "MethodNotAllowed", message, Method=method, ResourceType=kind)
