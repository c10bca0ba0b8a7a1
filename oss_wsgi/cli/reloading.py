"""Restarts a serving process when one of the application's Python files changes.

The parent holds the listening sockets and the local OSS; the child, a process of the same command line, imports the
application and serves. The child ends with its parent, however that ends: it reads a pipe whose other end only the
parent has.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from .load_application import is_own_file

#: The environment variable that tells a process that it is a child, and what it inherits.
CHILD_VARIABLE = "_OSS_WSGI_SERVE_CHILD"

#: Seconds for what has begun when the code changes.
RELOAD_DRAIN = 1.0

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_MAX_FOLDERS = 10_000
_INTERVAL = 0.25  # seconds between two looks at the files
_SETTLING = 0.1  # seconds without a further change before a restart
_GRACE = 5.0  # seconds from the end of the drain until a child is killed

Snapshot = dict[str, tuple[int, int, int]]


@dataclass
class Inheritance:
    """What a child gets from its parent.

    ``lifeline`` and ``report`` are descriptors: the first ends the child when it can be read, the second takes the
    names of the files that the child has loaded from elsewhere. ``greeting``: the lines to print once the application
    is there. ``callback_url``: the one that the parent has filled in. ``processes``: how many serve side by side; where
    there are several, ``number`` is this one's, from 1 up, ``lifeline`` a socket to the parent, which serves the
    metrics of all if ``has_metrics``. ``share`` are the descriptors of a `serving.sharing.Share`.
    """

    listeners: list[socket.socket]
    metrics_listeners: list[socket.socket]
    lifeline: int
    report: int
    greeting: list[str]
    callback_url: str | None
    processes: int = 1
    number: int = 0
    has_metrics: bool = False
    share: Sequence[int] = ()


def inheritance(environ: MutableMapping[str, str]) -> Inheritance | None:
    """Take from the environment what a parent has left for this process; None if it is no child."""
    text = environ.pop(CHILD_VARIABLE, None)
    if text is None:
        return None
    values = json.loads(text)
    for name in ("listeners", "metrics_listeners"):
        values[name] = [socket.socket(fileno=descriptor) for descriptor in values[name]]
    child = Inheritance(**values)
    inherited = [listener.fileno() for listener in (*child.listeners, *child.metrics_listeners)]
    for descriptor in (child.lifeline, child.report, *inherited, *child.share):
        if descriptor >= 0:
            os.set_inheritable(descriptor, False)
    return child


def follow_parent(child: Inheritance, end: Callable[[bool], object], seconds: float) -> None:
    """Start threads that end this process when its parent ends or says so, and report loaded files to it.

    :param end: ends the server in order; True: quickly, because a new one is to start.
    :param seconds: the longest time that this may take.
    """

    def follow() -> None:
        is_reload = os.read(child.lifeline, 1) != b""
        end(is_reload)
        time.sleep((RELOAD_DRAIN if is_reload else seconds) + _GRACE)
        os._exit(1)  # the application's own threads, or its import, do not end

    def report() -> None:
        reported: set[str] = set()
        with contextlib.suppress(OSError):  # the parent has gone
            while True:
                files = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}
                for path in sorted(files - reported):
                    if path.endswith(".py") and is_own_file(path):
                        os.write(child.report, f"{os.path.realpath(path)}\n".encode())
                reported |= files
                time.sleep(1)

    for function in (follow, report):
        threading.Thread(target=function, name=function.__name__, daemon=True).start()


class Supervisor:
    """Starts the child again and again, until a signal ends the parent.

    :param environ: the environment of the child.
    :param note: prints a line for the person.
    :param seconds: the longest time that a child may take to end with its parent.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        metrics_listeners: Sequence[socket.socket],
        environ: Mapping[str, str],
        greeting: Sequence[str],
        callback_url: str | None,
        *,
        note: Callable[[str], None],
        seconds: float,
    ) -> None:
        self._listeners = listeners
        self._metrics_listeners = metrics_listeners
        self._environ = environ
        self._greeting = list(greeting)
        self._callback_url = callback_url
        self._note = note
        self._seconds = seconds
        self._files = WatchedFiles(os.getcwd())
        # One that is ignored, as under `nohup`, stays so.
        numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        self._signals = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]

    def run(self) -> None:
        """Run until an exception, such as a signal's SystemExit. No child is left then."""
        while True:
            self._files.changes()  # what changes from here on is not in the child
            with self._child() as (process, report):
                changed = self._wait_for_change(process, report)
                has_served = process.poll() is None
            forget_bytecode(changed)
            more = " and more" if changed[3:] else ""
            self._note(f"{', '.join(map(_shown, changed[:3]))}{more} changed: restarting.")
            if has_served:
                self._greeting = ["The application is there again."]

    @contextlib.contextmanager
    def _child(self) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
        """Start a child; at the end of the block end it, in order if it can be."""
        lifeline_reader, lifeline = os.pipe()
        report, report_writer = os.pipe()
        os.set_blocking(report, False)
        listeners = [one.fileno() for one in self._listeners]
        metrics_listeners = [one.fileno() for one in self._metrics_listeners]
        values = {
            "listeners": listeners,
            "metrics_listeners": metrics_listeners,
            "lifeline": lifeline_reader,
            "report": report_writer,
            "greeting": self._greeting,
            "callback_url": self._callback_url,
        }
        process: subprocess.Popen[bytes] | None = None
        is_reload = False
        try:
            process = subprocess.Popen(  # noqa: S603 - the command line of this very process
                [sys.executable, *sys.orig_argv[1:]],
                env={**self._environ, CHILD_VARIABLE: json.dumps(values)},
                pass_fds=[*listeners, *metrics_listeners, lifeline_reader, report_writer],
            )
            os.close(lifeline_reader)
            os.close(report_writer)
            yield process, report
            is_reload = True
        finally:
            if is_reload:
                with contextlib.suppress(OSError):
                    os.write(lifeline, b"r")
            os.close(lifeline)
            os.close(report)
            if process is not None:
                hurried = _wait_for_end(process, (RELOAD_DRAIN if is_reload else self._seconds) + 1, self._signals)
                if hurried and is_reload:  # the signal was for the parent too
                    raise SystemExit(0)

    def _wait_for_change(self, process: subprocess.Popen[bytes], report: int) -> list[str]:
        """Wait until changed files stay the same for a moment, and return them."""
        is_running = True
        unread = b""
        while True:
            with contextlib.suppress(BlockingIOError):
                lines = (unread + os.read(report, 65536)).split(b"\n")
                unread = lines.pop()
                self._files.add(line.decode() for line in lines)
            if is_running and process.poll() is not None:
                is_running = False
                self._note("Waiting for a change of a Python file. Ctrl-C ends it.")
            changed = self._files.changes()
            if changed:
                return sorted({*changed, *self._files.settle()})
            time.sleep(self._files.interval)


