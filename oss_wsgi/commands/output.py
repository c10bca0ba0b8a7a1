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
        self._terminal = sys.stderr.isatty()

    def __call__(self, done: int) -> None:
        """Show that so much is done."""
        now = time.monotonic()
        if not self._terminal or (now - self._shown < _GAP and done < self._total):
            return
        self._shown = now
        part = done / self._total if self._total else 1.0
        bar = "#" * int(part * _BAR)
        print(f"\r{self._name} [{bar:<{_BAR}}] {part:4.0%}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self._terminal and self._shown:
            print(file=sys.stderr)


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


def close_broken_pipe() -> None:
    """Let the interpreter end without a second complaint about a reader that is gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
