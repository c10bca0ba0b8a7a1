"""Checks of `doctor` on the way from OSS to the callback: the URL, what arrives there, and the answer."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from ...application import CALLBACK_PATH, RECOVER_PATH
from ...callback.parameters import FORM
from ...callback.url import callback_url_problems, split_urls, target_of, without_password
from ...explanations.regions import callbacks_dated, callbacks_source, sends_callbacks
from ...explanations.rows import FRONT, rows_of_status
from ...explanations.text import Text, sentences
from ...http import essence
from ...middleware.probe import PROBE_HEADER, WINDOW, target_digest
from ..http_client import Response, TooSlowError, UnreachableError, is_json, json_members
from ..terminal import plain
from .context import FIX_REGION, CheckContext, Finding, address_of, error, is_private, ok, unreachable, warning
from .probe import (
    BODY,
    FIX_CHECK_CALLBACK,
    LINE_URL,
    ProbeCall,
    compression,
    is_refusal,
    probe_report,
    reported_text,
)

#: Seconds after which an answer is a warning: half of what OSS waits.
SLOW = 2.5

#: Seconds that OSS waits for an answer.
OSS_TIMEOUT = 5.0
_MAX_RESPONSE = 1024 * 1024

_NO_CALLBACKS = "pages report uploads (OSS_REPORT_BY=page), so OSS's rules for callbacks do not count"
_IGNORED = "OSS_CALLBACK_URL is ignored, because pages report uploads (OSS_REPORT_BY=page)"
_FIX_COMPRESSION = "Switch compression off for this path: OSS does not decompress answers."
_FIX_LENGTH = (
    "Switch compression and chunked encoding off for answers to the callback. Apache since 2.4.59 drops the length of "
    "CGI-style answers (CGI, mod_fcgid, mod_proxy_fcgi): add `SetEnvIf Request_URI . ap_trust_cgilike_cl=1`."
)
_FIX_SLOW = "Find out what the server in front waits for, and whether all its workers are busy."
_FIX_CHANGED_PATH = (
    "nginx: remove the path from proxy_pass (`proxy_pass http://127.0.0.1:8080;`). "
    "Apache: write the same path on both sides of ProxyPass. Or mount the application with `prefix=` / `--prefix`."
)


def check_callback_url(context: CheckContext) -> Iterator[Finding]:
    """Check OSS's rules: a region with callbacks; at most five URLs, http or https, no IPv6, public, a name for SNI."""
    context.require("OSS_REPORT_BY", "OSS_REGION")
    text = context.callback_url
    if context.settings.pages_report:
        yield warning(_IGNORED, "Remove OSS_CALLBACK_URL, or set OSS_REPORT_BY=oss.") if text else ok(_NO_CALLBACKS)
        return
    yield from _check_region(context.settings.region)
    if not text:
        yield warning("OSS_CALLBACK_URL is not set", context.fix_no_url)
        return
    problems = callback_url_problems(text)
    for problem in problems:
        yield error(problem, Text("Change OSS_CALLBACK_URL: {1}.", LINE_URL))
    if not problems:
        for url in split_urls(text):
            yield _check_address(url, is_local_oss=context.is_local_oss)


def _check_region(region: str | None) -> Iterator[Finding]:
    """Yield what is known of callbacks in the bucket's region; nothing if OSS sends them."""
    is_sent = sends_callbacks(region)
    list_of_regions = Text("the list of {1}, {2}", callbacks_dated(), callbacks_source())
    if is_sent is False:
        yield error(
            Text(
                "OSS sends no callbacks from the region {1} ({2}), so nobody reports uploads; what it answers there to "
                "a form with a callback is not known",
                region,
                list_of_regions,
            ),
            FIX_REGION,
        )
    elif is_sent is None and region:
        yield ok(
            Text(
                "whether OSS sends callbacks from the region {1} is not known: it is not in {2}",
                region,
                list_of_regions,
            )
        )


