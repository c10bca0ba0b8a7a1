"""Who signed the request, in its Authorization header: signature V4, as the SDKs send it."""

from __future__ import annotations

import calendar
import hashlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from .address import Address
from .errors import OSSError, access_denied, invalid_argument
from .signature_check import SKEW, V4, Account, check_access_key, compare, sign_v4

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
_DATE = "%Y%m%dT%H%M%SZ"


def check_header_signature(
    environ: Mapping[str, Any], address: Address, account: Account, region: str, now: float
) -> bool:
    """False for an anonymous request; raises OSSError unless an Authorization header is `account`'s signature of it."""
    authorization = environ.get("HTTP_AUTHORIZATION", "").strip()
    if not authorization:
        return False
    members = _members(authorization)
    headers = _headers(environ)
    access_key_id, day = _parse_credential(members["Credential"], region)
    date = headers.get("x-oss-date", "")
    _check_date(date, day, now)
    payload = headers.get("x-oss-content-sha256", "")
    if payload != UNSIGNED_PAYLOAD:
        message = f"The x-oss-content-sha256 must be {UNSIGNED_PAYLOAD}."
        raise invalid_argument(message, name="x-oss-content-sha256", value=payload)
    check_access_key(access_key_id, headers.get("x-oss-security-token"), account, now)
    scope = f"{day}/{region}/oss/aliyun_v4_request"
    canonical = canonical_request(environ, address, members.get("AdditionalHeaders", ""))
    text = "\n".join((V4, date, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    compare(sign_v4(account.access_key_secret, day, region, text), members["Signature"], access_key_id, text)
    return True


def canonical_request(environ: Mapping[str, Any], address: Address, additional: str = "") -> str:
    """What is signed of a request; `additional` names the headers signed beside those that always are."""
    headers = _headers(environ)
    named = sorted({name.strip().lower() for name in additional.split(";")} - {""})
    signed = [name for name in sorted(headers) if _is_always_signed(name) or name in named]
    # A bucket is signed by name even where its host names it and the path does not.
    resource = f"/{address.bucket}/{address.key}" if address.bucket else "/"
    return "\n".join(
        (
            environ["REQUEST_METHOD"],
            quote(resource, safe="/"),
            "&".join(f"{name}={value}" if value else name for name, value in sorted(_query(environ))),
            "".join(f"{name}:{headers[name]}\n" for name in signed),
            ";".join(named),
            headers.get("x-oss-content-sha256", UNSIGNED_PAYLOAD),
        )
    )


def _members(authorization: str) -> dict[str, str]:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != V4:
        message = f"This OSS reads {V4} in the Authorization header, and no other signature."
        raise invalid_argument(message, name="Authorization", value=algorithm)
    members: dict[str, str] = {}
    for member in rest.split(","):
        name, equals, value = member.strip().partition("=")
        if not equals or name in members or name not in ("Credential", "AdditionalHeaders", "Signature"):
            raise invalid_argument("The Authorization header is not well-formed.", name="Authorization")
        members[name] = value
    for name in ("Credential", "Signature"):
        if not members.get(name):
            raise invalid_argument(f"The Authorization header has no {name}.", name="Authorization")
    return members


def _parse_credential(credential: str, region: str) -> tuple[str, str]:
    parts = credential.split("/")
    if len(parts) != 5 or not parts[0] or parts[3:] != ["oss", "aliyun_v4_request"]:
        message = "The Credential is not <access key id>/<day>/<region>/oss/aliyun_v4_request."
        raise invalid_argument(message, name="Credential", value=credential)
    if parts[2] != region:
        raise invalid_argument("Invalid signing region in Authorization header.", name="Credential", value=credential)
    return parts[0], parts[1]


def _check_date(date: str, day: str, now: float) -> None:
    try:
        if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", date):
            raise ValueError
        signed_at = calendar.timegm(time.strptime(date, _DATE))
    except ValueError:
        raise access_denied("The x-oss-date is not valid.") from None
    if date[:8] != day:
        raise access_denied("The day of the Credential is not the day of the x-oss-date.")
    if abs(now - signed_at) > SKEW:
        message = "The difference between the request time and the current time is too large."
        raise OSSError(
            403,
            "RequestTimeTooSkewed",
            message,
            "0002-00000504",
            MaxAllowedSkewMilliseconds=str(SKEW * 1000),
            RequestTime=date,
            ServerTime=time.strftime(_DATE, time.gmtime(now)),
        )


def _is_always_signed(name: str) -> bool:
    return name.startswith("x-oss-") or name in ("content-type", "content-md5")


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """The request's headers by lower-case name, their bytes read as UTF-8."""
    headers = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name] = environ[name]
    return {
        name.replace("_", "-").lower(): value.strip().encode("latin-1").decode(errors="replace")
        for name, value in headers.items()
    }


def _query(environ: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for pair in filter(None, environ.get("QUERY_STRING", "").split("&")):
        name, _, value = (quote(unquote_to_bytes(part), safe="") for part in pair.partition("="))
        yield name, value
