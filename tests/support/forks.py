"""Runs Python programs in forks of a process that has imported oss_wsgi: a new Python takes ten times as long."""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import random
import runpy
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import IO, Any

ROOT = Path(__file__).parents[2]
#: A message to the process that forks is this long at most.
MAX_MESSAGE = 100_000
#: Variables that Python reads when it starts, and that a fork follows too.
FOLLOWED = {"PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


def start(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path | None = None,
    *,
    stdin: int | None = None,
    stdout: int = PIPE,
    stderr: int = PIPE,
    may_fork: bool = True,
) -> Fork | subprocess.Popen[str]:
    """Start Python with these arguments: a script, ``-m`` and a module, or ``-c`` and code; its streams are text.

    Without ``stdin`` its standard input is empty. Where no fork will do, it is a new process: macOS lacks the sockets
    that ``Fork`` needs, and some of its libraries end a fork that uses them.

    :param may_fork: whether oss_wsgi and the SDK may be imported already.
    """
    message = json.dumps([list(arguments), dict(environ), str(cwd or Path.cwd())]).encode()
    unknown = {name for name in environ if name.startswith("PYTHON") and environ[name] != os.environ.get(name)}
    has_options = arguments[0].startswith("-") and arguments[0] not in ("-m", "-c")
    is_linux = sys.platform == "linux"
    if may_fork and is_linux and len(message) < MAX_MESSAGE and not has_options and not unknown - FOLLOWED:
        sys.audit("subprocess.Popen", sys.executable, arguments, cwd, environ)
        return Fork(arguments, message, stdin, stdout, stderr)
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=dict(environ),
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
    )


def run(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path | None = None,
    *,
    stdin: str | bytes = "",
    may_fork: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments to its end, as ``start`` does."""
    with start(arguments, environ, cwd, stdin=PIPE, may_fork=may_fork) as program:
        data = stdin if isinstance(stdin, str) else stdin.decode(errors="surrogateescape")
        stdout, stderr = program.communicate(data, timeout=120)
    return subprocess.CompletedProcess(program.args, program.returncode or 0, stdout, stderr)


class Fork:
    """What ``subprocess.Popen`` offers, as far as tests use it."""

    def __init__(self, arguments: Sequence[str], message: bytes, stdin: int | None, stdout: int, stderr: int) -> None:
        self.args = [sys.executable, *arguments]
        self.returncode: int | None = None
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self.stderr: IO[str] | None = None
        self._status, status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs = [status.detach()]
        if stdin == PIPE:
            end, ours = os.pipe()
            self.stdin = os.fdopen(ours, "w", encoding="utf-8", errors="surrogateescape")
            theirs.append(end)
        else:
            theirs.append(os.open(os.devnull, os.O_RDONLY) if stdin is None else os.dup(stdin))
        for name, stream in (("stdout", stdout), ("stderr", stderr)):
            if stream == PIPE:
                ours, end = os.pipe()
                setattr(self, name, os.fdopen(ours, encoding="utf-8", errors="surrogateescape"))
                theirs.append(end)
            else:
                theirs.append(os.dup(theirs[2] if stream == STDOUT else stream))
        socket.send_fds(_forking(), [message], theirs)
        for descriptor in theirs:
            os.close(descriptor)
        self._status.settimeout(120)
        self.pid = json.loads(self._status.recv(100))

    def poll(self) -> int | None:
        """Return the exit status, or None while the program runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit status; TimeoutExpired after ``timeout`` seconds."""
        if self.returncode is None:
            self._status.settimeout(timeout)
            try:
                self.returncode = json.loads(self._status.recv(100))
            except (BlockingIOError, TimeoutError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._status.close()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and its status is on the way
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(9)

    def communicate(self, data: str = "", timeout: float | None = None) -> tuple[str, str]:
        """Write ``data`` to its standard input, read the rest of its output, and wait for the end."""
        output = {"stdout": "", "stderr": ""}

        def write() -> None:
            with contextlib.suppress(BrokenPipeError), self.stdin or contextlib.nullcontext() as file:
                if file is not None:
                    file.write(data)

        def read(name: str) -> None:
            with getattr(self, name) or contextlib.nullcontext() as file:
                output[name] = "" if file is None else file.read()

        threads = [threading.Thread(target=write), *(threading.Thread(target=read, args=[name]) for name in output)]
        for thread in threads:
            thread.start()
        self.wait(timeout)
        for thread in threads:
            thread.join()
        return output["stdout"], output["stderr"]

    def __enter__(self) -> Fork:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()


@functools.cache
def _forking() -> socket.socket:
    """Return the socket that takes the messages for the process that forks; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        code = f"from {__name__} import fork_programs; fork_programs()"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("OSS_", "ALIBABA_"))}
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=theirs, env=environ)
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def fork_programs() -> None:
    """Run each program that arrives in a fork of this process, until no process can send another one."""
    import alibabacloud_oss_v2  # noqa: F401

    import oss_wsgi.cli.main
    import oss_wsgi.testing  # noqa: F401
    from local_oss import LocalOSS, LocalOSSServer  # noqa: F401

    gc.freeze()
    with socket.socket(fileno=os.dup(0)) as messages:
        while True:
            message, descriptors, _, _ = socket.recv_fds(messages, MAX_MESSAGE, 4)
            if not message:
                return
            if os.fork() == 0:
                messages.close()
                _guard(message, descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _guard(message: bytes, descriptors: list[int]) -> None:
    """Fork once more, tell the ID of the new process and at its end its status, and end this process."""
    status, *streams = descriptors
    try:
        process = os.fork()
        if process == 0:
            os.close(status)
            _become(*json.loads(message), streams)
        for descriptor in streams:
            os.close(descriptor)
        os.write(status, json.dumps(process).encode())
        os.write(status, json.dumps(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])).encode())
    finally:
        os._exit(0)


def _become(arguments: list[str], environ: dict[str, str], cwd: str, streams: list[int]) -> None:
    """Do in this process what Python does with these arguments, and end it."""
    status: Any = 1
    try:
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        os.environ.clear()
        os.environ.update(environ)
        os.chdir(cwd)
        time.tzset()
        random.seed()
        sys.dont_write_bytecode = bool(environ.get("PYTHONDONTWRITEBYTECODE"))
        sys.orig_argv = [sys.executable, *arguments]
        sys.path[:1] = ["", *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
        first, *rest = arguments
        if first == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        elif first == "-m":
            sys.path[0] = cwd
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(first).parent.absolute())
            sys.argv = arguments
            runpy.run_path(first, run_name="__main__")
        status = 0
    except SystemExit as error:
        status = error.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
        os._exit(status if isinstance(status, int) else 1)
