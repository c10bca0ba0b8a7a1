"""The signature of a form: V1 (protocol.md 4) or V4 (protocol.md 5), over its policy."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import OSSError, access_denied, invalid_argument, invalid_policy
from .account import SKEW, Account, check_access_key, compare_signatures
from .v1 import sign
from .v4 import LIFETIME, V4, Credential, sign_v4, signed_at

_CREDENTIAL = "x-oss-credential"
_INVALID_DATE = "0002-00000709"
_ACCESS_KEY_ID = re.compile(r"[\w.-]+/", re.ASCII)
_DAY = re.compile(r"[0-9]{8}")


def check_signature(fields: Mapping[str, str], account: Account, region: str, now: float) -> Account:
    """Return the key that signed the `policy` in the fields; raise OSSError without a valid signature."""
    version = fields.get("x-oss-signature-version")
    if version is None:
        return _check_v1(fields, account, now)
    if version == V4:
        return _check_v4(fields, account, region, now)
    message = "The signature version of the form is not supported."
    raise invalid_argument(message, "0002-00000701", name="x-oss-signature-version", value=version)


def _check_v1(fields: Mapping[str, str], account: Account, now: float) -> Account:
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
    account = check_access_key(access_key_id, fields.get("x-oss-security-token"), account, now)
    expected = sign(account.access_key_secret, policy)
    compare_signatures(expected, signature, access_key_id, policy, "0002-00000705")
    return account


def _check_v4(fields: Mapping[str, str], account: Account, region: str, now: float) -> Account:
    policy, signature = fields.get("policy"), fields.get("x-oss-signature")
    text, date = fields.get(_CREDENTIAL), fields.get("x-oss-date")
    if not policy:
        raise _empty("policy", "policy", "0002-00000702")
    if not signature:
        raise _empty("x-oss-signature", "signature", "0002-00000703" if signature is None else "0002-00000704")
    if not text:
        raise _empty(_CREDENTIAL, _CREDENTIAL)
    if not date:
        raise _empty("x-oss-date", "x-oss-date")
    credential = _parse_credential(text)
    credential.check_region(region, name=_CREDENTIAL)
    moment = signed_at(date, credential, name=_CREDENTIAL, ec=_INVALID_DATE)
    # OSS documents two limits (protocol.md 5.4): 15 minutes for clocks that run ahead, and 7 days of life.
    if not now - LIFETIME <= moment <= now + SKEW:
        message = "The difference between the request time and the current time is too large."
        raise OSSError(403, "RequestTimeTooSkewed", message, _INVALID_DATE)
    account = check_access_key(credential.access_key_id, fields.get("x-oss-security-token"), account, now)
    expected = sign_v4(account.access_key_secret, credential, policy)
    compare_signatures(expected, signature, credential.access_key_id, policy, "0002-00000705")
    return account


def _parse_credential(text: str) -> Credential:
    """Return the credential; raise OSSError with the ECs that OSS has for forms alone."""
    if not text.endswith("/aliyun_v4_request"):
        message = f"The {_CREDENTIAL} does not end with aliyun_v4_request."
        raise invalid_argument(message, "0002-00000710", name=_CREDENTIAL, value=text)
    if not _ACCESS_KEY_ID.match(text):
        message = f"The access key id of the {_CREDENTIAL} is not valid."
        raise invalid_argument(message, "0002-00000708", name=_CREDENTIAL, value=text)
    credential = Credential.parse(text, name=_CREDENTIAL)
    if not _DAY.fullmatch(credential.day):
        raise access_denied(f"The day of the {_CREDENTIAL} is not valid.", _INVALID_DATE)
    return credential


def _empty(field: str, wire_name: str, ec: str = "") -> OSSError:
    return invalid_argument(f"Post request {wire_name} is empty.", ec, name=field)
