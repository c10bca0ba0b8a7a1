"""The check of `doctor` that asks OSS what a browser would ask before it posts a form from a page."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from ...callback.url import split_urls
from ..cors_rule import EXPOSED
from ..http_client import UnreachableError, request
from ..oss_answer import read_refusal
from .context import TIMEOUT, Examination, Finding, NotCheckedError, green, red, yellow

_NO_RULES = "0003-00000601"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def cors(case: Examination) -> Iterator[Finding]:
    """The preflight that a browser would send from each allowed origin, and from the application's own."""
    case.need("OSS_ALLOWED_ORIGINS")
    host, listed = case.host, case.settings.allowed_origins
    for origin in listed:
        yield _preflight(host, origin, origin, needed=True)
    own = [] if "*" in listed else [origin for origin in _own_origins(case) if origin not in listed]
    for origin in own:
        yield _preflight(host, origin, f"{origin} (taken from OSS_CALLBACK_URL)", needed=not listed)
    if not listed and not own:
        yield yellow("no origin to try", "Name your pages' origins: --allowed-origins https://app.example.com.")


def _own_origins(case: Examination) -> list[str]:
    """Give the origins that the application's own pages have, if they are where its callbacks are."""
    text = case.settings.callback_url
    return list(dict.fromkeys(_origin(url) for url in split_urls(text))) if text else []


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{parts.hostname}{port}"


def _preflight(host: str, origin: str, shown: str, *, needed: bool) -> Finding:
    asked = "https://any.example.com" if origin == "*" else origin
    try:
        answer = request("OPTIONS", host, {"Origin": asked, "Access-Control-Request-Method": "POST"}, deadline=TIMEOUT)
    except UnreachableError as error:
        raise NotCheckedError(red(str(error), "Check OSS_HOST, and the firewall.")) from error
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    methods = answer.headers.get("Access-Control-Allow-Methods", "")
    exposed = {name.strip().lower() for name in answer.headers.get("Access-Control-Expose-Headers", "").split(",")}
    cure = f"Add the rule: `oss-wsgi cors apply '{origin}'`."
    if answer.status != 200 or allowed not in (asked, "*") or "POST" not in methods:
        refusal = read_refusal(answer.body)
        said = f"pages of {shown} cannot read OSS's answers: {answer.status} {refusal}"
        # Where pages of other origins are named, there may be none of the application's own.
        return red(said, cure) if needed or refusal.ec == _NO_RULES else yellow(said, cure)
    if not exposed >= {name.lower() for name in EXPOSED}:
        return yellow(f"pages of {shown} do not see {' and '.join(EXPOSED)}", cure)
    return green(f"pages of {shown} may upload")