def _check_address(url: str, *, is_local_oss: bool) -> Finding:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as cause:  # UnicodeError: a label of the name is empty or too long
        problem = UnreachableError(Text("{1} has no address", host), host)
        problem.__cause__ = cause
        return unreachable(problem, Text("Publish the name in the public DNS: `dig +short {1}` shows it.", host))
    ipv4 = [address for address in addresses if ":" not in address]
    if not ipv4:
        return error(Text("{1} has only IPv6 addresses, which OSS does not call", host), "Give it an IPv4 address.")
    private = [address for address in ipv4 if is_private(address)]
    if private and not is_local_oss:
        return error(
            Text("{1} is {2}, but OSS calls only public addresses", host, private[0]),
            Text("Use a public name, or a tunnel while you develop: {1}.", LINE_URL),
        )
    if parts.scheme == "https" and address_of(host):
        return warning(
            Text(
                "{1} has an IP address in place of a name: TLS sends no server name (SNI) for it, and "
                "few certificates are issued for addresses",
                url,
            ),
            Text("Use a host name: {1}.", LINE_URL),
        )
    if parts.scheme == "https":
        return ok(Text("{1}: {2}", url, "OSS will send the name in the TLS handshake (SNI)"))
    if private:
        return ok(Text("{1}: a private address, which the local OSS calls", url))
    return warning(
        Text("{1} is http: anyone on the way can read the callbacks", url),
        Text("Use https: `export OSS_CALLBACK_URL=https{1}`.", url[4:]),
    )


def check_callback(context: CheckContext) -> Iterator[Finding]:
    """Check by a probe that a report survives the way through the real front server."""
    for call in context.probe_calls:
        yield from _check_page_report(call) if context.settings.pages_report else check_arrival(call)


def _check_page_report(call: ProbeCall) -> Iterator[Finding]:
    """Check what the application received where a page reports, from which it needs less than from OSS."""
    response = call.response
    if isinstance(response, UnreachableError):
        yield unreachable(response, "Make the server reachable from outside: check DNS, firewall and certificate.")
        return
    report = probe_report(response)
    is_application = 400 <= response.status < 500 and response.status != 404 and bool(json_members(response))
    if report is None and not call.authenticated and is_application:
        yield ok(Text("{1} answers {2}, with the application's JSON", call.url, response.status))
    elif report is None:
        yield _no_report(call.url, response)
    elif report.get("method") != "POST" or report.get("body") != hashlib.sha256(BODY).hexdigest():
        yield error(
            Text("a report to {1} arrives changed", call.url),
            "Let the proxy in front pass method and body unchanged, with a Content-Length.",
        )
    else:
        arrived, callback_path = plain(str(report.get("path"))), plain(str(report.get("callback_path")))
        expected = callback_path.removesuffix(CALLBACK_PATH) + RECOVER_PATH
        if arrived != expected:
            message = Text("{1} reaches the application as {2}, but pages report at {3}", call.url, arrived, expected)
            yield error(message, "Let --signature-url be the URL of the application's signature, and keep its path.")
        else:
            yield ok(Text("{1} reaches the application", call.url))


def check_arrival(call: ProbeCall) -> Iterator[Finding]:
    """Check what the application received of one call."""
    response = call.response
    if isinstance(response, UnreachableError):
        yield _unreachable(response)
    elif not call.authenticated:
        yield check_unauthenticated(call.url, response)
    elif (report := probe_report(response)) is None:
        yield _no_report(call.url, response)
    else:
        problems = [*_check_message(call, report), *_check_routing(call, report)]
        yield from problems or [_all_arrived(call, report)]


def _unreachable(cause: UnreachableError) -> Finding:
    if isinstance(cause, TooSlowError):
        return error(str(cause), sentences("Answer sooner: OSS waits 5 s for the whole answer.", _FIX_SLOW))
    return unreachable(cause, "Make the server reachable from outside: check DNS, firewall and certificate.")


def check_unauthenticated(url: str, response: Response) -> Finding:
    """Check that the application itself refuses a callback with a wrong signature."""
    if is_refusal(response):
        return warning(
            Text(
                "{1} refuses a forged callback, as it should; without OSS_TICKET_SECRET this command "
                "cannot check whether header, path and body arrive unchanged",
                without_password(url),
            ),
            "Set OSS_TICKET_SECRET, the application's own, for this command too: it authenticates the probe. "
            "`export OSS_TICKET_SECRET=THE-VALUE`",
        )
    shown_url = without_password(url)
    message = Text(
        "{1} answers a forged callback with {2}, not with the application's 403 in JSON", shown_url, response.status
    )
    return _unexpected_response(url, message, response)


