"""Checks of `doctor` on what browsers need: an address for forms that they can reach, and the signature's URL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from ...application import CALLBACK_PATH, SIGNATURE_PATH
from ...callback.url import target_of, without_password
from ...explanations.text import Text, sentences
from ..http_client import Response, UnreachableError, json_members, request
from ..terminal import plain
from .context import TIMEOUT, CheckContext, Finding, error, is_loopback, is_private, ok, unreachable, warning
from .probe import FIX_CHECK_CALLBACK, LINE_URL, ProbeCall, is_refusal, probe_report, proof_of

_INTERNAL = re.compile(r"-internal(\.[a-z0-9.-]+)?\.aliyuncs\.com$|(^|\.)vpc[0-9]+-oss-[a-z0-9-]+\.aliyuncs\.com$")
_LOGIN_STATUSES = (301, 302, 303, 307, 308, 401, 403)


def check_host(context: CheckContext) -> Iterator[Finding]:
    """Check that browsers can reach the address that forms are posted to."""
    settings = context.settings
    name = urlsplit(context.host).hostname or ""
    public = f"https://{settings.bucket or 'BUCKET'}.oss-{settings.region or 'REGION'}.aliyuncs.com"
    if _INTERNAL.search(name):
        yield error(
            Text("forms go to {1}, and browsers cannot reach an internal endpoint of OSS", name),
            Text(
                "Keep the internal endpoint for the servers, and let forms go to the public one: `export "
                "OSS_HOST={1}`.",
                public,
            ),
        )
    elif "." not in name and ":" not in name and not is_loopback(name):
        yield error(
            Text("forms go to {1}, and browsers cannot find a name without a domain", name),
            Text("Give the address that browsers use: `export OSS_HOST={1}`.", public),
        )
    elif not is_private(name):
        yield ok(Text("forms go to {1}, a public name", name))
    elif is_loopback(name) and not (settings.callback_url or settings.trusted_keys):
        yield warning(
            Text("forms go to {1}, so only browsers on this machine can upload", name),
            Text("Give the address that other browsers use: `export OSS_HOST={1}`.", public),
        )
    elif not _is_stand_in(context):
        yield error(
            Text("forms go to {1}, and browsers elsewhere cannot reach a private address", name),
            Text(
                "Give the address that browsers use: `export OSS_HOST={1}`. For a local OSS set "
                "OSS_TRUSTED_KEYS to its key.",
                public,
            ),
        )
    else:
        users = "this machine" if is_loopback(name) else "this network"
        yield ok(Text("forms go to {1}, a stand-in for OSS that browsers on {2} can reach", name, users))


def _is_stand_in(context: CheckContext) -> bool:
    """Return whether the settings name a stand-in for OSS: its key is trusted, and callbacks stay in the network."""
    context.require("OSS_TRUSTED_KEYS", "OSS_CALLBACK_URL")
    host = urlsplit(context.host)
    callbacks = [urlsplit(url).hostname or "" for url in context.callback_urls]
    if not all(is_private(name) or "." not in name for name in callbacks):
        return False
    keys = [urlsplit(url) for url, _ in context.settings.trusted_keys]
    return any(
        key.port == host.port
        and (key.hostname == host.hostname or (is_loopback(key.hostname or "") and is_loopback(host.hostname or "")))
        for key in keys
    )


def check_page(context: CheckContext) -> Iterator[Finding]:
    """Check that no https page has to send a form over http, which browsers block (W3C Mixed Content, 4.1)."""
    context.require("OSS_ALLOWED_ORIGINS", "OSS_CALLBACK_URL")
    host = context.host
    parts = urlsplit(host)
    name = parts.hostname or ""
    pages = [*context.settings.allowed_origins, *context.own_origins]
    secure = [page for page in pages if page.startswith("https://")]
    line = f"`export OSS_HOST=https://{parts.netloc}{parts.path}`"
    if parts.scheme == "https":
        yield ok("forms go over https")
    elif is_loopback(name):  # W3C Secure Contexts, 3.1: potentially trustworthy
        yield ok(Text("forms go to {1} over http, which browsers allow from https pages too", name))
    elif secure:
        yield error(
            Text(
                "pages of {1} are https, and browsers block their forms to {2}, which is http (mixed content)",
                secure[0],
                host,
            ),
            Text(
                "Let forms go over https: {1}. A domain of your own needs a certificate in the OSS console first.", line
            ),
        )
    elif not is_private(name):
        yield warning(
            Text(
                "forms go to {1} over http: anyone on the way can read and change the files, and "
                "browsers do not let https pages send them",
                host,
            ),
            Text("Let forms go over https: {1}.", line),
        )
    else:
        yield ok("forms go over http within this network")


def check_signature(context: CheckContext) -> Iterator[Finding]:
    """Check that the server in front passes the signature's URL to the application, not only the callback's."""
    if context.settings.pages_report and context.signature_url is not None:
        yield _check_signature(context.signature_url, context)
        return
    seen: set[str] = set()
    for call in context.probe_calls:
        url = signature_url(call.url)
        if url is None:
            yield warning(
                Text(
                    "not checked: {1} does not end in {2}, so the signature's URL is unknown",
                    without_password(call.url),
                    CALLBACK_PATH,
                ),
                Text("Let OSS_CALLBACK_URL end in the prefix and {1}: {2}.", CALLBACK_PATH, LINE_URL),
            )
        elif not _passes(call):
            yield warning("not checked: the callback does not reach the application", FIX_CHECK_CALLBACK)
        elif url not in seen:
            seen.add(url)
            yield _check_signature(url, context)


def signature_url(callback_url: str) -> str | None:
    """Return the URL of the signature beside a callback's; None if the path is not a callback's."""
    parts = urlsplit(callback_url)
    if not parts.path.endswith(CALLBACK_PATH):
        return None
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix(CALLBACK_PATH)}{SIGNATURE_PATH}"


def _passes(call: ProbeCall) -> bool:
    """Return whether a call reached the application's callback."""
    response = call.response
    if not isinstance(response, Response):
        return False
    report = probe_report(response)
    return is_refusal(response) if report is None else bool(report.get("reaches_callback"))


