"""AssumeRole of STS: a temporary key with the rights of a session policy, asked for at the root of the local OSS.

Requests use Alibaba Cloud's RPC style with signature 1.0 (protocol.md 14.1). No other operation of STS is served.
"""

from __future__ import annotations

import base64
import calendar
import hmac
import json
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote

from ..bodies import content_length, read_small_body
from ..callbacks.sender import ROLE_ID
from ..errors import OSSError, Response
from ..signatures.account import SKEW, Account, PolicyError
from ..xml_document import write_xml

MAX_BODY_SIZE = 64 * 1024
#: Seconds that a session may last. The maximum is the highest limit that a role can have; most roles have 3,600.
DURATIONS = range(900, 43_200 + 1)
MAX_POLICY_SIZE = 2048
_VERSION = "2015-04-01"
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_ROLE = re.compile(r"acs:ram::([0-9A-Za-z_-]{1,64}):role/([A-Za-z0-9.@_-]{1,64})")
_SESSION_NAME = re.compile(r"[A-Za-z0-9.@_-]{2,64}")
_SIGNATURE = ("AccessKeyId", "Signature", "SignatureMethod", "SignatureNonce", "SignatureVersion", "Timestamp")
_KNOWN = {"Action", "DurationSeconds", "Format", "Policy", "RoleArn", "RoleSessionName", "SecurityToken", "Version"}
#: The parameters in which libraries send their region, and the default type of signature.
_IGNORED = {"RegionId", "SignatureType"}

Parameters = Mapping[str, str]


def rpc_parameters(environ: Mapping[str, Any]) -> Parameters | None:
    """Return the parameters of a request of RPC style; None for a request to OSS.

    This reads the body of an ordinary web form POSTed to the root: OSS has no use for such a request.
    """
    if environ.get("PATH_INFO") not in ("", "/") or environ["REQUEST_METHOD"] not in ("GET", "POST"):
        return None
    pairs = parse_qsl(str(environ.get("QUERY_STRING", "")), keep_blank_values=True)
    kind = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
    is_form = environ["REQUEST_METHOD"] == "POST" and kind == "application/x-www-form-urlencoded"
    if is_form and content_length(environ.get("CONTENT_LENGTH") or "0") <= MAX_BODY_SIZE:
        body = read_small_body(environ, MAX_BODY_SIZE)
        pairs += parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
    parameters = dict(pairs)
    return parameters if "Action" in parameters else None


def assume_role(method: str, parameters: Parameters, account: Account, now: float, request_id: str) -> Response:
    """Return a temporary key, or the reason of a refusal, in the format that the parameters choose."""
    try:
        _check_operation(parameters)
        _check_signature(method, parameters, account, now)
        members: dict[str, Any] = {"RequestId": request_id, **_session(parameters, account, now)}
        status, name = 200, "AssumeRoleResponse"
    except OSSError as error:
        members = {"RequestId": request_id, "Code": error.code, "Message": error.message}
        status, name = error.status, "Error"
    if parameters.get("Format", "XML").upper() == "JSON":
        return Response(status, [("Content-Type", "application/json;charset=utf-8")], json.dumps(members).encode())
    nodes = [(key, value if isinstance(value, str) else list(value.items())) for key, value in members.items()]
    return Response(status, [("Content-Type", "text/xml;charset=utf-8")], write_xml(name, nodes))


def _check_operation(parameters: Parameters) -> None:
    if parameters["Action"] != "AssumeRole":
        message = f"Of STS, the local OSS has only AssumeRole, not {parameters['Action']}."
        raise OSSError(404, "InvalidAction.NotFound", message)
    if parameters.get("Version") != _VERSION:
        raise OSSError(400, "InvalidVersion", f"The Version must be {_VERSION}.")
    for name in parameters:
        if name not in {*_KNOWN, *_IGNORED, *_SIGNATURE}:
            raise OSSError(400, f"InvalidParameter.{name}", f"The local OSS does not support {name}: leave it out.")


