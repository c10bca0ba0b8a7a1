"""The check of `doctor` that looks at the way to the callback: is it reached, and what arrives there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from ..callback_url import request_target, without_password
from ..probe import PROBE_HEADER, PROBE_MEMBER, WINDOW, target_digest
from .called import BODY, Call, calls
from .client import Answer, TooSlowError, UnreachableError
from .examination import Examination, Finding, green, red, yellow
from .json_text import parsed
from .output import plain

_STATUSES = {
    401: "The server asks for a password before the application: exempt the callback (AuthType None, auth_basic off).",
    404: "Mount the application there: the URL ends in the prefix and the callback's path.",
    405: "Something else answers there: the URL ends in the prefix and the callback's path.",
    411: "A proxy sends the body in chunks: have it buffer requests.",
    413: "A proxy refuses the body: raise its limit.",
}


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
        yield _as_a_stranger(call.url, found)
    elif (arrived := _arrived(found)) is None:
        yield _no_probe(call.url, found)
    else:
        bad = [*_lost(call, arrived), *_led_astray(call, arrived)]
        yield from bad or [_all_arrived(call, arrived)]


def unreachable(error: UnreachableError) -> Finding:
    """Say what to do where there is no answer."""
    if isinstance(error, TooSlowError):
        cure = "OSS waits 5 s for the whole answer: see what the server in front waits for; are its workers busy?"
        return red(str(error), cure)
    return red(str(error), "Let the server be reached from outside: name server, firewall, certificate.")


def _lost(call: Call, arrived: dict[str, Any]) -> Iterator[Finding]:
    """Say what of method, headers and body did not survive."""
    server = plain(str(arrived.get("server")))
    if arrived.get("method") != "POST":
        yield red(f"POST arrives as {plain(str(arrived.get('method')))}", "See what redirects the callback's path.")
    if arrived.get("authorization") != _digest(call.authorization):
        cure = plain(str(arrived.get("cure") or "look for a rule that sets or adds to Authorization"))
        yield red(f"Authorization does not arrive behind {server}", f"{cure[:1].upper()}{cure[1:]}.")
    if arrived.get("pub_key_url") != _digest(call.key_url):
        yield red(f"x-oss-pub-key-url does not arrive behind {server}", "Let the proxy in front pass all headers.")
    if arrived.get("body") != hashlib.sha256(BODY).hexdigest():
        why = plain(str(arrived.get("body_problem") or "it was changed on its way"))
        yield red(f"the body does not arrive: {why}", "Let the proxy in front pass bodies as they are, with a length.")


def _led_astray(call: Call, arrived: dict[str, Any]) -> Iterator[Finding]:
    """Say whether the callback is missed, or what OSS signs is none of the targets that are verified over."""
    target = request_target(call.url)
    path_cure = plain(str(arrived.get("path_cure")))
    if not arrived.get("reaches_callback"):
        cure = f"Mount the application so that this is its callback's path; {path_cure}."
        server = plain(str(arrived.get("server")))
        yield red(f"{target} reaches the application behind {server}, and not its callback", cure)
    elif not _fits(target, arrived):
        said = f"{target} arrives as {plain(str(arrived.get('target')))}: real callbacks are refused, signature_wrong"
        cure = "Set OSS_CALLBACK_URL, where the application runs, to this very URL: it verifies over that too"
        yield red(said, f"{cure}; {path_cure}.")


def _all_arrived(call: Call, arrived: dict[str, Any]) -> Finding:
    server, target = plain(str(arrived.get("server"))), plain(str(arrived.get("target")))
    changed = "" if target == request_target(call.url) else f" (as {target}, which OSS_CALLBACK_URL there makes good)"
    return green(f"{call.url}: header, path{changed} and body arrive, behind {server}")


def _fits(target: str, arrived: dict[str, Any]) -> bool:
    """Tell whether what OSS signs is one of the targets over which the application verifies."""
    known = arrived.get("targets")
    return isinstance(known, list) and target_digest(target.encode()) in known


def _arrived(found: Answer) -> dict[str, Any] | None:
    members = _members(found)
    arrived = members.get(PROBE_MEMBER)
    return arrived if found.status == 200 and isinstance(arrived, dict) else None


def _members(found: Answer) -> dict[str, Any]:
    try:
        members = parsed(found.body)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def _as_a_stranger(url: str, found: Answer) -> Finding:
    """Judge the answer to a callback that nobody signed, which must be refused by the application itself."""
    if found.status == 403 and isinstance(_members(found).get("error"), dict):
        return yellow(
            f"{without_password(url)} refuses a stranger, as it should; whether header, path and body arrive as they "
            "were sent is not known, for OSS_TICKET_SECRET is not set",
            "Set OSS_TICKET_SECRET, for the application and for this command: a probe proves itself by it.",
        )
    said = f"{without_password(url)} answers {found.status}, and not as the application refuses a stranger: 403, JSON"
    if found.status == 200:
        return red(said, "Something else answers there: the URL ends in the prefix and the callback's path.")
    return _by_status(said, found)


def _no_probe(url: str, found: Answer) -> Finding:
    said = f"{without_password(url)} answers {found.status}, and not to the probe"
    if found.status == 403 and _members(found):
        cure = (
            f"OSS_TICKET_SECRET must be the same there and here, the clocks less than {WINDOW} s apart, and the proxy "
            f"in front must pass all headers, {PROBE_HEADER} too."
        )
        return red(said, cure)
    return _by_status(said, found)


def _by_status(said: str, found: Answer) -> Finding:
    location = found.headers.get("Location")
    if 300 <= found.status < 400:
        where = f", to {plain(location)}" if location else ""
        return red(f"{said}: it redirects{where}, which OSS does not follow", "Set OSS_CALLBACK_URL to the last URL.")
    return red(said, _STATUSES.get(found.status, "See the log of the server in front, and of the application."))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
