"""The command line: `oss-wsgi`, or `python -m oss_wsgi`."""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import sys
from collections.abc import Sequence

from ..exceptions import OSSWSGIError
from . import cors, explain, local, serve, sign, upload, verify
from .doctor import command as doctor
from .terminal import MisuseError, end_output, note, open_closed_streams

PROGRAM = "oss-wsgi"
COMMANDS = (serve, local, sign, upload, verify, explain, cors, doctor)


def parser() -> argparse.ArgumentParser:
    """Make the parser of all sub-commands."""
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Browser uploads to Alibaba Cloud OSS: serve them, try them, and find out why they fail.",
        epilog="Exit status: 0 good, 1 a finding, 2 misuse. NO_COLOR is respected. Secrets come by environment "
        f"variables alone. Example: {PROGRAM} serve",
    )
    subparsers = made.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(subparsers)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run one sub-command, and give its exit status."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever a terminal's encoding lacks is no traceback
            stream.reconfigure(errors="backslashreplace")
    # What the rooms log is said by the commands in their own words; a server's log has a handler of its own.
    logging.getLogger("oss_wsgi").addHandler(logging.NullHandler())
    try:
        status = _run(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # of `| head`, or of a disk that is full
        end_output(error, PROGRAM)
        return 1
    return status


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as ended:  # its help is written by now, or is not
        return ended.code if isinstance(ended.code, int) else 0
    arguments.program = f"{PROGRAM} {arguments.command}"
    arguments.environ = dict(os.environ)
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
