"""Runs the local OSS, as `python -m oss_wsgi.local` does."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from ..local import __main__ as program
from ..local.command_line import parser
from ..local.greeting import greeting
from .process import CannotStartError, end_quietly, until_stopped

if TYPE_CHECKING:
    from argparse import Namespace


def add(subparsers: Any) -> None:
    own = parser()
    example = "Example: oss-wsgi local --bucket my-bucket --cors http://localhost:3000."
    made = subparsers.add_parser(
        "local",
        help="run a local OSS alone",
        description=own.description,
        epilog=f"{example} {own.epilog}",
        parents=[own],
        add_help=False,
        allow_abbrev=False,
    )
    made.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Run until SIGTERM or Ctrl-C; exit status 0 then, 2 when it cannot start."""
    return until_stopped(arguments.program, lambda stack: _serve(arguments, stack))


def _serve(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    try:
        oss = program.start(arguments, stack)
    except program.CannotStartError as error:
        raise CannotStartError(str(error)) from error
    for line in greeting(oss, arguments):
        print(line, flush=True)
    try:
        threading.Event().wait()
    finally:
        end_quietly()
