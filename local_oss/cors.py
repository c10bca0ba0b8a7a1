"""The CORS rules of a bucket: evaluated as OSS does (protocol.md 12.2), stored, read and written as XML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .errors import Headers, OSSError, Response, invalid_argument
from .storage.storage import Bucket
from .xml_document import Node, malformed_xml, read_xml, write_xml

#: The most rules that `?cors` accepts.
MAX_RULES = 10
METHODS = ("GET", "PUT", "DELETE", "POST", "HEAD")
NOT_ALLOWED = (
    "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method"
    " / Access-Control-Request-Method or Access-Control-Requet-Headers are not whitelisted by the resource's CORS spec."
)

#: The bucket's setting that holds its rules as XML; "" after they were deleted.
_SETTING = "cors"
#: For reading stored rules: another limit may have applied when they were stored.
_NO_LIMIT = 10**6
#: One character of a header's name.
_LETTER = r"[!#$%&'+.^_`|~0-9A-Za-z-]"
#: The elements of a rule: the pattern of their texts, and the EC for a text that does not match.
_CHILDREN = {
    # OSS refuses `https://*`: `*` says the same. It accepts an origin without a scheme.
    "AllowedOrigin": (r"\*|(?![^*]*://\*?$)([A-Za-z][A-Za-z0-9+.-]*://)?(?!$)[^/\s*]*(\*[^/\s*]*)?", "0034-00000009"),
    "AllowedMethod": ("|".join(METHODS), ""),
    "AllowedHeader": (rf"(?!$){_LETTER}*(\*{_LETTER}*)?", ""),
    "ExposeHeader": (f"{_LETTER}+", "0034-00000013"),
    "MaxAgeSeconds": ("[0-9]{1,9}", ""),
}
_SEQUENCES = ("allowed_origins", "allowed_methods", "allowed_headers", "expose_headers")


@dataclass(frozen=True)
class CORSRule:
    """One rule. An origin or a header may hold one `*`; for the origin `*`, responses say `*`, without credentials."""

    allowed_origins: Sequence[str]
    allowed_methods: Sequence[str] = ("GET", "HEAD", "POST")
    allowed_headers: Sequence[str] = ("*",)
    expose_headers: Sequence[str] = ("ETag", "x-oss-request-id")
    max_age_seconds: int | None = 600

    def __post_init__(self) -> None:
        for name in _SEQUENCES:
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name} must be a sequence of strings, not one string")

    def allows(self, origin: str, method: str, headers: Sequence[str] = ()) -> bool:
        return (
            _matches_any(origin, self.allowed_origins)
            and method in self.allowed_methods
            and all(_matches_any(header, self.allowed_headers) for header in headers)
        )

    def headers(self, origin: str, allowed: Headers | None = None) -> Headers:
        """Return the headers of a response.

        :param allowed: the further headers of a preflight's response.
        """
        if _matches_any(origin, [each for each in self.allowed_origins if each != "*"]):
            headers = [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
        else:
            headers = [("Access-Control-Allow-Origin", "*")]
        headers += allowed or []
        if self.expose_headers:
            headers.append(("Access-Control-Expose-Headers", ", ".join(self.expose_headers)))
        return headers


@dataclass(frozen=True)
class CORS:
    """Rules in order; the first that matches decides.

    :param vary: send `Vary: Origin` with every response.
    :param always_allowed: request headers that are allowed whatever the rules say.
    """

    rules: Sequence[CORSRule]
    vary: bool = False
    always_allowed: Sequence[str] = ()

    def headers(self, environ: Mapping[str, Any]) -> Headers:
        """Return the headers of a response or an error; a request that no rule allows is served all the same."""
        if not self.rules:
            return []
        headers: Headers = [("Vary", "Origin")] if self.vary else []
        origin, method = environ.get("HTTP_ORIGIN", ""), environ["REQUEST_METHOD"]
        # A preflight asks about another method; `preflight` returns its headers.
        rule = self._find(origin, method) if origin and method != "OPTIONS" else None
        return headers + rule.headers(origin) if rule else headers

    def preflight(self, environ: Mapping[str, Any]) -> Response:
        """Return the response to an OPTIONS request; raise OSSError if no rule allows the request it asks about."""
        origin = environ.get("HTTP_ORIGIN", "")
        method = environ.get("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "")
        if not origin:
            message = "Insufficient information. Origin request header needed."
            raise OSSError(400, "BadRequest", message, "0034-00000101")
        if not method:
            message = "Insufficient information. Request Access-Control-Request-Method header needed."
            raise OSSError(400, "BadRequest", message, "0034-00000102")
        if not self.rules:
            raise OSSError(403, "AccessForbidden", NOT_ALLOWED, "0003-00000601")
        requested = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        names = [name for item in requested.split(",") if (name := item.strip())]
        rule = self._find(origin, method, [name for name in names if name.lower() not in self.always_allowed])
        if rule is None:
            raise OSSError(403, "AccessForbidden", NOT_ALLOWED, "0003-00000602")
        allowed = [("Access-Control-Allow-Methods", ", ".join(rule.allowed_methods))]
        if names:
            allowed.append(("Access-Control-Allow-Headers", ", ".join(names)))
        headers = rule.headers(origin, allowed)
        if rule.max_age_seconds is not None:
            headers.append(("Access-Control-Max-Age", str(rule.max_age_seconds)))
        return Response(200, headers)

    def _find(self, origin: str, method: str, headers: Sequence[str] = ()) -> CORSRule | None:
        return next((rule for rule in self.rules if rule.allows(origin, method, headers)), None)


def _matches_any(value: str, patterns: Sequence[str]) -> bool:
    value = value.lower()
    # Only `*` is a wildcard for OSS; fnmatch has two more, which are made literal.
    return any(fnmatchcase(value, pattern.lower().replace("[", "[[]").replace("?", "[?]")) for pattern in patterns)


def stored_rules(bucket: Bucket) -> tuple[list[CORSRule], bool] | None:
    """Return the rules that `?cors` stored with a bucket, as `read_rules` does; None if none were ever stored."""
    text = bucket.settings.get(_SETTING)
    if text is None:
        return None
    return read_rules(text.encode(), _NO_LIMIT) if text else ([], False)


def save_rules(bucket: Bucket, rules: Sequence[CORSRule], vary: bool) -> None:
    """Store the rules with the bucket; an empty list leaves the bucket without rules, even without configured ones."""
    bucket.change({_SETTING: write_xml("CORSConfiguration", rule_nodes(rules, vary)).decode() if rules else ""})


def read_rules(body: bytes, max_rules: int = MAX_RULES) -> tuple[list[CORSRule], bool]:
    """Return the rules, and whether every response says `Vary: Origin`; raise OSSError for an invalid document."""
    root = read_xml(body, "CORSConfiguration")
    elements = root.findall("CORSRule")
    if not elements or {child.tag for child in root} - {"CORSRule", "ResponseVary"}:
        raise malformed_xml()
    if len(elements) > max_rules:
        raise OSSError(400, "CORSRuleBeyondLimit", "The CORS Rules num is beyond limit.", "0034-00000006")
    vary = (root.findtext("ResponseVary") or "false").strip().lower()
    if vary not in ("true", "false") or len(root.findall("ResponseVary")) > 1:
        raise malformed_xml()
    return [_read_rule(element) for element in elements], vary == "true"


def rule_nodes(rules: Sequence[CORSRule], vary: bool) -> Iterator[Node]:
    for rule in rules:
        yield "CORSRule", list(_children(rule))
    yield "ResponseVary", "true" if vary else "false"


def _children(rule: CORSRule) -> Iterator[Node]:
    for name, attribute in zip(_CHILDREN, _SEQUENCES, strict=False):
        for value in getattr(rule, attribute):
            yield name, value
    if rule.max_age_seconds is not None:
        yield "MaxAgeSeconds", str(rule.max_age_seconds)


def _read_rule(element: ElementTree.Element) -> CORSRule:
    texts: dict[str, list[str]] = {name: [] for name in _CHILDREN}
    for child in element:
        if child.tag not in _CHILDREN:
            raise malformed_xml()
        texts[child.tag].append((child.text or "").strip())
    texts["AllowedMethod"] = [method.upper() for method in texts["AllowedMethod"]]
    texts["AllowedHeader"] = [name.lower() for name in texts["AllowedHeader"]]
    origins, methods, headers, exposed, ages = map(tuple, texts.values())
    if not origins or not methods or len(ages) > 1:
        raise malformed_xml()
    for name, (pattern, ec) in _CHILDREN.items():
        for value in texts[name]:
            if not re.fullmatch(pattern, value):
                raise invalid_argument(f"The {name} of a CORS rule is not valid.", ec, name=name, value=value)
    return CORSRule(origins, methods, headers, exposed, int(ages[0]) if ages else None)
