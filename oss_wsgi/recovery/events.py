"""A reader of the events in which OSS names a stored object: messages of SMQ, and CloudEvents of EventBridge.

Only the object's name is taken from an event: HEAD and receipt decide about the upload (never-lost.md 7.4).
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..exceptions import MalformedRecoveryError
from ..http import is_encodable

#: The events that a finished upload causes. ``UploadPart`` is left out: it comes once for each part, before the object
#: is finished.
UPLOAD_EVENTS = frozenset(
    {"ObjectCreated:PostObject", "ObjectCreated:PutObject", "ObjectCreated:CompleteMultipartUpload"}
)

MAX_BODY_BYTES = 1024 * 1024
# OSS's have 32 characters, and a few more after an upload in parts.
_ETAG = re.compile(r"[!-~]{0,64}")
_MAX_DEPTH = 4  # of events within events, such as those in a CloudEvent's data
_MAX_WRAPPERS = 3  # such as a push of SMQ around the Base64 of the message

log = logging.getLogger(__name__)


class UploadEvent(NamedTuple):
    """One event: its name without ``oss:``, the bucket and the object's name; ``etag`` is in upper case, or ""."""

    name: str
    bucket: str
    key: str
    etag: str


class EventOutcome(NamedTuple):
    """The outcome of one event in ``handle_event``.

    ``outcome`` is ``recovered`` (the application handled the upload now), ``known`` (it had handled it before),
    ``ignored`` (the event is for another bucket or of another kind), or why the upload can never be handled:
    ``refused``, ``no_receipt``, ``foreign``, ``gone``.
    """

    outcome: str
    key: str
    reason: str | None = None


def read_events(body: bytes | str) -> list[UploadEvent]:
    """Return the events in a message's body: JSON or its Base64, in the layouts of SMQ and of EventBridge.

    A member that OSS's documentation nests inside ``oss`` may also stand beside ``oss``, as in captured events. Entries
    that are not events are logged and skipped. A message without any entries returns an empty list.

    Raises MalformedRecoveryError, reason ``event_malformed``, if the body has entries and none of them is an event.
    """
    if len(body) > MAX_BODY_BYTES:
        raise _malformed(f"it is over {MAX_BODY_BYTES} bytes")
    try:
        text = body.decode() if isinstance(body, (bytes, bytearray)) else body
        document = _document(text.strip().lstrip("\ufeff"))
    except (ValueError, RecursionError):
        raise _malformed("it is neither JSON nor the Base64 of JSON, in UTF-8") from None
    members = list(_members(document))
    events = [member for member in members if isinstance(member, UploadEvent)]
    problems = [member for member in members if isinstance(member, MalformedRecoveryError)]
    if problems and not events:
        raise problems[-1]
    if problems:
        log.warning("%d of %d events in a message are ignored: %s", len(problems), len(members), problems[-1])
    return events


def _document(text: str) -> Any:
    """Return the value of a text of JSON, which may be in Base64, or in the envelope of a push."""
    for _ in range(_MAX_WRAPPERS):
        try:
            document = json.loads(text)
        except ValueError:
            text = base64.b64decode("".join(text.split()), validate=True).decode()
            continue
        envelope = document if isinstance(document, dict) else {}
        inner = next((envelope[name] for name in ("Message", "MessageBody") if name in envelope), document)
        if not isinstance(inner, str):
            return document
        text = inner
    raise binascii.Error


def _members(document: Any, depth: int = 0) -> Iterator[UploadEvent | MalformedRecoveryError]:
    """Yield each event of a document: in ``events``, in a CloudEvent's ``data``, or bare.

    Yields an error in place of an entry that is not an event.
    """
    for item in document if isinstance(document, list) else [document]:
        try:
            if not isinstance(item, dict) or depth == _MAX_DEPTH:
                raise _malformed("its JSON is not an object, or is nested too deeply")
            events, data = item.get("events"), item.get("data")
            if not isinstance(data, (dict, str)):
                data = item.get("data_base64")
            if isinstance(events, list):
                yield from _members(events, depth + 1)
            elif isinstance(data, (dict, str)):  # a text of JSON, or its Base64
                inner = _document(data) if isinstance(data, str) else data
                if not isinstance(inner, dict):
                    raise _malformed("its data is not an object")
                yield from _members({"eventName": item.get("type"), **inner}, depth + 1)
            else:
                yield _event(item)
        except MalformedRecoveryError as error:
            yield error
        except (ValueError, RecursionError):
            yield _malformed("its data is neither JSON nor the Base64 of JSON")


def _event(members: dict[str, Any]) -> UploadEvent:
    oss = members.get("oss")
    if not isinstance(oss, dict):
        raise _malformed("it has no member oss")
    name = members.get("eventName") or oss.get("eventName") or ""
    bucket, stored = (each if isinstance(each, dict) else {} for each in (oss.get("bucket"), oss.get("object")))
    bucket_name, key, etag = bucket.get("name"), stored.get("key"), stored.get("eTag")
    if not (isinstance(name, str) and name and isinstance(bucket_name, str) and isinstance(key, str) and key):
        raise _malformed("it does not name the event, the bucket and the object")
    etag = etag.strip('"').upper() if isinstance(etag, str) else ""
    if not is_encodable(name + bucket_name + key):
        raise _malformed("a name in it is not text")
    if not _ETAG.fullmatch(etag):
        raise _malformed("its ETag is not one that OSS writes")
    return UploadEvent(name.removeprefix("oss:"), bucket_name, key, etag)


def _malformed(problem: str) -> MalformedRecoveryError:
    return MalformedRecoveryError("event_malformed", f"this is not an event of OSS: {problem}")
