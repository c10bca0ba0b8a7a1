"""The HTML that all pages of the inspector share."""

from __future__ import annotations

import re
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

#: What turns the letters around it, or cannot be seen.
# Joiners count only where they join nothing, and tags outside a flag: emoji, and scripts from Hebrew on, need them.
_HIDDEN = re.compile(
    r"[\0-\x08\v\f\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u2800\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb]"
    r"|([\u0590-\u1dff\u2190-\u2bff\ufe0f\U0001f000-\U0001faff][\u200c\u200d]|\U0001f3f4[\U000e0020-\U000e007f]+)"
    r"|[\u200c\u200d\U000e0000-\U000e00ff]"
)

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
        fields = "".join(f'<input type="hidden" name="{name}" value="{field_value(value)}">' for name, value in hidden)
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


def visible(value: str) -> str:
    """Return a text with each character that turns others around, or cannot be seen, as what it is: `<U+202E>`."""
    return _HIDDEN.sub(lambda match: match[1] or f"<U+{ord(match[0]):04X}>", value)


def text(value: object) -> str:
    """Return a text for HTML, also one that a stranger chose."""
    return escape(xml_text(visible(str(value))))


def field_value(value: str) -> str:
    """Return the value of a form's field for HTML, which comes back as it is."""
    return escape(xml_text(value))


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
