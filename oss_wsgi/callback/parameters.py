"""The parameters of an upload callback, as they go out in the form's ``callback`` field (P§7)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..exceptions import PolicyError
from .ticket import TICKET_MEMBER
from .url import callback_url_problems, split_urls

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

MAX_ENCODED_BYTES = 5 * 1024

_MARK = "-the-ticket-"
_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?")

#: Parameter of the body -> variable of OSS. The official samples' five names come first.
VARIABLES = {
    "filename": "object",
    "size": "size",
    "mimeType": "mimeType",
    "height": "imageInfo.height",
    "width": "imageInfo.width",
    "bucket": "bucket",
    "etag": "etag",
    "crc64": "crc64",
    "format": "imageInfo.format",
    "reqId": "reqId",
    "operation": "operation",
}


def body_template(body_type: str = FORM, custom: Iterable[str] = ()) -> str:
    """Make the ``callbackBody`` with all of VARIABLES and the custom variables ``x:<name>``, for a body type."""
    variables = {**VARIABLES, **{name: name for name in custom}}
    if body_type == JSON:
        # OSS puts in JSON values, strings with their own quotes: none around the variables (P§7.3).
        return "{" + ",".join(f"{json.dumps(name)}:${{{variable}}}" for name, variable in variables.items()) + "}"
    return "&".join(f"{name}=${{{variable}}}" for name, variable in variables.items())


@dataclass(frozen=True)
class CallbackParameters:
    """Where OSS reports an upload, and with what body.

    ``url`` is one to five URLs joined by ``;``, tried in order; ``body`` a template with ``${variables}``;
    ``body_type`` FORM or JSON; ``host`` the Host header, if not the URL's. ``callbackSNI`` is true for https.

    Raises PolicyError for what OSS would refuse, a text of more than 5 KB after Base64 included.
    """

    url: str
    body: str = body_template()
    body_type: str = FORM
    host: str | None = None

    def __post_init__(self) -> None:
        found = callback_url_problems(self.url)
        if not self.body:
            found.append("The callback body must not be empty.")
        if self.body_type not in (FORM, JSON):
            found.append(f"The callback body type must be {FORM} or {JSON}, not {self.body_type!r}.")
        if self.host and not _HOST.fullmatch(self.host):
            found.append(f"The callback host must be a name or an address, with a port or none, not {self.host!r}.")
        if any("\ud800" <= character <= "\udfff" for character in self.body):
            found.append("The callback body holds a lone surrogate, which UTF-8 cannot write.")
        if found:
            raise PolicyError("\n".join(found))
        _check_length(self.encode())

    @property
    def urls(self) -> list[str]:
        """Give the URLs one by one."""
        return split_urls(self.url)

    def with_constant(self, name: str, value: str) -> CallbackParameters:
        """Give the same with one more member in the body, which OSS repeats as it is.

        ``name`` and ``value`` are of letters, digits, ``-`` and ``_``.
        """
        if self.body_type == JSON:
            opening, brace, _ = self.body.rpartition("}")
            comma = "" if opening.rstrip().endswith("{") else ","
            body = f'{opening}{comma}"{name}":"{value}"{brace}'
        else:
            body = f"{self.body}&{name}={value}"
        return replace(self, body=body)

    def encode(self) -> str:
        """Give the text of the ``callback`` form field: compact JSON in Base64."""
        return base64.b64encode(self.json().encode()).decode()

    def json(self) -> str:
        """Give the parameters as compact JSON, non-ASCII written as it is."""
        members: dict[str, object] = {"callbackUrl": ";".join(self.urls)}
        if self.host:
            members["callbackHost"] = self.host
        members |= {"callbackBody": self.body, "callbackBodyType": self.body_type}
        if any(url.lower().startswith("https:") for url in self.urls):
            members["callbackSNI"] = True
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


class TicketedCallback:
    """Callback parameters whose body carries one ticket after another: all but the ticket is written once.

    Gives what ``parameters.with_constant(TICKET_MEMBER, ticket).encode()`` would.
    """

    def __init__(self, parameters: CallbackParameters) -> None:
        text = parameters.with_constant(TICKET_MEMBER, _MARK).json()
        head, _, tail = text.rpartition(_MARK)
        self._head, self._tail = head.encode(), tail.encode()

    def encode(self, ticket: str) -> str:
        """Give the text of the ``callback`` form field; PolicyError if OSS would find it too long."""
        text = binascii.b2a_base64(self._head + ticket.encode() + self._tail, newline=False).decode()
        _check_length(text)
        return text


def _check_length(encoded: str) -> None:
    if len(encoded) > MAX_ENCODED_BYTES:
        raise PolicyError(
            f"The callback is {len(encoded)} bytes long after Base64; OSS takes {MAX_ENCODED_BYTES} (5 KB): shorten "
            "its URLs, the body's template, the custom variables or the ticket's user and data."
        )
