"""Output of the commands: plain text, colours and progress on a terminal only, no control characters."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TextIO

from ..exceptions import SettingsError
from ..explanations.languages import in_language, spoken_language
from ..explanations.text import Text

_COLOURS = {"green": "32", "yellow": "33", "red": "31"}
#: Characters of a name beside a bar.
_LONGEST_NAME = 40
#: Text in brackets: the name of an exception at its beginning, and the rest.
_EXCEPTION = re.compile(r"\([A-Za-z]*(?:Exception|Error)(?: ([^()]*))?\)")


class MisuseError(SettingsError):
    """Raised when a command cannot do what its arguments ask, with a sentence for each reason."""


class FailedError(Exception):
    """Raised with a sentence when a command, or one file of it, fails; ``members`` are for JSON beside the sentence."""

    def __init__(self, sentence: str, **members: Any) -> None:
        super().__init__(sentence)
        self.members = members


def plain(text: str) -> str:
    """Return text from outside with its control characters escaped: a terminal would obey them."""
    if isinstance(text, Text):
        return text.mapped(plain)
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def coloured(text: str, colour: str, environ: Mapping[str, str], stream: TextIO | None = None) -> str:
    """Return text in green, yellow or red if the stream is a terminal and NO_COLOR is not set."""
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb" or not (stream or sys.stdout).isatty():
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def said(text: str, environ: Mapping[str, str]) -> str:
    """Return one of our texts in the language of the environment's locale."""
    return in_language(text, spoken_language(environ))


def in_words(text: str) -> str:
    """Return the text of an error of the credentials without the names of exceptions, which say nothing to people."""
    if isinstance(text, Text):
        return text.mapped(in_words)
    return _EXCEPTION.sub(lambda match: f"({match[1] or 'nothing there'})", text)


def _shows_progress(environ: Mapping[str, str]) -> bool:
    """Return whether standard error is a terminal that can rewrite a line."""
    return environ.get("TERM") != "dumb" and sys.stderr.isatty()


def _columns() -> int:
    return shutil.get_terminal_size().columns or 80  # before Python 3.11, 0 for a terminal without a size


def _fitting(text: str) -> str:
    """Return what fits into a line of the terminal, where a Chinese character is as wide as two Latin letters.

    A longer line could not be rewritten.
    """
    return text[: max(_columns() - 1, 1) // (1 if text.isascii() else 2)]


@contextlib.contextmanager
def progress(
    name: str, total: float, environ: Mapping[str, str], bar_format: str | None = None
) -> Iterator[Callable[..., None]]:
    """Yield ``show(done, behind="")``, which shows on a terminal how much is done, and a note behind it.

    Without tqdm (oss-wsgi[progress]) that is one line at the beginning.

    :param total: bytes, or the whole of something else with a ``bar_format`` of tqdm; such a bar is removed at the end.
    """
    name = plain(name)
    name = name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
    bars: Any = None
    if _shows_progress(environ):
        try:
            from tqdm import tqdm

            bars = tqdm
        except ImportError:
            note(_fitting(f"{name} ..."))
    if bars is None:
        yield lambda done, behind="": None
        return
    options: dict[str, Any] = {"unit": "B", "unit_scale": True} if bar_format is None else {"bar_format": bar_format}
    # For a terminal without a size tqdm would assume that there is no room.
    with bars(desc=name, total=total, ncols=_columns() - 1, nrows=20, leave=bar_format is None, **options) as bar:

        def show(done: float, behind: str = "") -> None:
            bar.set_postfix_str(said(behind, environ), refresh=False)
            bar.update(done - bar.n)
            if done >= total:
                bar.refresh()

        yield show


@contextlib.contextmanager
def waiting(text: str, environ: Mapping[str, str]) -> Iterator[None]:
    """Show on a terminal what the command waits for, and remove it afterwards."""
    is_terminal = _shows_progress(environ)
    line = _fitting(f"{said(text, environ)} ...")
    if is_terminal:
        print(line, end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if is_terminal:
            print(" " * (len(line) if line.isascii() else 2 * len(line)), end="\r", file=sys.stderr, flush=True)


def confirmed(question: str) -> bool:
    """Ask a person on standard error, and return whether the answer is yes. Raises MisuseError without a terminal."""
    if not sys.stdin.isatty():
        raise MisuseError("standard input is not a terminal, so nobody can answer yes: give --yes.")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_difference(before: str, after: str, what: str, stream: TextIO, environ: Mapping[str, str]) -> None:
    """Print what changes between two texts, in colours on a terminal.

    :param what: whose texts they are, such as ``bucket examplebucket``.
    """
    names = said(Text("{1}, as it is", what), environ), said(Text("{1}, as it should be", what), environ)
    for line in difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm=""):
        colour = {"+": "green", "-": "red"}.get(line[:1])
        print(coloured(plain(line), colour, environ, stream) if colour else plain(line), file=stream)
    stream.flush()


def note(text: str) -> None:
    """Print on standard error what is not the command's result."""
    print(text, file=sys.stderr, flush=True)


def read_input(source: str, limit: int, option: str = "") -> bytes:
    """Return at most ``limit`` bytes of a file or, for ``-``, of standard input. Raises MisuseError.

    :param option: which option names the file, such as ``--signed: ``.
    """
    try:
        with open(sys.stdin.fileno() if source == "-" else source, "rb", closefd=source != "-") as stream:
            return stream.read(limit)
    except (OSError, ValueError) as error:
        raise MisuseError(f"{option}{plain(source)} cannot be read: {system_reason(error)}.") from error


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
