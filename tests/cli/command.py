"""Runs `python -m oss_wsgi` as a person does, in a process of its own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ..support.forks import run
from ..support.running_server import clean_environ, serving

COMMAND = [sys.executable, "-m", "oss_wsgi"]


def oss_wsgi(
    *arguments: str, stdin: str | bytes = "", status: int = 0, cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and expect an exit status and no traceback."""
    ended = run_command(*arguments, stdin=stdin, cwd=cwd, **environ)
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended


def run_command(
    *arguments: str, stdin: str | bytes = "", cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever its exit status."""
    may_fork = not any(name.startswith("PYTHON") for name in environ)  # which may change what is imported
    return run(["-m", "oss_wsgi", *arguments], clean_environ(**environ), cwd, stdin=stdin, may_fork=may_fork)


@contextlib.contextmanager
def running(*arguments: str, end: int = signal.SIGTERM, **environ: str) -> Iterator[tuple[str, str]]:
    """Start a command that serves, yield its URL and its output until then, and expect status 0 at the end."""
    announced = r"(?:Open|Serving|Local OSS at) (http://127\.0\.0\.1:[0-9]+)"
    with serving([*COMMAND, *arguments], clean_environ(**environ), end=end, announced=announced) as server:
        yield server.url, "".join(server.lines)
