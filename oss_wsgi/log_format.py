"""Log records as lines of text or of JSON, with the fields of their request and without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, TextIO
from urllib.parse import quote

FORMATS = ("text", "json")

#: What the records of this package carry, in this order (``logging``'s ``extra``).
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

#: What a line shows instead of a secret.
MASK = "***"

# A line of text shows these fields; the others are in its message, or in a line of the access log.
_TEXT_FIELDS = (("id", "request_id"), ("user", "user"), ("object", "object"))

# Values that applications and users choose: they may look like a signature and be none.
_CHOSEN_FIELDS = frozenset({"user", "object"})


def configure(log_format: str, secrets: Iterable[str | None] = (), *, stream: TextIO | None = None) -> None:
    """Log every record from INFO up to ``stream`` (default: stderr) as ``text`` or ``json``.

    ``secrets`` are texts that no line may show, whichever logger writes it.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter({"text": TextFormatter, "json": JSONFormatter}[log_format](Masker(secrets)))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class TextFormatter(logging.Formatter):
    """One line for people: time, level, logger, message, then ``id=``, ``user=`` and ``object=``.

    A name with line breaks in it cannot begin a line of its own.
    """

    def __init__(self, mask: Masker) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        # Another handler may have cached its traceback in the record, unmasked.
        cached, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_text = cached

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        fields = _fields(record, self._mask)
        shown = [f" {label}={_quoted(fields[name])}" for label, name in _TEXT_FIELDS if name in fields]
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
        time = datetime.fromtimestamp(record.created, timezone.utc)
        members: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
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
    values = {name: getattr(record, name, None) for name in FIELDS}
    return {name: _masked(name, value, mask) for name, value in values.items() if value is not None}


def _masked(name: str, value: Any, mask: Masker) -> Any:
    if isinstance(value, (int, float)):
        return value
    return mask.mask_literals(str(value)) if name in _CHOSEN_FIELDS else mask(str(value))


def _on_one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _quoted(value: Any) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \"'=\\")
    return text if plain else json.dumps(text)


# Names whose values are secret, and names whose values prove something to anyone who reads them.
_KEY_NAMES = r"(?:security|session|oidc|metadata)[-_ ]?token|(?:access[-_ ]?key[-_ ]?|ticket[-_ ]?)?secret|password"
_PROOF_NAMES = r"x-oss-security-token|(?:x-oss-)?signature|policy|callback|callback-var|ticket|authorization"

_MIN_SECRET = 6


def _named(names: str, min_length: int) -> re.Pattern[str]:
    """Match name=value, "name": "value", <name>value and name: value, quoted or percent-encoded in between.

    A field of a form matches too, in parts or as a pair: name="name" and a blank line, and ('name', 'value').
    """
    return re.compile(
        rf"""(?ix) (?<![a-z]) ( (?:OSS_)? (?:{names})
            (?: ["'\\]* \s* (?:=|:|>|%3D|%3E|%22%3A%22) \s* | ["'] \s* , \s* | ["'] (?:\\r\\n|\r\n){{2}} ) ["'\\]* )
        (?: (?:Basic|Bearer) \s+ \S{{4,}} | (?:OSS \s+ (?:[A-Za-z0-9.]+:)? )? [A-Za-z0-9+/=_.~%-]{{{min_length},}} )"""
    )


# Shorter values are words of a sentence.
_NAMED_VALUES = _named(_KEY_NAMES, 8), _named(_PROOF_NAMES, 20)

_COOKIE = re.compile(r"""(?i)(cookie["']*\s*[:=]\s*["']*)[^\r\n"']+""")

# A V4 signature; the fingerprint of a key is public.
_HEX_SIGNATURE = re.compile(r"(?<![0-9a-fA-F])(?<!SHA-256 )[0-9a-f]{64}(?![0-9a-fA-F])")

# Values without a name: tickets, policies and RSA signatures are Base64, longer than any word or name.
_LONG_BASE64 = re.compile(
    r"(?<![A-Za-z0-9+/_-])(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9]*[0-9])[A-Za-z0-9+/_%-]{80,}={0,2}"
)


class Masker:
    """A function of a text that masks the literal ``secrets``, and everything that looks like a secret."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        # A shorter text is part of many words, and not a secret.
        usable = [secret for secret in secrets if secret and len(secret) >= _MIN_SECRET]
        spellings = {spelling for secret in usable for spelling in _spellings(secret)}
        # The longest first: one secret may begin with another.
        ordered = sorted(spellings, key=len, reverse=True)
        self._literals = re.compile("|".join(re.escape(spelling) for spelling in ordered)) if ordered else None

    def __call__(self, text: str) -> str:
        text = self.mask_literals(text)
        for pattern in (*_NAMED_VALUES, _COOKIE):
            text = pattern.sub(rf"\g<1>{MASK}", text)
        return _HEX_SIGNATURE.sub(MASK, _LONG_BASE64.sub(MASK, text))

    def mask_literals(self, text: str) -> str:
        """Mask the literal secrets only: a name may be long and look like anything."""
        return self._literals.sub(MASK, text) if self._literals is not None else text


def _spellings(secret: str) -> set[str]:
    """Return a secret as it is, percent-encoded, and as it is within quotes of Python and of JSON."""
    encoded = quote(secret, safe="")
    lower = re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), encoded)
    quoted = repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False)
    return {secret, encoded, lower, *(text[1:-1] for text in quoted)}
