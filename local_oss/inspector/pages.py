"""The inspector's pages of requests with their filters, of stored objects by folder, and of faults as buttons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from oss_wsgi.explanations.text import Text

from ..errors import Headers, Response
from ..faults import FAULTS, Fault, Faults
from ..operations.read_objects import FileRange
from ..storage.index import CommonPrefix
from ..storage.storage import Storage
from .access import PICTURES, SAFE, essence
from .exchange import KINDS, MAX_EXCHANGES, Exchange, Journal
from .markup import Page
from .outcome import outcome
from .rows import rows_of

FILTERS = ("object", "status", "kind", "q")
#: Rows of one page.
PAGE_SIZE = 100
OBJECTS_PAGE_SIZE = 200
#: The most bytes of a text to show.
MAX_SHOWN = 64 * 1024
#: The types of pictures that the pages show.
_SHOWN = PICTURES | {"image/svg+xml"}
_TEXTS = ("application/json", "application/xml", "application/javascript", "application/x-yaml", "application/x-sh")

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


#: Group -> its faults, each with a sentence that says what happens.
FAULT_GROUPS = {
    "Any request": {"slow_down": "OSS answers 503 SlowDown, before it reads anything"},
    "Sending a file": {
        "slow_upload": "The file takes longer to arrive",
        "dropped_connection": "The connection ends without an answer",
        "damaged_object": "The object joined from parts has another CRC-64 than its parts",
    },
    "The callback, so that the page gets 203": {
        "callback_timeout": "The application does not answer in time",
        "callback_status": "The application answers another status",
        "callback_not_json": "The application’s answer is not JSON",
        "callback_too_long": "The application’s answer is longer than 1 MiB",
        "callback_no_length": "The application’s answer has no Content-Length",
        "callback_refused": "Nothing listens at the callback URL",
    },
}
_DETAILS = {
    "seconds": "Seconds",
    "status": "Status",
    "delivered": "The application gets the callback; its answer is lost",
    "stored": "After the object was stored",
}


def matching(exchanges: Iterable[Exchange], query: Mapping[str, str]) -> list[Exchange]:
    wanted, kind, status = query.get("object", "").lower(), query.get("kind", ""), query.get("status", "")
    words = query.get("q", "").lower().split()
    return [
        exchange
        for exchange in exchanges
        if (not kind or exchange.kind == kind or (kind == "cors" and exchange.is_cors_refusal))
        and (not wanted or wanted in f"{exchange.bucket}/{exchange.key}".lower())
        and (not status or _has_status(exchange, status))
        and (not words or all(word in _searched(exchange) for word in words))
    ]


def activity_page(page: Page, journal: Journal, query: Mapping[str, str], **values: Any) -> Response:
    """Return the page; a page without exchanges shows `values`."""
    exchanges = journal.exchanges()
    matches = matching(exchanges, query)
    rows = rows_of(matches)
    start = int(query["from"]) if query.get("from", "").isdecimal() and len(query["from"]) < 6 else 0
    filters = filters_of(query)
    count = Text("{1} request" if len(matches) == 1 else "{1} requests", len(matches))
    if len(matches) < len(exchanges):
        one, several = "{1} request of {2}", "{1} requests of {2}"
        count = Text(one if len(matches) == 1 else several, len(matches), len(exchanges))
    elif len(exchanges) == MAX_EXCHANGES:
        count = Text("The last {1} requests", MAX_EXCHANGES)

    def others(first: int) -> str:
        return page.link("", **filters, **{"from": str(first) if first else ""})

    return page.response(
        "activity.html",
        count=count,
        filters=filters,
        kinds={"": "Any kind", **KINDS},
        statuses=STATUSES,
        has_exchanges=bool(exchanges),
        rows=rows[start : start + PAGE_SIZE],
        outcome=outcome,
        newer=others(max(0, start - PAGE_SIZE)) if start else "",
        older=others(start + PAGE_SIZE) if start + PAGE_SIZE < len(rows) else "",
        **values,
    )


def filters_of(query: Mapping[str, str]) -> dict[str, str]:
    return {name: query.get(name, "") for name in FILTERS}


def _has_status(exchange: Exchange, status: str) -> bool:
    if exchange.is_under_way:
        return status == "busy"
    if status in ("ok", "failed"):
        return exchange.has_failed == (status == "failed")
    return str(exchange.status).startswith(status)


def _searched(exchange: Exchange) -> str:
    error = f"{exchange.error.code} {exchange.error.ec}" if exchange.error else ""
    calls = " ".join(call.request.url.netloc + call.request.url.target for call in exchange.calls)
    path = exchange.target.partition("?")[0]
    parts = (
        exchange.id,
        exchange.method,
        path,
        exchange.bucket,
        exchange.key,
        exchange.file_name,
        exchange.operation,
        error,
        calls,
    )
    return " ".join(
        (*parts, str(exchange.status), outcome(exchange)[1], exchange.header("origin"), exchange.client)
    ).lower()


def objects_page(page: Page, storage: Storage, query: Mapping[str, str], default: str) -> Response:
    bucket = storage.bucket(query.get("bucket") or default)
    prefix = query.get("prefix", "")
    entries, more = bucket.page(prefix=prefix, delimiter="/", after=query.get("after", ""), limit=OBJECTS_PAGE_SIZE)
    return page.response(
        "objects.html",
        bucket=bucket.name,
        buckets=[bucket.name for bucket in storage.buckets()],
        prefix=prefix,
        crumbs=_folders(prefix),
        entries=[(entry, isinstance(entry, CommonPrefix)) for entry in entries],
        last=entries[-1].key if more and entries else "",
    )


def object_page(page: Page, storage: Storage, bucket: str, key: str) -> Response:
    """Return the page of an object: its properties, and a preview of a picture or a text."""
    opened = storage.bucket(bucket).open(key)
    if opened is None:
        return page.message("No such object", key, status=404)
    stored, file = opened
    with file:
        beginning = file.read(MAX_SHOWN).decode(errors="replace") if _is_text(stored.content_type) else None
    return page.response(
        "object.html",
        bucket=bucket,
        stored=stored,
        crumbs=_folders(key),
        is_picture=essence(stored.content_type) in _SHOWN,
        beginning=beginning,
        max_shown=MAX_SHOWN,
    )


def object_content(page: Page, storage: Storage, bucket_name: str, key: str, *, download: bool) -> Response:
    """Return the bytes of an object, with headers that keep a browser from running them."""
    opened = storage.bucket(bucket_name).open(key)
    if opened is None:
        return page.refuse(404, "There is no such object.")
    stored, file = opened
    name = quote(key.rpartition("/")[2] or "object", safe="")
    kind = essence(stored.content_type)
    is_shown = not download and kind in _SHOWN
    headers: Headers = [
        ("Content-Type", kind if is_shown else "application/octet-stream"),
        ("Content-Length", str(stored.size)),
        ("Cache-Control", "no-store"),
        ("Content-Security-Policy", "sandbox"),
        *SAFE,
    ]
    if not is_shown:
        headers.append(("Content-Disposition", f"attachment; filename*=UTF-8''{name}"))
    return Response(200, headers, FileRange(file, 0, stored.size))


def _is_text(content_type: str) -> bool:
    kind = essence(content_type)
    return kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml"))


def _folders(key: str) -> list[str]:
    """Return each folder on the way to a key, with its slash."""
    return [key[: index + 1] for index, character in enumerate(key) if character == "/"]


def faults_page(page: Page, faults: Faults) -> Response:
    sentences = {name: sentence for group in FAULT_GROUPS.values() for name, sentence in group.items()}
    pending = [(sentences[fault.name], _details(fault), _often(times)) for fault, times in faults.pending()]
    return page.response("faults.html", faults=FAULTS, groups=FAULT_GROUPS, pending=pending, detail_words=_DETAILS)


def add_fault(faults: Faults, form: Mapping[str, str]) -> None:
    """Add the fault of a form, or clear all if it names none; raise ValueError as `Faults.add` does."""
    name = form.get("name", "")
    if not name:
        faults.clear()
        return
    details = [f"{detail}={form[detail]}" for detail in ("times", *FAULTS.get(name, {})) if form.get(detail)]
    faults.add_text("; ".join([name, *details]))


def _details(fault: Fault) -> str:
    return ", ".join(f"{name} {value}" for name, value in fault.details.items() if value is not False)


def _often(times: int | None) -> str:
    return "until cleared" if times is None else Text("{1} times", times) if times > 1 else "once"
