"""The verified report of one upload: what came back from OSS."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..exceptions import MalformedCallbackError
from ..http import urldecoded, urlencoded_pairs
from .parameters import FORM, VARIABLES
from .ticket import TICKET_MEMBER

if TYPE_CHECKING:
    from .ticket import Ticket

#: Where the guard puts a verified upload, for whoever stands behind it.
UPLOAD_KEY = "oss_wsgi.upload"

_MAX_NUMBER = 2**64 - 1  # crc64 goes so far
_MAX_MEMBERS = 1000
_MAX_DIGITS = len(str(_MAX_NUMBER))
_NUMBER = "1[0-7][0-9]{18}|[0-9]{0,19}"  # few reach _MAX_NUMBER, and are read as any other body
_NAME = "[0-9A-Za-z.-]*"  # a text that needs no escape
_ESCAPED = ("filename", "mimeType", TICKET_MEMBER)
_OWN_KINDS = dict.fromkeys((*VARIABLES, TICKET_MEMBER), _NAME) | {
    **dict.fromkeys(_ESCAPED, "[^&]*"),
    **dict.fromkeys(("size", "height", "width", "crc64"), _NUMBER),
}
#: The body that our own forms ask for (``callback.body_template``): its members, all of them, in their order.
_OWN_BODY = re.compile("&".join(f"{name}=({kind})" for name, kind in _OWN_KINDS.items()))
_TEXTS = ("bucket", "object", "filename", "etag", "mimeType", "format", "imageInfo.format", "reqId", "operation")


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

    def with_ticket(self, ticket: Ticket) -> Upload:
        """Return this upload with what our own ticket says."""
        upload = object.__new__(Upload)
        vars(upload).update(
            vars(self), user=ticket.user, data=ticket.data, ticket_id=ticket.id, ticket_until=ticket.accepted_until
        )
        return upload

    @classmethod
    def parse(cls, body: bytes, content_type: str = "", target: str = "") -> Upload:
        """Read a callback's body, form or JSON; verify it before.

        Content-Type is not signed, so a body that begins with ``{`` is JSON whatever it says.
        Raises MalformedCallbackError, also for a member that comes twice.
        """
        if content_type == FORM:
            own = cls._of_own_form(body, target)
            if own is not None:
                return own
        is_json = body.lstrip()[:1] == b"{" or content_type.partition(";")[0].strip().lower() == "application/json"
        members = _json_members(body) if is_json else _form_members(body)
        text = members.get
        image = members.get("imageInfo")
        picture = {**image, **members} if isinstance(image, dict) else members
        if is_json:
            _check_texts(picture)
        upload = object.__new__(cls)
        # As `cls(...)` would, but that is a call for each attribute of a frozen dataclass.
        vars(upload).update(
            bucket=text("bucket") or None,
            object=text("object") or text("filename") or None,
            etag=plain_etag(text("etag") or "") or None,
            size=_number(members, "size"),
            mime_type=text("mimeType") or None,
            image_width=_number(picture, "width", "imageInfo.width"),
            image_height=_number(picture, "height", "imageInfo.height"),
            image_format=picture.get("format") or picture.get("imageInfo.format") or None,
            crc64=_number(members, "crc64"),
            request_id=text("reqId") or None,
            operation=text("operation") or None,
            custom=_custom(members),
            members=members,
            target=target,
            body=body,
            data={},
        )
        return upload

    @classmethod
    def _of_own_form(cls, body: bytes, target: str) -> Upload | None:
        """Read the body that our own forms ask for, as `parse` reads any, only quicker; None for any other body."""
        try:
            found = _OWN_BODY.fullmatch(body.decode())
            if found is None:
                return None
            members: dict[str, str] = dict(zip(_OWN_KINDS, found.groups(), strict=True))
            for name in _ESCAPED:
                members[name] = urldecoded(members[name])
        except ValueError:
            return None
        upload = object.__new__(cls)
        vars(upload).update(
            bucket=members["bucket"] or None,
            object=members["filename"] or None,
            etag=members["etag"].upper() or None,
            size=int(members["size"]) if members["size"] else None,
            mime_type=members["mimeType"] or None,
            image_width=int(members["width"]) if members["width"] else None,
            image_height=int(members["height"]) if members["height"] else None,
            image_format=members["format"] or None,
            crc64=int(members["crc64"]) if members["crc64"] else None,
            request_id=members["reqId"] or None,
            operation=members["operation"] or None,
            custom={},
            members=members,
            target=target,
            body=body,
            data={},
        )
        return upload


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


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedCallbackError("member_repeated", "a member of the body comes twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _custom(members: Mapping[str, Any]) -> dict[str, Any]:
    if "x:" not in "".join(members):  # as in most reports
        return {}
    return {name[2:]: value for name, value in members.items() if name.startswith("x:")}


def _check_texts(members: Mapping[str, Any]) -> None:
    """Refuse what JSON can say and a form cannot: a text that is none."""
    for name in _TEXTS:
        if not isinstance(members.get(name), str | None):
            raise MalformedCallbackError("body_malformed", f"{name} is not a text")


def _number(members: Mapping[str, Any], name: str, other: str = "") -> int | None:
    """Read a number, or a text that holds one: templates are often written with quotes around the variable.

    ``other`` is the name that counts where there is nothing under the first.
    """
    value = members.get(name)
    if value is None or value == "":
        return _number(members, other) if other else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        value = int(value)
    if type(value) is int and 0 <= value <= _MAX_NUMBER:
        return value
    raise MalformedCallbackError("body_malformed", f"{name} is not a whole number")