def _check_signature(method: str, parameters: Parameters, account: Account, now: float) -> None:
    for name in _SIGNATURE:
        if not parameters.get(name):
            message = (
                f"{name} is mandatory for this action. The local OSS does not read signatures of version 3: use 1.0."
            )
            raise OSSError(400, f"Missing{name}", message)
    if (parameters["SignatureMethod"], parameters["SignatureVersion"]) != ("HMAC-SHA1", "1.0"):
        message = "The local OSS reads the SignatureMethod HMAC-SHA1 with the SignatureVersion 1.0."
        raise OSSError(400, "InvalidParameter.SignatureMethod", message)
    try:
        whole = re.sub(r"\.[0-9]{1,9}Z$", "Z", parameters["Timestamp"])  # ali-oss sends milliseconds
        moment = calendar.timegm(time.strptime(whole, _TIME))
    except ValueError:
        raise OSSError(400, "InvalidTimeStamp.Format", "The Timestamp must be like 2026-01-31T12:00:00Z.") from None
    if abs(now - moment) > SKEW:
        raise OSSError(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
    if not _is_same(parameters["AccessKeyId"], account.access_key_id):
        raise OSSError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    if not _is_same(parameters.get("SecurityToken", ""), account.security_token or ""):
        raise OSSError(400, "InvalidSecurityToken.Mismatch", "Specified SecurityToken mismatch with the AccessKey.")
    text = string_to_sign(method, parameters)
    expected = hmac.digest(f"{account.access_key_secret}&".encode(), text.encode(), "sha1")
    if not _is_same(parameters["Signature"], base64.b64encode(expected).decode()):
        message = f"Specified signature is not matched with our calculation. server string to sign is:{text}"
        raise OSSError(400, "SignatureDoesNotMatch", message)


def string_to_sign(method: str, parameters: Parameters) -> str:
    pairs = sorted((name, value) for name, value in parameters.items() if name != "Signature")
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    return f"{method}&%2F&{quote(query, safe='')}"


def _session(parameters: Parameters, account: Account, now: float) -> dict[str, dict[str, str]]:
    role = _ROLE.fullmatch(parameters.get("RoleArn", ""))
    if not role:
        raise _invalid("RoleArn", "must be like acs:ram::123:role/uploader")
    name = parameters.get("RoleSessionName", "")
    if not _SESSION_NAME.fullmatch(name):
        raise _invalid("RoleSessionName", "must have 2 to 64 characters: letters, digits and .@-_")
    duration = parameters.get("DurationSeconds") or "3600"
    if not re.fullmatch("[0-9]{1,9}", duration) or int(duration) not in DURATIONS:
        raise _invalid("DurationSeconds", f"must be from {DURATIONS[0]} to {DURATIONS[-1]}")
    policy = parameters.get("Policy", "")
    if len(policy) > MAX_POLICY_SIZE:
        raise OSSError(400, "InvalidParameter.PolicySize", f"The Policy has more than {MAX_POLICY_SIZE} characters.")
    try:
        session = account.begin_session(policy, int(now) + int(duration))
    except PolicyError as error:
        message = f"The parameter Policy has not passed grammar check: {error}."
        raise OSSError(400, "InvalidParameter.PolicyGrammar", message) from None
    user = {"Arn": f"acs:ram::{role[1]}:role/{role[2]}/{name}", "AssumedRoleId": f"{ROLE_ID}:{name}"}
    key = {
        "SecurityToken": session.security_token or "",
        "AccessKeyId": session.access_key_id,
        "AccessKeySecret": session.access_key_secret,
        "Expiration": time.strftime(_TIME, time.gmtime(session.expires)),
    }
    return {"AssumedRoleUser": user, "Credentials": key}


def _invalid(name: str, what: str) -> OSSError:
    return OSSError(400, f"InvalidParameter.{name}", f"The parameter {name} {what}.")


def _is_same(provided: str, expected: str) -> bool:
    return hmac.compare_digest(provided.encode(), expected.encode())
