"""Signature V4 of a request, in the Authorization header or in the URL, and the functions that forms share."""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from typing import NamedTuple
from urllib.parse import quote, urlencode

from ..environ import Address, http_time
from ..errors import OSSError, access_denied, invalid_argument
from .account import SKEW, Account, check_access_key, compare_signatures, shown_bytes, too_skewed
from .signed_request import SignedRequest, check_not_expired

V4 = "OSS4-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
DATE = "%Y%m%dT%H%M%SZ"
#: Seconds that a V4 signature is valid at most.
LIFETIME = 7 * 24 * 3600

_WRONG_REGION = "0002-00000226"
_ADDITIONAL = "x-oss-additional-headers"
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")


class Credential(NamedTuple):
    """The signer, the day and the region: `<access key id>/<day>/<region>/oss/aliyun_v4_request`."""

    access_key_id: str
    day: str
    region: str

    @classmethod
    def parse(cls, text: str, *, name: str, ec: str = "") -> Credential:
        """Return the credential; raise OSSError, which says where the text was, if it has another form."""
        parts = text.split("/")
        if len(parts) != 5 or not parts[0] or parts[3:] != ["oss", "aliyun_v4_request"]:
            message = f"The {name} is not <access key id>/<day>/<region>/oss/aliyun_v4_request."
            raise invalid_argument(message, ec, name=name, value=text)
        return cls(*parts[:3])

    @property
    def scope(self) -> str:
        return f"{self.day}/{self.region}/oss/aliyun_v4_request"

    def __str__(self) -> str:
        return f"{self.access_key_id}/{self.scope}"


def wrong_region(credential: Credential, ec: str = "") -> OSSError:
    """Return the error for an x-oss-credential, of a URL or a form, with another region than the bucket's."""
    message = "The signing region in credential is invalid."
    return invalid_argument(message, ec, name="x-oss-credential", value=str(credential))


def _wrong_scope(what: str, ec: str, header: str) -> OSSError:
    """Return the error for an Authorization header whose credential names another region or product."""
    message = f"Invalid signing {what} in Authorization header."
    return OSSError(400, "InvalidArgument", message, ec, Authorization=header)


def signed_at(date: str, credential: Credential, *, name: str = "credential", ec: str = "") -> int:
    """Return an `x-oss-date` in Unix seconds; raise OSSError if it is no date or not on the credential's day."""
    moment = utc_seconds(date)
    if moment is None:
        raise access_denied("The x-oss-date is not valid.", ec)
    if date[:8] != credential.day:
        raise access_denied(f"The day of the {name} is not the day of the x-oss-date.", ec)
    return moment


def utc_seconds(date: str) -> int | None:
    """Return a date such as 20261201T093000Z in Unix seconds; None if it is not one."""
    try:
        return calendar.timegm(time.strptime(date, DATE)) if _DATE.fullmatch(date) else None
    except ValueError:
        return None


def sign_v4(secret: str, credential: Credential, text: str) -> str:
    """Return the V4 signature of a string to sign, or of the policy of a form, in hexadecimal."""
    return chained_hmac(f"aliyun_v4{secret}", *credential.scope.split("/"), text)


def chained_hmac(key: str, *texts: str) -> str:
    """Return the HMAC-SHA256 of the last text in hexadecimal; that of each text is the key of the next one's."""
    digest = key.encode()
    for text in texts:
        digest = hmac.digest(digest, text.encode(), hashlib.sha256)
    return digest.hex()


def check_header_v4(request: SignedRequest, account: Account, region: str, now: float) -> Account:
    headers = request.headers
    members = _parse_authorization(headers["authorization"])
    if members["Credential"].split("/")[3:4] not in ([], ["oss"]):
        raise _wrong_scope("product", "0002-00000227", headers["authorization"])
    credential = Credential.parse(members["Credential"], name="Credential", ec="0002-00000213")
    if credential.region != region:
        raise _wrong_scope("region", _WRONG_REGION, headers["authorization"])
    date = headers.get("x-oss-date") or _date_header(headers.get("date", ""))
    moment = signed_at(date, credential, ec="0002-00000502")
    if abs(now - moment) > SKEW:
        raise too_skewed(moment, now)
    payload = headers.get("x-oss-content-sha256", "")
    if payload != UNSIGNED_PAYLOAD:
        message = f"The x-oss-content-sha256 must be {UNSIGNED_PAYLOAD}."
        raise invalid_argument(message, "0002-00000214", name="x-oss-content-sha256", value=payload)
    account = check_access_key(credential.access_key_id, headers.get("x-oss-security-token"), account, now)
    additional = members.get("AdditionalHeaders")
    _check_additional_headers(request, additional, name="AdditionalHeaders", empty="0002-00000209")
    canonical = canonical_request(request, additional or "")
    _check_signature(canonical, date, credential, members["Signature"], account)
    return account


def check_query_v4(request: SignedRequest, account: Account, region: str, now: float) -> Account:
    version = request.required_parameter("x-oss-signature-version")
    if version != V4:
        message = f"This OSS reads {V4} in a URL, and no other version."
        raise invalid_argument(message, name="x-oss-signature-version", value=version)
    signature = request.required_parameter("x-oss-signature")
    credential = Credential.parse(request.required_parameter("x-oss-credential"), name="x-oss-credential")
    if credential.region != region:
        raise wrong_region(credential, _WRONG_REGION)
    date = request.required_parameter("x-oss-date")
    moment = signed_at(date, credential)
    check_lifetime(request, "x-oss-expires", moment, now)
    account = check_access_key(credential.access_key_id, request.parameter("x-oss-security-token"), account, now)
    additional = request.parameter(_ADDITIONAL)
    _check_additional_headers(request, additional, name=_ADDITIONAL, empty="0002-00000076", absent="0002-00000077")
    canonical = canonical_request(request, additional or "")
    _check_signature(canonical, date, credential, signature, account)
    return account


