"""The signature of a request, in its header or its URL, or of a form (protocol.md 4, 5 and 15.4), V1, V4 or S3's.

A request's signature also decides which object the request means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..environ import Address
from ..errors import (
    OSSError,
    access_denied,
    denied_by_bucket_acl,
    invalid_argument,
    invalid_policy,
    missing_field,
)
from .account import SKEW, Account, check_access_key, compare_signatures
from .s3 import PARAMETERS as S3_PARAMETERS
from .s3 import check_s3, is_s3
from .signed_request import SignedRequest
from .v1 import check_header_v1, check_query_v1, sign
from .v4 import LIFETIME, V4, Credential, check_header_v4, check_query_v4, sign_v4, signed_at, wrong_region

# A URL with any of these, or with OSSAccessKeyId or Signature, counts as signed: it needs the others too.
_QUERY_V4 = ("x-oss-signature-version", "x-oss-signature", "x-oss-credential")
#: The first word of an Authorization header of version 1.
V1 = "OSS"
_CREDENTIAL = "x-oss-credential"
_INVALID_DATE = "0002-00000709"
_ACCESS_KEY_ID = re.compile(r"[\w.-]+/", re.ASCII)
_DAY = re.compile(r"[0-9]{8}")


def signed_address(
    environ: Mapping[str, Any],
    candidates: Sequence[Address],
    account: Account,
    region: str,
    now: float,
    *,
    refuse_v1: bool = False,
) -> tuple[Address, Account | None]:
    """Return the address that the request means, and the key that signed it.

    Each candidate is another resource to sign, so a signature fits at most one: the one that the request means. An
    unsigned request means the first.

    :param refuse_v1: accept V4 only.
    :raises OSSError: the signature fits no candidate; the error shows the first.
    """
    first, *others = candidates
    try:
        return first, check_request_signature(environ, first, account, region, now, refuse_v1=refuse_v1)
    except OSSError as error:
        if error.code != "SignatureDoesNotMatch":
            raise
        for other in others:
            with suppress(OSSError):
                signer = check_request_signature(environ, other, account, region, now)
                if signer:
                    return other, signer
        raise


def check_request_signature(
    environ: Mapping[str, Any], address: Address, account: Account, region: str, now: float, *, refuse_v1: bool = False
) -> Account | None:
    """Return the key that signed the request, None for an unsigned one; raise OSSError for a wrong signature."""
    request = SignedRequest.read(environ, address)
    if _is_form(request):
        return None
    in_header = bool(request.headers.get("authorization"))
    names = {name.decode(errors="replace") for name, _ in request.query}
    in_query_s3, in_query_v4 = (not names.isdisjoint(known) for known in (S3_PARAMETERS, _QUERY_V4))
    # S3's signature V2 has a parameter of this name too.
    in_query_v1 = "OSSAccessKeyId" in names or ("Signature" in names and not in_query_s3)
    if in_header + in_query_s3 + in_query_v1 + in_query_v4 > 1:
        raise invalid_argument("The request carries more than one signature.", name="Authorization")
    if is_s3(environ):
        return check_s3(request, account, now)
    if in_query_v4:
        return check_query_v4(request, account, region, now)
    algorithm = request.headers["authorization"].partition(" ")[0] if in_header else ""
    if algorithm == V4:
        return check_header_v4(request, account, region, now)
    if refuse_v1 and (in_query_v1 or algorithm == V1):
        raise _v1_is_forbidden()
    if in_query_v1:
        return check_query_v1(request, account, now)
    if algorithm == V1:
        return check_header_v1(request, account, now)
    if in_header:
        message = f"The Authorization header begins with neither {V1} nor {V4}."
        raise invalid_argument(message, "0002-00000061", name="Authorization", value=algorithm)
    return None


def _is_form(request: SignedRequest) -> bool:
    """Return whether this is a form, which is signed in its fields: its header and URL are ignored (protocol.md 2.1).

    A POST to a bucket without a query counts as a form of any type, so that the refusal names a wrong type.
    """
    is_multipart = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    return request.method == "POST" and not request.address.key and (is_multipart or not request.query)


def _v1_is_forbidden() -> OSSError:
    return access_denied("V1 signature is forbidden", "0002-00000080")


def check_form_signature(
    fields: Mapping[str, str], account: Account, region: str, now: float, *, refuse_v1: bool = False
) -> Account:
    """Return the key that signed the `policy` in the fields; raise OSSError without a valid signature."""
    version = fields.get("x-oss-signature-version")
    if version is None:
        return _check_form_v1(fields, account, now, refuse_v1=refuse_v1)
    if version == V4:
        return _check_form_v4(fields, account, region, now)
    message = "The signature version of the form is not supported."
    raise invalid_argument(message, "0002-00000701", name="x-oss-signature-version", value=version)


def _check_form_v1(fields: Mapping[str, str], account: Account, now: float, *, refuse_v1: bool) -> Account:
    if not fields.keys() & {"ossaccesskeyid", "signature", "policy"}:
        raise denied_by_bucket_acl()
    if refuse_v1:
        raise _v1_is_forbidden()
    access_key_id = _required(fields, "OSSAccessKeyId", "accessKeyId", "0002-00000706", "0002-00000707")
    signature = _required(fields, "Signature", "signature", "0002-00000703", "0002-00000704")
    policy = fields.get("policy")
    if not policy:
        raise invalid_policy("The policy is empty.", "0006-00000205")
    account = check_access_key(access_key_id, fields.get("x-oss-security-token"), account, now)
    expected = sign(account.access_key_secret, policy)
    compare_signatures(expected, signature, policy, "0002-00000705", OSSAccessKeyId=access_key_id)
    return account


def _check_form_v4(fields: Mapping[str, str], account: Account, region: str, now: float) -> Account:
    policy = _required(fields, "policy", "policy", "0002-00000702", "0002-00000702")
    signature = _required(fields, "x-oss-signature", "signature", "0002-00000703", "0002-00000704")
    text = _required(fields, _CREDENTIAL, _CREDENTIAL)
    date = _required(fields, "x-oss-date", "x-oss-date")
    credential = _parse_credential(text)
    if credential.region != region:
        raise wrong_region(credential)
    moment = signed_at(date, credential, name=_CREDENTIAL, ec=_INVALID_DATE)
    # OSS documents two limits (protocol.md 5.4): 15 minutes for clocks that run ahead, and 7 days of life.
    if not now - LIFETIME <= moment <= now + SKEW:
        message = "The difference between the request time and the current time is too large."
        raise OSSError(403, "RequestTimeTooSkewed", message, _INVALID_DATE)
    account = check_access_key(credential.access_key_id, fields.get("x-oss-security-token"), account, now)
    expected = sign_v4(account.access_key_secret, credential, policy)
    compare_signatures(expected, signature, policy, "0002-00000705", OSSAccessKeyId=credential.access_key_id)
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


def _required(fields: Mapping[str, str], name: str, shown: str, absent: str = "", empty: str = "") -> str:
    """Return the field; raise OSSError with one of two ECs if it is absent or empty."""
    value = fields.get(name.lower())
    if value is None:
        raise missing_field(name, absent)
    if not value:
        raise invalid_argument(f"Post request {shown} is empty.", empty, name=name)
    return value
