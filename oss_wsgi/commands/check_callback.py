"""Checks of `doctor` that call the application as OSS would: the callback URL, the way to it and its answer."""

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

from ..callback import FORM
from ..callback_url import problems, request_target, split_urls, without_password
from ..probe import PROBE_HEADER, PROBE_MEMBER, WINDOW, prove
from ..public_keys import OSS_PUBLIC_KEY_URLS
from .client import Answer, UnreachableError, request
from .examination import TIMEOUT, Examination, Finding, NotCheckedError, green, red, yellow
from .json_text import is_json, parsed
from .output import plain

OSS_TIMEOUT = 5.0
_SLOW = 2.5
_MAX_ANSWER = 1024 * 1024
#: Whatever is decoded, joined or written anew on the way shows in it.
_BODY = b"object=a%2Fb+c%20d.txt&text=%E4%B8%AD&size=0&probe=1"
_LENGTH_CURE = (
    "Let the server in front neither compress nor chunk answers to the callback. Apache from 2.4.59 on drops the "
    "length of CGI-style answers (CGI, mod_fcgid, mod_proxy_fcgi): add `SetEnvIf Request_URI . ap_trust_cgilike_cl=1`."
)
_STATUSES = {
    401: "The server asks for a password before the application: exempt the callback (AuthType None, auth_basic off).",
    404: "Mount the application there: the URL ends in the prefix and the callback's path.",
    405: "Something else answers there: the URL ends in the prefix and the callback's path.",
    411: "A proxy sends the body in chunks: have it buffer requests.",
    413: "A proxy refuses the body: raise its limit.",
}


@dataclass(frozen=True)
class Sent:
    """What a probe carried, and what came of it."""

    url: str
    authorization: str
    key_url: str
    answer: Answer | UnreachableError


def callback_url(case: Examination) -> Iterator[Finding]:
    """OSS's rules for the URL: at most five, http or https, no IPv6, a public address; SNI."""
    text = case.environ.get("OSS_CALLBACK_URL", "").strip()
    if not text:
        yield yellow("OSS_CALLBACK_URL is not set", "Set it to the public URL of the callback endpoint.")
        return
    found = problems(text)
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
    private = [address for address in fours if not ipaddress.ip_address(address).is_global]
    if private and not stand_in:
        return red(
            f"{parts.hostname} is {private[0]}, a private address, which OSS does not call",
            "Use a public name, or a tunnel while you develop.",
        )
    if parts.scheme == "https":
        return green(f"{url}: OSS will send the name in the TLS handshake (SNI)")
    if private:
        return green(f"{url}: a private address, which the local OSS calls")
    return yellow(f"{url} is http: anybody on the way reads the reports", "Use https.")


def callback(case: Examination) -> Iterator[Finding]:
    """A signed probe proves that header, path, query and body survive the way through the real front server."""
    for sent in _probes(case):
        yield from judged_way(sent)


def answer(case: Examination) -> Iterator[Finding]:
    """What OSS asks of the application's answer: 200, JSON, Content-Length, in time."""
    for sent in _probes(case):
        if isinstance(sent.answer, UnreachableError):
            yield red(str(sent.answer), "See the check of the callback.")
        else:
            yield from judged_answer(sent.url, sent.answer)


def judged_way(sent: Sent) -> Iterator[Finding]:
    """Say what arrived of a probe."""
    found = sent.answer
    if isinstance(found, UnreachableError):
        yield red(str(found), "Let the server be reached from outside: name server, firewall, certificate.")
        return
    arrived = _arrived(found)
    if arrived is None:
        yield _no_probe(sent.url, found)
        return
    server = plain(str(arrived.get("server")))
    good = True
    if arrived.get("method") != "POST":
        good = False
        yield red(f"POST arrives as {plain(str(arrived.get('method')))}", "See what redirects the callback's path.")
    if arrived.get("authorization") != _digest(sent.authorization):
        good = False
        cure = plain(str(arrived.get("cure") or "look for a rule that sets or adds to Authorization"))
        yield red(f"Authorization does not arrive behind {server}", f"{cure[:1].upper()}{cure[1:]}.")
    if arrived.get("pub_key_url") != _digest(sent.key_url):
        good = False
        yield red(f"x-oss-pub-key-url does not arrive behind {server}", "Let the proxy in front pass all headers.")
    if arrived.get("body") != hashlib.sha256(_BODY).hexdigest():
        good = False
        why = plain(str(arrived.get("body_problem") or "it was changed on its way"))
        yield red(f"the body does not arrive: {why}", "Let the proxy in front pass bodies as they are, with a length.")
    target = request_target(sent.url)
    if not arrived.get("reaches_callback"):
        good = False
        cure = f"Mount the application so that this is its callback's path; {plain(str(arrived.get('path_cure')))}."
        yield red(f"{target} reaches the application behind {server}, and not its callback", cure)
    elif arrived.get("target") != target:
        good = False
        said = f"{target} arrives as {plain(str(arrived.get('target')))}"
        cure = "The application verifies over OSS_CALLBACK_URL too: set it there to this very URL"
        yield yellow(said, f"{cure}; {plain(str(arrived.get('path_cure')))}.")
    if good:
        yield green(f"{sent.url}: header, path and body arrive, behind {server}")


