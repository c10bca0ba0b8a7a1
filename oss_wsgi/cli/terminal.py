"""Output of the commands: plain text, colours and progress on a terminal only, no control characters."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

_COLOURS = {"green": "32", "yellow": "33", "red": "31"}
#: Characters of the progress bar, and seconds between two updates of it.
_WIDTH = 30
_INTERVAL = 0.1
#: Seconds over which the speed is measured.
_WINDOW = 10.0
_WAITING = ", waiting for the answer"
#: The name of an exception at the beginning of what stands in brackets, and the rest there.
_EXCEPTION = re.compile(r"\([A-Za-z]*(?:Exception|Error)(?: ([^()]*))?\)")


class MisuseError(Exception):
    """Raised when a command cannot do what its arguments ask, with a sentence for each reason."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def plain(text: str) -> str:
    """Return text from outside with its control characters escaped: a terminal would obey them."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def coloured(text: str, colour: str, environ: Mapping[str, str], stream: TextIO | None = None) -> str:
    """Return text in green, yellow or red if the stream is a terminal and NO_COLOR is not set."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not (stream or sys.stdout).isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def in_words(text: str) -> str:
    """Return the text of an error of the credentials without the names of exceptions, which say nothing to people."""
    return _EXCEPTION.sub(lambda match: f"({match[1] or 'nothing there'})", text)


def shows_progress(environ: Mapping[str, str] | None) -> bool:
    """Return whether standard error is a terminal that can rewrite a line."""
    return (environ or {}).get("TERM") != "dumb" and sys.stderr.isatty()


def _columns() -> int:
    return shutil.get_terminal_size().columns or 80  # before Python 3.11, 0 for a terminal without a size


def _fitting(text: str) -> str:
    """Return what fits into a line of the terminal: a longer line could not be rewritten."""
    return text[: max(_columns() - 1, 1)]


class Progress:
    """A progress bar on standard error, on a terminal only, with the speed of the last seconds and the time left.

    :param total: bytes.
    :param clock: returns seconds.
    """

    def __init__(
        self,
        name: str,
        total: int,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        room = _columns() - _WIDTH - len(f" [] 100%{_WAITING}") - 1
        name = plain(name)
        self._name = name if len(name) <= max(room, 8) else f"{name[: max(room, 8) - 3]}..."
        self.total = total
        self._clock = clock
        self._shown_at = -_INTERVAL
        self._bar = ""
        self._width = 0
        self._environ = environ
        self._is_terminal = shows_progress(environ)
        #: When and how much was done: the first and the newest of the last seconds.
        self._history: deque[tuple[float, int]] = deque()

    def __call__(self, done: int) -> None:
        """Show that ``done`` bytes are done; at the end show that the command waits for the answer."""
        now = self._clock()
        if not self._is_terminal or (now - self._shown_at < _INTERVAL and done < self.total):
            return
        self._shown_at = now
        fraction = done / self.total if self.total else 1.0
        self._bar = f"\r{self._name} [{'#' * int(fraction * _WIDTH):<{_WIDTH}}] {fraction:4.0%}"
        self._print(_WAITING if done >= self.total else self._speed(now, done))

    def retrying(self, reason: str) -> None:
        """Show behind the bar that something failed and is tried again."""
        if self._bar:
            self._print(f" {plain(reason)}, trying again")

    def waiting(self, text: str) -> contextlib.AbstractContextManager[None]:
        """Show in place of the bar what the command waits for, until the end of the block."""
        return waiting(text, self._environ)

    def start_at(self, done: int) -> None:
        """Show what was done before, which counts for no speed."""
        self._history.clear()
        self(done)

    def end(self) -> None:
        """Remove the text behind the bar, and end the line."""
        if self._bar:
            print(f"\r{' ' * (len(self._bar) - 1 + self._width)}{self._bar}", file=sys.stderr)

    def _print(self, behind: str) -> None:
        """Print the bar and what stands behind it, cut to the line: a longer one could not be rewritten."""
        width = max(_columns() - len(self._bar), 0)
        behind = behind[:width]
        print(f"{self._bar}{behind:<{min(self._width, width)}}", end="", file=sys.stderr, flush=True)
        self._width = max(len(behind), len(_WAITING))

    def _speed(self, now: float, done: int) -> str:
        """Return the speed over the last seconds, and the time left at that speed; "" during the first second."""
        self._history.append((now, done))
        while len(self._history) > 2 and now - self._history[1][0] >= _WINDOW:
            self._history.popleft()
        since, before = self._history[0]
        if now - since < 1.0:
            return ""
        speed = (done - before) / (now - since)
        left = f", {_time_left((self.total - done) / speed)} left" if speed > 0 else ""
        return f" {human_size(max(speed, 0))}/s{left}"


def _time_left(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 100:
        return "days"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def waiting(text: str, environ: Mapping[str, str] | None = None, done: float | None = None) -> Iterator[None]:
    """Show on a terminal what the command waits for, and remove it afterwards.

    :param done: how much of the whole is done, from 0 to 1, shown as a bar; None if nobody can say.
    """
    is_terminal = shows_progress(environ)
    bar = "" if done is None else f"[{'#' * int(done * _WIDTH):<{_WIDTH}}] {done:4.0%} "
    line = _fitting(f"{bar}{text} ...")
    if is_terminal:
        print(line, end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if is_terminal:
            print(" " * len(line), end="\r", file=sys.stderr, flush=True)


def human_size(size: float) -> str:
    """Return bytes for people: ``512 B``, ``1.5 MB``, ``20 GB``; a unit is 1,000 of the one before."""
    units = ["B", "KB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.0f} {units[0]}" if units[0] == "B" or size >= 9.95 else f"{size:.1f} {units[0]}"


def confirmed(question: str) -> bool:
    """Ask a person on standard error, and return whether the answer is yes. Raises MisuseError without a terminal."""
    if not sys.stdin.isatty():
        raise MisuseError("standard input is not a terminal, so nobody can agree: give --yes to do it.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_difference(before: str, after: str, what: str, stream: TextIO, environ: Mapping[str, str]) -> None:
    """Print what changes between two texts, in colours on a terminal.

    :param what: whose texts they are, such as ``bucket examplebucket``.
    """
    names = f"{what}, as it is", f"{what}, as it should be"
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm=""):
        colour = {"+": "green", "-": "red"}.get(line[:1])
        print(coloured(plain(line), colour, environ, stream) if colour else plain(line), file=stream)
    stream.flush()


def note(text: str) -> None:
    """Print on standard error what is not the command's result."""
    print(text, file=sys.stderr, flush=True)


def system_reason(error: BaseException) -> str:
    """Return the operating system's words for an error, without the name of a class or a number."""
    reason = getattr(error, "strerror", None)
    return reason if isinstance(reason, str) and reason else str(error) or "the operating system gives no reason"


def open_closed_streams() -> None:
    """Replace an output that was closed at the start (`>&-`) by one that discards what is written."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends


def end_output(error: OSError, program: str) -> None:
    """Print why the output failed, unless its reader is gone, and discard the rest.

    Otherwise the interpreter complains when it flushes the output at its end.
    """
    if not isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError):
            note(f"{program}: {system_reason(error)}.")
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(null, stream.fileno())
