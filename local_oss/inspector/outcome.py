"""The outcome of an exchange, or its progress: a few words for the list and the log, a sentence for its own page."""

from __future__ import annotations

import time
from typing import Literal

from oss_wsgi.explanations.rows import find
from oss_wsgi.explanations.text import Text, sentences

from .exchange import Exchange
from .markup import visible

Level = Literal["good", "warn", "bad", "quiet", "busy"]


def outcome(exchange: Exchange) -> tuple[Level, str]:
    """Return the level of an exchange's outcome, and the outcome in a few words."""
    if exchange.is_under_way:
        waits_for = "Waiting for the callback’s answer, {1}\u00a0s" if exchange.asked else "Under way, {1}\u00a0s"
        return "busy", Text(waits_for, int(time.monotonic() - exchange.begun))
    if exchange.dropped:
        return "bad", "Connection dropped"
    if exchange.origin:
        failed = sum(call.failure is not None for call in exchange.calls)
        if not failed:
            return "good", "Accepted" if len(exchange.calls) == 1 else "Both accepted"
        return "bad", "Not accepted" if failed == len(exchange.calls) else "One of two accepted"
    if exchange.recovered:
        return "good", "Stored, lost report recovered"
    if exchange.status == 203:
        return "warn", "Stored, application not told"
    if exchange.error and exchange.kind == "cors":
        return "bad", "Preflight refused"
    if exchange.error:
        return "bad", exchange.error.code
    if exchange.status >= 400:
        return "bad", "Refused"
    if exchange.is_cors_refusal:
        return "warn", "Hidden from the page: no CORS rule"
    if exchange.kind == "upload":
        return "good", "Stored, application told" if exchange.calls else "Stored"
    if exchange.kind == "cors":
        return "good", "Preflight allowed"
    return "quiet", "Done"


def reason(exchange: Exchange) -> tuple[str, str]:
    """Return the reason of a failed exchange and its fix, in the words of `explain`; "" for an unknown one."""
    if exchange.origin:
        failure = next((call.failure for call in reversed(exchange.calls) if call.failure), None)
        return (failure.message, "") if failure else ("", "")
    if exchange.recovered:
        return "The report was lost. The application asked for the object later, and so it knows of the upload.", ""
    if exchange.status == 203 and exchange.error:
        row = find(exchange.error.ec)
        return (sentences(exchange.error.message, row.meaning), row.fix) if row else (exchange.error.message, "")
    if exchange.dropped:
        return "No answer was sent, because a fault was set.", ""
    if exchange.error and exchange.kind == "cors":
        origin = exchange.header("origin") or "(none)"
        return exchange.error.message, Text(
            "Allow the origin {1}: --cors {1}, or a rule of the bucket by ?cors.", origin
        )
    if exchange.error:
        return exchange.error.message, exchange.mistake
    if exchange.is_cors_refusal:
        origin = exchange.header("origin")
        return (
            Text(
                "No CORS rule allows {1} from {2}, so the browser hides this answer from the page.",
                exchange.method,
                origin,
            ),
            Text("Allow it: --cors {1}, or a rule of the bucket by ?cors.", origin),
        )
    return "", ""


def log_line(exchange: Exchange, link: str) -> str | None:
    """Return the exchange as a line for a terminal; None for a success that is not an upload."""
    level, short = outcome(exchange)
    if exchange.kind not in ("upload", "callback") and level not in ("bad", "warn"):
        return None
    mark = {"warn": "WARN", "bad": "FAIL"}.get(level, "ok  ")
    clock = time.strftime("%H:%M:%S", time.localtime(exchange.started))
    name = f"{exchange.bucket}/{exchange.key}" if exchange.bucket else exchange.target.partition("?")[0]
    size = "" if exchange.size is None else f" {exchange.size} B"
    facts = [f"{mark} {clock} {exchange.status or '---'} {exchange.operation} {name}{size}: {short}"]
    for call in exchange.calls:
        status = call.reply.status if call.reply else "no reply"
        url = f"{call.request.url.origin}{call.request.url.path}"
        facts.append(f"callback {status} in {round(call.seconds * 1000)} ms {url}")
    why, fix = reason(exchange)
    facts += [part.rstrip(".") for part in (why, fix) if part]
    text = "; ".join(facts) + (f" {link}" if level in ("bad", "warn") else "")
    return "".join(character if character.isprintable() else "\ufffd" for character in visible(text))
