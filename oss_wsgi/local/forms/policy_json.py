"""JSON as the policies have it, with the complaints of OSS's own parser (P§3.5, 3.6, 10.2)."""

from __future__ import annotations

import json
import re
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
