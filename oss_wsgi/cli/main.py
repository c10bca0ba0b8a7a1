"""The command line `oss-wsgi`: its parser, its errors and its exit status."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from ..exceptions import CredentialsError, OSSWSGIError
from . import cors, explain, ledger, local, reconcile, serve, sign, upload, verify
from .doctor import command as doctor
from .parser import CommandParser, UsageError
from .terminal import FailedError, end_output, in_words, note, open_closed_streams, said, system_reason

PROGRAM = "oss-wsgi"

#: Modules with ``add(subparsers)``, in the order of the help.
COMMANDS = (serve, local, sign, upload, verify, reconcile, explain, cors, ledger, doctor)

#: An error of the program itself, as sysexits.h numbers it.
_INTERNAL_ERROR = 70
_BUG = (
    "this is an error of oss-wsgi itself. Please report it, with what `python -X dev -m oss_wsgi` and the same "
    "arguments print."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 success, 1 a finding, 2 misuse.

    With ``--json`` standard output is one JSON document, whatever happens.
    """
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the terminal's encoding may lack a character
            stream.reconfigure(errors="backslashreplace")
    # The commands report in their own words what the package logs. `serve` adds a handler of its own.
    logging.getLogger("oss_wsgi").addHandler(logging.NullHandler())
    words = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in (words[: words.index("--")] if "--" in words else words)
    output: TextIO = io.StringIO() if as_json else sys.stdout
    try:
        with _raising_signals(), contextlib.redirect_stdout(output):
            status, failure = _run(words)
        if isinstance(output, io.StringIO):
            print(_document(output.getvalue(), failure))
        sys.stdout.flush()
    except KeyboardInterrupt as stop:
        status = 128 + next((each for each in stop.args if isinstance(each, int)), signal.SIGINT)
        if as_json:
            with contextlib.suppress(OSError):
                print(_document("", _failure(["Interrupted."])), flush=True)
    except OSError as error:  # the reader of a pipe has gone, or the disk is full
        end_output(error, PROGRAM)
        status = 1
    return status


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = CommandParser(
        prog=PROGRAM,
        description="Browser uploads to Alibaba Cloud OSS: serve, try and diagnose them.",
        epilog="Exit status: 0 success, 1 a finding, 2 misuse. NO_COLOR is respected. Secrets of a real "
        f"bucket come only from environment variables. Example: {PROGRAM} serve",
    )
    version = sys.modules[__name__.partition(".")[0]].__version__
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version}", help="print the version")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for command in COMMANDS:
        command.add(subparsers)
    return parser


def _run(words: Sequence[str]) -> tuple[int, Mapping[str, Any]]:
    """Run a command. Return its exit status, and for JSON why it failed, which was printed already, or nothing."""
    try:
        parser = command_parser()
        arguments = parser.parse_args(words)
        if arguments.command is None:
            parser.error(f"name a command: `{PROGRAM} --help` lists them")
    except UsageError as error:
        return 2, _failure([error.message])
    except SystemExit:  # after the help
        return 0, {}
    arguments.program = f"{PROGRAM} {arguments.command}"
    arguments.environ = os.environ  # `serve --app` fills in what the application reads
    problems: Sequence[str]
    members: Mapping[str, Any] = {}
    try:
        return arguments.run(arguments), {}
    except FailedError as error:
        status, problems, members = 1, [str(error)], error.members
    except CredentialsError as error:
        status, problems = 2, [in_words(str(error))]
    except OSSWSGIError as error:
        status, problems = 2, getattr(error, "problems", [str(error)])
    except OSError as error:
        if not isinstance(sys.stdout, io.StringIO):  # perhaps the output failed
            raise
        status, problems = 2, [f"{system_reason(error)}."]
    except Exception:
        # The log of `serve` must show such an error in full.
        if sys.flags.dev_mode or arguments.command == "serve":
            raise
        status, problems = _INTERNAL_ERROR, [_BUG]
    for problem in problems:
        note(f"{arguments.program}: {said(problem, arguments.environ)}")
    return status, {**_failure(problems), **members}


def _failure(problems: Sequence[str]) -> Mapping[str, Any]:
    return {"message": " ".join(problems), "problems": problems}


def _document(output: str, failure: Mapping[str, Any]) -> str:
    """Return the JSON document of a command: its own, or else one with what failed or the help."""
    if failure:
        return json.dumps({"error": failure}, indent=1)
    try:
        json.loads(output)
    except ValueError:
        return json.dumps({"output": output}, indent=1)
    return output.removesuffix("\n")


@contextlib.contextmanager
def _raising_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt with its number at SIGHUP, which comes when a terminal is closed, and at SIGTERM.

    A signal that is ignored, as under `nohup`, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGHUP", "SIGTERM") if hasattr(signal, name)]  # Windows has one
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, frame: object) -> None:
        for each in numbers:  # a closed terminal sends SIGHUP twice, and nothing may interrupt the clean-up
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt(number)

    for number in numbers:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in numbers:
            if signal.getsignal(number) is end:
                signal.signal(number, signal.SIG_DFL)
