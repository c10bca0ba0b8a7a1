"""Signature V1 in a URL: `OSSAccessKeyId`, `Expires`, `Signature` and, for a temporary key, `security-token`."""

from __future__ import annotations

import re

from ..errors import access_denied, invalid_argument
from .form_check import Account, check_access_key, compare
from .signed_request import SignedRequest
from .url_expiry import check_not_expired
from .v1 import sign, string_to_sign


def check_query_v1(request: SignedRequest, account: Account, now: float) -> None:
    """Raises OSSError unless the URL carries `account`'s signature of the request and has not expired."""
    access_key_id, expires, signature = (_needed(request, name) for name in ("OSSAccessKeyId", "Expires", "Signature"))
    if not re.fullmatch(r"[0-9]{1,12}", expires):
        raise access_denied("Invalid date (should be seconds since epoch).", "0002-00000070")
    check_not_expired(int(expires), now)
    check_access_key(access_key_id, request.parameter("security-token"), account, now)
    text = string_to_sign(request, expires)
    compare(sign(account.access_key_secret, text), signature, access_key_id, text, "0002-00000040")


def _needed(request: SignedRequest, name: str) -> str:
    value = request.parameter(name)
    if not value:
        raise invalid_argument(f"The signed URL has no {name}.", name=name)
    return value
