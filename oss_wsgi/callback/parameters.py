"""The parameters of an upload callback, as the form's ``callback`` field holds them (protocol.md 7)."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..exceptions import PolicyError
from ..http import is_encodable
from .url import callback_url_problems, split_urls

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

MAX_ENCODED_BYTES = 5 * 1024

#: Member of the callback's body that carries the ticket.
TICKET_MEMBER = "ticket"

#: Member of the callback's body -> OSS variable. The first five names are those of the official samples.
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

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?")
_PLACEHOLDER = "-the-ticket-"


def body_template(custom: Iterable[str] = ()) -> str:
    """Return a ``callbackBody`` of type FORM with all VARIABLES and the custom variables ``x:<name>``."""
    variables = {**VARIABLES, **{name: name for name in custom}}
    return "&".join(f"{name}=${{{variable}}}" for name, variable in variables.items())


@dataclass(frozen=True)
class CallbackParameters:
    """Where OSS reports an upload, and with what body.

    ``url`` is one to five URLs joined by ``;``, tried in order; ``body`` a template with ``${variables}``;
    ``body_type`` FORM or JSON; ``host`` the Host header, if not the URL's. ``callbackSNI`` is true for https.

    Raises PolicyError for what OSS would refuse, such as parameters of more than 5 KB after Base64.
    """

    url: str
    body: str = body_template()
    body_type: str = FORM
    host: str | None = None

    def __post_init__(self) -> None:
        problems = callback_url_problems(self.url)
        if not self.body:
            problems.append("The callback body must not be empty.")
        if self.body_type not in (FORM, JSON):
            problems.append(f"The callback body type must be {FORM} or {JSON}, not {self.body_type!r}.")
        if self.host and not _HOST.fullmatch(self.host):
            problems.append(f"The callback host must be HOST or HOST:PORT, not {self.host!r}.")
        if not is_encodable(self.body):
            problems.append("The callback body holds a lone surrogate, which UTF-8 cannot express: remove it.")
        if problems:
            raise PolicyError("\n".join(problems))
        _check_length(self.encode())

    @property
    def urls(self) -> list[str]:
        """The URLs one by one."""
        return split_urls(self.url)

    def with_constant(self, name: str, value: str) -> CallbackParameters:
        """Return a copy with one more member in the body, which OSS sends back unchanged.

        ``name`` and ``value`` consist of letters, digits, ``-`` and ``_``.
        """
        if self.body_type == JSON:
            head, brace, _ = self.body.rpartition("}")
            comma = "" if head.rstrip().endswith("{") else ","
            body = f'{head}{comma}"{name}":"{value}"{brace}'
        else:
            body = f"{self.body}&{name}={value}"
        return replace(self, body=body)

    def encode(self) -> str:
        """Return the text of the ``callback`` form field: compact JSON in Base64."""
        return base64.b64encode(self.json().encode()).decode()

    def json(self) -> str:
        """Return the parameters as compact JSON, with non-ASCII characters as they are."""
        members: dict[str, object] = {"callbackUrl": ";".join(self.urls)}
        if self.host:
            members["callbackHost"] = self.host
        members |= {"callbackBody": self.body, "callbackBodyType": self.body_type}
        if any(url.lower().startswith("https:") for url in self.urls):
            members["callbackSNI"] = True
        return json.dumps(members, ensure_ascii=False, separators=(",", ":"))


class TicketedCallback:
    """Callback parameters that are encoded again for each ticket; everything but the ticket is encoded only once.

    ``encode(ticket)`` returns what ``parameters.with_constant(TICKET_MEMBER, ticket).encode()`` would.
    """

    def __init__(self, parameters: CallbackParameters) -> None:
        self.parameters = parameters
        text = parameters.with_constant(TICKET_MEMBER, _PLACEHOLDER).json()
        head, _, tail = text.rpartition(_PLACEHOLDER)
        self._head, self._tail = head.encode(), tail.encode()

    def encode(self, ticket: str) -> str:
        """Return the text of the ``callback`` form field; PolicyError if it is longer than OSS accepts."""
        text = binascii.b2a_base64(self._head + ticket.encode() + self._tail, newline=False).decode()
        _check_length(text)
        return text


def encode_variables(custom: Mapping[str, str]) -> str:
    """Return the text of ``callback-var``, the custom variables of a request without form fields, in Base64.

    ``custom`` has the values by name, without ``x:``. PolicyError if the text is longer than OSS accepts.
    """
    variables = {f"x:{name}": value for name, value in custom.items()}
    text = base64.b64encode(json.dumps(variables, ensure_ascii=False, separators=(",", ":")).encode()).decode()
    if len(text) > MAX_ENCODED_BYTES:
        raise PolicyError(
            f"The custom variables have {len(text)} bytes in Base64, and OSS accepts {MAX_ENCODED_BYTES} (5 KB): "
            "shorten them."
        )
    return text


def _check_length(encoded: str) -> None:
    if len(encoded) > MAX_ENCODED_BYTES:
        raise PolicyError(
            f"The callback has {len(encoded)} bytes in Base64, and OSS accepts {MAX_ENCODED_BYTES} (5 KB): shorten "
            "its URLs, the body's template, the custom variables or the ticket's user and data."
        )
