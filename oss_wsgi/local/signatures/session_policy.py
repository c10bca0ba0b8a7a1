"""The policy that bounds the rights of a temporary key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

#: The fields of a resource before the bucket and the key: acs:oss:REGION:ACCOUNT:BUCKET/KEY.
_FIELDS = 4


class PolicyError(ValueError):
    """A policy that cannot be read, or has something that is not obeyed here; the message names it."""


@dataclass(frozen=True)
class Statement:
    """Which actions on which resources a policy allows or denies; patterns, in which * and ? are wildcards."""

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]

    def is_about(self, action: str, name: str) -> bool:
        """Return whether it is about an action on a bucket, or on an object `BUCKET/KEY`."""
        return any(_matches(pattern, action) for pattern in self.actions) and any(
            _is_resource(pattern, name) for pattern in self.resources
        )


@dataclass(frozen=True)
class SessionPolicy:
    """What a session may do: what a statement allows and none denies."""

    statements: tuple[Statement, ...]

    @classmethod
    def parse(cls, text: str) -> SessionPolicy:
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            raise PolicyError("it is not JSON") from None
        if not isinstance(document, dict) or document.get("Version") != "1":
            raise PolicyError('it is not an object whose "Version" is "1"')
        _check_names(document, {"Version", "Statement"})
        statements = document.get("Statement")
        if not isinstance(statements, list) or not statements:
            raise PolicyError("its Statement is not a list with members")
        return cls(tuple(_statement(statement) for statement in statements))

    def allows(self, action: str, name: str) -> bool:
        decisions = [statement.allows for statement in self.statements if statement.is_about(action, name)]
        return bool(decisions) and all(decisions)


def _statement(statement: Any) -> Statement:
    if not isinstance(statement, dict):
        raise PolicyError("a statement is not an object")
    _check_names(statement, {"Effect", "Action", "Resource"})
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError("the Effect of a statement is neither Allow nor Deny")
    return Statement(statement["Effect"] == "Allow", _texts(statement, "Action"), _texts(statement, "Resource"))


def _check_names(members: Mapping[str, Any], known: set[str]) -> None:
    for name in members:
        if name not in known:  # a condition that is ignored would allow what OSS denies
            raise PolicyError(f"the local OSS does not support its {name}: leave it out")


def _texts(statement: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = statement.get(name)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise PolicyError(f"the {name} of a statement is neither a text nor a list of texts")
    return tuple(texts)


def _is_resource(pattern: str, name: str) -> bool:
    if pattern == "*":
        return True
    *fields, resource = pattern.split(":", _FIELDS)
    # Of the region and the account a session has only one.
    return len(fields) == _FIELDS and fields[:2] == ["acs", "oss"] and _matches(resource, name)


def _matches(pattern: str, text: str) -> bool:
    """Return whether a pattern fits a whole text; of the wildcards of fnmatch it has * and ?."""
    return fnmatchcase(text, pattern.replace("[", "[[]"))
