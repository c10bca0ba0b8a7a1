"""The check of `doctor` that looks at the way to the callback: is it reached, and what arrives there."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ...callback.parameters import FORM
from ...callback.public_keys import OSS_PUBLIC_KEY_URLS
from ...callback.url import callback_url_problems, split_urls, target_of, without_password
from ...http import essence
from ...middleware.probe import PROBE_HEADER, PROBE_MEMBER, WINDOW, prove, target_digest
from ..http_client import Answer, TooSlowError, UnreachableError, is_json, parsed, request
from ..terminal import plain
from .context import TIMEOUT, Examination, Finding, NotCheckedError, green, is_private, red, yellow

#: Whatever is decoded, joined or written anew on the way shows in it.
BODY = b"object=a%2Fb+c%20d.txt&text=%E4%B8%AD&size=0&probe=1"


@dataclass(frozen=True)
class Call:
    """What was sent to one URL, and what came of it; unproved it is a stranger's callback, to be refused."""

    url: str
    authorization: str
    key_url: str
    proved: bool
    answer: Answer | UnreachableError


def calls(case: Examination) -> list[Call]:
    """Call each URL of OSS_CALLBACK_URL; with the ticket secret as a probe, which hears what arrived."""
    if case.calls is None:
        case.need("OSS_CALLBACK_URL", "OSS_TICKET_SECRET")
        settings = case.settings
        if not settings.callback_url:
            cure = "Set it to the public URL of the callback endpoint."
            raise NotCheckedError(yellow("not checked: OSS_CALLBACK_URL is not set", cure))
        secret = settings.ticket_secret[0] if settings.ticket_secret else None
        case.calls = [_call(url, secret) for url in split_urls(settings.callback_url)]
    return case.calls


def _call(url: str, secret: str | None) -> Call:
    authorization = base64.b64encode(secrets.token_bytes(64)).decode()
    key_url = base64.b64encode(OSS_PUBLIC_KEY_URLS[1].encode()).decode()
    headers = {
        "Authorization": authorization,
        "Connection": "close",
        "Content-MD5": base64.b64encode(hashlib.md5(BODY, usedforsecurity=False).digest()).decode(),
        "Content-Type": FORM,
        "User-Agent": "aliyun-oss-callback",
        "x-oss-pub-key-url": key_url,
        "x-oss-tag": "CALLBACK",
    }
    if secret is not None:
        headers[PROBE_HEADER] = prove(secret, time.time())
    answer: Answer | UnreachableError
    try:
        answer = request("POST", url, headers, BODY, deadline=TIMEOUT)
    except UnreachableError as error:
        answer = error
    return Call(url, authorization, key_url, secret is not None, answer)


UNCOMPRESSED = "Switch it off for this path: OSS reads the bytes as they come."

_STRANGE = "Something else answers there: the URL ends in the prefix and the callback's path."

_NOT_REACHED = "The server in front does not reach the application: does it run, at the address that is set there?"

_STATUSES = {
    200: _STRANGE,
    401: "The server asks for a password before the application: exempt the callback (AuthType None, auth_basic off).",
    404: "Mount the application there: the URL ends in the prefix and the callback's path.",
    405: _STRANGE,
    411: "A proxy sends the body in chunks: have it buffer requests.",
    413: "A proxy refuses the body: raise its limit.",
    502: _NOT_REACHED,
    503: _NOT_REACHED,
    504: _NOT_REACHED,
}


def arrived(found: Answer) -> dict[str, Any] | None:
    """Give what a probe heard; None where it was not answered as one."""
    heard = _members(found).get(PROBE_MEMBER)
    return heard if found.status == 200 and isinstance(heard, dict) else None


def is_ours(call: Call, found: Answer) -> bool:
    """Tell whether the application answered: a probe with what arrived, a stranger with a refusal."""
    return arrived(found) is not None if call.proved else _refuses(found)


def compression(found: Answer) -> str:
    """Name what an answer is compressed by; "" where it is not."""
    coding = plain((found.headers.get("Content-Encoding") or "").strip().lower())
    return "" if coding == "identity" else coding


def unreachable(error: UnreachableError) -> Finding:
    """Say what to do where there is no answer."""
    if isinstance(error, TooSlowError):
        cure = "OSS waits 5 s for the whole answer: see what the server in front waits for; are its workers busy?"
        return red(str(error), cure)
    return red(str(error), "Let the server be reached from outside: name server, firewall, certificate.")


def as_a_stranger(url: str, found: Answer) -> Finding:
    """Judge the answer to a callback that nobody signed, which must be refused by the application itself."""
    if _refuses(found):
        return yellow(
            f"{without_password(url)} refuses a stranger, as it should; whether header, path and body arrive as they "
            "were sent is not known, for OSS_TICKET_SECRET is not set",
            "Set OSS_TICKET_SECRET, for the application and for this command: a probe proves itself by it.",
        )
    said = f"{without_password(url)} answers {found.status}, and not as the application refuses a stranger: 403, JSON"
    return _by_status(said, found)


