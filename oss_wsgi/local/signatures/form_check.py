"""Who signed the form: signature V1 (P§4) and V4 (P§5)."""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import OSSError, access_denied, invalid_argument, invalid_policy

V4 = "OSS4-HMAC-SHA256"
SKEW = 15 * 60
LIFETIME = 7 * 24 * 3600


@dataclass(frozen=True)
class Account:
    """The one access key that this OSS knows, and the token without which a temporary one is refused.

    :param expires: Unix seconds; after it the token is refused.
    """

    access_key_id: str
    access_key_secret: str = field(repr=False)
    security_token: str | None = field(default=None, repr=False)
    expires: float | None = None


def too_skewed(request_time: str, server_time: str) -> OSSError:
    """The refusal of a request signed more than SKEW seconds from now; both times as its scheme writes them."""
    message = "The difference between the request time and the current time is too large."
    return OSSError(
        403,
        "RequestTimeTooSkewed",
        message,
        "0002-00000504",
        MaxAllowedSkewMilliseconds=str(SKEW * 1000),
        RequestTime=request_time,
        ServerTime=server_time,
    )


def check_signature(fields: Mapping[str, str], account: Account, region: str, now: float) -> None:
    """Raises OSSError unless `fields` carry a signature of `account` over their `policy`."""
    version = fields.get("x-oss-signature-version")
    if version is None:
        _check_v1(fields, account, now)
    elif version == V4:
        _check_v4(fields, account, region, now)
    else:
        message = "The signature version of the form is not supported."
        raise invalid_argument(message, "0002-00000701", name="x-oss-signature-version", value=version)


def _check_v1(fields: Mapping[str, str], account: Account, now: float) -> None:
    access_key_id, signature, policy = (fields.get(name) for name in ("ossaccesskeyid", "signature", "policy"))
    if access_key_id is None and signature is None and policy is None:
        raise access_denied("You have no right to access this object because of bucket acl.", "0003-00000001")
    if not access_key_id:
        ec = "0002-00000706" if access_key_id is None else "0002-00000707"
        raise _empty("OSSAccessKeyId", "accessKeyId", ec)
    if not signature:
        raise _empty("Signature", "signature", "0002-00000703" if signature is None else "0002-00000704")
    if not policy:
        raise invalid_policy("The policy is empty.", "0006-00000205")
    check_access_key(access_key_id, fields.get("x-oss-security-token"), account, now)
    digest = hmac.digest(account.access_key_secret.encode(), policy.encode(), "sha1")
    compare(base64.b64encode(digest).decode(), signature, access_key_id, policy, "0002-00000705")


def _check_v4(fields: Mapping[str, str], account: Account, region: str, now: float) -> None:
    policy, signature = fields.get("policy"), fields.get("x-oss-signature")
    credential, date = fields.get("x-oss-credential"), fields.get("x-oss-date")
    if not policy:
        raise _empty("policy", "policy", "0002-00000702")
    if not signature:
        raise _empty("x-oss-signature", "signature", "0002-00000703" if signature is None else "0002-00000704")
    if not credential:
        raise _empty("x-oss-credential", "x-oss-credential")
    if not date:
        raise _empty("x-oss-date", "x-oss-date")
    access_key_id, day = _parse_credential(credential, region)
    _check_date(date, day, now)
    check_access_key(access_key_id, fields.get("x-oss-security-token"), account, now)
    compare(sign_v4(account.access_key_secret, day, region, policy), signature, access_key_id, policy, "0002-00000705")


def _empty(name: str, called: str, ec: str = "") -> OSSError:
    return invalid_argument(f"Post request {called} is empty.", ec, name=name)


def sign_v4(secret: str, day: str, region: str, text: str) -> str:
    key = f"aliyun_v4{secret}".encode()
    for part in (day, region, "oss", "aliyun_v4_request"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    return hmac.digest(key, text.encode(), hashlib.sha256).hex()


def _parse_credential(credential: str, region: str) -> tuple[str, str]:
    def refused(message: str, ec: str = "") -> OSSError:
        return invalid_argument(message, ec, name="x-oss-credential", value=credential)

    # An access key id has no slash, so a wrong count of parts means a wrong text.
    access_key_id, *scope = credential.split("/")
    if scope[-1:] != ["aliyun_v4_request"]:
        raise refused("The x-oss-credential does not end with aliyun_v4_request.", "0002-00000710")
    if not re.fullmatch(r"[\w.-]+", access_key_id, re.ASCII):
        raise refused("The access key id of the x-oss-credential is not valid.", "0002-00000708")
    if len(scope) != 4 or scope[2] != "oss":
        raise refused("The x-oss-credential is not <access key id>/<day>/<region>/oss/aliyun_v4_request.")
    if not re.fullmatch(r"[0-9]{8}", scope[0]):
        raise access_denied("The day of the x-oss-credential is not valid.", "0002-00000709")
    if scope[1] != region:
        raise refused("Invalid signing region in x-oss-credential.")
    return access_key_id, scope[0]


def _check_date(date: str, day: str, now: float) -> None:
    try:
        if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", date):
            raise ValueError
        signed_at = calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise access_denied("The x-oss-date is not valid.", "0002-00000709") from None
    if date[:8] != day:
        raise access_denied("The day of the x-oss-credential is not the day of the x-oss-date.", "0002-00000709")
    # The two documented windows are read as an allowance for clocks and a hard end (P§5.4).
    if not now - LIFETIME <= signed_at <= now + SKEW:
        message = "The difference between the request time and the current time is too large."
        raise OSSError(403, "RequestTimeTooSkewed", message, "0002-00000709")


def check_access_key(access_key_id: str, token: str | None, account: Account, now: float = 0.0) -> None:
    known = hmac.compare_digest(access_key_id.encode(), account.access_key_id.encode())
    if not known or (account.security_token and not token):
        message = "The OSS Access Key Id you provided does not exist in our records."
        raise OSSError(403, "InvalidAccessKeyId", message, "0002-00000902", OSSAccessKeyId=access_key_id)
    if token and not account.security_token:
        message = "The security token does not belong to the access key id."
        raise OSSError(403, "AccessKeyIdAndSecurityTokenNotMatch", message)
    if token and account.security_token and not hmac.compare_digest(token.encode(), account.security_token.encode()):
        raise OSSError(403, "InvalidSecurityToken", "The security token you provided is invalid.", "0002-00000006")
    if account.expires is not None and now > account.expires:
        message = "The security token you provided has expired."
        raise OSSError(403, "SecurityTokenExpired", message, "0002-00000007")


def compare(expected: str, provided: str, access_key_id: str, text: str, ec: str = "", **members: str) -> None:
    if hmac.compare_digest(expected.encode(), provided.encode()):
        return
    message = (
        "The request signature we calculated does not match the signature you provided."
        " Check your key and signing method."
    )
    raise OSSError(
        403,
        "SignatureDoesNotMatch",
        message,
        ec,
        OSSAccessKeyId=access_key_id,
        SignatureProvided=provided,
        StringToSign=text,
        StringToSignBytes=text.encode().hex(" ").upper(),
        **members,
    )