def judged_answer(url: str, found: Answer) -> Iterator[Finding]:
    """Say what OSS would find wrong with an answer (P§8.9)."""
    good = True
    for bad, said, cure in (
        (found.status != 200, f"status {found.status}, and OSS takes 200 alone", "See the check of the callback."),
        (not is_json(found.body), "the body is no JSON", "See what puts a page of its own in the answer's place."),
        (
            not (found.headers.get("Content-Length") or "").isdigit(),
            "the answer has no Content-Length",
            _LENGTH_CURE,
        ),
        (len(found.body) >= _MAX_ANSWER, "the answer is over 1 MB", "Answer less."),
        (found.seconds > OSS_TIMEOUT, f"it took {found.seconds:.1f} s, and OSS waits 5 s", "Do slow work later."),
    ):
        if bad:
            good = False
            yield red(f"{url}: {said}", cure)
    if good and found.seconds > _SLOW:
        yield yellow(f"{url}: it took {found.seconds:.1f} s of the 5 s that OSS waits", "Do slow work later.")
    elif good:
        yield green(f"{url}: 200, JSON with a length, in {found.seconds:.2f} s")


def _probes(case: Examination) -> list[Sent]:
    """Probe each URL once, whoever asks."""
    if case.probes is None:
        case.probes = [_probe(url, case.settings.ticket_secret[0]) for url in _urls(case)]
    return case.probes


def _urls(case: Examination) -> list[str]:
    text = case.settings.callback_url
    if not text:
        raise NotCheckedError(yellow("OSS_CALLBACK_URL is not set", "Set it to the callback endpoint's public URL."))
    if not case.settings.ticket_secret:
        cure = "Set OSS_TICKET_SECRET, for the application and for this command: a probe proves itself by it."
        raise NotCheckedError(yellow("not checked: OSS_TICKET_SECRET is not set", cure))
    return split_urls(text)


def _probe(url: str, secret: str) -> Sent:
    """Post what looks like a callback of OSS, and proves to be a probe."""
    authorization = base64.b64encode(secrets.token_bytes(64)).decode()
    key_url = base64.b64encode(OSS_PUBLIC_KEY_URLS[1].encode()).decode()
    headers = {
        "Authorization": authorization,
        "Connection": "close",
        "Content-MD5": base64.b64encode(hashlib.md5(_BODY, usedforsecurity=False).digest()).decode(),
        "Content-Type": FORM,
        "User-Agent": "aliyun-oss-callback",
        "x-oss-pub-key-url": key_url,
        "x-oss-tag": "CALLBACK",
        PROBE_HEADER: prove(secret, time.time()),
    }
    try:
        return Sent(url, authorization, key_url, request("POST", url, headers, _BODY, timeout=TIMEOUT))
    except UnreachableError as error:
        return Sent(url, authorization, key_url, error)


def _arrived(found: Answer) -> dict[str, Any] | None:
    try:
        members = parsed(found.body)
    except ValueError:
        return None
    arrived = members.get(PROBE_MEMBER) if isinstance(members, dict) else None
    return arrived if found.status == 200 and isinstance(arrived, dict) else None


def _no_probe(url: str, found: Answer) -> Finding:
    said = f"{without_password(url)} answers {found.status}, and not to the probe"
    location = found.headers.get("Location")
    if 300 <= found.status < 400:
        where = f", to {plain(location)}" if location else ""
        return red(f"{said}: it redirects{where}, which OSS does not follow", "Set OSS_CALLBACK_URL to the last URL.")
    if found.status == 403 and is_json(found.body):
        cure = (
            f"OSS_TICKET_SECRET must be the same there and here, the clocks less than {WINDOW} s apart, and the proxy "
            f"in front must pass all headers, {PROBE_HEADER} too."
        )
        return red(said, cure)
    return red(said, _STATUSES.get(found.status, "See the log of the server in front, and of the application."))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
