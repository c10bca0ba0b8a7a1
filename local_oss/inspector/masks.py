"""Hides secrets in what is shown: key secrets and tokens wholly, tickets but for their beginning.

Base64 and JSON inside a text are searched too: a policy holds the token, and the callback that it pins the ticket.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote_plus

from .exchange import Exchange

HIDDEN = "•••"

_TOKEN_NAMES = ("x-oss-security-token", "security-token")
#: Headers whose values belong to other servers: a browser sends the cookies of all ports of a host.
_FOREIGN_HEADERS = ("cookie", "proxy-authorization")
_TICKET = re.compile(r"""(?<![\w-])ticket(?:\\*["'])?\s*[=:]\s*(?:\\*["'])?([A-Za-z0-9_\-+/.]{24,}={0,2})""")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
#: A condition of a policy on the token.
_CONDITION = re.compile(r'''"\$?(?:x-oss-)?security-token"\s*[:,]\s*"([^"]+)"''', re.IGNORECASE)
_BYTES = re.compile(r"<(?:StringToSignBytes|CanonicalRequestBytes)>([^<]*)")
_MARKS = re.compile(f"({HIDDEN}|…)")
_SHOWN = 6
#: A shorter text is no token, and would be hidden in the middle of words.
_MIN_TOKEN = 8
_MAX_DEPTH = 4


#: Where a text is hidden: from, to, and what is shown instead.
Span = tuple[int, int, str]


class Masks:
    """Hides these secrets, and the tokens and tickets of an exchange.

    :param secrets: the key secrets and the token of the account.
    :param shorten_tickets: False leaves tickets whole, as a command that is to work needs them.
    """

    def __init__(
        self, secrets: Iterable[str | None], exchange: Exchange | None = None, *, shorten_tickets: bool = True
    ) -> None:
        self._shorten_tickets = shorten_tickets
        hidden = {secret for secret in secrets if secret}
        tickets: set[str] = set()
        if exchange:
            hidden |= {value for value in _tokens(exchange) if len(value) >= _MIN_TOKEN}
            tickets = {ticket for text in _texts(exchange) for ticket in _tickets(text)} if shorten_tickets else set()
        self._shown = {variant: "" for secret in hidden for variant in _variants(secret)}
        for ticket in tickets - hidden:
            self._shown |= dict.fromkeys(_variants(ticket), ticket[:_SHOWN])
        # The longest first: a secret may be part of another.
        names = sorted(self._shown, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, names))) if names else None

    def __call__(self, text: str) -> str:
        pieces, end = [], 0
        for start, stop, shown in sorted(self._spans(text, 0)):
            if stop > end:
                pieces += [text[end : max(start, end)], shown]
                end = stop
        return "".join([*pieces, text[end:]])

    def header(self, name: str, value: str) -> str:
        if name.lower() in _TOKEN_NAMES or name.lower() in _FOREIGN_HEADERS:
            return HIDDEN
        return self(value)

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(name, self.header(name, value)) for name, value in pairs]

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
        if masked != decoded:
            value = "".join(part if part in (HIDDEN, "…") else quote(part) for part in _MARKS.split(masked))
        return self(name) + equals + value

    def _spans(self, text: str, depth: int) -> Iterator[Span]:
        if self._pattern:
            for match in self._pattern.finditer(text):
                shown = self._shown[match[0]]
                yield match.start(), match.end(), f"{shown}…" if shown else HIDDEN
        if self._shorten_tickets:
            for match in _TICKET.finditer(text):
                yield match.start(1) + _SHOWN, match.end(1), "…"
        for pattern in (_CONDITION, _BYTES):
            for match in pattern.finditer(text):
                yield match.start(1), match.end(1), HIDDEN
        if depth < _MAX_DEPTH:
            for match in _BASE64.finditer(text):
                yield from self._encoded_spans(match, depth)

    def _encoded_spans(self, run: re.Match[str], depth: int) -> Iterator[Span]:
        """Yield the spans of Base64 that hold a secret: each group of four characters that encodes a byte of it."""
        decoded = decode(run[0]) or ""
        for start, stop, _ in self._spans(decoded, depth + 1):
            first, last = (len(decoded[:index].encode()) for index in (start, stop))
            yield run.start() + first // 3 * 4, min(run.start() + -(-last // 3) * 4, run.end()), "…"


def decode(text: str) -> str | None:
    """Return what Base64 of either alphabet holds; None if it is not text."""
    stripped = text.rstrip("=")
    stripped = stripped[: len(stripped) - (len(stripped) % 4 == 1)]
    source = base64.b64decode(stripped.translate({45: "+", 95: "/"}) + "=" * (-len(stripped) % 4))
    try:
        return source.decode()
    except UnicodeDecodeError as error:
        # The end may be cut off in a character.
        return source[: error.start].decode() if error.start > len(source) - 4 else None


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


def _tokens(exchange: Exchange) -> Iterator[str]:
    for name, value in [*exchange.headers, *exchange.query, *(exchange.fields or {}).items()]:
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


def _texts(exchange: Exchange) -> Iterator[str]:
    yield from (value for _, value in [*exchange.headers, *exchange.query])
    yield from (exchange.fields or {}).values()
    for request in [*(call.request for call in exchange.calls), *([exchange.asked] if exchange.asked else [])]:
        yield request.body.decode(errors="replace")
        yield request.url.target
