"""The callback of an upload: read from a form, headers or a URL, sent when the object is stored (protocol.md 7.1)."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate

from ..errors import ErrorText, OSSError, Response, invalid_argument
from ..object_headers import upload_headers
from ..request import Request
from ..signatures.account import Account
from ..storage.index import StoredObject
from .image_info import ImageInfo
from .parameters import (
    JSON,
    MAX_SIZE,
    CallbackParameters,
    CallbackURL,
    Value,
    check_address,
    check_given_once,
    json_object,
    parse_callback,
    substitute_form,
    substitute_json,
)
from .sender import ACCOUNT_ID, CALLBACK_FAULTS, ROLE_ID, CallbackRequest

logger = logging.getLogger(__name__)


def read_form_callback(
    request: Request, fields: Mapping[str, str], signer: Account | None = None
) -> CallbackParameters | None:
    """Return the callback that a form asks for, or None; raise OSSError if a header asks for one too.

    :param signer: the key that signed the form.
    """
    text = fields.get("callback", "")
    check_given_once("callback", text, request.environ.get("HTTP_X_OSS_CALLBACK", ""))
    parameters = _read_parameters(request, text, signer)
    variables = {name: value for name, value in fields.items() if name.startswith("x:")}
    return replace(parameters, variables=variables) if parameters else None


def read_callback(request: Request) -> CallbackParameters | None:
    """Return the callback that headers or parameters of a signed URL ask for, or None; raise OSSError if both do."""
    parameters = _read_parameters(request, _header_or_parameter(request, "callback"), request.signer)
    if parameters is None:
        return None
    return replace(parameters, variables=_parse_variables(_header_or_parameter(request, "callback-var")))


def call_back(
    request: Request, callback: CallbackParameters, stored: StoredObject, image: ImageInfo | None, operation: str
) -> Response:
    """Call the URLs in order, and return the response that relays the first successful JSON to the client.

    A fault strikes one URL; the next URL may succeed.

    :param operation: the name of the upload in callbacks, such as PostObject.
    :raises OSSError: 203 CallbackFailed. The object stays; only this error shows that the application got no report.
    """
    oss = request.oss
    values = callback_values(request, callback, stored, image, operation)
    if callback.body_type == JSON:
        body = substitute_json(callback.body, values).encode()
    else:
        space_as_plus = oss.options.space_as_plus
        body = substitute_form(callback.body, values, space_as_plus=space_as_plus).encode()
    failure = ErrorText("")
    for url in callback.urls:
        message = callback_request(request, callback, url, body)
        request.exchange.note_request(message)
        call, relayed = oss.sender.call(message, request.faults.pop(*CALLBACK_FAULTS))
        request.exchange.note_call(call)
        if call.failure is None:
            return Response(200, [*upload_headers(stored), ("Content-Type", "application/json")], relayed)
        logger.info("callback to %s failed: %s", url.origin, call.failure.message)
        failure = call.failure
    error = OSSError(203, "CallbackFailed", failure.message, failure.ec)
    error.headers = upload_headers(stored)
    raise error


def callback_values(
    request: Request, callback: CallbackParameters, stored: StoredObject, image: ImageInfo | None, operation: str
) -> dict[str, Value]:
    """Return the values of all variables that have one (protocol.md 7.2)."""
    values: dict[str, Value] = {
        **callback.variables,
        "bucket": request.bucket,
        "object": stored.key,
        "etag": stored.etag,
        "size": stored.size,
        "mimeType": stored.content_type,
        "crc64": stored.crc64,
        "contentMd5": stored.content_md5,
        "clientIp": request.exchange.client,
        "reqId": request.exchange.id,
        "operation": operation,
    }
    if image:
        values |= {f"imageInfo.{name}": getattr(image, name) for name in ("width", "height", "format")}
    return values


def callback_request(request: Request, callback: CallbackParameters, url: CallbackURL, body: bytes) -> CallbackRequest:
    """Return the signed request to one URL (protocol.md 8.1, protocol.md 8.2, protocol.md 8.3)."""
    oss = request.oss
    headers = [
        ("Host", callback.host or url.netloc),
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
        ("Authorization", oss.sender.key.sign(url.string_to_sign(body))),
        ("Content-MD5", base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()),
        ("Content-Type", callback.body_type),
        ("Date", formatdate(oss.options.clock(), usegmt=True)),
        ("User-Agent", "aliyun-oss-callback"),
        ("x-oss-additional-headers", ""),
        ("x-oss-bucket", request.bucket),
        ("x-oss-owner", ACCOUNT_ID),
        ("x-oss-pub-key-url", base64.b64encode(request.oss.public_key_url.encode()).decode()),
        ("x-oss-request-id", request.exchange.id),
        ("x-oss-requester", callback.requester or ACCOUNT_ID),
        ("x-oss-signature-version", "1.0"),
        ("x-oss-tag", "CALLBACK"),
    ]
    return CallbackRequest(url, headers, body, callback.sni)


def _read_parameters(request: Request, text: str, signer: Account | None) -> CallbackParameters | None:
    parameters = parse_callback(text)
    oss = request.oss
    for url in parameters.urls if parameters else []:
        check_address(url, allow_private=oss.options.allow_private_callback, resolve=oss.resolve)
    is_temporary = bool(signer and signer.security_token)
    return replace(parameters, requester=ROLE_ID) if parameters and is_temporary else parameters


def _header_or_parameter(request: Request, name: str) -> str:
    header, parameter = request.headers.get(f"x-oss-{name}", ""), request.query.get(name, "")
    check_given_once(name, header, parameter)
    return header or parameter


def _parse_variables(text: str) -> dict[str, str]:
    if not text:
        return {}
    if len(text) > MAX_SIZE:
        raise _invalid("The length of callback var exceed max value.", "0007-00000101")
    try:
        source = base64.b64decode(text, validate=True)
    except ValueError:
        raise _invalid("The callback var is not base64 encoded.", "0007-00000102") from None
    members = json_object(source)
    if members is None or not all(isinstance(value, str) for value in members.values()):
        raise _invalid("The callback var is not expecten json.", "0007-00000103")
    for name in members:  # a name without x: is ignored
        if name.startswith("x:") and name != name.lower():
            raise _invalid("The name of a callback var must be x: and lower-case letters.", "0007-00000103")
    return members


def _invalid(message: str, ec: str) -> OSSError:
    return invalid_argument(message, ec, name="callback-var")
