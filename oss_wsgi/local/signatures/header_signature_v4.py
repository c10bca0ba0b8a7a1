"""Signature V4 in the Authorization header, as the SDKs send it."""

from __future__ import annotations

import time

from ..errors import invalid_argument
from .form_check import SKEW, Account, check_access_key, too_skewed
from .signed_request import SignedRequest
from .v4 import DATE, UNSIGNED_PAYLOAD, Credential, canonical_request, check_v4, signed_at


def check_header_v4(request: SignedRequest, account: Account, region: str, now: float) -> None:
    """Raises OSSError unless the Authorization header is `account`'s signature of the request."""
    headers = request.headers
    members = _members(headers["authorization"])
    credential = Credential.parse(members["Credential"], region, name="Credential")
    date = headers.get("x-oss-date", "")
    _check_skew(date, signed_at(date, credential), now)
    payload = headers.get("x-oss-content-sha256", "")
    if payload != UNSIGNED_PAYLOAD:
        message = f"The x-oss-content-sha256 must be {UNSIGNED_PAYLOAD}."
        raise invalid_argument(message, name="x-oss-content-sha256", value=payload)
    check_access_key(credential.access_key_id, headers.get("x-oss-security-token"), account, now)
    canonical = canonical_request(request, members.get("AdditionalHeaders", ""))
    check_v4(canonical, date, credential, members["Signature"], account)


def _members(authorization: str) -> dict[str, str]:
    members: dict[str, str] = {}
    for member in authorization.partition(" ")[2].split(","):
        name, equals, value = member.strip().partition("=")
        if not equals or name in members or name not in ("Credential", "AdditionalHeaders", "Signature"):
            raise invalid_argument("The Authorization header is not well-formed.", name="Authorization")
        members[name] = value
    for name in ("Credential", "Signature"):
        if not members.get(name):
            raise invalid_argument(f"The Authorization header has no {name}.", name="Authorization")
    return members


def _check_skew(date: str, moment: int, now: float) -> None:
    if abs(now - moment) > SKEW:
        raise too_skewed(date, time.strftime(DATE, time.gmtime(now)))
