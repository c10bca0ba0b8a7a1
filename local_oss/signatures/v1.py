"""Signature V1 of a request, in the Authorization header or in the URL."""

from __future__ import annotations

import base64
import hmac
import re

from ..environ import http_time
from ..errors import access_denied, invalid_argument
from .account import SKEW, Account, check_access_key, compare_signatures, too_skewed
from .signed_request import SignedRequest, check_not_expired

#: The query parameters that are signed as part of the resource; all others are not signed.
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


def check_header_v1(request: SignedRequest, account: Account, now: float) -> Account:
    headers = request.headers
    match = re.fullmatch(r"OSS +([^\s:]+):(\S+)", headers["authorization"])
    if not match:
        message = "The Authorization header is not OSS <access key id>:<signature>."
        raise invalid_argument(message, name="Authorization", value=headers["authorization"])
    # A client that cannot set Date sends x-oss-date, which is then signed instead.
    date = headers.get("x-oss-date") or headers.get("date", "")
    moment = http_time(date)
    if moment is None:
        raise access_denied("OSS authentication requires a valid Date.")
    if abs(now - moment) > SKEW:
        raise too_skewed(moment, now)
    # The second SDK for Python names the token's header as V1 names the parameter.
    token = headers.get("x-oss-security-token") or headers.get("security-token")
    account = check_access_key(match[1], token, account, now)
    text = string_to_sign(request, date)
    expected = sign(account.access_key_secret, text)
    compare_signatures(expected, match[2], text, "0002-00000040", OSSAccessKeyId=match[1])
    return account


def check_query_v1(request: SignedRequest, account: Account, now: float) -> Account:
    access_key_id, expires, signature = (
        request.required_parameter(name) for name in ("OSSAccessKeyId", "Expires", "Signature")
    )
    if not re.fullmatch(r"[0-9]{1,12}", expires):
        raise access_denied("Invalid date (should be seconds since epoch).", "0002-00000070")
    check_not_expired(int(expires), now)
    account = check_access_key(access_key_id, request.parameter("security-token"), account, now)
    text = string_to_sign(request, expires)
    expected = sign(account.access_key_secret, text)
    compare_signatures(expected, signature, text, "0002-00000040", OSSAccessKeyId=access_key_id)
    return account


def string_to_sign(request: SignedRequest, date: str) -> str:
    """Return what V1 signs, with the `Date` of a signed header or the `Expires` of a signed URL."""
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
    """Return the V1 signature of a string to sign, or of the policy of a form, in Base64."""
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


def _resource(request: SignedRequest) -> str:
    pairs = ((name.decode(errors="replace"), value.decode(errors="replace")) for name, value in request.query)
    signed = sorted(pair for pair in pairs if pair[0] in SUB_RESOURCES)
    text = "&".join(f"{name}={value}" if value else name for name, value in signed)
    return f"{request.resource}?{text}" if text else request.resource
