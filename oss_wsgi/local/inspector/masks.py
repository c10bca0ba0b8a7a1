"""Hides secrets in what is shown: key secrets and tokens wholly, tickets but for their beginning.

Base64 and JSON inside a text are searched too: a policy holds the token, and the callback that it pins the ticket.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote_plus

from .story import Story

HIDDEN = "•••"

_TOKEN_NAMES = ("x-oss-security-token", "security-token")
#: Headers whose values belong to other servers: a browser sends the cookies of all ports of a host.
_FOREIGN_HEADERS = ("cookie", "proxy-authorization")
_TICKET = re.compile(r"""(?<![\w-])ticket(?:\\*["'])?\s*[=:]\s*(?:\\*["'])?([A-Za-z0-9_\-+/.]{24,}={0,2})""")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_BYTES = re.compile(r"<(StringToSignBytes|CanonicalRequestBytes)>[^<]*")
_SHOWN = 6
_MAX_DEPTH = 4


class Masks:
    """Hides these secrets, and the tokens and tickets of a story.

    :param secrets: the key secrets and the token of the account.
    """

    def __init__(
        self, secrets: Iterable[str | None], story: Story | None = None, *, shorten_tickets: bool = True
    ) -> None:
        hidden = {secret for secret in secrets if secret}
        self._shorten_tickets = shorten_tickets
        tickets: set[str] = set()
        if story and not shorten_tickets:
            hidden |= {value for value in _tokens(story) if len(value) >= 8}
        elif story:
            hidden |= {value for value in _tokens(story) if len(value) >= 8}
            for text in _texts(story):
                tickets |= set(_tickets(text))
        self._replacements = {variant: HIDDEN for secret in hidden for variant in _variants(secret)}
        for ticket in tickets:
            self._replacements |= dict.fromkeys(_variants(ticket), f"{ticket[:_SHOWN]}…")
        # The longest first: a secret may be part of another.
        names = sorted(self._replacements, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, names))) if names else None

    def __call__(self, text: str, depth: int = 0) -> str:
        """Return the text without secrets."""
        if self._pattern:
            text = self._pattern.sub(lambda match: self._replacements[match[0]], text)
        if self._shorten_tickets:
            text = _TICKET.sub(_shorten, text)
        text = _BYTES.sub(rf"<\1>{HIDDEN}", text)
        return _BASE64.sub(lambda match: self._encoded(match[0], depth), text) if depth < _MAX_DEPTH else text

    def header(self, name: str, value: str) -> str:
        """Return the value of a header, or of a field, without secrets."""
        if name.lower() in _TOKEN_NAMES or name.lower() in _FOREIGN_HEADERS:
            return HIDDEN
        return self(value)

    def target(self, target: str) -> str:
        """Return a path and query without secrets, percent-encoded as it was where nothing is hidden."""
        path, mark, query = target.partition("?")
        return self(path) + mark + "&".join(self._parameter(part) for part in query.split("&"))

    def _parameter(self, part: str) -> str:
        name, equals, value = part.partition("=")
        if unquote_plus(name).lower() in _TOKEN_NAMES:
            return f"{name}={HIDDEN}"
        decoded = unquote_plus(value)
        masked = self(decoded)
        return self(name) + equals + (value if masked == decoded else quote(masked, safe=f"{HIDDEN}…"))

    def _encoded(self, text: str, depth: int) -> str:
        """Return Base64 as it is, or its beginning if it holds a secret."""
        decoded = decode(text)
        if decoded is None or self(decoded, depth + 1) == decoded:
            return text
        return f"{text[:_SHOWN]}… ({len(text)} characters with a secret)"


def decode(text: str) -> str | None:
    """Return what Base64 of either alphabet holds; None if it is no text."""
    stripped = text.rstrip("=")
    stripped = stripped[: len(stripped) - (len(stripped) % 4 == 1)]
    source = base64.b64decode(stripped.translate({45: "+", 95: "/"}) + "=" * (-len(stripped) % 4))
    try:
        return source.decode()
    except UnicodeDecodeError as error:
        # The end may be cut off in a character.
        return source[: error.start].decode() if error.start > len(source) - 4 else None


def _shorten(match: re.Match[str]) -> str:
    return match[0].replace(match[1], f"{match[1][:_SHOWN]}…")


def _variants(secret: str) -> set[str]:
    return {
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        secret.encode().hex(" ").upper(),
        secret.encode().hex(),
    }


def _tokens(story: Story) -> Iterator[str]:
    for name, value in [*story.headers, *story.query, *(story.fields or {}).items()]:
        if name.lower() in _TOKEN_NAMES:
            yield value


def _tickets(text: str, depth: int = 0) -> Iterator[str]:
    for match in _TICKET.finditer(text):
        yield match[1]
    if depth < _MAX_DEPTH:
        for run in _BASE64.findall(text):
            decoded = decode(run)
            if decoded:
                yield from _tickets(decoded, depth + 1)


def _texts(story: Story) -> Iterator[str]:
    yield from (value for _, value in [*story.headers, *story.query])
    yield from (story.fields or {}).values()
    for call in story.calls:
        yield call.request.body.decode(errors="replace")
        yield call.request.url.target
