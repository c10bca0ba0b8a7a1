"""The text that signature V4 signs, for a header and for a URL alike."""

from __future__ import annotations

import calendar
import hashlib
import re
import time
from dataclasses import dataclass
from urllib.parse import quote

from ..errors import access_denied, invalid_argument
from .form_check import LIFETIME, SKEW, V4, Account, check_access_key, compare, sign_v4, too_skewed
from .signed_request import SignedRequest, check_not_expired

DATE = "%Y%m%dT%H%M%SZ"

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Credential:
    """Who signed, and for which day: `<access key id>/<day>/<region>/oss/aliyun_v4_request`."""

    access_key_id: str
    day: str
    region: str

    @classmethod
    def parse(cls, text: str, region: str, *, name: str) -> Credential:
        parts = text.split("/")
        if len(parts) != 5 or not parts[0] or parts[3:] != ["oss", "aliyun_v4_request"]:
            message = f"The {name} is not <access key id>/<day>/<region>/oss/aliyun_v4_request."
            raise invalid_argument(message, name=name, value=text)
        if parts[2] != region:
            raise invalid_argument(f"Invalid signing region in {name}.", name=name, value=text)
        return cls(*parts[:3])

    @property
    def scope(self) -> str:
        return f"{self.day}/{self.region}/oss/aliyun_v4_request"


def signed_at(date: str, credential: Credential) -> int:
    """The moment of an `x-oss-date`, in Unix seconds."""
    try:
        if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", date):
            raise ValueError
        moment = calendar.timegm(time.strptime(date, DATE))
    except ValueError:
        raise access_denied("The x-oss-date is not valid.") from None
    if date[:8] != credential.day:
        raise access_denied("The day of the credential is not the day of the x-oss-date.")
    return moment


def canonical_request(request: SignedRequest, additional: str = "") -> str:
    """:param additional: the headers that are signed beside those that always are, joined by `;`."""
    headers = request.headers
    named = sorted({name.strip().lower() for name in additional.split(";")} - {""})
    signed = [name for name in sorted(headers) if _is_always_signed(name) or name in named]
    # A URL cannot hold the signature that it is signed by.
    query = sorted(
        (quote(name, safe=""), quote(value, safe="")) for name, value in request.query if name != b"x-oss-signature"
    )
    return "\n".join(
        (
            request.method,
            quote(request.resource, safe="/"),
            "&".join(f"{name}={value}" if value else name for name, value in query),
            "".join(f"{name}:{headers[name]}\n" for name in signed),
            ";".join(named),
            headers.get("x-oss-content-sha256", UNSIGNED_PAYLOAD),
        )
    )


def check_v4(canonical: str, date: str, credential: Credential, signature: str, account: Account) -> None:
    """Raises OSSError unless `signature` is what `account` makes of the canonical request."""
    text = "\n".join((V4, date, credential.scope, hashlib.sha256(canonical.encode()).hexdigest()))
    expected = sign_v4(account.access_key_secret, credential.day, credential.region, text)
    # The string to sign holds no more of the request than a hash, in which no difference can be seen.
    shown = {"CanonicalRequest": canonical, "CanonicalRequestBytes": canonical.encode().hex(" ").upper()}
    compare(expected, signature, credential.access_key_id, text, "0002-00000201", **shown)


def _is_always_signed(name: str) -> bool:
    return name.startswith("x-oss-") or name in ("content-type", "content-md5")


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