def no_probe(url: str, found: Answer) -> Finding:
    """Say why a probe may not have been answered as one."""
    said = f"{without_password(url)} answers {found.status}, and not to the probe"
    if found.status == 403 and _members(found):
        cure = (
            f"OSS_TICKET_SECRET must be the same there and here, the clocks less than {WINDOW} s apart, and the proxy "
            f"in front must pass all headers, {PROBE_HEADER} too."
        )
        return red(said, cure)
    return _by_status(said, found)


def _by_status(said: str, found: Answer) -> Finding:
    if coding := compression(found):
        return red(f"{said}: the answer is compressed ({coding})", UNCOMPRESSED)
    location = found.headers.get("Location")
    if 300 <= found.status < 400:
        where = f", to {plain(location)}" if location else ""
        return red(f"{said}: it redirects{where}, which OSS does not follow", "Set OSS_CALLBACK_URL to the last URL.")
    return red(said, _STATUSES.get(found.status, "See the log of the server in front, and of the application."))


def _refuses(found: Answer) -> bool:
    return found.status == 403 and isinstance(_members(found).get("error"), dict)


def _members(found: Answer) -> dict[str, Any]:
    try:
        members = parsed(found.body)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


_CHANGED_PATH = (
    "a proxy in front changes the path; nginx: take the path off proxy_pass (`proxy_pass http://127.0.0.1:8080;`), "
    "Apache: the same path on both sides of ProxyPass; or mount the application with `prefix=` / `--prefix`"
)


def callback(case: Examination) -> Iterator[Finding]:
    """A signed probe proves that header, path, query and body survive the way through the real front server."""
    for call in calls(case):
        yield from judged_way(call)


def judged_way(call: Call) -> Iterator[Finding]:
    """Say what arrived of a call."""
    found = call.answer
    if isinstance(found, UnreachableError):
        yield unreachable(found)
    elif not call.proved:
        yield as_a_stranger(call.url, found)
    elif (heard := arrived(found)) is None:
        yield no_probe(call.url, found)
    else:
        bad = [*_lost(call, heard), *_led_astray(call, heard)]
        yield from bad or [_all_arrived(call, heard)]


def _lost(call: Call, heard: dict[str, Any]) -> Iterator[Finding]:
    """Say what of method, headers and body did not survive."""
    server = plain(str(heard.get("server")))
    if heard.get("method") != "POST":
        yield red(f"POST arrives as {plain(str(heard.get('method')))}", "See what redirects the callback's path.")
    found = heard.get("authorization")
    if found != _digest(call.authorization):
        cure = plain(str(heard.get("cure") or "look for a rule that sets or adds to Authorization"))
        said = "does not arrive" if found is None else "arrives changed"
        yield red(f"Authorization {said} behind {server}", f"{cure[:1].upper()}{cure[1:]}.")
    found = heard.get("pub_key_url")
    if found != _digest(call.key_url):
        said = "does not arrive" if found == _digest("") else "arrives changed"
        yield red(f"x-oss-pub-key-url {said} behind {server}", "Let the proxy in front pass all headers as they are.")
    found = plain(str(heard.get("content_type") or ""))
    if found and essence(found) != FORM:
        cure = "Let the proxy in front pass Content-Type as it is: a body is read as its type says, else refused, 400."
        yield red(f"Content-Type arrives as {found}, and not {FORM}, behind {server}", cure)
    if heard.get("body") != hashlib.sha256(BODY).hexdigest():
        why = plain(str(heard.get("body_problem") or "it was changed on its way"))
        yield red(f"the body does not arrive: {why}", "Let the proxy in front pass bodies as they are, with a length.")


def _led_astray(call: Call, heard: dict[str, Any]) -> Iterator[Finding]:
    """Say whether the callback is missed, or what OSS signs is none of the targets that are verified over."""
    target = target_of(call.url)
    came, server = plain(str(heard.get("target"))), plain(str(heard.get("server")))
    if not heard.get("reaches_callback"):
        said = f"{target} reaches the application behind {server}, and not its callback: it arrives as {came}"
        yield red(said, _missed(target, came, heard))
    elif not _fits(target, heard):
        said = f"{target} arrives as {came}: real callbacks are refused, signature_wrong"
        cure = "Set OSS_CALLBACK_URL, where the application runs, to this very URL: it verifies over that too"
        yield red(said, f"{cure}; {plain(str(heard.get('path_cure')))}.")


def _missed(target: str, came: str, heard: dict[str, Any]) -> str:
    """Say what to change where a call reaches the application beside its callback."""
    if heard.get("path_cure"):
        return f"Mount the application so that this is its callback's path; {plain(str(heard['path_cure']))}."
    sent, path = (text.partition("?")[0] for text in (target, came))
    if target_digest(sent.encode()) == target_digest(path.encode()):
        place = plain(str(heard.get("callback_path")))
        return f"The callback is at {place}: let OSS_CALLBACK_URL say so, or mount the application by the URL's path."
    return f"`{sent}` arrives as `{path}`: {_CHANGED_PATH}."


