"""The `callback` field of a form: read and checked before anything is stored (P§7.1, 10.3)."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

from ..errors import OSSError, invalid_argument
from .callback_url import CallbackURL, parse_callback_url
from .variables import check_template

MAX_SIZE = 5 * 1024
MAX_URLS = 5
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?")


@dataclass(frozen=True)
class CallbackParameters:
    urls: list[CallbackURL]
    host: str
    body: str
    body_type: str
    sni: bool = False


def parse_callback(text: str) -> CallbackParameters | None:
    """None when no callback is asked for: an empty field or an empty callbackUrl."""
    if not text:
        return None
    members = _decode(text)
    urls = members.get("callbackUrl")
    if urls is None or urls == "":
        return None
    if not isinstance(urls, str):
        raise _refused("The callback url configuration is invalid.", "0007-00000004")
    addresses = urls.rstrip("; ").split(";")
    if len(addresses) > MAX_URLS:
        raise _refused("The number of callback url exceed max value.", "0007-00000005")
    host = members.get("callbackHost", "")
    if not isinstance(host, str) or (host and not _HOST.fullmatch(host)):
        raise _refused("The callback host configuration is invalid.", "0007-00000009")
    body = members.get("callbackBody", "")
    if not isinstance(body, str):
        raise _refused("The callback body is invalid.", "0007-00000010")
    if not body:
        raise _refused("The callback body is empty.", "0007-00000011")
    body_type = members.get("callbackBodyType", FORM)
    if not isinstance(body_type, str):
        raise _refused("The callback body type configuration is invalid.", "0007-00000012")
    if body_type not in (FORM, JSON):
        raise _refused("The body type of callback is not supported.", "0007-00000013")
    sni = members.get("callbackSNI", False)
    if not isinstance(sni, bool):
        raise _refused("The callback sni configuration is invalid.", "0007-00000014")
    check_template(body)
    return CallbackParameters([parse_callback_url(address) for address in addresses], host, body, body_type, sni)


def check_given_once(name: str, *texts: str) -> None:
    """Raises OSSError where a callback comes in two places, such as a form and a header (P§7.1)."""
    if sum(map(bool, texts)) > 1:
        raise invalid_argument(f"The {name} is given in two places.", "0007-00000027", name=name)


def _decode(text: str) -> dict[str, Any]:
    if len(text) > MAX_SIZE:
        raise _refused("The length of callback exceed max value.", "0007-00000001")
    try:
        source = base64.b64decode(text, validate=True)
    except ValueError:
        raise _refused("The callback configuration is not base64 encoded.", "0007-00000002") from None
    try:
        members = json.loads(source.decode())
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        value = source.decode(errors="replace")
        message = "The callback configuration is not json format."
        raise invalid_argument(message, "0007-00000003", name="callback", value=value)
    return members


def _refused(message: str, ec: str) -> OSSError:
    return invalid_argument(message, ec, name="callback", value="")
