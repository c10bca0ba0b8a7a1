"""Runs `doctor` in this process, with time limits that a slow machine does not reach."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from collections.abc import Sequence
from unittest import mock

from oss_wsgi.cli.doctor import callback, command, context, rights, write

from ...running_server import clean_environ

_LIMITS = (
    (callback, "SLOW"),
    (callback, "_OSS_TIMEOUT"),
    (context, "TIMEOUT"),
    (rights, "TIMEOUT"),
    (write, "SLOW"),
    (write, "TIMEOUT"),
)


def run_doctor(environ: dict[str, str], *arguments: str, status: int = 0) -> list[dict[str, str]]:
    """Return the findings of `doctor --json` with these arguments, which exits with ``status``."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    parsed = parser.parse_args(["doctor", "--json", *arguments])
    parsed.environ = clean_environ(**environ)
    with contextlib.ExitStack() as stack:
        for module, name in _LIMITS:
            stack.enter_context(mock.patch.object(module, name, 60.0))
        output = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        assert command.run(parsed) == status, output.getvalue()
    findings: list[dict[str, str]] = json.loads(output.getvalue())
    assert (status == 1) == any(finding["colour"] == "red" for finding in findings)
    assert all(finding["fix"] for finding in findings if finding["colour"] != "green")
    return findings


def finding_of(check: str, environ: dict[str, str], colour: str = "red", more: Sequence[str] = ()) -> dict[str, str]:
    """Run one check, and return its only finding of a colour."""
    findings = run_doctor(environ, "--only", check, *more, status=1 if colour == "red" else 0)
    (finding,) = (finding for finding in findings if finding["colour"] == colour)
    assert finding["check"] == check
    return finding
