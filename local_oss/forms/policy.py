"""The policy of a form: its parser (protocol.md 3.1, protocol.md 3.2, protocol.md 3.5) and its check of a form."""

from __future__ import annotations

import base64
import calendar
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..errors import OSSError, access_denied, invalid_policy
from ..signatures.v4 import V4

MAX_OBJECT_SIZE = 5 * 1024**3
#: Under V4 the policy must name each of these fields that the form has (protocol.md 3.3.3).
COVERED_FIELDS = ("x-oss-signature-version", "x-oss-credential", "x-oss-date", "x-oss-security-token")
#: The fields that a strict check accepts without a condition: they sign the policy, or store nothing.
UNCOVERED_FIELDS = ("policy", "ossaccesskeyid", "signature", "x-oss-signature", "success_action_status")
OPERATORS = ("eq", "starts-with", "in", "not-in")

_INVALID_JSON = "0006-00000204"
_EXPIRATION = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{0,9})?Z")
# A string, closed or not, or one bracket.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|$)|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class Condition:
    """A condition on one field; the operand is a list for `in` and `not-in`."""

    operator: str
    name: str
    operand: str | list[str]

    def __str__(self) -> str:
        return json.dumps([self.operator, f"${self.name}", self.operand], ensure_ascii=False)


@dataclass(frozen=True)
class SizeRange:
    """A content-length-range in bytes, both ends included."""

    minimum: int
    maximum: int


@dataclass(frozen=True)
class Policy:
    """The conditions of a policy; `expiration` is in Unix seconds."""

    expiration: float
    conditions: list[Condition]
    ranges: list[SizeRange]


def parse_policy(text: str) -> Policy:
    """Return the policy; raise OSSError with the EC of protocol.md 3.6 if it is not valid."""
    document = _decode(text)
    if not isinstance(document, dict):
        raise invalid_policy("Invalid JSON: { expected", _INVALID_JSON)
    extra = [name for name in document if name not in ("expiration", "conditions")]
    if extra:
        raise invalid_policy(f"Unexpected member {extra[0]}.", "0006-00000206")
    missing = [name for name in ("conditions", "expiration") if name not in document]
    if missing:
        ecs = {"conditions": "0006-00000207", "expiration": "0006-00000208"}
        ec = "0006-00000209" if len(missing) == 2 else ecs[missing[0]]
        raise invalid_policy(f"Missing {' and '.join(missing)}.", ec)
    expiration = _parse_expiration(document["expiration"])
    conditions = document["conditions"]
    if not isinstance(conditions, list):
        raise invalid_policy("The conditions must be an array.", "0006-00000214")
    if not conditions:
        raise invalid_policy("The conditions are empty.", "0006-00000215")
    parsed = [parse_condition(condition) for condition in conditions]
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


def parse_policy_json(source: bytes) -> Any:
    """Return the JSON; raise OSSError if it is not JSON. A raw `\\$`, which JSON does not allow, is read as `\\\\$`."""
    try:
        # Older SDKs write `\$`, newer ones `\\$`.
        text = re.sub(r"\\(.)", lambda pair: r"\\$" if pair[1] == "$" else pair[0], source.decode())
        return json.loads(text, object_pairs_hook=_unique_members, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _invalid_json(_describe(error)) from None
    except (ValueError, RecursionError):
        raise _invalid_json("not a JSON text") from None


def _describe(error: json.JSONDecodeError) -> str:
    """Return the fault of the JSON, in OSS's words."""
    rest = error.doc[error.pos :].lstrip()
    if error.msg.startswith("Expecting ',' delimiter"):
        return f", or {_closing_bracket(error.doc[: error.pos])} expected"
    if error.msg.startswith("Expecting ':' delimiter"):
        return ": expected"
    return f"unknown char {rest[0]}" if rest else "unexpected end"


def _closing_bracket(text: str) -> str:
    """Return the bracket that would close the innermost array or object at the end of `text`."""
    closing: list[str] = []
    for mark in _TOKEN.findall(text):
        if mark in "[{":
            closing.append("]" if mark == "[" else "}")
        elif mark in "]}":
            closing.pop()
    return closing[-1]


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("duplicate member")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _invalid_json(reason: str) -> OSSError:
    return invalid_policy(f"Invalid JSON: {reason}", _INVALID_JSON)


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


def parse_condition(condition: Any) -> Condition | SizeRange:
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


def check_policy(
    policy: Policy, fields: Mapping[str, str], *, bucket: str, file_type: str, now: float, strict: bool = False
) -> None:
    """Raise OSSError for the first condition that fails; values count as they were sent, `${filename}` included.

    :param file_type: the content type of the file part, for forms without a Content-Type field.
    :param strict: refuse every field that no condition names, except UNCOVERED_FIELDS.
    """
    if now > policy.expiration:
        raise access_denied("Invalid according to Policy: Policy expired.", "0006-00000213")
    values = compared_values(fields, bucket=bucket, file_type=file_type)
    for condition in policy.conditions:
        _check_condition(condition, values)
    for name in not_named(policy, fields, strict=strict):
        raise access_denied(f"Invalid according to Policy: Extra input fields: {name}", "0006-00000228")


def compared_values(fields: Mapping[str, str], *, bucket: str, file_type: str) -> dict[str, str]:
    values = {**fields, "bucket": bucket}
    if file_type:
        values.setdefault("content-type", file_type)
    return values


def size_range(policy: Policy) -> SizeRange:
    """Return the sizes that all ranges of the policy and the limit of OSS allow."""
    return SizeRange(
        max((limit.minimum for limit in policy.ranges), default=0),
        min(limit.maximum for limit in [*policy.ranges, SizeRange(0, MAX_OBJECT_SIZE)]),
    )


def too_large(size: int, limit: SizeRange) -> OSSError:
    message = "Your proposed upload exceeds the maximum allowed size."
    members = {"MaxSizeAllowed": str(limit.maximum), "ProposedSize": str(size)}
    return OSSError(400, "EntityTooLarge", message, "0006-00000003", **members)


def too_small(size: int, limit: SizeRange) -> OSSError:
    message = "Your proposed upload smaller than the minimum allowed size."
    members = {"MinSizeAllowed": str(limit.minimum), "ProposedSize": str(size)}
    return OSSError(400, "EntityTooSmall", message, "0006-00000004", **members)


def _check_condition(condition: Condition, values: Mapping[str, str]) -> None:
    value = values.get(condition.name.lower())
    if value is None:
        raise _failed(condition, "0006-00000226")
    if not holds(condition, value):
        raise _failed(condition, "0006-00000227")


def holds(condition: Condition, value: str) -> bool:
    operand = condition.operand
    if isinstance(operand, list):
        return (value in operand) == (condition.operator == "in")
    return value.startswith(operand) if condition.operator == "starts-with" else value == operand


def not_named(policy: Policy, fields: Mapping[str, str], *, strict: bool = False) -> list[str]:
    """Return the fields that need a condition and have none."""
    named = {condition.name.lower() for condition in policy.conditions}
    if strict:
        names = [name for name in fields if name not in UNCOVERED_FIELDS]
    else:
        is_v4 = fields.get("x-oss-signature-version") == V4
        names = [name for name in COVERED_FIELDS if fields.get(name)] if is_v4 else []
    return [name for name in names if name not in named]


def _failed(condition: Condition, ec: str) -> OSSError:
    return access_denied(f"Invalid according to Policy: Policy Condition failed: {condition}", ec)
