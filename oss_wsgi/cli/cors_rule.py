"""The CORS rule that uploads need, and how a bucket's rules become such as have it (P§12)."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

METHOD = "POST"
#: Of what a page reads of OSS's answer, CORS hides all but these.
EXPOSED = ("ETag", "x-oss-request-id")
_MAX_AGE = 600
_ORIGIN = re.compile(r"\*|([a-z][a-z0-9+.-]*)://(\[[0-9a-f:]+\]|[a-z0-9._*-]+)(?::([1-9][0-9]{0,4}|\*))?")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True)
class Rule:
    """One rule of a bucket."""

    origins: tuple[str, ...]
    methods: tuple[str, ...] = (METHOD,)
    headers: tuple[str, ...] = ("*",)
    exposed: tuple[str, ...] = EXPOSED
    max_age: int | None = _MAX_AGE

    def takes(self, origin: str) -> bool:
        """Tell whether it decides of a form that a page of this origin posts."""
        return METHOD in self.methods and any(_matches(origin, pattern) for pattern in self.origins)

    @property
    def suffices(self) -> bool:
        """Tell whether a page that it takes can send what it likes, and read what it must."""
        exposed = {name.lower() for name in self.exposed}
        return "*" in self.headers and exposed >= {name.lower() for name in EXPOSED}

    def elements(self) -> Iterator[tuple[str, str]]:
        """Give its XML elements, in OSS's order."""
        for name, values in (
            ("AllowedOrigin", self.origins),
            ("AllowedMethod", self.methods),
            ("AllowedHeader", self.headers),
            ("ExposeHeader", self.exposed),
        ):
            yield from ((name, value) for value in values)
        if self.max_age is not None:
            yield "MaxAgeSeconds", str(self.max_age)


def origin_problem(origin: str) -> str | None:
    """Say what is wrong with an origin for a rule: browsers would send none that fits it."""
    match = _ORIGIN.fullmatch(origin)
    if match is None or origin.count("*") > 1 or re.fullmatch(r"[^*]+://\*", origin):
        return (
            f"{origin!r} is no origin that a browser sends: write it like https://app.example.com, in small letters "
            "(a name of others as xn--...), without a '/' at its end."
        )
    scheme, _, port = match.groups()
    if port is not None and port == _DEFAULT_PORTS.get(scheme):
        return f"{origin!r} is no origin that a browser sends: it leaves out :{port}, the port of {scheme}."
    if port not in (None, "*") and int(port) > 65535:
        return f"{origin!r} has a port over 65535."
    return None


def planned(rules: Sequence[Rule], origins: Iterable[str]) -> list[Rule]:
    """Give the rules with what lets pages of ``origins`` upload; all other rules are kept, in their order.

    The first rule that fits a request decides, so ours stands before one that would take it and does not suffice.
    """
    missing = [origin for origin in dict.fromkeys(origins) if not _served(rules, origin)]
    if not missing:
        return list(rules)
    ours = next((rule for rule in rules if rule == Rule(rule.origins, max_age=rule.max_age)), None)
    others = [rule for rule in rules if rule is not ours]
    place = len(others) if ours is None else list(rules).index(ours)
    for origin in missing:
        place = min([place, *(number for number, rule in enumerate(others) if rule.takes(origin))])
    made = Rule(tuple(missing)) if ours is None else replace(ours, origins=(*ours.origins, *missing))
    return [*others[:place], made, *others[place:]]


def _served(rules: Sequence[Rule], origin: str) -> bool:
    return next((rule.suffices for rule in rules if rule.takes(origin)), False)


def _matches(origin: str, pattern: str) -> bool:
    return fnmatchcase(origin.lower(), pattern.lower().replace("[", "[[]").replace("?", "[?]"))


def as_xml(rules: Sequence[Rule], vary: bool | None) -> str:
    """Write the document of PutBucketCors."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<CORSConfiguration>"]
    for rule in rules:
        inner = [f"    <{name}>{html.escape(value, quote=False)}</{name}>" for name, value in rule.elements()]
        lines += ["  <CORSRule>", *inner, "  </CORSRule>"]
    if vary is not None:
        lines.append(f"  <ResponseVary>{str(vary).lower()}</ResponseVary>")
    return "\n".join([*lines, "</CORSConfiguration>"])


def in_words(rule: Rule) -> str:
    """Say what to fill into the console: Content Security, CORS, Create Rule."""
    fields = {
        "Source (one a line)": " ".join(rule.origins),
        "Allowed Methods": ", ".join(rule.methods),
        "Allowed Headers": ", ".join(rule.headers),
        "Exposed Headers": " ".join(rule.exposed),
        "Cache Timeout (Seconds)": str(rule.max_age),
        "Vary: Origin": "ticked",
    }
    return "\n".join(f"{name}: {value}" for name, value in fields.items())
