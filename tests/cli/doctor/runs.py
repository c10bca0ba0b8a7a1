"""Runs `doctor` in this process, with time limits that a slow machine does not reach."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from unittest import mock

from oss_wsgi.cli.doctor import browser, callback, command, context, machines, rights, write
from oss_wsgi.cli.doctor.context import CheckContext, Finding, NotCheckedError
from oss_wsgi.cli.http_client import request
from oss_wsgi.explanations.languages import in_language

from ...support.running_server import clean_environ

_LIMITS = (
    (browser, "TIMEOUT"),
    (callback, "SLOW"),
    (callback, "OSS_TIMEOUT"),
    (context, "TIMEOUT"),
    (machines, "TIMEOUT"),
    (rights, "TIMEOUT"),
    (write, "SLOW"),
    (write, "TIMEOUT"),
)
#: Commands, values, URLs, and a code of OSS with its own message, which is English.
_NOT_WORDS = re.compile(r"\b[A-Z]\w+(, EC [0-9-]+)?: .*|`[^`]*`|'[^']*'|\"[^\"]*\"|https?://[^\s，。；：）]+|<[^>]*>")
_ENGLISH = re.compile("[A-Za-z]{2,}( [a-z]{2,}){2,}")


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """Set the time limits of the checks to a minute while the block runs."""
    with contextlib.ExitStack() as stack:
        for module, name in _LIMITS:
            stack.enter_context(mock.patch.object(module, name, 60.0))
        stack.enter_context(mock.patch.dict(request.__kwdefaults__, timeout=60.0))
        yield


def run_doctor(environ: dict[str, str], *arguments: str, status: int = 0) -> list[dict[str, str]]:
    """Return the findings of `doctor --json` with these arguments, which exits with ``status``."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    parsed = parser.parse_args(["doctor", "--json", *arguments])
    parsed.environ = clean_environ(**environ)
    seen: list[Finding] = []
    recorded = {name: functools.partial(_recorded, check, seen) for name, check in command.CHECKS.items()}
    with patience(), mock.patch.dict(command.CHECKS, recorded), contextlib.redirect_stdout(io.StringIO()) as output:
        assert command.run(parsed) == status, output.getvalue()
    findings: list[dict[str, str]] = json.loads(output.getvalue())
    assert (status == 1) == any(finding["colour"] == "red" for finding in findings)
    assert all(finding["fix"] for finding in findings if finding["colour"] != "green")
    shown = (in_language(text, "zh") for finding in seen for text in (finding.message, finding.fix))
    left = [text for text in shown if english_left(text)]
    assert left == [], left
    return findings


def _recorded(
    check: Callable[[CheckContext], Iterator[Finding]], seen: list[Finding], context: CheckContext
) -> Iterator[Finding]:
    """Yield a check's findings, and keep them: unlike JSON they can be said in Chinese."""
    try:
        for finding in check(context):
            seen.append(finding)
            yield finding
    except NotCheckedError as cause:
        seen.append(cause.finding)
        raise


def english_left(text: str) -> str:
    """Return what a Chinese text still says in English: three words in a row, but not in commands, values and URLs."""
    found = _ENGLISH.search(_NOT_WORDS.sub("·", text))
    return found[0] if found else ""


def finding_of(check: str, environ: dict[str, str], colour: str = "red", more: Sequence[str] = ()) -> dict[str, str]:
    """Run one check, and return its only finding of a colour."""
    findings = run_doctor(environ, "--only", check, *more, status=1 if colour == "red" else 0)
    (finding,) = (finding for finding in findings if finding["colour"] == colour)
    assert finding["check"] == check
    return finding
