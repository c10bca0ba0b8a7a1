"""The policy of a form, from its Base64 text to conditions (P§3.1, 3.2, 3.5)."""

from __future__ import annotations

import base64
import calendar
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import OSSError, invalid_policy

_EC = "0006-00000204"

# A string, closed or not, or one sign that opens or closes an array or an object.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|$)|[\[\]{}]', re.DOTALL)


def parse_policy_json(source: bytes) -> Any:
    """Raises OSSError for what is no JSON; a raw `\\$`, which JSON does not have, is taken as `\\\\$`."""
    try:
        # Older SDKs write `\$`, newer ones `\\$`.
        text = re.sub(r"\\(.)", lambda pair: r"\\$" if pair[1] == "$" else pair[0], source.decode())
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _invalid(_complaint(error)) from None
    except (ValueError, RecursionError):
        raise _invalid("not a JSON text") from None


def _complaint(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos :].lstrip()
    if error.msg.startswith("Expecting ',' delimiter"):
        return f", or {_closing(error.doc[: error.pos])} expected"
    if error.msg.startswith("Expecting ':' delimiter"):
        return ": expected"
    return f"unknown char {rest[0]}" if rest else "unexpected end"


def _closing(text: str) -> str:
    """The sign that would end what is open at the end of `text`."""
    opened: list[str] = []
    for sign in _TOKEN.findall(text):
        if sign in "[{":
            opened.append("]" if sign == "[" else "}")
        elif sign in "]}":
            opened.pop()
    return opened[-1]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a member twice")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _invalid(reason: str) -> OSSError:
    return invalid_policy(f"Invalid JSON: {reason}", _EC)


OPERATORS = ("eq", "starts-with", "in", "not-in")

_EXPIRATION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{0,9})?Z")


@dataclass(frozen=True)
class Condition:
    operator: str
    name: str
    operand: str | list[str]

    def __str__(self) -> str:
        return json.dumps([self.operator, f"${self.name}", self.operand], ensure_ascii=False)


@dataclass(frozen=True)
class SizeRange:
    minimum: int
    maximum: int


@dataclass(frozen=True)
class Policy:
    expiration: float
    conditions: list[Condition]
    ranges: list[SizeRange]


def parse_policy(text: str) -> Policy:
    """Raises OSSError with the EC of P§3.6."""
    document = _decode(text)
    if not isinstance(document, dict):
        raise invalid_policy("Invalid JSON: { expected", "0006-00000204")
    extra = [name for name in document if name not in ("expiration", "conditions")]
    if extra:
        raise invalid_policy(f"Unexpected member {extra[0]}.", "0006-00000206")
    missing = [name for name in ("conditions", "expiration") if name not in document]
    if missing:
        ec = "0006-00000209" if len(missing) == 2 else {"conditions": "0006-00000207"}.get(missing[0], "0006-00000208")
        raise invalid_policy(f"Missing {' and '.join(missing)}.", ec)
    expiration = _parse_expiration(document["expiration"])
    conditions = document["conditions"]
    if not isinstance(conditions, list):
        raise invalid_policy("The conditions must be an array.", "0006-00000214")
    if not conditions:
        raise invalid_policy("The conditions are empty.", "0006-00000215")
    parsed = [_parse_condition(condition) for condition in conditions]
    return Policy(
        expiration,
        [condition for condition in parsed if isinstance(condition, Condition)],
        [condition for condition in parsed if isinstance(condition, SizeRange)],
    )


def _decode(text: str) -> Any:
    try:
        source = base64.b64decode(text, validate=True)
    except ValueError:
        raise invalid_policy("The policy is not Base64 encoded.", "0006-00000202") from None
    if not source.strip():
        raise invalid_policy("The policy is empty.", "0006-00000205")
    return parse_policy_json(source)


def _parse_expiration(value: Any) -> float:
    if not isinstance(value, str):
        raise invalid_policy("The expiration must be a string.", "0006-00000210")
    if not value:
        raise invalid_policy("The expiration is empty.", "0006-00000211")
    match = _EXPIRATION.fullmatch(value)
    try:
        if not match:
            raise ValueError
        whole = calendar.timegm(datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%S").timetuple())
    except ValueError:
        raise invalid_policy("The expiration is not like 2014-12-01T12:00:00.000Z.", "0006-00000212") from None
    return whole + float(f"0{match[2]}0" if match[2] else 0)


def _parse_condition(condition: Any) -> Condition | SizeRange:
    if isinstance(condition, dict):
        return _parse_simple(condition)
    if not isinstance(condition, list):
        raise invalid_policy("A condition must be an object or an array.", "0006-00000222")
    if not condition:
        raise invalid_policy("A condition has no operator.", "0006-00000216")
    operator, *operands = condition
    if operator == "content-length-range":
        return _parse_range(operands)
    if operator not in OPERATORS:
        raise invalid_policy(f"Unknown operator {operator}.", "0006-00000217")
    if len(operands) != 2:
        raise invalid_policy(f"The condition {operator} needs a field and a value.", "0006-00000218")
    name, operand = operands
    of_strings = isinstance(operand, list) and all(isinstance(item, str) for item in operand)
    if not isinstance(name, str) or not (of_strings if operator in ("in", "not-in") else isinstance(operand, str)):
        raise invalid_policy(f"The operands of {operator} have the wrong type.", "0006-00000224")
    unescaped = [_unescape(item) for item in operand] if isinstance(operand, list) else _unescape(operand)
    return Condition(operator, name.removeprefix("$"), unescaped)


def _parse_simple(condition: dict[str, Any]) -> Condition:
    if len(condition) != 1:
        raise invalid_policy(
            "Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.", "0006-00000218"
        )
    ((name, value),) = condition.items()
    if not isinstance(value, str):
        raise invalid_policy("Invalid Simple-Condition: the value must be a string.", "0006-00000224")
    return Condition("eq", name, _unescape(value))


def _parse_range(operands: list[Any]) -> SizeRange:
    if len(operands) != 2:
        raise invalid_policy("The content-length-range needs two numbers.", "0006-00000218")
    minimum, maximum = operands
    if not all(type(number) is int and number >= 0 for number in operands):
        raise invalid_policy("The content-length-range needs two integers that are not negative.", "0006-00000221")
    if maximum < minimum:
        raise invalid_policy("The content-length-range ends before it begins.", "0006-00000219")
    return SizeRange(minimum, maximum)


def _unescape(value: str) -> str:
    return value.replace("\\$", "$")
