"""Writes log records as lines of text or of JSON, with what is known of the request and without secrets."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any, TextIO

from .masking import Masker

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
