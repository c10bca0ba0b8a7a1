"""The command line: `oss-wsgi`, or `python -m oss_wsgi`."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from .commands import cors, doctor, explain, local, serve, sign, upload, verify
from .commands.output import MisuseError, close_broken_pipe
from .exceptions import OSSWSGIError

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # whatever a terminal's encoding lacks is no traceback
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = parser().parse_args(argv)
    except BrokenPipeError:  # of `--help | head`, before Python 3.12
        close_broken_pipe()
        return 1
    arguments.program = f"{PROGRAM} {arguments.command}"
    arguments.environ = dict(os.environ)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except (MisuseError, OSSWSGIError) as error:
        for problem in getattr(error, "problems", [str(error)]):
            print(f"{arguments.program}: {problem}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # of `| head`
        close_broken_pipe()
        return 1
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
