"""The list of stories, with its filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from ..errors import Response
from .journal import MAX_STORIES, Journal
from .markup import Page, duration_text, field_value, moment, named, size_text, text
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


def activity_page(page: Page, journal: Journal, masks: Masks, query: Mapping[str, str], *, greeting: str) -> Response:
    """Return the page; `greeting` is what an empty one says, as HTML."""
    stories = journal.stories()
    matches = matching(stories, query)
    start = int(query["from"]) if query.get("from", "").isdecimal() and len(query["from"]) < 6 else 0
    shown = matches[start : start + PAGE_SIZE]
    filters = {name: query.get(name, "") for name in FILTERS}
    count = f"{len(matches)} request{'' if len(matches) == 1 else 's'}"
    if len(matches) < len(stories):
        count += f" of {len(stories)}"
    elif len(stories) == MAX_STORIES:
        count = f"The last {MAX_STORIES} requests"
    pages = _pages(page, filters, start, len(matches))
    if stories and not matches:
        empty = f'<p>No request fits. <a href="{page.link("")}">Show all</a></p>'
    else:
        empty = greeting if not stories else ""
    content = f"""<div class="head"><h1>Activity</h1><p class="quiet" id="count" role="status">{count}</p>
{page.button("/clear", "Clear", kind="small") if stories else ""}</div>
{_filter_form(page, filters)}
<div id="stories">{story_list(page, shown, masks, filters)}{f'<div class="empty">{empty}</div>' if empty else ""}</div>
{pages}"""
    return page.response("Activity · Local OSS", "activity", content)


def story_list(
    page: Page, stories: Iterable[Story], masks: Masks, filters: Mapping[str, str], *, current: str = ""
) -> str:
    """Return the stories as a list of links."""
    rows = "".join(_row(page, story, masks, filters, current) for story in stories)
    return f'<ol class="stories">{rows}</ol>' if rows else ""


def beside(page: Page, journal: Journal, masks: Masks, query: Mapping[str, str], current: str) -> str:
    """Return the list that stands beside a story, where the window has room."""
    stories = islice(matching(journal.stories(), query), 40)
    filters = {name: query.get(name, "") for name in FILTERS}
    return (
        f'<nav class="beside" aria-label="Activity"><div id="stories">'
        f"{story_list(page, stories, masks, filters, current=current)}</div></nav>"
    )


def _row(page: Page, story: Story, masks: Masks, filters: Mapping[str, str], current: str) -> str:
    level, short = outcome(story)
    name = masks(story.key or story.bucket or story.target.partition("?")[0])
    detail = [story.operation]
    number = dict(story.query).get("partNumber")
    if number:
        detail.append(f"part {number}")
    if story.key and story.bucket:
        detail.append(story.bucket)
    if story.origin:
        detail = [detail[0], story.again]
    facts = [size_text(story.size), "" if story.is_under_way else duration_text(story.seconds)]
    return (
        f'<li id="s-{story.id}" data-level="{level}"><a href="{page.link(f"/requests/{story.id}", **filters)}"'
        f"{' aria-current=true' if story.id == current else ''}>"
        f'<span class="status">{story.status or ("…" if story.is_under_way else "—")}</span>'
        f'<span class="name">{named(name)}</span><span class="short">{text(short)}</span>'
        f'<span class="detail">{text(masks(" · ".join(detail)))}</span>'
        f'<span class="facts">{" · ".join(filter(None, facts))}</span>'
        f'<span class="time">{moment(story.started)}</span></a></li>'
    )


def _filter_form(page: Page, filters: Mapping[str, str]) -> str:
    def select(name: str, label: str, choices: Mapping[str, str]) -> str:
        options = "".join(
            f'<option value="{value}"{" selected" if filters[name] == value else ""}>{text(words)}</option>'
            for value, words in choices.items()
        )
        return f'<label><span class="hidden">{label}</span><select name="{name}">{options}</select></label>'

    reset = f'<a class="button small" href="{page.link("")}">Show all</a>' if any(filters.values()) else ""
    return f"""<form class="filter" role="search" action="{page.link("")}">
<label class="grow"><span class="hidden">Search</span>
<input type="search" name="q" value="{field_value(filters["q"])}" placeholder="Search: id, code, URL, …"></label>
<label class="grow"><span class="hidden">Object</span>
<input type="search" name="object" value="{field_value(filters["object"])}" placeholder="Object"></label>
{select("kind", "Kind", {"": "Any kind", **KINDS})}
{select("status", "Status", STATUSES)}
<button class="button">Filter</button>{reset}</form>"""


def _pages(page: Page, filters: Mapping[str, str], start: int, count: int) -> str:
    links = []
    if start:
        links.append(
            f'<a href="{page.link("", **filters, **{"from": str(max(0, start - PAGE_SIZE) or "")})}">Newer</a>'
        )
    if start + PAGE_SIZE < count:
        links.append(f'<a href="{page.link("", **filters, **{"from": str(start + PAGE_SIZE)})}">Older</a>')
    return f'<nav class="pages" aria-label="More requests">{" ".join(links)}</nav>' if links else ""


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
