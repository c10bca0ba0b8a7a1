"""Lines of the log: their fields, their form, and that no name can break them."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from oss_wsgi.log_format import JSONFormatter, Masker, TextFormatter, configure

SECRET = "ExampleSecret0000000000000000A"
MASKER = Masker([SECRET])


def record(message: str = "refused: status=%d", *arguments: Any, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("oss_wsgi.x", logging.WARNING, "x.py", 1, message, arguments or None, None)
    made.created = 1_800_000_000.25
    vars(made).update(extra)
    return made


def raised(error: Exception) -> Any:
    try:
        raise error
    except Exception:
        return sys.exc_info()


def test_a_line_of_json_has_the_moment_the_message_and_the_fields() -> None:
    fields = {"request_id": "r1", "status": 403, "reason": "ticket_missing", "user": "eric", "seconds": 0.5}
    line = JSONFormatter(MASKER).format(record("refused: status=%d", 403, **fields, other="x"))
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2027-01-15T08:00:00.250Z",
        "level": "WARNING",
        "logger": "oss_wsgi.x",
        "message": "refused: status=403",
        **fields,
    }


def test_a_line_of_text_has_what_its_message_does_not_say() -> None:
    line = TextFormatter(MASKER).format(record("refused", request_id="r1", user="eric", object="a b.png", status=403))
    assert line.endswith('WARNING oss_wsgi.x: refused id=r1 user=eric object="a b.png"')
    assert TextFormatter(MASKER).format(record("plain")).endswith("oss_wsgi.x: plain")


@pytest.mark.parametrize("name", ["a\nb", "a\r\nWARNING forged", 'a" id="r2', "a\u2028b", "上传", "a=b", "\x1b[31m"])
def test_no_name_begins_a_line_or_ends_its_quotes(name: str) -> None:
    text = TextFormatter(MASKER).format(record("stored %s", name, request_id="r1", object=name))
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    shown = text.partition(" object=")[2]
    assert json.loads(shown) == name
    assert shown.isascii()
    line = JSONFormatter(MASKER).format(record("stored %s", name, object=name))
    assert len(line.splitlines()) == 1
    assert json.loads(line)["object"] == name


@pytest.mark.parametrize("form", [TextFormatter, JSONFormatter])
def test_a_secret_is_masked_in_message_fields_and_traceback(form: type[Any]) -> None:
    made = record("key %s", SECRET, user=f"u{SECRET}", path=f"/{SECRET}", object=f"{SECRET}.png")
    made.exc_info = raised(ValueError(f"no {SECRET}"))
    made.stack_info = f"Stack: {SECRET}"
    other = logging.Formatter().format(made)
    assert SECRET in str(made.exc_text)
    line = form(MASKER).format(made)
    assert SECRET not in line
    assert logging.Formatter().format(made) == other
    assert "ValueError: no ***" in line
    assert "key ***" in line


def test_a_long_object_name_stays_readable() -> None:
    name = "Users/" + "Ab3" * 40
    assert json.loads(JSONFormatter(MASKER).format(record("x", object=name)))["object"] == name
    assert TextFormatter(MASKER).format(record("x", object=name)).endswith(f"object={name}")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], logger.level = handlers, level


@pytest.mark.parametrize("form", ["text", "json"])
def test_configured_it_writes_lines_of_that_form_without_the_secrets(form: str, root: logging.Logger) -> None:
    stream = io.StringIO()
    configure(form, [SECRET], stream=stream)
    log = logging.getLogger("oss_wsgi.test")
    log.debug("unseen")
    log.info("seen %s", SECRET, extra={"request_id": "r1"})
    (line,) = stream.getvalue().splitlines()
    assert SECRET not in line
    if form == "json":
        assert json.loads(line)["request_id"] == "r1"
    else:
        assert line.endswith("INFO oss_wsgi.test: seen *** id=r1")
