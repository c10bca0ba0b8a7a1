"""The check of `doctor` that looks at the way to the callback: is it reached, and what arrives there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from ...callback.parameters import FORM
from ...callback.url import request_target
from ...http import essence
from ...middleware.probe_gate import target_digest
from ..http_client import UnreachableError
from ..terminal import plain
from .answerer import arrived, as_a_stranger, no_probe, unreachable
from .called import BODY, Call, calls
from .context import Examination, Finding, green, red

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
    target = request_target(call.url)
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
    changed = "" if target == request_target(call.url) else f" (as {target}, which OSS_CALLBACK_URL there makes good)"
    return green(f"{call.url}: header, path{changed} and body arrive, behind {server}")


def _fits(target: str, heard: dict[str, Any]) -> bool:
    """Tell whether what OSS signs is one of the targets over which the application verifies."""
    known = heard.get("targets")
    return isinstance(known, list) and target_digest(target.encode()) in known


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
