"""The callback of an upload: read from a form, headers or a URL, sent when the object is stored (protocol.md 7.1)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import OSSError, Response, invalid_argument
from ..object_headers import upload_headers
from ..request import Request
from ..storage.object_writer import ObjectWriter
from ..storage.records import StoredObject
from .image_info import ImageInfo, read_image_info
from .message import CallbackError
from .parameters import MAX_SIZE, CallbackParameters, check_address, check_given_once, json_object, parse_callback
from .variables import callback_values


@dataclass(frozen=True)
class UploadCallback:
    """A valid callback of one upload; `variables` are the custom ones, by their names with `x:`."""

    parameters: CallbackParameters
    variables: Mapping[str, str]


def read_form_callback(request: Request, fields: Mapping[str, str]) -> UploadCallback | None:
    """Return the callback that a form asks for, or None; its `x:` fields are the variables.

    :raises OSSError: the callback is not valid, or a header asks for one too.
    """
    text = fields.get("callback", "")
    check_given_once("callback", text, request.environ.get("HTTP_X_OSS_CALLBACK", ""))
    parameters = _read_parameters(request, text)
    variables = {name: value for name, value in fields.items() if name.startswith("x:")}
    return UploadCallback(parameters, variables) if parameters else None


def read_callback(request: Request) -> UploadCallback | None:
    """Return the callback that two headers or two parameters of a signed URL ask for, or None.

    :raises OSSError: the callback or its variables are not valid, or given in both places.
    """
    parameters = _read_parameters(request, _header_or_parameter(request, "callback"))
    if parameters is None:
        return None
    return UploadCallback(parameters, _parse_variables(_header_or_parameter(request, "callback-var")))


def image_info(callback: UploadCallback | None, incoming: ObjectWriter) -> ImageInfo | None:
    """Return what the callback may say about a picture, None without a callback.

    Call it before the commit: after it, another upload may replace the content.
    """
    if not callback:
        return None
    with incoming.open() as content:
        return read_image_info(content)


def call_back(
    request: Request, callback: UploadCallback, stored: StoredObject, image: ImageInfo | None, operation: str
) -> Response:
    """Call the application and return the response that relays its JSON to the client.

    :param operation: the name of the upload in callbacks, such as PostObject.
    :raises OSSError: 203 CallbackFailed. The object stays, and only this error says that the application was not told.
    """
    values = callback_values(
        stored,
        image,
        callback.variables,
        bucket=request.bucket,
        client_ip=request.client_ip,
        request_id=request.id,
        operation=operation,
    )
    try:
        body = request.service.sender.send(
            callback.parameters,
            values,
            bucket=request.bucket,
            request_id=request.id,
            public_key_url=request.public_key_url,
            faults=request.faults,
            on_request=request.story.note_request,
            on_call=request.story.note_call,
        )
    except CallbackError as error:
        failure = OSSError(203, "CallbackFailed", error.message, error.ec)
        failure.headers = upload_headers(stored)
        raise failure from None
    return Response(200, [*upload_headers(stored), ("Content-Type", "application/json")], body)


def _read_parameters(request: Request, text: str) -> CallbackParameters | None:
    parameters = parse_callback(text)
    service = request.service
    for url in parameters.urls if parameters else []:
        check_address(url, allow_private=service.options.allow_private_callback, resolve=service.resolve)
    return parameters


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
    for name in members:
        if not name.startswith("x:") or name != name.lower():
            raise _invalid("The name of a callback var must be x: and lower-case letters.", "0007-00000103")
    return members


def _invalid(message: str, ec: str) -> OSSError:
    return invalid_argument(message, ec, name="callback-var")
