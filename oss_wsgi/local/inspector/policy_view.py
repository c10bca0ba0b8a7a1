"""A form's policy as the inspector shows it: each condition, whether it held, and what it was compared with."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import OSSError
from ..forms.policy import Condition, SizeRange, parse_condition, parse_policy, parse_policy_json
from ..forms.policy_check import COVERED_FIELDS, UNCOVERED_FIELDS, compared_values, holds
from ..signatures.v4 import V4
from ..xml_document import iso_time
from .story import Story

#: A value of more characters than this is not shown again if the condition already says it.
_LONG = 80


@dataclass(frozen=True)
class ConditionView:
    """One line: `holds` is None where nothing could be compared, such as the size of a file that was not read."""

    text: str
    holds: bool | None
    compared: str


def decoded_policy(text: str) -> str | None:
    """Return the policy with a condition on each line, the text if it is no policy, None if it is no Base64 of text."""
    try:
        source = base64.b64decode(text, validate=True).decode()
    except ValueError:
        return None
    try:
        document = parse_policy_json(source.encode())
        conditions = document.pop("conditions")
        members = [f"  {_json(name)}: {_json(value)}" for name, value in document.items()]
        members.append('  "conditions": [\n    ' + ",\n    ".join(map(_json, conditions)) + "\n  ]")
        return "{\n" + ",\n".join(members) + "\n}"
    except (OSSError, AttributeError, KeyError, TypeError):
        return source


def policy_lines(story: Story, *, strict: bool = False) -> list[ConditionView]:
    """Return a line for the expiration and for each condition, in the policy's order; none if it is unreadable.

    :param strict: every field has to be named, as LocalOSS(strict=True) asks.
    """
    fields = story.fields or {}
    try:
        document = parse_policy_json(base64.b64decode(fields.get("policy", ""), validate=True))
        policy = parse_policy(fields.get("policy", ""))
    except (OSSError, ValueError):
        return []
    values = compared_values(fields, bucket=story.bucket, file_type=story.file_type)
    return [*_lines(document, policy.expiration, story, values), *_not_named(document, fields, strict=strict)]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(
    document: dict[str, Any], expires: float, story: Story, values: Mapping[str, str]
) -> Iterator[ConditionView]:
    expired = story.started > expires or bool(story.error and story.error.ec == "0006-00000213")
    yield ConditionView(f"expiration {document['expiration']}", not expired, f"arrived {iso_time(story.started)}")
    for raw in document["conditions"]:
        condition = parse_condition(raw)
        text = _json(raw)
        if isinstance(condition, SizeRange):
            yield _size_line(text, condition, story)
        else:
            yield _condition_line(text, condition, values.get(condition.name.lower()))


def _condition_line(text: str, condition: Condition, value: str | None) -> ConditionView:
    if value is None:
        return ConditionView(text, False, f"the form has no {condition.name}")
    is_same = value == condition.operand and len(value) > _LONG
    return ConditionView(
        text, holds(condition, value), f"the same {len(value)} characters" if is_same else value or "(empty)"
    )


def _size_line(text: str, limit: SizeRange, story: Story) -> ConditionView:
    code = story.error.code if story.error else ""
    if story.stored:
        size = story.stored.size
        return ConditionView(text, limit.minimum <= size <= limit.maximum, f"{size} bytes")
    if code == "EntityTooLarge":
        return ConditionView(text, False, "the file is larger")
    if code == "EntityTooSmall" and story.error:
        return ConditionView(text, False, f"{story.error.members.get('ProposedSize', '')} bytes")
    return ConditionView(text, None, "the file was not read")


def _not_named(document: dict[str, Any], fields: Mapping[str, str], *, strict: bool) -> Iterator[ConditionView]:
    """Yield a line for each field that had to be named by a condition, and is not."""
    if not strict and fields.get("x-oss-signature-version") != V4:
        return
    parsed = [parse_condition(raw) for raw in document["conditions"]]
    named = {condition.name.lower() for condition in parsed if isinstance(condition, Condition)}

    names = [name for name in fields if name not in UNCOVERED_FIELDS] if strict else list(COVERED_FIELDS)
    for name in names:
        if fields.get(name) and name not in named:
            yield ConditionView(f"(no condition names {name})", False, fields[name])
