"""The stored objects: by folder, and one with a look at it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from ..errors import Headers, Response
from ..operations.read_objects import FileRange
from ..storage.records import CommonPrefix, StoredObject
from ..storage.storage import Storage
from .markup import Page, block, moment, named, object_path, size_text, table, text
from .trust import PICTURES, SAFE, essence, plain

PAGE_SIZE = 200
#: Bytes of a text that are shown.
MAX_SHOWN = 64 * 1024
#: Pictures that the pages show, by this type.
_SHOWN = PICTURES | {"image/svg+xml"}
_TEXTS = ("application/json", "application/xml", "application/javascript", "application/x-yaml", "application/x-sh")


def objects_page(page: Page, storage: Storage, query: Mapping[str, str], default: str) -> Response:
    """Return a folder of a bucket."""
    bucket_name = query.get("bucket") or default
    prefix, after = query.get("prefix", ""), query.get("after", "")
    buckets = [bucket.name for bucket in storage.buckets()]
    bucket = storage.bucket(bucket_name)
    entries, more = bucket.page(prefix=prefix, delimiter="/", after=after, limit=PAGE_SIZE)
    rows = "".join(_entry(page, bucket_name, prefix, entry) for entry in entries)
    switch = ""
    if len(buckets) > 1:
        links = " ".join(
            f'<a href="{page.link("/objects", bucket=name)}"'
            f"{' aria-current=true' if name == bucket_name else ''}>{text(name)}</a>"
            for name in buckets
        )
        switch = f'<nav class="buckets" aria-label="Buckets">{links}</nav>'
    if not rows:
        rows = '<tr><td colspan="4" class="quiet">No objects here yet.</td></tr>'
    next_link = ""
    if more and entries:
        last = entries[-1].key
        next_link = f'<a href="{page.link("/objects", bucket=bucket_name, prefix=prefix, after=last)}">More</a>'
    content = f"""<div class="head"><h1>Objects</h1></div>{switch}
<p class="crumbs">{_crumbs(page, bucket_name, prefix)}</p>
<table class="objects"><thead><tr><th>Name<th class="size">Size<th>Type<th>Stored</tr></thead>
<tbody>{rows}</tbody></table>
<nav class="pages" aria-label="More objects">{next_link}</nav>"""
    return page.response(f"{prefix or bucket_name} · Local OSS", "objects", content)


def object_page(page: Page, storage: Storage, bucket_name: str, key: str) -> Response:
    """Return what is known of an object, and a look at it if it is a picture or a text."""
    opened = storage.bucket(bucket_name).open(key)
    if opened is None:
        content = f"<h1>No such object</h1><p>{named(key)}</p>"
        return page.response("Not found · Local OSS", "objects", content, status=404)
    stored, file = opened
    with file:
        look = _look(page, bucket_name, stored, file.read(MAX_SHOWN) if _is_text(stored.content_type) else b"")
    folder = key.rpartition("/")[0]
    download = page.link("/content", bucket=bucket_name, key=key, download="1")
    rows = [
        (
            "URL",
            f'<a href="{text(page.base + object_path(bucket_name, key))}">{text(object_path(bucket_name, key))}</a>',
        ),
        ("Size", f"{size_text(stored.size)}{f' ({stored.size} bytes)' if stored.size > 1023 else ''}"),
        ("Type", text(stored.content_type)),
        ("ETag", f"<code>{text(stored.etag)}</code>"),
        ("CRC-64", f"<code>{stored.crc64}</code>"),
        ("Stored", moment(stored.last_modified, "%Y-%m-%d %H:%M:%S")),
        *((name, f"<code>{text(value)}</code>") for name, value in stored.headers.items()),
    ]
    delete = f"""<details class="delete"><summary class="button small">Delete …</summary>
{page.button("/delete", "Delete for good", [("bucket", bucket_name), ("key", key)], kind="danger")}</details>"""
    content = f"""<p class="crumbs">{_crumbs(page, bucket_name, f"{folder}/" if folder else "")}</p>
<div class="head"><h1>{named(key.rpartition("/")[2] or key)}</h1></div>
<div class="actions"><a class="button small" href="{download}">Download</a>
<a class="button small" href="{page.link("", object=f"{bucket_name}/{key}")}">Its requests</a>{delete}</div>
{look}{table(rows, "Object")}"""
    return page.response(f"{key} · Local OSS", "objects", content)


def object_content(storage: Storage, bucket_name: str, key: str, *, download: bool) -> Response:
    """Return the bytes of an object; a browser runs nothing of them."""
    opened = storage.bucket(bucket_name).open(key)
    if opened is None:
        return plain(404, "There is no such object.\n")
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


def _look(page: Page, bucket: str, stored: StoredObject, beginning: bytes) -> str:
    if essence(stored.content_type) in _SHOWN:
        source = page.link("/content", bucket=bucket, key=stored.key)
        return f'<p class="look"><img src="{source}" alt="The picture {text(stored.key)}"></p>'
    if _is_text(stored.content_type):
        rest = f'<p class="quiet">The first {size_text(MAX_SHOWN)}</p>' if stored.size > MAX_SHOWN else ""
        return f'<div class="look">{block(beginning.decode(errors="replace"))}</div>{rest}'
    return ""


def _is_text(content_type: str) -> bool:
    kind = essence(content_type)
    return kind.startswith("text/") or kind in _TEXTS or kind.endswith(("+json", "+xml"))


def _entry(page: Page, bucket: str, prefix: str, entry: StoredObject | CommonPrefix) -> str:
    name = entry.key[len(prefix) :] or entry.key
    if isinstance(entry, CommonPrefix):
        link = page.link("/objects", bucket=bucket, prefix=entry.key)
        return f'<tr class="folder"><td colspan="4"><a href="{link}">{named(name)}</a></tr>'
    return (
        f'<tr><td><a href="{page.link("/object", bucket=bucket, key=entry.key)}">{named(name)}</a>'
        f'<td class="size">{size_text(entry.size)}<td class="type">{text(entry.content_type)}'
        f'<td class="time">{moment(entry.last_modified, "%Y-%m-%d %H:%M")}</tr>'
    )


def _crumbs(page: Page, bucket: str, prefix: str) -> str:
    links = [f'<a href="{page.link("/objects", bucket=bucket)}">{text(bucket)}</a>']
    parts = prefix.split("/")[:-1]
    for index, part in enumerate(parts):
        folder = "/".join(parts[: index + 1]) + "/"
        links.append(f'<a href="{page.link("/objects", bucket=bucket, prefix=folder)}">{named(part or "/")}</a>')
    return " / ".join(links)