def _no_report(url: str, response: Response) -> Finding:
    message = Text("{1} answers {2}, but does not report how the probe arrived", without_password(url), response.status)
    if response.status == 403 and json_members(response):
        fix = Text(
            "Use the same OSS_TICKET_SECRET there and here, keep the clocks less than {1} s apart, "
            "and let the proxy in front pass all headers, {2} too.",
            WINDOW,
            PROBE_HEADER,
        )
        return error(message, fix)
    return _unexpected_response(url, message, response)


def _unexpected_response(url: str, message: str, response: Response) -> Finding:
    if coding := compression(response):
        return error(Text("{1}: the answer is compressed ({2})", message, coding), _FIX_COMPRESSION)
    if 300 <= response.status < 400:
        location = response.headers.get("Location")
        redirects = Text("{1}: it redirects, and OSS does not follow redirects", message)
        if location:
            redirects = Text("{1}: it redirects to {2}, and OSS does not follow redirects", message, plain(location))
        fix = sentences("Set OSS_CALLBACK_URL to the final URL.", _redirect_line(url, location or ""))
        return error(redirects, fix)
    row = next((row for row in rows_of_status(response.status, FRONT) if row.by == (FRONT,)), None)
    fix = sentences(row.meaning, row.fix) if row else "Read the logs of the server in front and of the application."
    return error(message, fix)


def _redirect_line(url: str, location: str) -> str:
    """Return what fixes a redirect: the line with the new URL if it is a callback's, else how to see the redirect."""
    destination = urljoin(url, location)
    parts = urlsplit(destination)
    is_same = parts.path == urlsplit(url).path and not parts.query
    if destination != url and (is_same or parts.path.endswith(CALLBACK_PATH)):
        return f"`export OSS_CALLBACK_URL='{plain(without_password(destination))}'`"
    return sentences(
        "If it redirects to a login, exempt the callback's path from the login.",
        Text("`curl -siX POST -d '' '{1}'` shows the redirect.", without_password(url)),
    )


def _check_message(call: ProbeCall, report: dict[str, Any]) -> Iterator[Finding]:
    """Yield what changed in the method, the headers and the body."""
    server = plain(str(report.get("server")))
    if report.get("method") != "POST":
        method = plain(str(report.get("method")))
        yield error(Text("POST arrives as {1}", method), "Find the redirect of the callback's path, and remove it.")
    authorization = report.get("authorization")
    if authorization != _digest(call.authorization):
        change = "does not arrive" if authorization is None else "arrives changed"
        fix = reported_text(report, "fix") or "look for a rule that sets or extends Authorization"
        yield error(Text("Authorization {1} behind {2}", change, server), Text.sentence(fix))
    key_url = report.get("pub_key_url")
    if key_url != _digest(call.key_url):
        change = "does not arrive" if key_url == _digest("") else "arrives changed"
        fix = "Let the proxy in front pass all headers unchanged."
        yield error(Text("x-oss-pub-key-url {1} behind {2}", change, server), fix)
    content_type = plain(str(report.get("content_type") or ""))
    if content_type and essence(content_type) != FORM:
        yield error(
            Text("Content-Type arrives as {1}, not {2}, behind {3}", content_type, FORM, server),
            "Let the proxy in front pass Content-Type unchanged: the application reads the body by it.",
        )
    if report.get("body") != hashlib.sha256(BODY).hexdigest():
        reason = reported_text(report, "body_problem") or "it was changed on its way"
        fix = "Let the proxy in front pass bodies unchanged, with a Content-Length."
        yield error(Text("the body does not arrive: {1}", reason), fix)


def _check_routing(call: ProbeCall, report: dict[str, Any]) -> Iterator[Finding]:
    """Yield an error if the call misses the callback, or if the application verifies other targets than OSS signs."""
    target = target_of(call.url)
    arrived, server = plain(str(report.get("target"))), plain(str(report.get("server")))
    if not report.get("reaches_callback"):
        message = Text(
            "{1} reaches the application behind {2}, but not its callback: it arrives as {3}", target, server, arrived
        )
        yield error(message, _fix_routing(target, arrived, report))
        return
    targets = report.get("targets")
    if not isinstance(targets, list) or target_digest(target.encode()) not in targets:
        yield error(
            Text("{1} arrives as {2}, so the application refuses real callbacks (signature_wrong)", target, arrived),
            Text(
                "Set OSS_CALLBACK_URL, where the application runs, to exactly this URL, which the "
                "application then tries too when it verifies; {1}.",
                reported_text(report, "path_fix"),
            ),
        )


