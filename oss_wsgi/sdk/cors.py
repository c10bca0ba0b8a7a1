"""CORS rules of a bucket: the smallest rule that lets pages upload, and the least change that adds it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from ..http import DEFAULT_PORTS

#: The methods that a form needs, and those of uploads in parts, which a presigned PUT needs too.
METHODS = ("POST",)
PARTS_METHODS = ("POST", "PUT")

#: The response headers that a page reads and that CORS hides by default. Parts cannot be sent without their ETag.
EXPOSED = ("ETag", "x-oss-request-id")
PARTS_EXPOSED = (*EXPOSED, "x-oss-hash-crc64ecma")

_MAX_AGE = 600

# The lists of a rule: our names, those of the XML in OSS's order, and the SDK's.
_LISTS = (
    ("origins", "AllowedOrigin", "allowed_origins"),
    ("methods", "AllowedMethod", "allowed_methods"),
    ("headers", "AllowedHeader", "allowed_headers"),
    ("exposed", "ExposeHeader", "expose_headers"),
)

_ORIGIN = re.compile(r"\*|([a-z][a-z0-9+.-]*)://(\[[0-9a-f:]+\]|[a-z0-9._*-]+)(?::([1-9][0-9]{0,4}|\*))?")


@dataclass(frozen=True)
class Rule:
    """One CORS rule of a bucket; ``max_age`` is in seconds."""

    origins: tuple[str, ...]
    methods: tuple[str, ...] = METHODS
    headers: tuple[str, ...] = ("*",)
    exposed: tuple[str, ...] = EXPOSED
    max_age: int | None = _MAX_AGE

    def matches(self, origin: str, method: str = "POST") -> bool:
        """Return whether this rule applies to requests with a method from pages of an origin."""
        return method in self.methods and any(_matches(origin, pattern) for pattern in self.origins)

    def suffices(self, needed: tuple[str, ...] = EXPOSED) -> bool:
        """Return whether matching pages can send any header and read the headers that they need."""
        exposed = {name.lower() for name in self.exposed}
        return "*" in self.headers and exposed >= {name.lower() for name in needed}

    def elements(self) -> Iterator[tuple[str, str]]:
        """Yield name and text of the rule's XML elements, in the order of OSS."""
        for name, element, _ in _LISTS:
            yield from ((element, value) for value in getattr(self, name))
        if self.max_age is not None:
            yield "MaxAgeSeconds", str(self.max_age)


def origin_problem(origin: str) -> str | None:
    """Return a sentence that says why no browser sends an origin like this one, or None."""
    match = _ORIGIN.fullmatch(origin)
    if match is None or origin.count("*") > 1 or re.fullmatch(r"[^*]+://\*", origin):
        return (
            f"{origin!r} is not an origin that a browser sends: write it like https://app.example.com, in lower case, "
            "without a '/' at its end (international names as xn--...)."
        )
    scheme, _, port = match.groups()
    if port is not None and port == str(DEFAULT_PORTS.get(scheme)):
        return f"{origin!r} is not an origin that a browser sends: leave out :{port}, the default port of {scheme}."
    if port not in (None, "*") and int(port) > 65535:
        return f"{origin!r} has a port over 65535."
    return None


def rule_for(origins: tuple[str, ...], *, parts: bool = False) -> Rule:
    """Return the smallest rule that lets pages of ``origins`` upload, in ``parts`` too."""
    return Rule(origins, PARTS_METHODS, exposed=PARTS_EXPOSED) if parts else Rule(origins)


def with_origins(rules: Sequence[Rule], origins: Iterable[str], *, parts: bool = False) -> list[Rule]:
    """Return the rules with the least change that lets pages of ``origins`` upload, in ``parts`` too.

    All other rules stay, in their order. The first rule that matches a request decides, so ours goes before a matching
    rule that does not suffice. An origin that gets our rule for parts is removed from our rule for forms.
    """
    wanted = rule_for((), parts=parts)
    missing = [origin for origin in dict.fromkeys(origins) if not _can_upload(rules, origin, wanted)]
    if not missing:
        return list(rules)
    if parts:
        rules = [_without(rule, missing) if _is_ours(rule, Rule(())) else rule for rule in rules]
    ours = next((rule for rule in rules if _is_ours(rule, wanted)), None)
    others = [rule for rule in rules if rule is not ours]
    position = len(others) if ours is None else list(rules).index(ours)
    for origin in missing:
        for number, rule in enumerate(others[:position]):
            if any(rule.matches(origin, method) for method in wanted.methods):
                position = number
                break
    extended = replace(wanted if ours is None else ours, origins=(*(ours.origins if ours else ()), *missing))
    return [rule for rule in (*others[:position], extended, *others[position:]) if rule.origins]


def _is_ours(rule: Rule, wanted: Rule) -> bool:
    return rule == replace(wanted, origins=rule.origins, max_age=rule.max_age)


def _without(rule: Rule, origins: Sequence[str]) -> Rule:
    return replace(rule, origins=tuple(origin for origin in rule.origins if origin not in origins))


def _can_upload(rules: Sequence[Rule], origin: str, wanted: Rule) -> bool:
    deciding = (next((rule for rule in rules if rule.matches(origin, method)), None) for method in wanted.methods)
    return all(rule is not None and rule.suffices(wanted.exposed) for rule in deciding)


def _matches(origin: str, pattern: str) -> bool:
    return fnmatchcase(origin.lower(), pattern.lower().replace("[", "[[]").replace("?", "[?]"))


def as_xml(rules: Sequence[Rule], vary: bool | None) -> str:
    """Return the document of PutBucketCors."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<CORSConfiguration>"]
    for rule in rules:
        inner = [f"    <{name}>{html.escape(value, quote=False)}</{name}>" for name, value in rule.elements()]
        lines += ["  <CORSRule>", *inner, "  </CORSRule>"]
    if vary is not None:
        lines.append(f"  <ResponseVary>{str(vary).lower()}</ResponseVary>")
    return "\n".join([*lines, "</CORSConfiguration>"])


def from_sdk(configuration: Any) -> tuple[list[Rule], bool | None]:
    """Return the rules of the SDK's CORSConfiguration, and its ResponseVary."""
    return [
        Rule(**{name: tuple(getattr(rule, member) or ()) for name, _, member in _LISTS}, max_age=rule.max_age_seconds)
        for rule in configuration.cors_rules or ()
    ], configuration.response_vary


def to_sdk(sdk: Any, rules: Sequence[Rule], vary: bool | None) -> Any:
    """Return the SDK's CORSConfiguration."""
    sdk_rules = [
        sdk.CORSRule(**{member: list(getattr(rule, name)) for name, _, member in _LISTS}, max_age_seconds=rule.max_age)
        for rule in rules
    ]
    return sdk.CORSConfiguration(cors_rules=sdk_rules, response_vary=vary)
