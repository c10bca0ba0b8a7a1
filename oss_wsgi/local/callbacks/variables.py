"""The ${variables} of a callback body: names, values and substitution (protocol.md 7.2, protocol.md 7.3)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote, quote_plus

from ..errors import OSSError, invalid_argument

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
_CUSTOM_NAME = re.compile(r"x:[a-z0-9_.-]+")
# A whole string literal of the template, or a variable outside of one.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\$\{[^{}]*\}', re.DOTALL)


def check_template(template: str) -> None:
    """Raise OSSError for a malformed or unknown variable, and for a text that UTF-8 cannot encode."""
    try:
        template.encode()
    except UnicodeEncodeError:
        raise _invalid(template) from None
    for name in _VARIABLE.findall(template):
        if name not in NAMES and not _CUSTOM_NAME.fullmatch(name):
            raise _invalid(f"${{{name}}}")
    if "${" in _VARIABLE.sub("", template):
        raise _invalid(template)


def substitute_form(template: str, values: Mapping[str, Value], *, space_as_plus: bool = False) -> str:
    """Return a form body: values percent-encoded, absent ones empty, the rest of the template unchanged.

    :param space_as_plus: write a space in a value as `+`, not as `%20`.
    """
    encode = quote_plus if space_as_plus else quote
    return _VARIABLE.sub(lambda match: encode(_text(values.get(match[1])), safe=""), template)


def substitute_json(template: str, values: Mapping[str, Value]) -> str:
    """Return a JSON body: values with their own quotes, absent ones null; inside a string literal plain text."""

    def substitute_literal(match: re.Match[str]) -> str:
        return json.dumps(_text(values.get(match[1])), ensure_ascii=False)[1:-1]

    def substitute_token(match: re.Match[str]) -> str:
        if match[0].startswith('"'):
            return _VARIABLE.sub(substitute_literal, match[0])
        return json.dumps(values.get(match[0][2:-1]), ensure_ascii=False)

    return _JSON_TOKEN.sub(substitute_token, template)


def _text(value: Value) -> str:
    return "" if value is None else str(value)


def _invalid(value: str) -> OSSError:
    return invalid_argument("The callback body is invalid.", "0007-00000010", name="callbackBody", value=value)
