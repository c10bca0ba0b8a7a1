"""Runs server.py as a person does, in a process of its own on free ports of loopback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oss_wsgi.testing import multipart

from .forks import start

SERVER = Path(__file__).parents[2] / "server.py"
#: The settings of a bucket of OSS, which nobody asks.
REAL_BUCKET = {
    "OSS_BUCKET": "examplebucket",
    "OSS_REGION": "cn-hangzhou",
    "OSS_ACCESS_KEY_ID": "LTAI5tExampleKeyId000001",
    "OSS_ACCESS_KEY_SECRET": "ExampleSecret0000000000000000A",
}
FREE_PORTS = ["--listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0"]


def clean_environ(**extra: str) -> dict[str, str]:
    """Return this process's environment without settings of oss_wsgi, and with ``extra``."""
    prefixes = ("OSS_", "ALIBABA_CLOUD_")
    rest = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**rest, "PYTHONUNBUFFERED": "1", **extra}


@dataclass
class RunningServer:
    """A server that has printed its address."""

    process: Any
    url: str
    lines: list[str]

    def log(self, last: str = "") -> str:
        """Return all that the server has printed so far, the log included; wait up to 60 s until ``last`` is in it."""
        end = time.monotonic() + 60
        while last not in (text := "".join(self.lines)) and time.monotonic() < end:
            time.sleep(0.01)
        return text


@contextlib.contextmanager
def running_server(
    *arguments: str, python: str = sys.executable, server: Path = SERVER, cwd: Path | None = None, **environ: str
) -> Iterator[RunningServer]:
    """Run server.py as ``serving`` does, with ``clean_environ(**environ)``."""
    with serving([python, str(server), *FREE_PORTS, *arguments], clean_environ(**environ), cwd) as running:
        yield running


@contextlib.contextmanager
def serving(
    command: list[str],
    environ: dict[str, str],
    cwd: Path | None = None,
    *,
    end: int = signal.SIGTERM,
    announced: str = r"(?:Open|Serving) (http://\S+?)/[ ;]",
    may_fork: bool = True,
) -> Iterator[RunningServer]:
    """Start a server, wait until it announces its URL, end it by a signal and expect exit status 0.

    :param may_fork: whether a program of this Python may be a fork, in which more is imported than it needs.
    """
    process: Any
    if may_fork and command[0] == sys.executable:
        process = start(command[1:], environ, cwd, stderr=subprocess.STDOUT)
    else:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environ, cwd=cwd
        )
    assert process.stdout is not None
    lines: list[str] = []
    url = None
    while url is None:
        line = process.stdout.readline()
        assert line, f"the server ended: {''.join(lines)}"
        lines.append(line)
        match = re.search(announced, line)
        url = match.group(1) if match else None
    reader = threading.Thread(target=lambda: lines.extend(process.stdout or ()), daemon=True)
    reader.start()
    try:
        yield RunningServer(process, url, lines)
    finally:
        process.send_signal(end)
        status = process.wait(timeout=60)
        reader.join(timeout=60)
        process.stdout.close()
    assert status == 0, "".join(lines)


def fetch(url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data, headers or {}), timeout=60) as response:
        assert response.status == 200
        return bytes(response.read())


def signed(url: str, prefix: str = "/oss", filename: str = "a.txt") -> dict[str, Any]:
    return dict(json.loads(fetch(f"{url}{prefix}/signature?filename={filename}")))


def send(form: dict[str, Any], data: bytes = b"hello") -> Any:
    """Send a file with its form, and return the application's answer."""
    content_type, body = multipart(form["fields"], "a.txt", data)
    return json.loads(fetch(form["url"], body, {"Content-Type": content_type}))


def upload(url: str, prefix: str = "/oss") -> Any:
    """Upload a file as a page does, and return the application's answer."""
    return send(signed(url, prefix))
