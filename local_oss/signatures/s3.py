"""The signature V4 of S3, in the Authorization header or in the URL, and the names of S3 (protocol.md 15.4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote_plus

from ..environ import Address
from ..errors import Headers, access_denied, invalid_argument, not_implemented
from ..faults import HEADER as FAULTS
from .account import SKEW, Account, check_access_key, compare_signatures, shown_bytes, too_skewed
from .signed_request import SignedRequest
from .v4 import UNSIGNED_PAYLOAD, chained_hmac, check_lifetime, utc_seconds

S3_V4 = "AWS4-HMAC-SHA256"
#: How an Authorization header of S3 begins, of any version.
_IN_HEADER = "AWS"
_KEY_ID_V2 = "AWSAccessKeyId"
#: A URL with any of these is signed as S3 does.
PARAMETERS = frozenset(("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", _KEY_ID_V2))
_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_PAYLOAD = "x-amz-content-sha256"
#: <access key id>/<day>/<region>/s3/aws4_request
_CREDENTIAL = re.compile(r"([^/]+)/([0-9]{8})/([^/]+)/s3/aws4_request", re.ASCII)
#: The members of an Authorization header, and the EC where one is missing.
_MEMBERS = {"Credential": "0002-00000403", "SignedHeaders": "0002-00000405", "Signature": ""}
_SIGNATURE_LENGTH = 64
_DIGEST = re.compile(f"[0-9a-fA-F]{{64}}|{UNSIGNED_PAYLOAD}")

#: Checksums of the kinds that OSS does not have.
_UNUSED = ("HTTP_X_AMZ_CHECKSUM_", "HTTP_X_AMZ_SDK_CHECKSUM_")
_STORAGE_CLASSES = {"STANDARD": "Standard", "STANDARD_IA": "IA", "GLACIER": "Archive", "DEEP_ARCHIVE": "ColdArchive"}
#: What an object keeps, and a client of S3 reads by its own name.
_KEPT = re.compile("x-oss-(?=meta-|storage-class$|server-side-encryption$)")


def is_s3(environ: Mapping[str, Any]) -> bool:
    """Return whether a client of S3 signed the request."""
    query = environ.get("QUERY_STRING", "")
    if str(environ.get("HTTP_AUTHORIZATION", "")).startswith(_IN_HEADER):
        return True
    return bool(query) and any(unquote_plus(pair.partition("=")[0]) in PARAMETERS for pair in query.split("&"))


def check_s3(request: SignedRequest, account: Account, now: float) -> Account:
    """Return the key that signed the request; raise OSSError for a wrong signature, or one that is not V4."""
    _check_payload(request.headers)
    authorization = request.headers.get("authorization", "")
    scheme = authorization.partition(" ")[0]
    if scheme == _IN_HEADER or request.parameter(_KEY_ID_V2) is not None:
        raise not_implemented("signature V2 of S3: sign with V4, as boto3 does with region_name='cn-hangzhou'")
    if not authorization:
        return _check_query(request, account, now)
    if scheme != S3_V4:
        message = f"The Authorization header does not begin with {S3_V4}."
        raise invalid_argument(message, "0002-00000402", name="Authorization", value=scheme)
    return _check_header(request, authorization, account, now)


def as_oss(environ: Mapping[str, Any], address: Address) -> dict[str, Any]:
    """Return the environ of a request with the headers of S3 by the names that OSS has for them.

    :raises OSSError: the request has a header by both names.
    """
    own: dict[str, Any] = {}
    for name, value in environ.items():
        if name.startswith(_UNUSED):
            continue
        other = name.replace("HTTP_X_AMZ_", "HTTP_X_OSS_")
        if other == "HTTP_X_OSS_ACL" and address.key:
            other = "HTTP_X_OSS_OBJECT_ACL"
        if other in own:
            raise invalid_argument("The request has a header by its names in S3 and in OSS.", name=other[5:].lower())
        own[other] = value
    storage_class = own.get("HTTP_X_OSS_STORAGE_CLASS")
    if storage_class in _STORAGE_CLASSES:
        own["HTTP_X_OSS_STORAGE_CLASS"] = _STORAGE_CLASSES[storage_class]
    return own


def as_s3(headers: Headers) -> Headers:
    """Return the headers of a response, what an object keeps by the names of S3."""
    return [(_KEPT.sub("x-amz-", name), value) for name, value in headers]


def _check_payload(headers: Mapping[str, str]) -> None:
    """Raise OSSError for a body in chunks: OSS reads one kind of them, and this OSS none."""
    encoding, payload = headers.get("content-encoding", ""), headers.get(_PAYLOAD, "")
    if "aws-chunked" in encoding.lower() and payload != _CHUNKS:
        message = "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value."
        raise invalid_argument(message, "0017-00000804", name="Content-Encoding", value=encoding)
    if payload.startswith("STREAMING-"):
        raise not_implemented(f"{payload}: let the client send the body as it is")


def _check_header(request: SignedRequest, authorization: str, account: Account, now: float) -> Account:
    members = _members(authorization)
    credential = _credential(members["Credential"], "Credential", "0002-00000404")
    _check_length(members["Signature"], "Signature", "0002-00000408")
    date = request.headers.get("x-amz-date", "")
    moment = utc_seconds(date)
    if moment is None:
        raise access_denied("The x-amz-date is not valid.")
    if date[:8] != credential[2]:
        raise access_denied("The day of the Credential is not the day of the x-amz-date.", "0002-00000409")
    if abs(now - moment) > SKEW:
        raise too_skewed(moment, now)
    account = check_access_key(credential[1], request.headers.get("x-amz-security-token"), account, now)
    payload = request.headers.get(_PAYLOAD, "")
    if not _DIGEST.fullmatch(payload):
        message = f"The {_PAYLOAD} must be the SHA-256 of the body in hexadecimal, or {UNSIGNED_PAYLOAD}."
        raise invalid_argument(message, name=_PAYLOAD, value=payload)
    names = _signed_names(request, members["SignedHeaders"], "SignedHeaders", "0002-00000426")
    _compare(request, account, credential, date, names, payload=payload, signature=members["Signature"])
    return account


def _check_query(request: SignedRequest, account: Account, now: float) -> Account:
    algorithm = request.required_parameter("X-Amz-Algorithm")
    if algorithm != S3_V4:
        message = f"The X-Amz-Algorithm is not {S3_V4}."
        raise invalid_argument(message, "0002-00000411", name="X-Amz-Algorithm", value=algorithm)
    credential = _credential(request.required_parameter("X-Amz-Credential"), "X-Amz-Credential", "0002-00000425")
    signature = request.required_parameter("X-Amz-Signature")
    _check_length(signature, "X-Amz-Signature", "0002-00000423")
    date = request.required_parameter("X-Amz-Date")
    moment = utc_seconds(date)
    if moment is None:
        raise invalid_argument("The X-Amz-Date is not valid.", "0002-00000415", name="X-Amz-Date", value=date)
    if date[:8] != credential[2]:
        raise access_denied("The day of the X-Amz-Credential is not the day of the X-Amz-Date.")
    check_lifetime(request, "X-Amz-Expires", moment, now)
    account = check_access_key(credential[1], request.parameter("X-Amz-Security-Token"), account, now)
    signed_headers = request.required_parameter("X-Amz-SignedHeaders")
    names = _signed_names(request, signed_headers, "X-Amz-SignedHeaders", "0002-00000420")
    payload = request.headers.get(_PAYLOAD, UNSIGNED_PAYLOAD)
    _compare(request, account, credential, date, names, payload=payload, signature=signature)
    return account


def _members(authorization: str) -> dict[str, str]:
    members: dict[str, str] = {}
    for member in authorization.partition(" ")[2].split(","):
        name, equals, value = member.strip().partition("=")
        if not equals or name in members or name not in _MEMBERS:
            raise invalid_argument(
                "The Authorization header is not well-formed.", "0002-00000406", name="Authorization"
            )
        members[name] = value
    for name, ec in _MEMBERS.items():
        if name not in members:
            raise invalid_argument(f"The Authorization header has no {name}.", ec, name="Authorization")
    return members


def _credential(text: str, name: str, ec: str) -> re.Match[str]:
    """Return a match with access key ID, day and region. OSS takes any region: its pages show us-east-1."""
    match = _CREDENTIAL.fullmatch(text)
    if not match:
        message = f"The {name} is not <access key id>/<day>/<region>/s3/aws4_request."
        raise invalid_argument(message, ec, name=name, value=text)
    return match


def _check_length(signature: str, name: str, ec: str) -> None:
    if len(signature) != _SIGNATURE_LENGTH:
        raise invalid_argument(f"The {name} has not {_SIGNATURE_LENGTH} characters.", ec, name=name, value=signature)


def _signed_names(request: SignedRequest, text: str, name: str, ec: str) -> list[str]:
    """Return the names of the signed headers; raise OSSError unless they have the Host and all headers of S3 and OSS.

    :param ec: where the Host is not signed.
    """
    names = text.split(";")
    if "host" not in names:
        raise invalid_argument(f"The {name} does not hold host.", ec, name=name, value=text)
    if len(set(names)) < len(names) or not request.headers.keys() >= set(names):
        message = f"The {name} holds headers that the request does not have, or one twice."
        raise invalid_argument(message, "0002-00000428", name=name, value=text)
    own = {each for each in request.headers if each.startswith(("x-amz-", "x-oss-"))}
    unsigned = sorted(own.difference(names, (FAULTS, _PAYLOAD)))
    if unsigned:
        raise access_denied(f"There were headers present in the request which were not signed: {', '.join(unsigned)}.")
    return names


def _compare(
    request: SignedRequest,
    account: Account,
    credential: re.Match[str],
    date: str,
    names: list[str],
    *,
    payload: str,
    signature: str,
) -> None:
    """Raise OSSError unless this is the signature; AWS's page "Create a signed AWS API request" has the steps."""
    canonical = "\n".join(
        (
            request.method,
            quote(request.path) or "/",
            "&".join(f"{name}={value}" for name, value in request.sorted_query("X-Amz-Signature")),
            *(f"{name}:{' '.join(request.headers[name].split())}" for name in names),
            "",
            ";".join(names),
            payload,
        )
    )
    scope = credential[0].partition("/")[2]
    text = "\n".join((S3_V4, date, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    expected = chained_hmac(f"AWS4{account.access_key_secret}", *scope.split("/"), text)
    members = {"CanonicalRequest": canonical, "CanonicalRequestBytes": shown_bytes(canonical)}
    compare_signatures(expected, signature, text, "0002-00000429", AWSAccessKeyId=credential[1], **members)
