"""The command `local-oss`, which is also `python -m local_oss`: run the local OSS until it is stopped."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from oss_wsgi.explanations.languages import in_language, spoken_language
from oss_wsgi.explanations.text import Text
from oss_wsgi.private_file import UnsafeFileError
from oss_wsgi.serving.listeners import cannot_listen_error
from oss_wsgi.serving.until_stopped import (
    CannotStartError,
    is_urgent,
    run_until_stopped,
    signals_deferred,
    wait_for_signal,
)

from .child_command import callback_url_of, environ_with, page_origins, run_command
from .command_line import PROGRAM, greeting, parser, short_greeting

if TYPE_CHECKING:
    from argparse import Namespace

    from .application import LocalOSS

BUCKET = "local-bucket"
#: The methods that `--cors` allows: an SDK in a page uses them all.
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")

EXPOSED = ("ETag", "x-oss-request-id", "x-oss-hash-crc64ecma")


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, SIGHUP or Ctrl-C and return exit status 0; return 2 if the server cannot start.

    With a command, run until the command ends, and return its exit status.
    """
    arguments = parser().parse_args(argv)
    arguments.environ = os.environ
    return run(arguments, PROGRAM)


def run(arguments: Namespace, program: str) -> int:
    """Do what `main` does, with parsed arguments."""
    arguments.status = 0
    return run_until_stopped(program, lambda stack: serve(arguments, stack)) or arguments.status


def serve(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    """Serve until a signal arrives or the command ends; the command sets ``arguments.status``.

    The greeting is in the language of ``arguments.environ``. The stack receives whatever must be undone at the end.

    Raises CannotStartError.
    """
    callback_url = callback_url_of(arguments.words, arguments.environ) if arguments.words else ""
    if callback_url:
        arguments.cors += page_origins(callback_url)
    try:
        with signals_deferred():  # else a new folder that is not yet on the stack would stay
            oss = start(arguments, stack)
    except ModuleNotFoundError as error:
        raise CannotStartError(f"{error.name} is not installed: pip install 'oss-wsgi[local]'.") from error
    language = spoken_language(arguments.environ)
    for line in short_greeting(oss, callback_url) if arguments.words else greeting(oss, arguments):
        # Standard output belongs to the command.
        print(in_language(line, language), file=sys.stderr if arguments.words else sys.stdout, flush=True)
    if arguments.words:
        environ = environ_with(oss, arguments.environ, callback_url, security_token=arguments.security_token)
        arguments.status = run_command(arguments.words, environ, stack)
    else:
        wait_for_signal()


def start(arguments: Namespace, stack: contextlib.ExitStack, prefix: str = "--") -> LocalOSS:
    """Start serving in a thread of its own and return; closing the stack ends it.

    :param prefix: the beginning of the options that errors name: `serve` has `--local-dir` and `--local-listen`.

    :raises CannotStartError: an argument is wrong, or the port is taken.
    :raises ModuleNotFoundError: the extra is missing.
    """
    from . import CORSRule, LocalOSS, LocalOSSServer
    from .kept_keys import DamagedKeysError
    from .options import Options

    if bool(arguments.access_key_id) != bool(arguments.access_key_secret):
        raise CannotStartError("give --access-key-id and --access-key-secret together, or neither.")
    if arguments.reset_keys and not arguments.directory:
        raise CannotStartError("--reset makes new keys in the folder of --dir: give --dir DIR too.")
    bucket, *others = dict.fromkeys(arguments.bucket or [BUCKET])
    options = {each.name: getattr(arguments, each.name) for each in fields(Options) if hasattr(arguments, each.name)}
    rules = [CORSRule(arguments.cors, METHODS, expose_headers=EXPOSED)] if arguments.cors else []
    try:
        oss = LocalOSS(**{**options, "bucket": bucket, "cors_rules": rules, "cnames": dict(arguments.cnames)})
        stack.enter_context(oss)
        for name in others:
            oss.create_bucket(name)
        names = [bucket.name for bucket in oss.storage.buckets()]
        for host, name in arguments.cnames:
            if name not in names:
                raise CannotStartError(
                    f"--cname {host}={name}: there is no such bucket, only {', '.join(names)}. Add --bucket {name}."
                )
    except ValueError as error:
        option = f"{prefix}dir" if isinstance(error, DamagedKeysError) else "--bucket"
        raise CannotStartError(Text("{1}: {2}.", option, error)) from error
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotStartError(
            Text("{1}: {2} cannot be used: {3}.", f"{prefix}dir", repr(arguments.directory), reason)
        ) from error
    host, port = arguments.listen
    try:
        server = LocalOSSServer(oss, host, port, tls=arguments.tls)
    except (ValueError, UnsafeFileError) as error:
        raise CannotStartError(Text("{1}: {2}.", "--tls", error)) from error
    except OSError as error:
        if error.filename:
            unusable = Text("{1}: {2} cannot be used: {3}.", "--tls", repr(error.filename), error.strerror)
            raise CannotStartError(unusable) from error
        raise cannot_listen_error(f"{prefix}listen", host, port, error) from error
    stack.callback(server.stop, is_urgent)
    server.start()
    return oss


if __name__ == "__main__":
    sys.exit(main())
