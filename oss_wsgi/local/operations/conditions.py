"""Whether an object is still, or is no longer, what a client believes it to be."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from ..errors import OSSError
from ..storage.stored_object import StoredObject


def is_unmodified(stored: StoredObject, headers: Mapping[str, str], prefix: str = "") -> bool:
    """True for a 304; OSSError 412 when a condition fails that wants the object as it was.

    :param prefix: of the headers' names: a copy has conditions on its source.
    """
    tags, moment = headers.get(f"{prefix}if-match", ""), _time(headers.get(f"{prefix}if-unmodified-since", ""))
    if tags and not _matches(stored, tags):
        raise _failed("If-Match")
    if moment is not None and int(stored.last_modified) > moment:
        raise _failed("If-Unmodified-Since")
    tags = headers.get(f"{prefix}if-none-match", "")
    if tags:
        return _matches(stored, tags)
    moment = _time(headers.get(f"{prefix}if-modified-since", ""))
    return moment is not None and int(stored.last_modified) <= moment


def _matches(stored: StoredObject, tags: str) -> bool:
    return tags.strip() == "*" or stored.etag in (
        tag.strip().removeprefix("W/").strip('"').upper() for tag in tags.split(",")
    )


def _time(header: str) -> float | None:
    """None for what is no date, which OSS ignores."""
    try:
        return parsedate_to_datetime(header).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _failed(condition: str) -> OSSError:
    message = "At least one of the pre-conditions you specified did not hold."
    return OSSError(412, "PreconditionFailed", message, Condition=condition)
