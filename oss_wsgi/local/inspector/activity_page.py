"""The list of stories, with its filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import Response
from .journal import MAX_STORIES, Journal
from .markup import Page
from .masks import Masks
from .outcome import outcome
from .story import KINDS, Story

FILTERS = ("object", "status", "kind", "q")
#: Stories of one page.
PAGE_SIZE = 100
STATUSES = {
    "": "Any status",
    "ok": "Worked",
    "failed": "Failed",
    "busy": "Under way",
    "2": "2xx",
    "203": "203",
    "3": "3xx",
    "4": "4xx",
    "5": "5xx",
}


def matching(stories: Iterable[Story], query: Mapping[str, str]) -> list[Story]:
    """Return the stories that the filters let through."""
    wanted, kind, status = query.get("object", "").lower(), query.get("kind", ""), query.get("status", "")
    words = query.get("q", "").lower().split()
    return [
        story
        for story in stories
        if (not kind or story.kind == kind or (kind == "cors" and story.is_cors_refusal))
        and (not wanted or wanted in f"{story.bucket}/{story.key}".lower())
        and (not status or _has_status(story, status))
        and (not words or all(word in _searched(story) for word in words))
    ]


def activity_page(page: Page, journal: Journal, masks: Masks, query: Mapping[str, str], **values: Any) -> Response:
    """Return the page; `values` are for the page that has no stories yet."""
    stories = journal.stories()
    matches = matching(stories, query)
    start = int(query["from"]) if query.get("from", "").isdecimal() and len(query["from"]) < 6 else 0
    filters = filters_of(query)
    count = f"{len(matches)} request{'' if len(matches) == 1 else 's'}"
    if len(matches) < len(stories):
        count += f" of {len(stories)}"
    elif len(stories) == MAX_STORIES:
        count = f"The last {MAX_STORIES} requests"

    def others(first: int) -> str:
        return page.link("", **filters, **{"from": str(first) if first else ""})

    return page.response(
        "activity.html",
        count=count,
        filters=filters,
        kinds={"": "Any kind", **KINDS},
        statuses=STATUSES,
        has_stories=bool(stories),
        rows=matches[start : start + PAGE_SIZE],
        masks=masks,
        outcome=outcome,
        newer=others(max(0, start - PAGE_SIZE)) if start else "",
        older=others(start + PAGE_SIZE) if start + PAGE_SIZE < len(matches) else "",
        **values,
    )


def filters_of(query: Mapping[str, str]) -> dict[str, str]:
    """Return the filters of a list, which its links keep."""
    return {name: query.get(name, "") for name in FILTERS}


def _has_status(story: Story, status: str) -> bool:
    if story.is_under_way:
        return status == "busy"
    if status in ("ok", "failed"):
        return story.has_failed == (status == "failed")
    return str(story.status).startswith(status)


def _searched(story: Story) -> str:
    error = f"{story.error.code} {story.error.ec}" if story.error else ""
    calls = " ".join(call.request.url.netloc + call.request.url.target for call in story.calls)
    path = story.target.partition("?")[0]
    parts = (story.id, story.method, path, story.bucket, story.key, story.file_name, story.operation, error, calls)
    return " ".join((*parts, str(story.status), outcome(story)[1], story.header("origin"), story.client)).lower()
