"""The rules of `?cors` as XML, within the limits of P§12.1."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence

from .cors import CORSRule
from .errors import OSSError, invalid_argument
from .xml_document import Node, malformed_xml, read_xml

MAX_BODY_SIZE = 16 * 1024
MAX_RULES = 10
METHODS = ("GET", "PUT", "DELETE", "POST", "HEAD")
_CHILDREN = {"AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader", "MaxAgeSeconds"}
_ORIGIN = re.compile(r"\*|[A-Za-z][A-Za-z0-9+.-]*://[^/\s*]*\*?[^/\s*]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def read_rules(body: bytes, max_rules: int = MAX_RULES) -> tuple[list[CORSRule], bool]:
    """The rules, and whether each answer says `Vary: Origin`; OSSError for what OSS does not take."""
    root = read_xml(body, "CORSConfiguration")
    found = root.findall("CORSRule")
    if not found or {child.tag for child in root} - {"CORSRule", "ResponseVary"}:
        raise malformed_xml()
    if len(found) > max_rules:
        raise OSSError(400, "CORSRuleBeyondLimit", "The CORS Rules num is beyond limit.", "0034-00000006")
    vary = (root.findtext("ResponseVary") or "false").strip().lower()
    if vary not in ("true", "false") or len(root.findall("ResponseVary")) > 1:
        raise malformed_xml()
    return [_rule(element) for element in found], vary == "true"


def rule_nodes(rules: Sequence[CORSRule], vary: bool) -> Iterator[Node]:
    for rule in rules:
        yield "CORSRule", list(_children(rule))
    yield "ResponseVary", "true" if vary else "false"


def _children(rule: CORSRule) -> Iterator[Node]:
    for name, values in (
        ("AllowedOrigin", rule.allowed_origins),
        ("AllowedMethod", rule.allowed_methods),
        ("AllowedHeader", rule.allowed_headers),
        ("ExposeHeader", rule.expose_headers),
    ):
        for value in values:
            yield name, value
    if rule.max_age_seconds is not None:
        yield "MaxAgeSeconds", str(rule.max_age_seconds)


def _rule(element: ElementTree.Element) -> CORSRule:
    origins, methods = _texts(element, "AllowedOrigin"), _texts(element, "AllowedMethod")
    headers, exposed, ages = (_texts(element, name) for name in ("AllowedHeader", "ExposeHeader", "MaxAgeSeconds"))
    if not origins or not methods or len(ages) > 1 or {child.tag for child in element} - _CHILDREN:
        raise malformed_xml()
    for origin in origins:
        # A star for the whole host would be a star for everybody, which has a spelling of its own.
        if not _ORIGIN.fullmatch(origin) or re.fullmatch(r"[^*]*://\*?", origin):
            raise _refused("AllowedOrigin", origin, "0034-00000009")
    for method in methods:
        if method not in METHODS:
            raise _refused("AllowedMethod", method)
    for header in headers:
        if not _HEADER.fullmatch(header) or header.count("*") > 1:
            raise _refused("AllowedHeader", header)
    for header in exposed:
        if not _HEADER.fullmatch(header) or "*" in header:
            raise _refused("ExposeHeader", header, "0034-00000013")
    for age in ages:
        if not re.fullmatch(r"[0-9]{1,9}", age):
            raise _refused("MaxAgeSeconds", age)
    return CORSRule(origins, methods, headers, exposed, int(ages[0]) if ages else None)


def _texts(element: ElementTree.Element, name: str) -> tuple[str, ...]:
    return tuple((child.text or "").strip() for child in element.findall(name))


def _refused(name: str, value: str, ec: str = "") -> OSSError:
    return invalid_argument(f"The {name} of a CORS rule is not valid.", ec, name=name, value=value)
