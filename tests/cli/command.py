"""Runs `python -m oss_wsgi` as a person does, in a process of its own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from ..support.running_server import clean_environ, serving

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "oss_wsgi"]
#: A message to the process that forks is this long at most.
MAX_MESSAGE = 100_000


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
    data = stdin if isinstance(stdin, bytes) else stdin.encode()
    message = json.dumps([arguments, clean_environ(**environ), str(cwd or Path.cwd())]).encode()
    if hasattr(os, "fork") and len(message) < MAX_MESSAGE and not any(name.startswith("PYTHON") for name in environ):
        return _forking().run(arguments, message, data)
    command = [*COMMAND, *arguments]
    run = subprocess.run(command, input=data, capture_output=True, env=clean_environ(**environ), timeout=120, cwd=cwd)
    return subprocess.CompletedProcess(run.args, run.returncode, run.stdout.decode(), run.stderr.decode())


class _Forking:
    """A process that has imported oss_wsgi and forks for each command: a new Python takes ten times as long."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            code = "from tests.cli.command import fork_commands; fork_commands()"
            self._process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=theirs, env=clean_environ())
        self._socket.settimeout(120)

    def run(self, arguments: tuple[str, ...], message: bytes, data: bytes) -> subprocess.CompletedProcess[str]:
        stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
        theirs = [stdin[0], stdout[1], stderr[1]]
        socket.send_fds(self._socket, [message], theirs)
        for descriptor in theirs:
            os.close(descriptor)
        output: dict[int, str] = {}

        def write() -> None:
            with contextlib.suppress(BrokenPipeError), open(stdin[1], "wb") as file:
                file.write(data)

        def read(descriptor: int) -> None:
            with open(descriptor, "rb") as file:
                output[descriptor] = file.read().decode()

        threads = [threading.Thread(target=write)]
        threads += [threading.Thread(target=read, args=[descriptor]) for descriptor in (stdout[0], stderr[0])]
        for thread in threads:
            thread.start()
        status = json.loads(self._socket.recv(100))
        for thread in threads:
            thread.join()
        return subprocess.CompletedProcess([*COMMAND, *arguments], status, output[stdout[0]], output[stderr[0]])

    def end(self) -> None:
        self._socket.close()
        self._process.wait()


@functools.cache
def _forking() -> _Forking:
    forking = _Forking()
    atexit.register(forking.end)
    return forking


def fork_commands() -> None:
    """Run each command that arrives in a fork of this process, until no process can send another one."""
    import alibabacloud_oss_v2  # noqa: F401

    import oss_wsgi.cli.main  # noqa: F401

    with socket.socket(fileno=os.dup(0)) as messages:
        while True:
            message, descriptors, _, _ = socket.recv_fds(messages, MAX_MESSAGE, 3)
            if not message:
                return
            process = os.fork()
            if process == 0:
                messages.close()
                _become(*json.loads(message), descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            _, status = os.waitpid(process, 0)
            messages.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())


def _become(arguments: list[str], environ: dict[str, str], cwd: str, descriptors: list[int]) -> None:
    """End this process as `python -m oss_wsgi` with these arguments does."""
    status: object = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(cwd)
        time.tzset()
        random.seed()
        sys.argv = ["oss-wsgi", *arguments]
        runpy.run_module("oss_wsgi", run_name="__main__")
    except SystemExit as error:
        status = error.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        os._exit(status if isinstance(status, int) else 1)


@contextlib.contextmanager
def running(*arguments: str, end: int = signal.SIGTERM, **environ: str) -> Iterator[tuple[str, str]]:
    """Start a command that serves, yield its URL and its output until then, and expect status 0 at the end."""
    announced = r"(?:Open|Serving|Local OSS at) (http://127\.0\.0\.1:[0-9]+)"
    with serving([*COMMAND, *arguments], clean_environ(**environ), end=end, announced=announced) as server:
        yield server.url, "".join(server.lines)
