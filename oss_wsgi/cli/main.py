"""The command line `oss-wsgi`: its parser, its errors and its exit status."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Sequence

from ..exceptions import OSSWSGIError
from . import cors, doctor, explain, local, serve, sign, upload, verify
from .terminal import MisuseError, end_output, note, open_closed_streams

PROGRAM = "oss-wsgi"

#: Modules with ``add(subparsers)``, in the order of the help.
COMMANDS = (serve, local, sign, upload, verify, explain, cors, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 success, 1 a finding, 2 misuse."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the terminal's encoding may lack a character
            stream.reconfigure(errors="backslashreplace")
    # The commands report in their own words what the package logs. `serve` adds a handler of its own.
    logging.getLogger("oss_wsgi").addHandler(logging.NullHandler())
    try:
        status = _run(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # the reader of a pipe has gone, or the disk is full
        end_output(error, PROGRAM)
        return 1
    return status


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Browser uploads to Alibaba Cloud OSS: serve them, try them, and find out why they fail.",
        epilog="Exit status: 0 success, 1 a finding, 2 misuse. NO_COLOR is respected. Secrets come only from "
        f"environment variables. Example: {PROGRAM} serve",
    )
    version = sys.modules[__name__.partition(".")[0]].__version__
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version}", help="print the version")
    subparsers = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers)
    return parser


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = command_parser().parse_args(argv)
    except SystemExit as stop:  # after the help or a usage error
        return stop.code if isinstance(stop.code, int) else 0
    arguments.program = f"{PROGRAM} {arguments.command}"
    arguments.environ = dict(os.environ)
    arguments.process_environ = os.environ  # `serve --app` fills in what the application reads
    try:
        status: int = arguments.run(arguments)
    except (MisuseError, OSSWSGIError) as error:
        problems = getattr(error, "problems", [str(error)])
        if getattr(arguments, "json", False):
            print(json.dumps({"error": {"message": " ".join(problems)}}, indent=1))
        for problem in problems:
            note(f"{arguments.program}: {problem}")
        return 2
    return status
