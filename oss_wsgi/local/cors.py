"""The CORS rules of a bucket, evaluated as OSS does (P§12.2)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .errors import Answer, Headers, OSSError, invalid_argument
from .storage.interface import Bucket, Storage
from .xml_document import Node, malformed_xml, read_xml, write_xml

NOT_ALLOWED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method"
    " / Access-Control-Request-Method or Access-Control-Requet-Headers are not whitelisted by the resource's CORS spec."
)


@dataclass(frozen=True)
class CORSRule:
    """One rule. Origins and headers may hold one `*` each; an origin `*` answers `*` and allows no credentials."""

    allowed_origins: Sequence[str]
    allowed_methods: Sequence[str] = ("GET", "HEAD", "POST")
    allowed_headers: Sequence[str] = ("*",)
    expose_headers: Sequence[str] = ("ETag", "x-oss-request-id")
    max_age_seconds: int | None = 600

    def __post_init__(self) -> None:
        for name in ("allowed_origins", "allowed_methods", "allowed_headers", "expose_headers"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is a sequence of strings, not one string")

    def allows(self, origin: str, method: str, headers: Sequence[str] = ()) -> bool:
        return (
            _matches_any(origin, self.allowed_origins)
            and method in self.allowed_methods
            and all(_matches_any(header, self.allowed_headers) for header in headers)
        )

    def headers(self, origin: str) -> Headers:
        """The headers of an actual answer."""
        if _matches_any(origin, [allowed for allowed in self.allowed_origins if allowed != "*"]):
            headers = [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
        else:
            headers = [("Access-Control-Allow-Origin", "*")]
        if self.expose_headers:
            headers.append(("Access-Control-Expose-Headers", ", ".join(self.expose_headers)))
        return headers


class CORS:
    """The rules in order; the first that matches decides.

    :param always_allowed: request headers that no rule need allow.
    :param vary: each answer says `Vary: Origin`.
    """

    def __init__(self, rules: Sequence[CORSRule], *, always_allowed: Sequence[str] = (), vary: bool = True) -> None:
        self._rules = tuple(rules)
        self._always_allowed = tuple(always_allowed)
        self._vary = vary

    def headers(self, environ: Mapping[str, Any]) -> Headers:
        """What an answer carries, errors included; a request that no rule allows is served all the same."""
        if not self._rules:
            return []
        headers: Headers = [("Vary", "Origin")] if self._vary else []
        origin, method = environ.get("HTTP_ORIGIN", ""), environ["REQUEST_METHOD"]
        # A preflight is about another method than its own, and answers for itself.
        rule = self._find(origin, method) if origin and method != "OPTIONS" else None
        return headers + rule.headers(origin) if rule else headers

    def preflight(self, environ: Mapping[str, Any]) -> Answer:
        origin = environ.get("HTTP_ORIGIN", "")
        method = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "")
        if not origin:
            message = "Insufficient information. Origin request header needed."
            raise OSSError(400, "BadRequest", message, "0034-00000101")
        if not method:
            message = "Insufficient information. Request Access-Control-Request-Method header needed."
            raise OSSError(400, "BadRequest", message, "0034-00000102")
        if not self._rules:
            raise OSSError(403, "AccessForbidden", NOT_ALLOWED, "0003-00000601")
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        names = [name for item in asked.split(",") if (name := item.strip())]
        rule = self._find(origin, method, [name for name in names if name.lower() not in self._always_allowed])
        if rule is None:
            raise OSSError(403, "AccessForbidden", NOT_ALLOWED, "0003-00000602")
        headers = rule.headers(origin)
        headers.append(("Access-Control-Allow-Methods", ", ".join(rule.allowed_methods)))
        if names:
            headers.append(("Access-Control-Allow-Headers", ", ".join(names)))
        if rule.max_age_seconds is not None:
            headers.append(("Access-Control-Max-Age", str(rule.max_age_seconds)))
        return Answer(200, headers)

    def _find(self, origin: str, method: str, headers: Sequence[str] = ()) -> CORSRule | None:
        return next((rule for rule in self._rules if rule.allows(origin, method, headers)), None)


def _matches_any(value: str, patterns: Sequence[str]) -> bool:
    value = value.lower()
    # In fnmatch only `*` is wild for OSS: the other two signs are made literal.
    return any(fnmatchcase(value, pattern.lower().replace("[", "[[]").replace("?", "[?]")) for pattern in patterns)



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


_SETTING = "cors"

#: What is kept was within the limit of its time.
_MAX_KEPT = 10**6


@dataclass(frozen=True)
class BucketRules:
    """Rules that a bucket was given hold in place of the configured ones, also when they were deleted.

    :param rules: those of the configured `buckets`, and of every place that is no bucket.
    """

    storage: Storage
    buckets: Container[str]
    rules: Sequence[CORSRule]
    always_allowed: Sequence[str] = ()
    max_rules: int = MAX_RULES

    def cors(self, bucket: str) -> CORS:
        rules, vary = self.of(bucket)
        return CORS(rules, always_allowed=self.always_allowed, vary=vary)

    def of(self, bucket: str) -> tuple[Sequence[CORSRule], bool]:
        """The rules in force, and whether all answers say `Vary: Origin`."""
        try:
            text = self.storage.bucket(bucket).settings.get(_SETTING)
        except OSSError:
            return self.rules, True
        if text is None:
            return (self.rules, True) if bucket in self.buckets else ((), False)
        return read_rules(text.encode(), _MAX_KEPT) if text else ((), False)


def keep_rules(bucket: Bucket, rules: Sequence[CORSRule], vary: bool) -> None:
    bucket.change({_SETTING: write_xml("CORSConfiguration", rule_nodes(rules, vary)).decode() if rules else ""})