def _all_arrived(call: Call, heard: dict[str, Any]) -> Finding:
    server, target = plain(str(heard.get("server"))), plain(str(heard.get("target")))
    changed = "" if target == target_of(call.url) else f" (as {target}, which OSS_CALLBACK_URL there makes good)"
    return green(f"{call.url}: header, path{changed} and body arrive, behind {server}")


def _fits(target: str, heard: dict[str, Any]) -> bool:
    """Tell whether what OSS signs is one of the targets over which the application verifies."""
    known = heard.get("targets")
    return isinstance(known, list) and target_digest(target.encode()) in known


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


OSS_TIMEOUT = 5.0

SLOW = 2.5

_MAX_ANSWER = 1024 * 1024

_LENGTH_CURE = (
    "Let the server in front neither compress nor chunk answers to the callback. Apache from 2.4.59 on drops the "
    "length of CGI-style answers (CGI, mod_fcgid, mod_proxy_fcgi): add `SetEnvIf Request_URI . ap_trust_cgilike_cl=1`."
)

_PAGE_CURE = "See what puts a page of its own in the answer's place."

_SLOW_CURE = "See what the server in front waits for, and if its workers are busy."


def answer(case: Examination) -> Iterator[Finding]:
    """The way there and back: 200, JSON, Content-Length, in time; the handler's own answer is no part of it."""
    answered = False
    for call in calls(case):
        if isinstance(call.answer, UnreachableError):
            yield unreachable(call.answer)
        else:
            answered = True
            status = 200 if call.proved else 403
            if call.answer.status == status and is_json(call.answer.body) and not is_ours(call, call.answer):
                said = f"{call.url}: not judged: it is something else than the application that answers {status}"
                yield red(said, "See the check `callback`.")
            else:
                yield from judged_answer(call.url, call.answer, status)
    if answered and not case.writes:
        yield yellow(
            "what was measured is the way there and back, not your own handler",
            "Your own handler (on_upload, or the view behind forward_callback) is measured by --write.",
        )


def judged_answer(url: str, found: Answer, status: int = 200) -> Iterator[Finding]:
    """Say what OSS would find wrong with an answer (P§8.9); unproved, 403 is the status to be."""
    good = True
    coding = compression(found)
    length = found.headers.get("Content-Length") or ""
    for bad, said, cure in (
        (found.status != status, f"status {found.status}, and not {status}", "See the check `callback`."),
        (not found.complete, f"the answer breaks off after {len(found.body)} bytes", "See what cuts it on its way."),
        (coding, f"the answer is compressed ({coding})", UNCOMPRESSED),
        (not coding and not is_json(found.body), "the body is no JSON", _PAGE_CURE),
        (not length.isdigit(), "the answer has no Content-Length", _LENGTH_CURE),
        (len(found.body) >= _MAX_ANSWER, "the answer is over 1 MB", "Answer less."),
        (found.seconds > OSS_TIMEOUT, f"it took {found.seconds:.1f} s, and OSS waits 5 s", _SLOW_CURE),
    ):
        if bad:
            good = False
            yield red(f"{url}: {said}", cure)
    if good and found.seconds > SLOW:
        yield yellow(f"{url}: the way took {found.seconds:.1f} s of the 5 s that OSS waits", _SLOW_CURE)
    elif good:
        yield green(f"{url}: there and back in {found.seconds:.2f} s: {status}, JSON with a length")


def callback_url(case: Examination) -> Iterator[Finding]:
    """OSS's rules for the URL: at most five, http or https, no IPv6, a public address; SNI."""
    text = case.environ.get("OSS_CALLBACK_URL", "").strip()
    if not text:
        yield yellow("OSS_CALLBACK_URL is not set", "Set it to the public URL of the callback endpoint.")
        return
    found = callback_url_problems(text)
    for problem in found:
        yield red(problem, "Change OSS_CALLBACK_URL.")
    if found:
        return
    for url in split_urls(text):
        yield _address(url, stand_in=case.stand_in)


def _address(url: str, *, stand_in: bool) -> Finding:
    parts = urlsplit(url)
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):  # the latter of a name that cannot be one
        return red(f"{parts.hostname} has no address", "Publish the name in the public DNS.")
    fours = [address for address in addresses if ":" not in address]
    if not fours:
        return red(f"{parts.hostname} has an IPv6 address alone, which OSS does not call", "Give it an IPv4 address.")
    private = [address for address in fours if is_private(address)]
    if private and not stand_in:
        return red(
            f"{parts.hostname} is {private[0]}, no public address, and OSS calls no other",
            "Use a public name, or a tunnel while you develop.",
        )
    if parts.scheme == "https" and _is_address(parts.hostname or ""):
        return yellow(
            f"{url} names an address: TLS has no name to send then (SNI), and few certificates are for addresses",
            "Use a host name.",
        )
    if parts.scheme == "https":
        return green(f"{url}: OSS will send the name in the TLS handshake (SNI)")
    if private:
        return green(f"{url}: a private address, which the local OSS calls")
    return yellow(f"{url} is http: anybody on the way reads the reports", "Use https.")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
