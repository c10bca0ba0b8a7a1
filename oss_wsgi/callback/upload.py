"""The verified report of one upload, read from the callback's body."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from ..exceptions import MalformedCallbackError
from ..http import is_encodable, urldecoded, urlencoded_pairs
from .parameters import FORM, JSON, TICKET_MEMBER, VARIABLES
from .ticket import TRIAL_WITHOUT_HANDLER, Ticket

#: The environ key under which the guard puts a verified upload.
UPLOAD_KEY = "oss_wsgi.upload"

_MAX_NUMBER = 2**64 - 1  # the largest crc64
_MAX_MEMBERS = 1000
_MAX_DIGITS = len(str(_MAX_NUMBER))
_NO_MEMBERS = dict.fromkeys(VARIABLES)
_TEXTS = ("bucket", "object", "filename", "etag", "mimeType", "format", "imageInfo.format", "reqId", "operation")


@dataclass(frozen=True)
class Upload:
    """What OSS has stored: made from a callback whose signature was verified, or from the object that OSS holds.

    The callback's body template decides which attributes are set; the others are None. ``user`` to ``is_trial`` come
    from our own ticket, not from the report.

    :ivar bucket: the bucket's name.
    :ivar object: the full object name.
    :ivar etag: upper-case hex, no quotes.
    :ivar size: bytes.
    :ivar mime_type: the type as the browser gave it: do not trust it.
    :ivar image_width: pixels; images only.
    :ivar image_height: pixels; images only.
    :ivar image_format: such as ``png``; images only.
    :ivar crc64: CRC-64/XZ as an integer.
    :ivar request_id: OSS's ID of the upload's request.
    :ivar operation: "PostObject" for a form, "PutObject" for a signed PUT, "CompleteMultipartUpload" for parts.
    :ivar custom: the ``x:`` variables, without ``x:``.
    :ivar members: the whole body, by name.
    :ivar target: the request target that was signed.
    :ivar body: the raw bytes that were signed.
    :ivar user: the ``user`` of the ``Grant``.
    :ivar data: the ``data`` of the ``Grant``.
    :ivar ticket_id: the ticket's ID.
    :ivar ticket_until: Unix seconds after which the same report is refused.
    :ivar forbid_overwrite: True where the form named this one object and forbade OSS to overwrite it.
    :ivar max_objects: how many objects the ticket is valid for.
    :ivar by_prefix: True where the form named a prefix, so that the browser chose the object's name.
    :ivar filename: the name that the user's file had, as the browser sent it when it asked for the signature. Show it
        to users, but never use it as a path or an object's name. A name of more than 255 bytes of UTF-8 is cut. None if
        the browser sent none, as for a form that names a prefix.
    :ivar is_trial: True for the test upload of ``oss-wsgi doctor --write --handler``: its object is deleted at once.
    :ivar skips_handler: True for the test upload of ``oss-wsgi doctor --write``, which no handler gets.
    :ivar confirmed: True when OSS was asked and holds exactly this object, False when OSS could not be asked and the
        report was still accepted, None when OSS was not asked.
    :ivar recovered: True when the upload's report was lost, and the upload was found in the bucket by its page, a sweep
        or an event. Then ``size``, ``etag``, ``mime_type`` and ``crc64`` are the stored object's, ``custom`` is the
        grant's, ``confirmed`` is True, and everything that only a callback has is None or empty: the image's
        attributes, ``request_id``, ``target`` and ``body``. Such an upload may come days later, and the user may have
        sent the file again meanwhile. All this but the delay is also so for an upload that its page has reported by the
        usual way (OSS_REPORT_BY=page) or sent in parts; then ``recovered`` is False.
    :ivar signed_id: a sealed proof of this upload, usually some 320 characters, at most 4,000, which a form may carry:
        letters, digits, ``-`` and ``_``. ``DirectUpload.find_upload`` returns the upload again. It is "" for a test
        upload, where it would be longer, and without a ``DirectUpload``.
    :ivar transaction: the open transaction of ``SQLLedger.sharing`` or ``DjangoLedger``, in which the handler works and
        the ledger then stores the response; None with other ledgers. The ledger commits or rolls back.
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
    forbid_overwrite: bool = False
    max_objects: int = 1
    by_prefix: bool = field(default=False, repr=False, compare=False)
    filename: str | None = None
    is_trial: bool = False
    skips_handler: bool = field(default=False, repr=False, compare=False)
    confirmed: bool | None = None
    recovered: bool = False
    signed_id: str = field(default="", repr=False, compare=False)
    transaction: Any = field(default=None, repr=False, compare=False)

    @classmethod
    def parse(cls, body: bytes, content_type: str = "", target: str = "") -> Upload:
        """Read a callback's body, form or JSON, whose signature was verified before.

        Content-Type is not signed, so a body that begins with ``{`` is JSON whatever its type.

        Raises MalformedCallbackError, also for a member that occurs twice.
        """
        image: Mapping[str, Any]
        custom: Mapping[str, Any] = {}
        own = _own_form_members(body) if content_type == FORM else None
        if own is not None:
            image = members = known = own
            # The regular expression has checked that these are digits.
            size, width, height, crc64 = [int(text) if text else None for text in _texts_of_numbers(own)]
        else:
            is_json = body.lstrip()[:1] == b"{" or content_type.partition(";")[0].strip().lower() == JSON
            members = _json_members(body) if is_json else _form_members(body)
            known = {**_NO_MEMBERS, **members}
            image = _with_image_info(members)
            custom = {name[2:]: value for name, value in members.items() if name.startswith("x:")}
            if is_json:
                _check_texts(image)
            size, crc64 = _number("size", known["size"]), _number("crc64", known["crc64"])
            width, height = _number("width", image["width"]), _number("height", image["height"])
        upload = object.__new__(cls)  # faster: a frozen dataclass's constructor makes a call for each attribute
        object.__setattr__(
            upload,
            "__dict__",
            {
                "bucket": known["bucket"] or None,
                "object": known.get("object") or known["filename"] or None,
                "etag": plain_etag(known["etag"] or "") or None,
                "size": size,
                "mime_type": known["mimeType"] or None,
                "image_width": width,
                "image_height": height,
                "image_format": image["format"] or None,
                "crc64": crc64,
                "request_id": known["reqId"] or None,
                "operation": known["operation"] or None,
                "custom": custom,
                "members": members,
                "target": target,
                "body": body,
                "data": {},
            },
        )
        return upload

    def with_ticket(self, ticket: Ticket) -> Upload:
        """Return a copy with the attributes that a ticket sets: ``user`` to ``skips_handler``."""
        attributes = {**self.__dict__}
        attributes["user"], attributes["data"] = ticket.user, ticket.data
        attributes["ticket_id"], attributes["ticket_until"] = ticket.id, ticket.expires_at
        attributes["forbid_overwrite"], attributes["max_objects"] = ticket.forbid_overwrite, ticket.max_objects
        attributes["by_prefix"], attributes["filename"] = ticket.key is None, ticket.filename
        attributes["is_trial"] = ticket.trial is not None
        attributes["skips_handler"] = ticket.trial == TRIAL_WITHOUT_HANDLER
        return self._with(attributes)

    def with_signed_id(self, signed_id: str) -> Upload:
        """Return a copy with its signed ID."""
        return self._with({**self.__dict__, "signed_id": signed_id})

    def _with(self, attributes: dict[str, Any]) -> Upload:
        upload = object.__new__(type(self))
        object.__setattr__(upload, "__dict__", attributes)
        return upload


