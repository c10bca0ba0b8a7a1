"""The `callback` of an upload, its URLs and ${variables} included: read and checked before anything is stored.

Its members and variables are in protocol.md 7.1 and protocol.md 7.3, its errors in protocol.md 10.3.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus, unquote_to_bytes

from ..errors import OSSError, invalid_argument

Value = str | int | None

MAX_SIZE = 5 * 1024
MAX_URLS = 5
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

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

_URL = re.compile(r"(?:(https?)://)?([A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(/[^?#]*)?(?:\?([^#]*))?", re.IGNORECASE)
_NOT_IN_A_URL = re.compile(r"[^!-~]")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?")


@dataclass(frozen=True)
class CallbackURL:
    """The parts of a callback URL as they were written; only the scheme is in lower case."""

    scheme: str
    host: str
    port: int
    netloc: str
    path: str
    query: str

    @property
    def origin(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def target(self) -> str:
        """The request target, not decoded; a `?` without a query is left out (protocol.md 8.2)."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def string_to_sign(self, body: bytes) -> bytes:
        """Return the signed text: the path percent-decoded with `+` kept, query and body as sent (protocol.md 8.2)."""
        query = f"?{self.query}" if self.query else ""
        return unquote_to_bytes(self.path) + query.encode() + b"\n" + body


@dataclass(frozen=True)
class CallbackParameters:
    """The callback that an upload asks for.

    :param host: the Host header, "" for the host of each URL.
    :param body: a template with ${variables}.
    :param variables: the custom variables by name, with `x:`.
    :param requester: the ID of the uploader, "" for the account's.
    """

    urls: list[CallbackURL]
    host: str
    body: str
    body_type: str
    sni: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    requester: str = ""


def parse_callback(text: str) -> CallbackParameters | None:
    """Return the parameters in a Base64 text, None without a URL; raise OSSError with the EC of protocol.md 10.3."""
    if not text:
        return None
    members = _decode(text)
    urls = members.get("callbackUrl")
    if urls is None or urls == "":
        return None
    if not isinstance(urls, str):
        raise _invalid("The callback url configuration is invalid.", "0007-00000004")
    addresses = urls.rstrip("; ").split(";")
    if len(addresses) > MAX_URLS:
        raise _invalid("The number of callback url exceed max value.", "0007-00000005")
    host = members.get("callbackHost", "")
    if not isinstance(host, str) or (host and not _HOST.fullmatch(host)):
        raise _invalid("The callback host configuration is invalid.", "0007-00000009")
    body = members.get("callbackBody", "")
    if not isinstance(body, str):
        raise _invalid("The callback body is invalid.", "0007-00000010")
    if not body:
        raise _invalid("The callback body is empty.", "0007-00000011")
    body_type = members.get("callbackBodyType", FORM)
    if not isinstance(body_type, str):
        raise _invalid("The callback body type configuration is invalid.", "0007-00000012")
    if body_type not in (FORM, JSON):
        raise _invalid("The body type of callback is not supported.", "0007-00000013")
    sni = members.get("callbackSNI", False)
    if not isinstance(sni, bool):
        raise _invalid("The callback sni configuration is invalid.", "0007-00000014")
    check_template(body)
    return CallbackParameters([parse_callback_url(address) for address in addresses], host, body, body_type, sni)


def check_given_once(name: str, *texts: str) -> None:
    """Raise OSSError if a callback comes in two places, such as a form and a header (protocol.md 7.1)."""
    if sum(map(bool, texts)) > 1:
        raise invalid_argument(f"The {name} is given in two places.", "0007-00000027", name=name)


def parse_callback_url(text: str) -> CallbackURL:
    """Return the parts of a URL, http if it has no scheme; raise OSSError if OSS cannot call it."""
    url = text.strip()
    match = _URL.fullmatch(url)
    if not match or _NOT_IN_A_URL.search(url):
        raise _invalid_url(text)
    scheme = (match[1] or "http").lower()
    port = int(match[3]) if match[3] else {"http": 80, "https": 443}[scheme]
    if not 0 < port < 65536:
        raise _invalid_url(text)
    netloc = match[2] + (f":{match[3]}" if match[3] else "")
    return CallbackURL(scheme, match[2], port, netloc, match[4] or "/", match[5] or "")


