"""The verified report of one upload: what came back from OSS."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from .exceptions import MalformedCallbackError
from .urlencoded import pairs as urlencoded_pairs

if TYPE_CHECKING:
    from .ticket import Ticket

_Read = TypeVar("_Read")

#: Where the guard puts a verified upload, for whoever stands behind it.
UPLOAD_KEY = "oss_wsgi.upload"

_MAX_NUMBER = 2**64 - 1  # crc64 goes so far
_MAX_MEMBERS = 1000
_MAX_DIGITS = len(str(_MAX_NUMBER))


@dataclass(frozen=True)
class Upload:
    """What OSS says it stored; made only from a body whose signature was verified.

    Which attributes are set depends on the callback's body template; what it lacks is None.

    ``bucket``, ``object`` (the full object name), ``etag`` (upper-case hex, no quotes), ``size`` (bytes),
    ``mime_type`` (as the browser gave it: do not trust it), ``image_width``, ``image_height`` (pixels) and
    ``image_format`` (images only), ``crc64`` (CRC-64/XZ as an integer), ``request_id`` (OSS's, of the upload),
    ``operation`` ("PostObject"), ``custom`` (the ``x:`` variables, without ``x:``), ``members`` (the whole body, by
    name), ``target`` (the request target that was signed), ``body`` (the raw bytes that were signed).

    From our own ticket, not from the report: ``user`` and ``data`` (those of the ``Grant``), ``ticket_id``, and
    ``ticket_until`` (Unix seconds after which the same report is refused).

    ``confirmed``: True when OSS itself was asked and holds exactly this object, False when it could not be asked and
    the report was accepted all the same, None when nobody asked.
    """

    bucket: str | None = None
    object: str | None = None
    etag: str | None = None
    size: int | None = None
    mime_type: str | None = None
    image_width: int | None = None
    image_height: int | None = None
    image_format: str | None = None
    crc64: int | None = None
    request_id: str | None = None
    operation: str | None = None
    custom: Mapping[str, Any] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict, repr=False)
    target: str = ""
    body: bytes = field(default=b"", repr=False)
    user: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    ticket_id: str | None = None
    ticket_until: int | None = None
    confirmed: bool | None = None

    def believe(self, ticket: Ticket) -> None:
        """Take over what our own ticket says, while nobody else has seen this report yet."""
        for name, value in (
            ("user", ticket.user),
            ("data", ticket.data),
            ("ticket_id", ticket.id),
            ("ticket_until", ticket.accepted_until),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, body: bytes, content_type: str = "", target: str = "") -> Upload:
        """Read a callback's body, form or JSON; verify it before.

        Content-Type is not signed, so a body that begins with ``{`` is JSON whatever it says.
        Raises MalformedCallbackError, also for a member that comes twice.
        """
        is_json = content_type.partition(";")[0].strip().lower() == "application/json" or body.lstrip()[:1] == b"{"
        members = _json_members(body) if is_json else _form_members(body)
        image = members.get("imageInfo")
        etag = _text(members, "etag")
        picture = {**image, **members} if isinstance(image, dict) else members
        return cls(
            bucket=_text(members, "bucket"),
            object=_text(members, "object") or _text(members, "filename"),
            etag=None if etag is None else plain_etag(etag),
            size=_number(members, "size"),
            mime_type=_text(members, "mimeType"),
            image_width=_either(_number, picture, "width", "imageInfo.width"),
            image_height=_either(_number, picture, "height", "imageInfo.height"),
            image_format=_either(_text, picture, "format", "imageInfo.format"),
            crc64=_number(members, "crc64"),
            request_id=_text(members, "reqId"),
            operation=_text(members, "operation"),
            custom={name[2:]: value for name, value in members.items() if name.startswith("x:")},
            members=members,
            target=target,
            body=body,
        )


def plain_etag(text: str) -> str:
    """Write an ETag in its one form: in another it would be another upload to a ledger."""
    return text.strip('"').upper()


def _json_members(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode()
        members = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in text:
            json.dumps(members, ensure_ascii=False).encode()  # an escaped lone surrogate is no text: ValueError
    except MalformedCallbackError:
        raise
    except (ValueError, RecursionError):
        raise MalformedCallbackError("body_malformed", "the body is not JSON in UTF-8") from None
    if not isinstance(members, dict):
        raise MalformedCallbackError("body_malformed", "the body's JSON is not an object")
    return members


def _form_members(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode()
        pairs = urlencoded_pairs(text, _MAX_MEMBERS)
    except ValueError:
        raise MalformedCallbackError("body_malformed", "the body is not a form in UTF-8, percent-encoded") from None
    return _once(pairs)


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise MalformedCallbackError("member_repeated", "a member of the body comes twice")
        members[name] = value
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    raise MalformedCallbackError("body_malformed", f"{name} is not a text")


def _either(
    read: Callable[[Mapping[str, Any], str], _Read | None], members: Mapping[str, Any], name: str, other: str
) -> _Read | None:
    found = read(members, name)
    return read(members, other) if found is None else found


def _number(members: Mapping[str, Any], name: str) -> int | None:
    """Read a number, or a text that holds one: templates are often written with quotes around the variable."""
    value = members.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        value = int(value)
    if type(value) is int and 0 <= value <= _MAX_NUMBER:
        return value
    raise MalformedCallbackError("body_malformed", f"{name} is not a whole number")
