"""The PostObject policy: an expiry and conditions on the form, as compact JSON in Base64 (protocol.md 3)."""

from __future__ import annotations

import binascii
import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from json.encoder import encode_basestring as quoted
from typing import Any

from ..exceptions import PolicyError

#: One condition: compact JSON, as the functions below return it, or a dict or list for that JSON.
Condition = str | dict[str, str] | list[Any]

_ONE_VALUE = frozenset({"eq", "starts-with"})
_SEVERAL_VALUES = frozenset({"in", "not-in"})
_MAX_TIME = 253402300799  # 9999-12-31T23:59:59Z: four digits for the year


def escape(value: str) -> str:
    """Return a value with each ``$`` as ``\\$``: a bare one marks a variable in a policy value (protocol.md 3.5)."""
    return value.replace("$", "\\$")


def exactly(field: str, value: str) -> str:
    """Return a condition that requires this value of the form field, in the object form ``{"field":"value"}``."""
    return f"{{{quoted(field)}:{quoted(escape(value))}}}"


def eq(field: str, value: str) -> str:
    """Return a condition that requires this value of the form field, in the array form ``["eq","$field","value"]``."""
    return f'["eq",{quoted("$" + field)},{quoted(escape(value))}]'


def starts_with(field: str, prefix: str) -> str:
    """Return a condition that the form field begins with the prefix; an empty prefix only requires the field."""
    return f'["starts-with",{quoted("$" + field)},{quoted(escape(prefix))}]'


def one_of(field: str, values: Sequence[str]) -> str:
    """Return a condition that requires one of the values of the form field (``in``)."""
    return f'["in",{quoted("$" + field)},[{",".join([quoted(escape(value)) for value in values])}]]'


def none_of(field: str, values: Sequence[str]) -> str:
    """Return a condition that requires the form field, with none of the values (``not-in``)."""
    return f'["not-in",{quoted("$" + field)},[{",".join([quoted(escape(value)) for value in values])}]]'


def content_length_range(minimum: int, maximum: int) -> str:
    """Return a condition that requires a file of ``minimum`` to ``maximum`` bytes, both included."""
    return f'["content-length-range",{minimum},{maximum}]'


@functools.lru_cache(maxsize=8)  # many forms expire in one second
def format_time(timestamp: int) -> str:
    """Return a Unix time in seconds as ISO 8601 in GMT: ``2014-12-01T12:00:00.000Z`` (protocol.md 3.1)."""
    return f"{datetime.fromtimestamp(timestamp, timezone.utc):%Y-%m-%dT%H:%M:%S}.000Z"


def policy_json(expiration: int, conditions: Iterable[str]) -> str:
    """Return the policy as compact JSON with non-ASCII text unescaped; ``expiration`` is in Unix seconds."""
    return f'{{"expiration":"{format_time(expiration)}","conditions":[{",".join(conditions)}]}}'


def encode_policy(expiration: int, conditions: Iterable[str]) -> str:
    """Return the text of the ``policy`` form field, which is also the text to sign: the JSON in Base64."""
    return binascii.b2a_base64(policy_json(expiration, conditions).encode(), newline=False).decode()


@dataclass(frozen=True)
class PostPolicy:
    """What a form may upload, and until when.

    ``expiration`` is in Unix seconds, or an aware datetime. ``conditions`` come from this module's functions, or are
    plain lists and dicts, in whose values each ``$`` is escaped already.

        PostPolicy(1733230800, [exactly("bucket", "examplebucket"), starts_with("key", "user/eric/")]).encode()

    Raises PolicyError for a document that OSS would refuse (protocol.md 3.6).
    """

    expiration: int | datetime
    conditions: Sequence[Condition]

    def __post_init__(self) -> None:
        expiration = self.expiration
        if isinstance(expiration, datetime):
            valid = expiration.tzinfo is not None
        else:
            valid = type(expiration) in (int, float) and 0 <= expiration <= _MAX_TIME
        if not valid:
            raise PolicyError("Invalid expiration of a policy: use Unix seconds or an aware datetime (in UTC, say).")
        if not self.conditions:
            raise PolicyError("The policy has no condition: add at least one condition.")
        self._texts()

    def json(self) -> str:
        """Return the document as compact JSON with non-ASCII text unescaped."""
        return policy_json(self._timestamp(), self._texts())

    def encode(self) -> str:
        """Return the text of the ``policy`` form field, which is also the text to sign: the JSON in Base64."""
        try:
            return encode_policy(self._timestamp(), self._texts())
        except UnicodeEncodeError:
            raise PolicyError("A condition has a lone surrogate, which UTF-8 cannot write: remove it.") from None

    def _timestamp(self) -> int:
        expiration = self.expiration
        return int(expiration.timestamp() if isinstance(expiration, datetime) else expiration)

    def _texts(self) -> list[str]:
        return [_condition_text(condition) for condition in self.conditions]


def _condition_text(condition: Condition) -> str:
    """Return the condition as compact JSON; PolicyError if OSS would refuse it."""
    try:
        plain = json.loads(condition) if isinstance(condition, str) else condition
    except (ValueError, RecursionError):
        plain = None
    if not _is_condition(plain):
        raise PolicyError(
            f"Invalid condition {condition!r}: write {{'field': 'value'}}, ['eq'|'starts-with', '$field', 'text'], "
            "['in'|'not-in', '$field', ['text', ...]] or ['content-length-range', min, max]."
        )
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _is_condition(plain: Any) -> bool:
    if isinstance(plain, dict):
        return len(plain) == 1 and all(isinstance(text, str) for item in plain.items() for text in item)
    if not isinstance(plain, (list, tuple)) or len(plain) != 3:
        return False
    operator, field, operand = plain
    if operator == "content-length-range":
        return type(field) is int and type(operand) is int and 0 <= field <= operand
    if not isinstance(operator, str) or not isinstance(field, str):
        return False
    if operator in _ONE_VALUE:
        return isinstance(operand, str)
    if operator in _SEVERAL_VALUES and isinstance(operand, (list, tuple)):
        return len(operand) > 0 and all(isinstance(value, str) for value in operand)
    return False