def check_address(url: CallbackURL, *, allow_private: bool, resolve: Callable[[str], list[str]] | None) -> None:
    """Raise OSSError for a host without an address, or with a private one unless allowed.

    :param resolve: returns the addresses of a host; without it the host counts as written.
    """
    try:
        addresses = resolve(url.host) if resolve else [url.host]
    except (OSError, UnicodeError):
        message = "Can not get ip by this host."
        raise invalid_argument(message, "0007-00000007", name="callbackUrl", value=url.host) from None
    if not allow_private and any(_is_private(address) for address in addresses):
        message = "Private address is forbidden to callback."
        raise invalid_argument(message, "0007-00000008", name="callbackUrl", value=url.host)


def resolve_host(host: str) -> list[str]:
    """Return the IPv4 addresses of a host; OSS calls no others."""
    entries = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in entries]


def _is_private(address: str) -> bool:
    try:
        return not ipaddress.ip_address(address).is_global
    except ValueError:
        return address == "localhost" or address.endswith(".localhost")


def _decode(text: str) -> dict[str, Any]:
    if len(text) > MAX_SIZE:
        raise _invalid("The length of callback exceed max value.", "0007-00000001")
    try:
        source = base64.b64decode(text, validate=True)
    except ValueError:
        raise _invalid("The callback configuration is not base64 encoded.", "0007-00000002") from None
    members = json_object(source)
    if members is None:
        value = source.decode(errors="replace")
        message = "The callback configuration is not json format."
        raise invalid_argument(message, "0007-00000003", name="callback", value=value)
    return members


def json_object(source: bytes) -> dict[str, Any] | None:
    """Return the JSON object in UTF-8, or None if it is anything else."""
    try:
        members = json.loads(source.decode())
    except (ValueError, RecursionError):
        return None
    return members if isinstance(members, dict) else None


def _invalid(message: str, ec: str) -> OSSError:
    return invalid_argument(message, ec, name="callback", value="")


def _invalid_url(text: str) -> OSSError:
    message = "The callback url configuration is invalid."
    return invalid_argument(message, "0007-00000004", name="callbackUrl", value=text)


def check_template(template: str) -> None:
    """Raise OSSError for a malformed or unknown variable, and for a text that UTF-8 cannot encode."""
    try:
        template.encode()
    except UnicodeEncodeError:
        raise _invalid_body(template) from None
    for name in _VARIABLE.findall(template):
        if name not in NAMES and not _CUSTOM_NAME.fullmatch(name):
            raise _invalid_body(f"${{{name}}}")
    if "${" in _VARIABLE.sub("", template):
        raise _invalid_body(template)


def substitute_form(template: str, values: Mapping[str, Value], *, space_as_plus: bool = False) -> str:
    """Return a form body: values percent-encoded, absent ones empty, the rest of the template unchanged."""
    encode = quote_plus if space_as_plus else quote
    return _VARIABLE.sub(lambda match: encode(_text(values.get(match[1])), safe=""), template)


def substitute_json(template: str, values: Mapping[str, Value]) -> str:
    """Return a JSON body: values with their own quotes, absent ones null; values in a string literal are plain text."""

    def substitute_literal(match: re.Match[str]) -> str:
        return json.dumps(_text(values.get(match[1])), ensure_ascii=False)[1:-1]

    def substitute_token(match: re.Match[str]) -> str:
        if match[0].startswith('"'):
            return _VARIABLE.sub(substitute_literal, match[0])
        return json.dumps(values.get(match[0][2:-1]), ensure_ascii=False)

    return _JSON_TOKEN.sub(substitute_token, template)


def _text(value: Value) -> str:
    return "" if value is None else str(value)


def _invalid_body(value: str) -> OSSError:
    return invalid_argument("The callback body is invalid.", "0007-00000010", name="callbackBody", value=value)
