"""Signature V1 in the Authorization header: `OSS <access key id>:<signature>`."""

from __future__ import annotations

import re
import time
from datetime import timezone
from email.utils import parsedate_to_datetime

from ..errors import access_denied, invalid_argument
from .form_check import SKEW, Account, check_access_key, compare, too_skewed
from .signed_request import SignedRequest
from .v1 import sign, string_to_sign


def check_header_v1(request: SignedRequest, account: Account, now: float) -> None:
    """Raises OSSError unless the Authorization header is `account`'s signature of the request."""
    headers = request.headers
    match = re.fullmatch(r"OSS +([^\s:]+):(\S+)", headers["authorization"])
    if not match:
        message = "The Authorization header is not OSS <access key id>:<signature>."
        raise invalid_argument(message, name="Authorization", value=headers["authorization"])
    # Where a client cannot set Date, x-oss-date stands for it, and is signed in its place.
    date = headers.get("x-oss-date") or headers.get("date", "")
    _check_date(date, now)
    # The second SDK for Python names the token's header as V1 names its parameter.
    token = headers.get("x-oss-security-token") or headers.get("security-token")
    check_access_key(match[1], token, account, now)
    text = string_to_sign(request, date)
    compare(sign(account.access_key_secret, text), match[2], match[1], text, "0002-00000040")


def _check_date(date: str, now: float) -> None:
    try:
        moment = parsedate_to_datetime(date)
        signed_at = (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        raise access_denied("OSS authentication requires a valid Date.") from None
    if abs(now - signed_at) > SKEW:
        raise too_skewed(*(time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(each)) for each in (signed_at, now)))
