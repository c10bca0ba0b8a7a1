"""Tells whether it was the application that answered a call of `doctor`, and what to do where it was not."""

from __future__ import annotations

from typing import Any

from ...callback.url import without_password
from ...middleware.probe_gate import PROBE_HEADER, PROBE_MEMBER, WINDOW
from ..http_client import Answer, TooSlowError, UnreachableError
from ..json_text import parsed
from ..terminal import plain
from .called import Call
from .context import Finding, red, yellow

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