def plain_etag(text: str) -> str:
    """Return an ETag in upper case without quotes, because a ledger would count another spelling as another upload."""
    return text.strip('"').upper()


# OSS puts the variables into any template, and does not check what comes out.
_NOT_JSON = "the body is not JSON in UTF-8: callbackBodyType does not fit the template of callbackBody"
_NUMBER = "1[0-7][0-9]{18}|[0-9]{0,19}"  # larger ones are rare: `_form_members` reads them
_PLAIN_TEXT = "[0-9A-Za-z._-]*"  # it needs no escape
_ESCAPED = ("filename", "mimeType")
_NUMBERS = ("size", "width", "height", "crc64")
_texts_of_numbers = itemgetter(*_NUMBERS)
_PATTERNS = dict.fromkeys((*VARIABLES, TICKET_MEMBER), _PLAIN_TEXT) | {
    **dict.fromkeys((*_ESCAPED, TICKET_MEMBER), "[^&]*"),
    **dict.fromkeys(_NUMBERS, _NUMBER),
}
_OWN_FORM = re.compile("&".join(f"{name}=(?P<{name}>{pattern})" for name, pattern in _PATTERNS.items()))


def _own_form_members(body: bytes) -> dict[str, Any] | None:
    """Read a body with exactly the members of our own forms, in their order; return None for any other body.

    Returns the same as `_form_members`, but three times as fast.
    """
    try:
        match = _OWN_FORM.fullmatch(body.decode())
        if match is None or "%" in match[TICKET_MEMBER] or "+" in match[TICKET_MEMBER]:
            return None
        members: dict[str, Any] = match.groupdict()
        for name in _ESCAPED:
            text = members[name].replace("%2F", "/")  # usually the only escape
            members[name] = urldecoded(text) if "%" in text or "+" in text else text
    except ValueError:
        return None
    return members


def _form_members(body: bytes) -> dict[str, Any]:
    try:
        pairs = urlencoded_pairs(body.decode(), _MAX_MEMBERS)
    except ValueError:
        raise MalformedCallbackError("body_malformed", "the body is not a percent-encoded form in UTF-8") from None
    return _distinct(pairs)


def _json_members(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode()
        members = json.loads(text, object_pairs_hook=_distinct, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in text and not is_encodable(json.dumps(members, ensure_ascii=False)):
            raise ValueError("an escaped lone surrogate")
    except MalformedCallbackError:
        raise
    except (ValueError, RecursionError):
        raise MalformedCallbackError("body_malformed", _NOT_JSON) from None
    if not isinstance(members, dict):
        raise MalformedCallbackError("body_malformed", "the body's JSON is not an object")
    return members


def _distinct(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedCallbackError("member_repeated", "a member of the body occurs twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _with_image_info(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members, with the image's values from ``imageInfo`` where the body has no member for them."""
    image_info = members.get("imageInfo")
    image = {**image_info, **members} if isinstance(image_info, dict) else dict(members)
    for name in ("width", "height", "format"):
        if image.get(name) in (None, ""):
            image[name] = image.get(f"imageInfo.{name}")
    return image


def _check_texts(members: Mapping[str, Any]) -> None:
    """Refuse a value that must be a text and is not, which only JSON can express."""
    for name in _TEXTS:
        if not isinstance(members.get(name), str | None):
            raise MalformedCallbackError("body_malformed", f"{name} is not text")


def _number(name: str, value: Any) -> int | None:
    """Return a number, also from a text: templates often have quotes around the variable."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_DIGITS:
        value = int(value)
    if type(value) is int and 0 <= value <= _MAX_NUMBER:
        return value
    raise MalformedCallbackError("body_malformed", f"{name} is not a whole number")