def _fix_routing(target: str, arrived: str, report: dict[str, Any]) -> str:
    if fix := reported_text(report, "path_fix"):
        return Text("Mount the application so that its callback is at this path; {1}.", fix)
    sent_path, arrived_path = (text.partition("?")[0] for text in (target, arrived))
    if target_digest(sent_path.encode()) == target_digest(arrived_path.encode()):
        path = plain(str(report.get("callback_path")))
        return Text(
            "Use the callback's path, {1}, in OSS_CALLBACK_URL, or mount the application at the URL's path.", path
        )
    changed = Text("`{1}` arrives as `{2}`: a proxy in front changes the path.", sent_path, arrived_path)
    return sentences(changed, _FIX_CHANGED_PATH)


def _all_arrived(call: ProbeCall, report: dict[str, Any]) -> Finding:
    server, target = plain(str(report.get("server"))), plain(str(report.get("target")))
    if target == target_of(call.url):
        return ok(Text("{1}: header, path and body arrive, behind {2}", call.url, server))
    return ok(
        Text(
            "{1}: header, path (as {2}, which the application's OSS_CALLBACK_URL corrects) and body arrive, behind {3}",
            call.url,
            target,
            server,
        )
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def check_answer(context: CheckContext) -> Iterator[Finding]:
    """Check the answer to a probe, which is not the handler's own: 200, JSON, Content-Length, in time."""
    if context.settings.pages_report:
        yield ok(_NO_CALLBACKS)
        return
    answered = False
    for call in context.probe_calls:
        response = call.response
        if isinstance(response, UnreachableError):
            yield _unreachable(response)
            continue
        answered = True
        status = 200 if call.authenticated else 403
        is_application = probe_report(response) is not None if call.authenticated else is_refusal(response)
        if response.status == status and is_json(response.body) and not is_application:
            message = Text("{1}: not checked: the {2} came from something other than the application", call.url, status)
            yield error(message, FIX_CHECK_CALLBACK)
        else:
            yield from check_response(call.url, response, status)
    if answered and not context.writes:
        yield warning(
            "this measured the network and the application, but not your own handler",
            "Measure your own handler (on_upload, or the view behind forward_callback) with a test upload: "
            "`oss-wsgi doctor --write --handler --user NAME --data JSON`.",
        )


def check_response(url: str, response: Response, status: int = 200) -> Iterator[Finding]:
    """Check a response as OSS does (protocol.md 8.9), but for a given status: a forged callback gets 403."""
    coding = compression(response)
    length = response.headers.get("Content-Length") or ""
    size, seconds = len(response.body), response.seconds
    problems = [
        error(Text("{1}: {2}", url, message), fix)
        for is_wrong, message, fix in (
            (
                response.status != status,
                Text("the status is {1}, not {2}", response.status, status),
                FIX_CHECK_CALLBACK,
            ),
            (
                not response.complete,
                Text("the answer ends too early, after {1} bytes", size),
                "Find out what cuts it off.",
            ),
            (coding, Text("the answer is compressed ({1})", coding), _FIX_COMPRESSION),
            (
                not coding and not is_json(response.body),
                "the body is not JSON",
                "Find out which server replaces the answer with a page of its own.",
            ),
            (not length.isdigit(), "the answer has no Content-Length", _FIX_LENGTH),
            (size >= _MAX_RESPONSE, "the answer is over 1 MB", "Send a shorter answer."),
            (seconds > OSS_TIMEOUT, Text("the answer took {1} s, but OSS waits 5 s", f"{seconds:.1f}"), _FIX_SLOW),
        )
        if is_wrong
    ]
    if problems:
        yield from problems
    elif seconds > SLOW:
        yield warning(Text("{1}: the answer took {2} s of the 5 s that OSS waits", url, f"{seconds:.1f}"), _FIX_SLOW)
    else:
        yield ok(Text("{1}: answered in {2} s: {3}, JSON with a Content-Length", url, f"{seconds:.2f}", status))
