"""${variables} of a callback body, replaced for both body types (P§7.2, 7.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

from ..errors import invalid_argument
from ..storage.interface import StoredObject
from .image_info import ImageInfo

Value = str | int | None

NAMES = (
    "bucket",
    "object",
    "etag",
    "size",
    "mimeType",
    "imageInfo",
    "imageInfo.height",
    "imageInfo.width",
    "imageInfo.format",
    "crc64",
    "contentMd5",
    "vpcId",
    "clientIp",
    "reqId",
    "operation",
)

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")

_CUSTOM = re.compile(r"x:[a-z0-9_.-]+")

# A string literal of the template as a whole, or a variable outside of one.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\$\{[^{}]*\}', re.DOTALL)


def check_template(template: str) -> None:
    """Raises OSSError for a variable that is badly formed or that OSS does not have, and for what is no text."""
    try:
        template.encode()
    except UnicodeEncodeError:
        raise _invalid(template) from None
    for name in _VARIABLE.findall(template):
        if name not in NAMES and not _CUSTOM.fullmatch(name):
            raise _invalid(f"${{{name}}}")
    if "${" in _VARIABLE.sub("", template):
        raise _invalid(template)


def substitute_form(template: str, values: Mapping[str, Value], *, space_as_plus: bool = False) -> str:
    """Values are percent-encoded, a space as %20 or `+`; the rest of the template is sent as it is."""
    encode = quote_plus if space_as_plus else quote
    return _VARIABLE.sub(lambda match: encode(_text(values.get(match[1])), safe=""), template)


def substitute_json(template: str, values: Mapping[str, Value]) -> str:
    """Values bring their own quotes, except inside a string literal of the template, and absent ones are null."""

    def value(name: str) -> str:
        return json.dumps(values.get(name), ensure_ascii=False)

    def escaped(name: str) -> str:
        return json.dumps(_text(values.get(name)), ensure_ascii=False)[1:-1]

    def token(match: re.Match[str]) -> str:
        if match[0].startswith('"'):
            return _VARIABLE.sub(lambda inner: escaped(inner[1]), match[0])
        return value(match[0][2:-1])

    return _JSON_TOKEN.sub(token, template)


def _text(value: Value) -> str:
    return "" if value is None else str(value)


def _invalid(value: str) -> Exception:
    return invalid_argument("The callback body is invalid.", "0007-00000010", name="callbackBody", value=value)


def callback_values(
    stored: StoredObject,
    image: ImageInfo | None,
    fields: Mapping[str, str],
    *,
    bucket: str,
    client_ip: str,
    request_id: str,
) -> dict[str, Value]:
    """:param image: what the content shows, if it is a picture; :param fields: the form, for its `x:` fields."""
    values: dict[str, Value] = {name: value for name, value in fields.items() if name.startswith("x:")}
    values |= {
        "bucket": bucket,
        "object": stored.key,
        "etag": stored.etag,
        "size": stored.size,
        "mimeType": stored.content_type,
        "crc64": stored.crc64,
        "contentMd5": stored.content_md5,
        "clientIp": client_ip,
        "reqId": request_id,
        "operation": "PostObject",
    }
    if image:
        values["imageInfo.width"] = image.width
        values["imageInfo.height"] = image.height
        values["imageInfo.format"] = image.format
    return values
