"""What the commands write, and where: plain and short, coloured on a terminal alone, without what a terminal obeys."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import TextIO

_COLOURS = {"green": "32", "yellow": "33", "red": "31"}
_BAR = 30
_GAP = 0.1
_ANSWER = ", waiting for the answer"


class MisuseError(Exception):
    """What was asked for cannot be done so, in a sentence for the person who asked."""


def plain(text: str) -> str:
    """Give a stranger's text without control characters, which a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def coloured(text: str, colour: str, environ: Mapping[str, str], stream: TextIO | None = None) -> str:
    """Give text in a colour, where the stream is a terminal and NO_COLOR is not set."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not (stream or sys.stdout).isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


class Progress:
    """A bar on standard error while something takes its time; a terminal alone sees it."""

    def __init__(self, name: str, total: int) -> None:
        self._name = plain(name)
        self._total = total
        self._shown = 0.0
        self._bar = ""
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int) -> None:
        """Show that so much is done, and at the end that an answer is waited for."""
        now = time.monotonic()
        if not self._terminal or (now - self._shown < _GAP and done < self._total):
            return
        self._shown = now
        part = done / self._total if self._total else 1.0
        self._bar = f"\r{self._name} [{'#' * int(part * _BAR):<{_BAR}}] {part:4.0%}"
        print(f"{self._bar}{_ANSWER if done >= self._total else ''}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._bar:
            print(f"\r{' ' * (len(self._bar) + len(_ANSWER))}{self._bar}", file=sys.stderr)


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """Say on a terminal what is being waited for, and take it back."""
    shown = sys.stderr.isatty()
    if shown:
        print(f"{text} ...", end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print(" " * (len(text) + 4), end="\r", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Say on standard error what is not the command's result."""
    print(text, file=sys.stderr, flush=True)


def open_closed_streams() -> None:
    """Let a command that was started without an output (`>&-`) run as if nobody looked."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process


def end_output(error: OSError, program: str) -> None:
    """Say why nothing can be written, unless the reader is gone, and let the interpreter end without a complaint."""
    if not isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError):
            note(f"{program}: {error.strerror or error}.")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())
