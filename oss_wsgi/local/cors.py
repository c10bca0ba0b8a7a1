"""The CORS rules of a bucket, evaluated as OSS does (P§12.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .answer import Answer, Headers
from .errors import OSSError

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
