"""Formatters that write log records as lines of text or JSON, with the request's fields and without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, TextIO
from urllib.parse import quote

FORMATS = ("text", "json")

#: The fields of this package's records, in this order (``logging``'s ``extra``).
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

#: A line shows this instead of a secret.
MASK = "***"

#: The most characters of a path, and of another text among the fields, that a line shows.
MAX_FIELD = 1024

#: The most characters of a message, and of an exception's text, that a line shows.
MAX_MESSAGE = 8 * 1024

# A longer text is cut this many characters beyond the shown part before secrets are masked. The last ones of these are
# never shown, as they may be a part of a secret.
_BEYOND, _NEVER_SHOWN = 1024, 512

# A line of text shows these fields; of the others, its message has what matters.
_TEXT_FIELDS = ("request_id", "user", "object")

# The first line of each frame of a traceback, also within groups of exceptions.
_FRAME = re.compile(r"[ |]*File \"")

# Fields whose values applications and users choose: such a value may look like a signature without being one.
_CHOSEN_FIELDS = frozenset({"user", "object"})


def configure(
    log_format: str,
    secrets: Iterable[str | None] = (),
    *,
    stream: TextIO | None = None,
    process: int | None = None,
) -> None:
    """Log every record from INFO up to ``stream`` (default: stderr) as ``text`` or ``json``.

    ``secrets`` are texts that no line may show, whichever logger writes it. With several processes, each line shows the
    number ``process``.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter({"text": TextFormatter, "json": JSONFormatter}[log_format](Masker(secrets), process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def cut(text: str, limit: int = MAX_FIELD) -> str:
    """Return at most ``limit`` characters of a text, with a note if it was cut."""
    return text if len(text) <= limit else f"{text[:limit]}... (cut: {len(text)} characters)"


class TextFormatter(logging.Formatter):
    """One line for people: time, level, logger, message, then ``request_id=``, ``user=``, ``object=``
    and ``process=``.

    The lines of a traceback follow, indented. Line ends in names and in exceptions' texts are escaped, so no client can
    forge a line.
    """

    def __init__(self, mask: Masker, process: int | None = None) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._mask = mask
        self._process = [] if process is None else [f" process={process}"]

    def format(self, record: logging.LogRecord) -> str:
        # Another handler may have cached its traceback in the record, unmasked.
        cached, record.exc_text = record.exc_text, None
        try:
            return super().format(record)
        finally:
            record.exc_text = cached

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        fields = _fields(record, self._mask, _TEXT_FIELDS)
        shown = [f" {name}={_quoted(value)}" for name, value in fields.items()]
        shown += self._process
        message = super().formatMessage(record)
        return _masked_and_cut(message, lambda text: on_one_line(self._mask(text)), MAX_MESSAGE) + "".join(shown)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(f"  {line}" for line in _traceback_lines(ei, self._mask))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - logging's name
        return "\n".join(f"  {line}" for line in _escaped_lines(self._mask(stack_info)))


class JSONFormatter(logging.Formatter):
    """One object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, the request's fields, ``exception``.

    With several processes, it has ``process`` too.
    """

    def __init__(self, mask: Masker, process: int | None = None) -> None:
        super().__init__()
        self._mask = mask
        self._process = {} if process is None else {"process": process}

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc)
        members: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": _masked_and_cut(record.getMessage(), self._mask, MAX_MESSAGE),
            **_fields(record, self._mask, FIELDS),
            **self._process,
        }
        if record.exc_info:
            members["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            members["stack"] = "\n".join(_escaped_lines(self._mask(record.stack_info)))
        return json.dumps(members)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(_traceback_lines(ei, self._mask))


def _fields(record: logging.LogRecord, mask: Masker, names: Iterable[str]) -> dict[str, Any]:
    values = {name: getattr(record, name, None) for name in names}
    return {name: _masked(name, value, mask) for name, value in values.items() if value is not None}


def _masked(name: str, value: Any, mask: Masker) -> Any:
    if isinstance(value, (int, float)):
        return value
    return _masked_and_cut(str(value), mask.mask_literals if name in _CHOSEN_FIELDS else mask, MAX_FIELD)


def _masked_and_cut(text: str, mask: Callable[[str], str], limit: int) -> str:
    if len(text) <= limit + _BEYOND:
        return cut(mask(text), limit)
    masked = mask(text[: limit + _BEYOND])
    end = max(len(masked) - _NEVER_SHOWN, masked.rfind(MASK) + len(MASK))  # masks make a text shorter
    return f"{masked[: min(limit, end)]}... (cut: {len(text)} characters)"


def _traceback_lines(exc_info: Any, mask: Masker) -> Iterator[str]:
    """Yield the lines of a traceback; the text of an exception stays on one line."""
    for part in traceback.format_exception(*exc_info):
        masked = mask(part.removesuffix("\n"))
        if _FRAME.match(part):
            yield from _escaped_lines(masked)
        else:
            yield cut(on_one_line(masked), MAX_MESSAGE)


def _escaped_lines(text: str) -> list[str]:
    return [cut(on_one_line(line), MAX_MESSAGE) for line in text.split("\n")]


def on_one_line(text: str) -> str:
    """Return a text with escapes for line breaks and for all else that is not printable."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _quoted(value: Any) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \"'=\\")
    return text if plain else json.dumps(text)


# Names of secret values, and names of values that give anybody who reads them a right, such as signatures.
_KEY_NAMES = r"(?:security|session|oidc|metadata)[-_ ]?token|(?:access[-_ ]?key[-_ ]?|ticket[-_ ]?)?secret|password"
_PROOF_NAMES = (
    r"x-oss-security-token|(?:x-oss-)?signature|policy|callback|callback-var|ticket|signed[-_]?id|authorization"
)

_MIN_SECRET = 6

# A secret may be a word of such a name, which says what to set.
_VARIABLE = r"(?<![A-Za-z0-9_])(?P<variable>(?:OSS|ALIBABA_CLOUD)(?:_[A-Z]+)+(?![A-Za-z0-9_]))"


def _named(names: str, min_length: int) -> re.Pattern[str]:
    """Match name=value, "name": "value", <name>value and name: value, quoted or percent-encoded in between.

    Fields of a form match too: in a multipart body (name="name" and a blank line) and as a pair ('name', 'value').
    """
    return re.compile(
        rf"""(?ix) (?<![a-z]) ( (?:OSS_)? (?:{names})
            (?: ["'\\]* \s* (?:=|:|>|%3D|%3E|%22%3A%22) \s* | ["'] \s* , \s* | ["'] (?:\\r\\n|\r\n){{2}} ) ["'\\]* )
        (?: (?:Basic|Bearer) \s+ \S{{4,}} | (?:OSS \s+ (?:[A-Za-z0-9.]+:)? )? [A-Za-z0-9+/=_.~%-]{{{min_length},}} )"""
    )


# Shorter values are probably words of a sentence.
_NAMED_VALUES = _named(_KEY_NAMES, 8), _named(_PROOF_NAMES, 20)

_COOKIE = re.compile(r"""(?i)(cookie["']*\s*[:=]\s*["']*)[^\r\n"']+""")

# A V4 signature; the fingerprint of a key is public.
_HEX_SIGNATURE = re.compile(r"(?<![0-9a-fA-F])(?<!SHA-256 )[0-9a-f]{64}(?![0-9a-fA-F])")

# Values without a name: tickets, signed IDs, policies and RSA signatures are Base64, longer than any word or name. The
# kinds of characters in a run are checked afterwards, because a look-ahead for them would read the rest of the text at
# each position.
_LONG_RUN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_%-]{80,}={0,2}")
_KINDS = re.compile("[a-z]"), re.compile("[A-Z]"), re.compile("[0-9]")


def _masked_if_base64(run: re.Match[str]) -> str:
    """Return the mask for a run with small letters, capitals and digits; return any other run unchanged."""
    return MASK if all(kind.search(run[0]) for kind in _KINDS) else run[0]


class Masker:
    """A function that masks the literal ``secrets`` in a text, and everything that looks like a secret.

    Its time is proportional to the text's length, whatever a client writes, because it runs in the server's loop.
    """

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        # A shorter text occurs in many words, so masking it would hide too much.
        usable = [secret for secret in secrets if secret and len(secret) >= _MIN_SECRET]
        spellings = {spelling for secret in usable for spelling in _spellings(secret)}
        # The longest first: one secret may begin with another.
        ordered = sorted(spellings, key=len, reverse=True)
        literals = "|".join([*map(re.escape, ordered), _VARIABLE])
        self._literals = re.compile(literals) if ordered else None

    def __call__(self, text: str) -> str:
        text = self.mask_literals(text)
        for pattern in (*_NAMED_VALUES, _COOKIE):
            text = pattern.sub(rf"\g<1>{MASK}", text)
        return _HEX_SIGNATURE.sub(MASK, _LONG_RUN.sub(_masked_if_base64, text))

    def mask_literals(self, text: str) -> str:
        """Mask only the literal secrets, because a name may be long and look like a secret."""
        return text if self._literals is None else self._literals.sub(lambda match: match["variable"] or MASK, text)


def _spellings(secret: str) -> set[str]:
    """Return a secret as it is, percent-encoded, and as escaped in texts of Python and JSON."""
    encoded = quote(secret, safe="")
    lower = re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), encoded)
    quoted = repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False)
    return {secret, encoded, lower, *(text[1:-1] for text in quoted)}
