"""The pages of stored objects: a folder, and one object with a preview."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from ..errors import Headers, Response
from ..operations.read_objects import FileRange
from ..storage.records import CommonPrefix
from ..storage.storage import Storage
from .access import PICTURES, SAFE, essence
from .markup import Page

PAGE_SIZE = 200
#: Bytes of a text that are shown.
MAX_SHOWN = 64 * 1024
#: Pictures that the pages show, by this type.
_SHOWN = PICTURES | {"image/svg+xml"}
_TEXTS = ("application/json", "application/xml", "application/javascript", "application/x-yaml", "application/x-sh")


def objects_page(page: Page, storage: Storage, query: Mapping[str, str], default: str) -> Response:
    """Return the page of a folder in a bucket."""
    bucket = storage.bucket(query.get("bucket") or default)
    prefix = query.get("prefix", "")
    entries, more = bucket.page(prefix=prefix, delimiter="/", after=query.get("after", ""), limit=PAGE_SIZE)
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
    """Return the page of an object: what is known of it, and a preview if it is a picture or a text."""
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