def _wait_for_end(process: subprocess.Popen[bytes], seconds: float, signals: Sequence[signal.Signals]) -> bool:
    """Wait for a child that is to end, and kill it when it takes too long. Return whether one of the signals came.

    Such a signal hurries the child.
    """
    received: list[int] = []

    def hurry(number: int, frame: object) -> None:
        received.append(number)
        process.terminate()

    before = {number: signal.signal(number, hurry) for number in signals}
    try:
        for further, limit in ((process.terminate, seconds), (process.kill, 2.0)):
            try:
                process.wait(limit)
                return bool(received)
            except subprocess.TimeoutExpired:
                further()
        process.wait()
        return bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class WatchedFiles:
    """The Python files below a folder, and others that are added, with what tells that one has changed.

    Hidden folders, virtual environments and installed packages are left out.
    """

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)
        self._added: set[str] = set()
        self._last: Snapshot | None = None
        #: Seconds until the next look: a large folder is looked at less often.
        self.interval = _INTERVAL

    def add(self, files: Iterable[str]) -> None:
        """Watch more files, as they are now."""
        for path in files:
            if path and path not in self._added and self._last is not None:
                self._added.add(path)
                self._last.setdefault(path, _stamp(path))

    def changes(self) -> list[str]:
        """Return the files that appeared, changed or disappeared since the last call; the first call returns none."""
        started = time.monotonic()
        now = {path: _stamp(path) for path in {*self._below(), *self._added}}
        self.interval = max(_INTERVAL, 10 * (time.monotonic() - started))
        last, self._last = self._last, now
        if last is None:
            return []
        return sorted(path for path in {*now, *last} if now.get(path) != last.get(path))

    def settle(self) -> list[str]:
        """Wait until nothing changes any more, as while an editor saves; return what did."""
        changed: set[str] = set()
        for _ in range(20):
            time.sleep(_SETTLING)
            more = self.changes()
            if not more:
                break
            changed.update(more)
        return sorted(changed)

    def _below(self) -> Iterator[str]:
        folders = 0
        for folder, names, files in os.walk(self._folder):
            names[:] = [name for name in names if not (name.startswith(".") or name in _SKIPPED)]
            if "pyvenv.cfg" in files or folders >= _MAX_FOLDERS:
                names.clear()
                continue
            folders += 1
            yield from (os.path.join(folder, name) for name in files if name.endswith(".py"))


def _stamp(path: str) -> tuple[int, int, int]:
    """Return what changes with a file; zeros if it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_size, status.st_ino


def forget_bytecode(files: Sequence[str]) -> None:
    """Remove the compiled form of changed files: Python compares only the second and the size of the source."""
    for path in files:
        with contextlib.suppress(OSError, NotImplementedError):
            os.unlink(importlib.util.cache_from_source(path))


def _shown(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative
