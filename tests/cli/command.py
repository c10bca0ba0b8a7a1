"""Runs `python -m oss_wsgi` as a person does, in a process of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ..running_server import clean_environ

COMMAND = [sys.executable, "-m", "oss_wsgi"]


def oss_wsgi(
    *arguments: str, stdin: str | bytes = "", status: int = 0, cwd: Path | None = None, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, and expect an exit status and no traceback."""
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    run = subprocess.run(
        [*COMMAND, *arguments], input=data, capture_output=True, env=clean_environ(**environ), timeout=120, cwd=cwd
    )
    ended = subprocess.CompletedProcess(run.args, run.returncode, run.stdout.decode(), run.stderr.decode())
    assert "Traceback" not in ended.stderr, ended.stderr
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended


@contextlib.contextmanager
def running(*arguments: str, end: int = signal.SIGTERM, **environ: str) -> Iterator[tuple[str, str]]:
    """Start a command that serves, yield its URL and its output until then, and expect status 0 at the end."""
    command, env = [*COMMAND, *arguments], clean_environ(**environ)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env) as process:
        assert process.stdout is not None
        output = ""
        while (match := re.search(r"(?:Open|Serving|Local OSS at) (http://127\.0\.0\.1:[0-9]+)", output)) is None:
            line = process.stdout.readline()
            assert line, output
            output += line
        try:
            yield match[1], output
        finally:
            process.send_signal(end)
            rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0, rest
