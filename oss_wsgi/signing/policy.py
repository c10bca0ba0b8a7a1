"""The PostObject policy: an expiry and conditions on the form, as compact JSON in Base64 (P§3)."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from ..exceptions import PolicyError

#: ``{"field": "value"}`` or ``[operator, "$field", operand]`` or ``["content-length-range", min, max]``,
#: with literal dollars in values already escaped.
Condition = dict[str, str] | list[Any]

_ONE_VALUE = frozenset({"eq", "starts-with"})
_SEVERAL_VALUES = frozenset({"in", "not-in"})
_END_OF_TIME = 253402300799  # 9999-12-31T23:59:59Z: four digits for the year


def escape(value: str) -> str:
    """Write a literal ``$`` as ``\\$``: a bare one marks a variable in a policy value (P§3.5)."""
    return value.replace("$", "\\$")


def exactly(field: str, value: str) -> Condition:
    """The form field must have exactly this value; the object form, ``{"field": "value"}``."""
    return {field: escape(value)}


def eq(field: str, value: str) -> Condition:
    """The form field must have exactly this value; the array form, ``["eq", "$field", "value"]``."""
    return ["eq", f"${field}", escape(value)]


def starts_with(field: str, prefix: str) -> Condition:
    """The form field must begin with the prefix; an empty one asks only that the field is there."""
    return ["starts-with", f"${field}", escape(prefix)]


def one_of(field: str, values: Sequence[str]) -> Condition:
    """The form field must have one of the values (``in``)."""
    return ["in", f"${field}", [escape(value) for value in values]]


def none_of(field: str, values: Sequence[str]) -> Condition:
    """The form field must be there and have none of the values (``not-in``)."""
    return ["not-in", f"${field}", [escape(value) for value in values]]


def content_length_range(minimum: int, maximum: int) -> Condition:
    """The file must have ``minimum`` to ``maximum`` bytes, both included."""
    return ["content-length-range", minimum, maximum]


@functools.lru_cache(maxsize=8)  # many forms expire in one second
def format_time(timestamp: int) -> str:
    """Write a Unix time in seconds as ISO 8601 in GMT: ``2014-12-01T12:00:00.000Z`` (P§3.1)."""
    return f"{datetime.fromtimestamp(timestamp, timezone.utc):%Y-%m-%dT%H:%M:%S}.000Z"


@dataclass(frozen=True)
class PostPolicy:
    """What a form may upload, until when.

    ``expiration`` is in Unix seconds, or an aware datetime; ``conditions`` are made by the functions of this
    module, or are plain lists and dicts in which the dollars are escaped already.

        PostPolicy(1733230800, [exactly("bucket", "examplebucket"), starts_with("key", "user/eric/")]).encode()

    Raises PolicyError for what OSS would refuse as a document (P§3.6).
    """

    expiration: int | datetime
    conditions: Sequence[Condition]

    def __post_init__(self) -> None:
        expiration = self.expiration
        if isinstance(expiration, datetime):
            good = expiration.tzinfo is not None
        else:
            good = type(expiration) in (int, float) and 0 <= expiration <= _END_OF_TIME
        if not good:
            raise PolicyError("The expiration must be an aware datetime (UTC, say) or Unix seconds.")
        if not self.conditions:
            raise PolicyError("A policy must have at least one condition.")
        for condition in self.conditions:
            _check(condition)

    def json(self) -> str:
        """Give the document as compact JSON, non-ASCII written as it is."""
        expiration = self.expiration
        timestamp = int(expiration.timestamp() if isinstance(expiration, datetime) else expiration)
        document = {"expiration": format_time(timestamp), "conditions": list(self.conditions)}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"))

    def encode(self) -> str:
        """Give the text of the ``policy`` form field: the JSON in Base64, the very text to sign."""
        try:
            return base64.b64encode(self.json().encode()).decode()
        except UnicodeEncodeError:
            raise PolicyError("A condition holds a lone surrogate, which UTF-8 cannot write.") from None


def _check(condition: Condition) -> None:
    if isinstance(condition, dict):
        good = len(condition) == 1 and all(isinstance(text, str) for item in condition.items() for text in item)
    elif not isinstance(condition, (list, tuple)) or len(condition) != 3:
        good = False
    elif condition[0] == "content-length-range":
        low, high = condition[1], condition[2]
        good = type(low) is int and type(high) is int and 0 <= low <= high
    else:
        operator, field, operand = condition
        good = isinstance(operator, str) and isinstance(field, str)
        good = good and (
            (operator in _ONE_VALUE and isinstance(operand, str))
            or (
                operator in _SEVERAL_VALUES
                and isinstance(operand, (list, tuple))
                and len(operand) > 0
                and all(isinstance(value, str) for value in operand)
            )
        )
    if not good:
        raise PolicyError(
            f"{condition!r} is no condition: write {{'field': 'value'}}, ['eq'|'starts-with', '$field', 'text'], "
            "['in'|'not-in', '$field', ['text', ...]] or ['content-length-range', min, max]."
        )