def check_lifetime(request: SignedRequest, name: str, moment: int, now: float) -> None:
    """Raise OSSError unless a URL that was signed at a moment is valid now.

    :param name: the parameter with the seconds for which the URL is valid.
    """
    expires = request.required_parameter(name)
    if not re.fullmatch(r"[0-9]{1,9}", expires) or not 1 <= int(expires) <= LIFETIME:
        message = f"The {name} must be a number of seconds from 1 to {LIFETIME}."
        raise invalid_argument(message, name=name, value=expires)
    if moment > now + SKEW:
        raise access_denied("Request is not valid yet.")
    check_not_expired(moment + int(expires), now)


def signed_path(address: Address, account: Account, region: str, now: float, lifetime: int) -> str:
    """Return the path and the query with which anybody may GET an object for some seconds, at most LIFETIME."""
    date = time.strftime(DATE, time.gmtime(now))
    credential = Credential(account.access_key_id, date[:8], region)
    query = {
        "x-oss-signature-version": V4,
        "x-oss-credential": str(credential),
        "x-oss-date": date,
        "x-oss-expires": str(lifetime),
    }
    if account.security_token:
        query["x-oss-security-token"] = account.security_token
    request = SignedRequest("GET", address, {}, tuple((k.encode(), v.encode()) for k, v in query.items()))
    text = _string_to_sign(canonical_request(request), date, credential)
    query["x-oss-signature"] = sign_v4(account.access_key_secret, credential, text)
    return f"{quote(request.resource)}?{urlencode(query)}"


def canonical_request(request: SignedRequest, additional: str = "") -> str:
    """Return the canonical request, whose hash V4 signs.

    :param additional: the names of further signed headers, beside those that always are, joined by `;`.
    """
    headers = request.headers
    names = sorted(_header_names(additional))
    signed = [name for name in sorted(headers) if _is_always_signed(name) or name in names]
    return "\n".join(
        (
            request.method,
            quote(request.resource, safe="/"),
            "&".join(f"{name}={value}" if value else name for name, value in request.sorted_query("x-oss-signature")),
            "".join(f"{name}:{headers[name]}\n" for name in signed),
            ";".join(names),
            headers.get("x-oss-content-sha256", UNSIGNED_PAYLOAD),
        )
    )


def _header_names(additional: str) -> set[str]:
    return {name.strip().lower() for name in additional.split(";")} - {""}


def _check_additional_headers(
    request: SignedRequest, additional: str | None, *, name: str, empty: str, absent: str = ""
) -> None:
    """Raise OSSError unless the request has each header that is signed in addition (protocol.md 15.2).

    :param additional: the list of their names, None without one.
    :param name: what the error calls the list.
    :param empty: the EC for a list without names.
    :param absent: the EC for a header that the request does not have.
    """
    if additional is None:
        return
    names = _header_names(additional)
    if not names:
        raise invalid_argument(f"The {name} is empty.", empty, name=name, value=additional)
    missing = sorted(names - request.headers.keys())
    if missing:
        message = f"The {name} names the header {missing[0]}, which the request does not have."
        raise invalid_argument(message, absent, name=name, value=additional)


def _is_always_signed(name: str) -> bool:
    return name.startswith("x-oss-") or name in ("content-type", "content-md5")


def _date_header(header: str) -> str:
    """Return a `Date` header in the format of `x-oss-date`, which it may replace; "" if it is not in GMT."""
    if not header:
        raise access_denied("OSS authentication requires a valid Date.", "0002-00000503")
    moment = http_time(header)
    return "" if moment is None or not header.endswith("GMT") else time.strftime(DATE, time.gmtime(moment))


def _parse_authorization(header: str) -> dict[str, str]:
    members: dict[str, str] = {}
    for member in header.partition(" ")[2].split(","):
        name, equals, value = member.strip().partition("=")
        if not equals or name in members or name not in ("Credential", "AdditionalHeaders", "Signature"):
            raise invalid_argument("The Authorization header is not well-formed.", name="Authorization")
        members[name] = value
    for name in ("Credential", "Signature"):
        if not members.get(name):
            raise invalid_argument(f"The Authorization header has no {name}.", name="Authorization")
    return members


def _check_signature(canonical: str, date: str, credential: Credential, signature: str, account: Account) -> None:
    text = _string_to_sign(canonical, date, credential)
    expected = sign_v4(account.access_key_secret, credential, text)
    # The string to sign holds only a hash of the request, so the error shows the canonical request too.
    members = {"CanonicalRequest": canonical, "CanonicalRequestBytes": shown_bytes(canonical)}
    compare_signatures(expected, signature, text, "0002-00000201", OSSAccessKeyId=credential.access_key_id, **members)


def _string_to_sign(canonical: str, date: str, credential: Credential) -> str:
    return "\n".join((V4, date, credential.scope, hashlib.sha256(canonical.encode()).hexdigest()))
