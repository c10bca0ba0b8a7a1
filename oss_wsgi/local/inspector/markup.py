"""The HTML that all pages of the inspector share."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from urllib.parse import quote, urlencode

from ..errors import Response, xml_text
from .trust import SAFE

#: The path below which the inspector answers; no bucket may have this name.
ROOT = "/_inspect"

#: Characters and lines from which a block may scroll, on a narrow screen.
_SCREENFUL = 600
_LINES = 15

NAVIGATION = (("activity", "Activity", ""), ("objects", "Objects", "/objects"), ("faults", "Faults", "/faults"))


@dataclass(frozen=True)
class Page:
    """What a page needs to know to be written.

    :param base: the path at which the local OSS is mounted.
    :param token: goes into every form.
    """

    base: str
    token: str
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def link(self, path: str, **query: str) -> str:
        """Return the URL of a page of the inspector, escaped for an attribute."""
        pairs = {name: value for name, value in query.items() if value}
        return escape(f"{self.base}{ROOT}{path}" + (f"?{urlencode(pairs)}" if pairs else ""))

    def button(self, path: str, label: str, hidden: Iterable[tuple[str, str]] = (), *, kind: str = "") -> str:
        """Return a form of one button."""
        fields = "".join(f'<input type="hidden" name="{text(name)}" value="{text(value)}">' for name, value in hidden)
        return (
            f'<form method="post" action="{self.link(path)}">{self.token_field}{fields}'
            f'<button class="button {kind}">{text(label)}</button></form>'
        )

    @property
    def token_field(self) -> str:
        return f'<input type="hidden" name="token" value="{self.token}">'

    def response(self, title: str, here: str, content: str, *, status: int = 200, wide: bool = False) -> Response:
        """Return the whole page."""
        links = "".join(
            f'<a href="{self.link(path)}"{" aria-current=page" if name == here else ""}>{label}</a>'
            for name, label, path in NAVIGATION
        )
        document = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<link rel="icon" href="{self.link("/icon.svg")}">
<link rel="stylesheet" href="{self.link("/inspector.css")}" nonce="{self.nonce}">
<script type="module" src="{self.link("/inspector.js")}" nonce="{self.nonce}"></script>
</head>
<body>
<header class="top"><a class="brand" href="{self.link("")}">Local OSS</a><nav aria-label="Pages">{links}</nav>
<p class="live" role="status" data-events="{self.link("/events")}" hidden></p></header>
<main{' class="wide"' if wide else ""}>
{content}
</main>
</body>
</html>
"""
        policy = (
            f"default-src 'none'; style-src 'nonce-{self.nonce}'; script-src 'nonce-{self.nonce}'; img-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", policy),
            *SAFE,
        ]
        return Response(status, headers, document.encode())


def text(value: object) -> str:
    """Return a text for HTML, also one that a stranger chose."""
    return escape(xml_text(str(value)))


def named(value: str) -> str:
    """Return the name of an object, which may be written in either direction."""
    return f"<bdi>{text(value)}</bdi>"


def size_text(size: int | None) -> str:
    """Return a number of bytes for people."""
    if size is None:
        return ""
    amount, unit = float(size), "B"
    for larger_unit in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger_unit
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def duration_text(seconds: float) -> str:
    return f"{round(seconds * 1000)} ms" if seconds < 1 else f"{seconds:.1f} s"


def moment(seconds: float, pattern: str = "%H:%M:%S") -> str:
    """Return a time of this machine's zone; the attribute has it in UTC."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    return f'<time datetime="{stamp}" title="{stamp}">{time.strftime(pattern, time.localtime(seconds))}</time>'


def block(content: str) -> str:
    """Return text as it is, in a block that the keyboard can scroll where it is long."""
    is_long = len(content) > _SCREENFUL or content.count("\n") > _LINES
    return f"<pre{' tabindex=0' if is_long else ''}>{text(content)}</pre>"


def table(rows: Iterable[tuple[str, str]], caption: str) -> str:
    """Return names and values; the values are HTML."""
    lines = "".join(f"<tr><th scope=row>{text(name)}<td>{value}</tr>" for name, value in rows)
    return f'<table class="pairs"><caption class="hidden">{text(caption)}</caption>{lines}</table>'


def object_path(bucket: str, key: str) -> str:
    return f"/{quote(bucket)}/{quote(key)}"
