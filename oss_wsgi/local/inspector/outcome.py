"""How a story ended, or how far it is, in a few words for the list and the log, and in a sentence for its own page."""

from __future__ import annotations

import time
from typing import Literal

from ...explanations.rows import find
from .markup import visible
from .masks import Masks
from .story import Story

Level = Literal["good", "warn", "bad", "quiet", "busy"]


def outcome(story: Story) -> tuple[Level, str]:
    """Return how well a story ended, and how, in a few words."""
    if story.is_under_way:
        waits_for = "Waiting for the callback’s answer" if story.asked else "Under way"
        return "busy", f"{waits_for}, {int(time.monotonic() - story.begun)}\u00a0s"
    if story.dropped:
        return "bad", "Connection dropped"
    if story.origin:
        failed = sum(call.failure is not None for call in story.calls)
        if not failed:
            return "good", "Accepted" if len(story.calls) == 1 else "Both accepted"
        return "bad", "Not accepted" if failed == len(story.calls) else "One of two accepted"
    if story.status == 203:
        return "warn", "Stored, application not told"
    if story.error and story.kind == "cors":
        return "bad", "Preflight refused"
    if story.error:
        return "bad", story.error.code
    if story.status >= 400:
        return "bad", "Refused"
    if story.is_cors_refusal:
        return "warn", "Hidden from the page: no CORS rule"
    if story.kind == "upload":
        return "good", "Stored, application told" if story.calls else "Stored"
    if story.kind == "cors":
        return "good", "Preflight allowed"
    return "quiet", "Done"


def reason(story: Story) -> tuple[str, str]:
    """Return why it failed and its fix, in the words of `explain`; "" where there is nothing to say."""
    if story.origin:
        failure = next((call.failure for call in reversed(story.calls) if call.failure), None)
        return (failure.message, "") if failure else ("", "")
    if story.status == 203 and story.error:
        row = find(story.error.ec)
        return (f"{story.error.message} {row.meaning}", row.fix) if row else (story.error.message, "")
    if story.dropped:
        return "No answer was sent, because a fault was set.", ""
    if story.error and story.kind == "cors":
        origin = story.header("origin") or "(none)"
        return story.error.message, f"Allow the origin {origin}: --cors {origin}, or a rule of the bucket by ?cors."
    if story.error:
        return story.error.message, story.mistake
    if story.is_cors_refusal:
        origin = story.header("origin")
        return (
            f"No CORS rule allows {story.method} from {origin}, so the browser hides this answer from the page.",
            f"Allow it: --cors {origin}, or a rule of the bucket by ?cors.",
        )
    return "", ""


def log_line(story: Story, masks: Masks, link: str) -> str | None:
    """Return the story as a line for a terminal; None for a success that is not an upload."""
    level, short = outcome(story)
    if story.kind not in ("upload", "callback") and level not in ("bad", "warn"):
        return None
    mark = {"warn": "WARN", "bad": "FAIL"}.get(level, "ok  ")
    clock = time.strftime("%H:%M:%S", time.localtime(story.started))
    name = f"{story.bucket}/{story.key}" if story.bucket else story.target.partition("?")[0]
    size = "" if story.size is None else f" {story.size} B"
    facts = [f"{mark} {clock} {story.status or '---'} {story.operation} {name}{size}: {short}"]
    for call in story.calls:
        status = call.reply.status if call.reply else "no reply"
        url = f"{call.request.url.origin}{call.request.url.path}"
        facts.append(f"callback {status} in {round(call.seconds * 1000)} ms {url}")
    why, fix = reason(story)
    facts += [part.rstrip(".") for part in (why, fix) if part]
    text = masks("; ".join(facts)) + (f" {link}" if level in ("bad", "warn") else "")
    return "".join(character if character.isprintable() else "\ufffd" for character in visible(text))