def _check_signature(url: str, context: CheckContext) -> Finding:
    try:
        response = request("GET", url, {"Connection": "close", **proof_of(context.secret)}, deadline=TIMEOUT)
    except UnreachableError as cause:
        return unreachable(
            cause, sentences("Let the server in front pass this path on as it does the callback's.", _front_line(url))
        )
    report = probe_report(response)
    if report is not None:
        return _check_arrival(url, report)
    members = json_members(response)
    failure = members.get("error")
    code = str(failure.get("code", "")) if isinstance(failure, dict) else ""
    if code == "not_found" or not (code or ("fields" in members and "url" in members)):
        return _foreign(url, response)
    return ok(Text("{1} reaches the application, which answers {2}", url, response.status))


def _check_arrival(url: str, report: dict[str, Any]) -> Finding:
    target, arrived = target_of(url), plain(str(report.get("path", "")))
    if report.get("method") != "GET":
        method = plain(str(report.get("method")))
        return error(
            Text("GET of {1} arrives as {2}", url, method),
            sentences("Let the server in front keep the method.", _front_line(url)),
        )
    expected = plain(str(report.get("callback_path"))).removesuffix(CALLBACK_PATH) + SIGNATURE_PATH
    if arrived != expected:
        return error(
            Text(
                "{1} reaches the application, but not its signature endpoint: the path arrives as {2}, not as {3}",
                target,
                arrived,
                expected,
            ),
            sentences("Let the server in front pass the path on unchanged.", _front_line(url)),
        )
    return ok(Text("{1} reaches the application", url))


def _foreign(url: str, response: Response) -> Finding:
    location = plain(response.headers.get("Location") or "")
    answer = Text("{1}, to {2}", response.status, location) if location else str(response.status)
    elsewhere = urlsplit(location).path != urlsplit(url).path
    if response.status in _LOGIN_STATUSES and elsewhere:
        return warning(
            Text(
                "not checked: a server in front answers {1} with {2}, perhaps because it asks for a login", url, answer
            ),
            Text("If a user who has logged in gets no signature either, look at the answer: `curl -i '{1}'`.", url),
        )
    return error(
        Text("the callback reaches the application, but {1} does not: another server answers it with {2}", url, answer),
        sentences("Let the server in front pass the whole prefix on.", _front_line(url)),
    )


def _front_line(url: str) -> str:
    prefix = urlsplit(url).path.removesuffix(SIGNATURE_PATH) or "/"
    return sentences(
        Text("nginx: `location {1}/ { proxy_pass http://127.0.0.1:8080; }`.", prefix.rstrip("/")),
        Text("Apache: `ProxyPass {1} http://127.0.0.1:8080{2}`.", prefix, prefix),
    )
