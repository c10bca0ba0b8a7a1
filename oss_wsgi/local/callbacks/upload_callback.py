"""The callback of an upload that is no form: asked for in two headers, or in two parameters of a signed URL (P§7.1)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass

from .image_info import ImageInfo, read_image_info
from .message import CallbackError
from .parameters import MAX_SIZE, CallbackParameters, check_given_once
from .variables import callback_values
from ..errors import Answer, OSSError, invalid_argument
from ..request import Request
from ..storage.interface import Incoming, StoredObject


@dataclass(frozen=True)
class UploadCallback:
    parameters: CallbackParameters
    variables: Mapping[str, str]


def read_callback(request: Request) -> UploadCallback | None:
    """Checked before anything is stored; None when no callback is asked for."""
    parameters = request.service.post_object.read_callback(_given(request, "callback"))
    return UploadCallback(parameters, _variables(_given(request, "callback-var"))) if parameters else None


def image_info(callback: UploadCallback | None, incoming: Incoming) -> ImageInfo | None:
    """Read before the commit, for then the content is another upload's to replace."""
    if not callback:
        return None
    with incoming.open() as content:
        return read_image_info(content)


def call_back(
    request: Request, callback: UploadCallback, stored: StoredObject, image: ImageInfo | None, operation: str
) -> Answer:
    values = callback_values(
        stored,
        image,
        callback.variables,
        bucket=request.bucket,
        client_ip=request.environ.get("REMOTE_ADDR", ""),
        request_id=request.id,
    )
    values["operation"] = operation
    try:
        body = request.service.sender.send(
            callback.parameters,
            values,
            bucket=request.bucket,
            request_id=request.id,
            public_key_url=request.public_key_url,
            faults=request.faults,
        )
    except CallbackError as error:
        failure = OSSError(203, "CallbackFailed", error.message, error.ec)
        failure.headers = stored.checksum_headers
        raise failure from None
    return Answer(200, [*stored.checksum_headers, ("Content-Type", "application/json")], body)


def _given(request: Request, name: str) -> str:
    header, parameter = request.headers.get(f"x-oss-{name}", ""), request.query.get(name, "")
    check_given_once(name, header, parameter)
    return header or parameter


def _variables(text: str) -> dict[str, str]:
    if not text:
        return {}
    if len(text) > MAX_SIZE:
        raise _refused("The length of callback var exceed max value.", "0007-00000101")
    try:
        source = base64.b64decode(text, validate=True)
    except ValueError:
        raise _refused("The callback var is not base64 encoded.", "0007-00000102") from None
    try:
        members = json.loads(source.decode())
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict) or not all(isinstance(value, str) for value in members.values()):
        raise _refused("The callback var is not expecten json.", "0007-00000103")
    for name in members:
        if not name.startswith("x:") or name != name.lower():
            raise _refused("The name of a callback var must be x: and lower-case letters.", "0007-00000103")
    return members


def _refused(message: str, ec: str) -> OSSError:
    return invalid_argument(message, ec, name="callback-var")
