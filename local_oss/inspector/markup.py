"""The rendering of the inspector's pages: Jinja2 templates, the filter that every text passes, and links."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlencode

from oss_wsgi.explanations.languages import CHINESE, ENGLISH, in_language
from oss_wsgi.explanations.text import Text

from ..errors import Headers, Response, xml_text
from .access import SAFE, plain
from .masks import masked

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

#: The path below which the inspector answers; no bucket may have this name.
ROOT = "/_inspect"

#: A block with this many characters or lines may scroll on a narrow screen.
_SCREENFUL = 600
_LINES = 15

_UNITS = ("kB", "MB", "GB", "TB")

#: Characters that reverse the letters around them, or that are invisible.
# Joiners match only where nothing is joined, tags only outside a flag: emoji, and scripts from Hebrew on, need both.
_HIDDEN = re.compile(
    r"[\0-\x08\v\f\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u2800\u3164\ud800-\udfff\ufeff\uffa0\ufff0-\ufffb]"
    r"|([\u0590-\u1dff\u2190-\u2bff\ufe0f\U0001f000-\U0001faff][\u200c\u200d]|\U0001f3f4[\U000e0020-\U000e007f]+)"
    r"|[\u200c\u200d\U000e0000-\U000e00ff]"
)


@dataclass(frozen=True)
class Page:
    """The values that every page needs.

    :param base: the path at which the local OSS is mounted.
    :param token: the token of every form.
    :param signed_path: takes a bucket and a key, and returns a path with which anybody can GET the object for an hour;
        None if the path would contain a security token.
    :param language: the reader's language.
    """

    base: str
    token: str
    signed_path: Callable[[str, str], str] | None = None
    language: str = ENGLISH
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def say(self, text: str, *values: object) -> str:
        return in_language(Text(text, *values) if values else text, self.language)

    def link(self, path: str, **query: str) -> str:
        pairs = {name: value for name, value in query.items() if value}
        return f"{self.base}{ROOT}{path}" + (f"?{urlencode(pairs)}" if pairs else "")

    def object_url(self, bucket: str, key: str) -> str:
        """Return the URL at which a person opens an object."""
        if self.signed_path is None:
            return self.link("/content", bucket=bucket, key=key)
        return self.base + self.signed_path(bucket, key)

    def object_path(self, bucket: str, key: str) -> str:
        return f"/{quote(bucket)}/{quote(key)}"

    def response(self, template: str, *, status: int = 200, **values: Any) -> Response:
        document = environment().get_template(template).render(page=self, **values)
        policy = (
            f"default-src 'none'; style-src 'nonce-{self.nonce}'; script-src 'nonce-{self.nonce}'; img-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Cache-Control", "no-store"),
            ("Content-Language", "zh-CN" if self.language == CHINESE else "en"),
            ("Content-Security-Policy", policy),
            *SAFE,
        ]
        return Response(status, headers, document.encode())

    def refuse(self, status: int, sentence: str, headers: Headers | None = None) -> Response:
        """Return a sentence for the person whose request is refused, as plain text."""
        return plain(status, self.say(sentence), headers)

    def message(self, heading: str, words: str = "", *, status: int) -> Response:
        return self.response("message.html", status=status, heading=heading, words=words)


@cache
def environment() -> Environment:
    """Return the templates; they escape every text, and make invisible characters visible."""
    # Not at the top: a LocalOSS without the inspector needs no Jinja2.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
    from markupsafe import Markup, escape

    def shown(value: Any) -> Any:
        return xml_text(visible(value)) if isinstance(value, str) and not isinstance(value, Markup) else value

    def with_code(sentence: str) -> Markup:
        """Return a sentence with its `commands` marked."""
        text = str(escape(shown(sentence)))  # of a Markup, re.sub would escape the tags
        return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", text))  # noqa: S704

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    templates.filters.update(
        {
            "body_text": lambda body: body.decode(errors="replace"),
            "duration": duration_text,
            # The value of a form's field comes back as it is.
            "field_value": lambda value: escape(xml_text(value)),
            "masked": masked,
            "members": members,
            "local_time": lambda seconds, pattern: time.strftime(pattern, time.localtime(seconds)),
            "pretty": pretty,
            "size": size_text,
            "utc": lambda seconds: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)),
            "with_code": with_code,
        }
    )
    templates.globals["_"] = pass_context(lambda context, text, *values: context["page"].say(text, *values))
    templates.globals["text"] = Text
    templates.globals["masked"] = masked
    templates.tests["long"] = lambda content: len(content) > _SCREENFUL or content.count("\n") > _LINES
    return templates


def visible(value: str) -> str:
    """Return a text in which each invisible or direction-changing character is spelled out: `<U+202E>`."""
    return _HIDDEN.sub(lambda match: match[1] or f"<U+{ord(match[0]):04X}>", value)


def size_text(size: int | None) -> str:
    """Return a size as the upload page shows it."""
    if size is None:
        return ""
    if size < 1000:
        return f"{size} B"
    power = min((len(str(size)) - 1) // 3, len(_UNITS))
    digits = 0 if size >= 100 * 1000**power else 1
    amount = Decimal(size).scaleb(-3 * power).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return f"{amount:,} {_UNITS[power - 1]}".replace(".0 ", " ")


def members(body: bytes) -> list[tuple[str, str]]:
    """Return the members of a JSON object, or the fields of a form; an empty list for other texts."""
    content = body.decode(errors="replace")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return parse_qsl(content, keep_blank_values=True) if re.match(r"[\w.-]+=", content) else []
    if not isinstance(document, dict):
        return []
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in document.items()
    ]


def duration_text(seconds: float) -> str:
    return f"{round(seconds * 1000)} ms" if seconds < 1 else f"{seconds:.1f} s"


def pretty(body: bytes) -> str:
    """Return a body as text: JSON with indents, and for bytes that are not text their number."""
    if b"\0" in body[:1024]:
        return f"({len(body)} bytes)"
    content = body.decode(errors="replace")
    try:
        is_json = content[:1] in ("{", "[")
        return json.dumps(json.loads(content), indent=2, ensure_ascii=False) if is_json else content
    except (ValueError, RecursionError):
        return content
