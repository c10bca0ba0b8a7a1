"""The text that signature V1 signs, for a header and for a URL alike."""

from __future__ import annotations

import base64
import hmac

from .signed_request import SignedRequest

#: The parameters that are part of the resource; all others go unsigned.
SUB_RESOURCES = frozenset(
    """
    accessPoint accessPointPolicy acl append asyncFetch bucketArchiveDirectRead bucketInfo callback callback-var
    cloudboxes cname comp continuation-token cors delete encryption endTime group httpsConfig img inventory
    inventoryId lifecycle link live location logging metaQuery objectInfo objectMeta partNumber policy position
    publicAccessBlock qos qosInfo qosRequester redundancyTransition referer regionList replication
    replicationLocation replicationProgress requestPayment requesterQosInfo resourceGroup resourcePool
    resourcePoolBuckets resourcePoolInfo response-cache-control response-content-disposition
    response-content-encoding response-content-language response-content-type response-expires restore
    security-token sequential startTime stat status style styleName symlink tagging transferAcceleration uploadId
    uploads versionId versioning versions vod website worm wormExtend wormId x-oss-ac-forward-allow
    x-oss-ac-source-ip x-oss-ac-subnet-mask x-oss-ac-vpc-id x-oss-access-point-name x-oss-async-process
    x-oss-process x-oss-redundancy-transition-taskid x-oss-request-payer x-oss-target-redundancy-type
    x-oss-traffic-limit x-oss-write-get-object-response
    """.split()  # noqa: SIM905
)


def string_to_sign(request: SignedRequest, date: str) -> str:
    """:param date: the `Date` of a signed header, the `Expires` of a signed URL."""
    headers = request.headers
    return "\n".join(
        (
            request.method,
            headers.get("content-md5", ""),
            headers.get("content-type", ""),
            date,
            *(f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-oss-")),
            _resource(request),
        )
    )


def sign(secret: str, text: str) -> str:
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


def _resource(request: SignedRequest) -> str:
    pairs = ((name.decode(errors="replace"), value.decode(errors="replace")) for name, value in request.query)
    signed = sorted(pair for pair in pairs if pair[0] in SUB_RESOURCES)
    text = "&".join(f"{name}={value}" if value else name for name, value in signed)
    return f"{request.resource}?{text}" if text else request.resource
