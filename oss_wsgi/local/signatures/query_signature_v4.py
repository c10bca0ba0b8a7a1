"""Signature V4 in a URL: the `x-oss-` parameters of a presigned one."""

from __future__ import annotations

import re

from ..errors import access_denied, invalid_argument
from .form_check import LIFETIME, SKEW, V4, Account, check_access_key
from .signed_request import SignedRequest
from .url_expiry import check_not_expired
from .v4 import Credential, canonical_request, check_v4, signed_at


def check_query_v4(request: SignedRequest, account: Account, region: str, now: float) -> None:
    """Raises OSSError unless the URL carries `account`'s signature of the request and is valid at this moment."""
    version = _needed(request, "x-oss-signature-version")
    if version != V4:
        message = f"This OSS reads {V4} in a URL, and no other version."
        raise invalid_argument(message, name="x-oss-signature-version", value=version)
    signature = _needed(request, "x-oss-signature")
    credential = Credential.parse(_needed(request, "x-oss-credential"), region, name="x-oss-credential")
    date = _needed(request, "x-oss-date")
    moment = signed_at(date, credential)
    expires = _needed(request, "x-oss-expires")
    if not re.fullmatch(r"[0-9]{1,9}", expires) or not 1 <= int(expires) <= LIFETIME:
        message = f"The x-oss-expires must be a number of seconds from 1 to {LIFETIME}."
        raise invalid_argument(message, name="x-oss-expires", value=expires)
    if moment > now + SKEW:
        raise access_denied("Request is not valid yet.")
    check_not_expired(moment + int(expires), now)
    check_access_key(credential.access_key_id, request.parameter("x-oss-security-token"), account, now)
    canonical = canonical_request(request, request.parameter("x-oss-additional-headers") or "")
    check_v4(canonical, date, credential, signature, account)


def _needed(request: SignedRequest, name: str) -> str:
    value = request.parameter(name)
    if not value:
        raise invalid_argument(f"The signed URL has no {name}.", name=name)
    return value
