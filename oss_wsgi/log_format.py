"""Writes log records as lines of text or of JSON, with what is known of the request and without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, TextIO
from urllib.parse import quote

MASK = "***"

_SHORTEST = 6

_KEYS = r"(?:security|session|oidc|metadata)[-_ ]?token|(?:access[-_ ]?key[-_ ]?|ticket[-_ ]?)?secret|password"

_SEALS = r"x-oss-security-token|(?:x-oss-)?signature|policy|callback|callback-var|ticket|authorization"


def _named(names: str, length: int) -> re.Pattern[str]:
    """Match name=value, "name": "value", <name>value and name: value, quoted or percent-encoded on the way.

    Also a field of a form, in parts or as a pair: name="name" and a blank line, and ('name', 'value').
    """
    return re.compile(
        rf"""(?ix) (?<![a-z]) ( (?:OSS_)? (?:{names})
            (?: ["'\\]* \s* (?:=|:|>|%3D|%3E|%22%3A%22) \s* | ["'] \s* , \s* | ["'] (?:\\r\\n|\r\n){{2}} ) ["'\\]* )
        (?: (?:Basic|Bearer) \s+ \S{{4,}} | (?:OSS \s+ (?:[A-Za-z0-9.]+:)? )? [A-Za-z0-9+/=_.~%-]{{{length},}} )"""
    )


# Shorter ones are words of a sentence.
_NAMED = _named(_KEYS, 8), _named(_SEALS, 20)

_COOKIE = re.compile(r"""(?i)(cookie["']*\s*[:=]\s*["']*)[^\r\n"']+""")

# A V4 signature; fingerprints of keys are for everybody.
_HEX = re.compile(r"(?<![0-9a-fA-F])(?<!SHA-256 )[0-9a-f]{64}(?![0-9a-fA-F])")

# What no name gives away: tickets, policies and RSA signatures are Base64 longer than any word or name of ours.
_LONG = re.compile(r"(?<![A-Za-z0-9+/_-])(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9]*[0-9])[A-Za-z0-9+/_%-]{80,}={0,2}")


def _forms(secret: str) -> set[str]:
    """Give a secret as it is, percent-encoded, and within quotation marks of Python and of JSON."""
    encoded = quote(secret, safe="")
    lower = re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), encoded)
    quoted = repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False)
    return {secret, encoded, lower, *(text[1:-1] for text in quoted)}


class Masker:
    """Callable that gives a text without secrets: without the literal ``secrets``, and what looks like one."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        # A shorter one is a part of many words, and no secret.
        real = [secret for secret in secrets if secret and len(secret) >= _SHORTEST]
        forms = {form for secret in real for form in _forms(secret)}
        # The longest first: one secret may begin with another.
        ordered = sorted(forms, key=len, reverse=True)
        self._literal = re.compile("|".join(re.escape(form) for form in ordered)) if ordered else None

    def __call__(self, text: str) -> str:
        text = self.literally(text)
        for pattern in (*_NAMED, _COOKIE):
            text = pattern.sub(rf"\g<1>{MASK}", text)
        return _HEX.sub(MASK, _LONG.sub(MASK, text))

    def literally(self, text: str) -> str:
        """Take out the literal secrets alone: of a name, which may be long and look like anything."""
        return self._literal.sub(MASK, text) if self._literal is not None else text


FORMATS = ("text", "json")

#: What our records carry, in this order (``logging``'s ``extra``).
FIELDS = (
    "request_id",
    "oss_request_id",
    "address",
    "method",
    "path",
    "status",
    "reason",
    "user",
    "object",
    "bytes",
    "seconds",
)

# The others stand in the message already, or in a line of the access log.
_IN_TEXT = (("id", "request_id"), ("user", "user"), ("object", "object"))

_NAMES_OF_THINGS = {"user", "object"}


def configure(form: str, secrets: Iterable[str | None] = (), *, stream: TextIO | None = None) -> None:
    """Log everything from INFO up to ``stream`` (stderr) as ``form`` says: ``text`` or ``json``.

    ``secrets`` are texts that no line may show, whoever logs them.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter({"text": TextFormatter, "json": JSONFormatter}[form](Masker(secrets)))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    """One line for people: time, level, logger, message, and after it ``id=``, ``user=`` and ``object=``.

    What another wrote into a name cannot begin a line of its own.
    """

    def __init__(self, mask: Masker) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        # Another handler may have left its traceback there, with all that stands in it.
        left, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_text = left

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        fields = _fields(record, self._mask)
        shown = [f" {short}={_quoted(fields[name])}" for short, name in _IN_TEXT if name in fields]
        return _on_one_line(self._mask(super().formatMessage(record))) + "".join(shown)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return self._mask(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        return self._mask(super().formatStack(stack_info))


class JSONFormatter(logging.Formatter):
    """One object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, the request's fields, ``exception``."""

    def __init__(self, mask: Masker) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        members: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._mask(record.getMessage()),
            **_fields(record, self._mask),
        }
        if record.exc_info:
            members["exception"] = self._mask(self.formatException(record.exc_info))
        if record.stack_info:
            members["stack"] = self._mask(record.stack_info)
        return json.dumps(members)


def _fields(record: logging.LogRecord, mask: Masker) -> dict[str, Any]:
    found = {name: getattr(record, name, None) for name in FIELDS}
    return {name: _masked(name, value, mask) for name, value in found.items() if value is not None}


def _masked(name: str, value: Any, mask: Masker) -> Any:
    if isinstance(value, (int, float)):
        return value
    return mask.literally(str(value)) if name in _NAMES_OF_THINGS else mask(str(value))


def _on_one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _quoted(value: Any) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \"'=\\")
    return text if plain else json.dumps(text)
