"""The HTML page at the root: the buckets and their newest objects, with links."""

from __future__ import annotations

import hashlib
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any
from urllib.parse import quote

from .environ import SERVICE, Address
from .errors import Response, xml_text
from .storage.interface import Bucket, StoredObject

#: The newest objects of each bucket that the page lists; a page of all could take too long to make and to load.
MAX_OBJECTS = 200

_STYLE = """
:root { color-scheme: light dark; --quiet: #59626e; --line: #d8dce2; --link: #1a56c4 }
@media (prefers-color-scheme: dark) { :root { --quiet: #a2abb7; --line: #2f353d; --link: #82adff } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem; font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 }
h2 { font-size: 1.125rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere }
p { margin: .25rem 0; color: var(--quiet) }
a { color: var(--link); overflow-wrap: anywhere }
table { width: 100%; border-collapse: collapse }
th, td { padding: .5rem 0 .5rem 1rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line) }
th { font-size: .875rem; font-weight: 600; color: var(--quiet) }
th:first-child, td:first-child { padding-left: 0 }
.size { text-align: right; font-variant-numeric: tabular-nums }
.size, .time { white-space: nowrap }
td.type, td.time { color: var(--quiet); overflow-wrap: anywhere }
@media (max-width: 40rem) {
  thead { display: none }
  table, tbody, tr, td { display: block }
  tr { padding: .5rem 0; border-bottom: 1px solid var(--line) }
  td, td:first-child { display: inline-block; padding: 0 .75rem 0 0; border: 0; font-size: .875rem }
  td:first-child { display: block; padding: .25rem 0; font-size: 1rem }
}
"""
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = [
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'",
    ),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
]


def wants_index_page(environ: Mapping[str, Any], address: Address) -> bool:
    """Return whether a person opens the root, as opposed to a program that lists buckets or a script of a page."""
    return address == SERVICE and not any(
        environ.get(name) for name in ("HTTP_AUTHORIZATION", "HTTP_ORIGIN", "QUERY_STRING")
    )


def index_page(buckets: Iterable[Bucket]) -> Response:
    """Return the page; keys and content types come from strangers and are escaped."""
    sections = "\n".join(line for bucket in buckets for line in _section(bucket))
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Local OSS</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Local OSS</h1>
<p>For development and tests. Anyone who can connect can read everything here.</p>
{sections}
</body>
</html>
"""
    return Response(200, list(_HEADERS), page.encode())


def _section(bucket: Bucket) -> Iterator[str]:
    newest, count = bucket.newest(MAX_OBJECTS)
    yield f"<h2>{_text(bucket.name)}</h2>"
    if not newest:
        yield "<p>No objects yet.</p>"
        return
    shown = f", the {len(newest)} newest shown" if len(newest) < count else ""
    yield f"<p>{count} object{'' if count == 1 else 's'}{shown}</p>"
    yield "<table>"
    yield '<thead><tr><th>Name<th class="size">Size<th>Type<th>Stored</tr></thead>'
    yield "<tbody>"
    for stored in newest:
        yield _row(bucket.name, stored)
    yield "</tbody>"
    yield "</table>"


def _row(bucket: str, stored: StoredObject) -> str:
    moment = time.gmtime(stored.last_modified)
    # The link is relative because the root may be mounted anywhere. The bucket comes first in it, so that a colon in a
    # key does not make a scheme.
    link = f"{quote(bucket, safe='')}/{quote(stored.key)}"
    return (
        f'<tr><td><a href="{escape(link)}"><bdi>{_text(stored.key)}</bdi></a>'
        f'<td class="size">{_size(stored.size)}'
        f'<td class="type">{_text(stored.content_type)}'
        f'<td class="time"><time datetime="{time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)}">'
        f"{time.strftime('%Y-%m-%d %H:%M', moment)} UTC</time></tr>"
    )


def _text(value: str) -> str:
    return escape(xml_text(value))


def _size(size: int) -> str:
    amount, unit = float(size), "B"
    for larger_unit in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger_unit
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"
