"""The command `python -m oss_wsgi.local`: run the local OSS until it is stopped."""

from __future__ import annotations

import contextlib
import logging
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from .command_line import PROGRAM, greeting, parser

if TYPE_CHECKING:
    from argparse import Namespace

    from .application import LocalOSS

BUCKET = "local-bucket"
#: The methods that `--cors` allows: an SDK in a page uses them all.
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")

EXPOSED = ("ETag", "x-oss-request-id", "x-oss-hash-crc64ecma")


class CannotStartError(Exception):
    """The server cannot start; the message tells the person who started it why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, SIGHUP or Ctrl-C; return exit status 0 then, 2 if it cannot start."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # waitress warns of every request that waits for a thread, which on a busy machine is most of them.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    signals = _Signals()
    try:
        with contextlib.ExitStack() as stack:
            try:
                with signals.deferred():  # or a folder stays that is made and not yet on the stack
                    oss = start(arguments, stack, lambda: signals.count > 1)
                for line in greeting(oss, arguments):
                    print(line, flush=True)
                while not signals.count:  # which is not 0 where something caught what it raised
                    time.sleep(1)  # a longer one can miss a signal that comes just before it
            finally:
                signals.is_ending = True
    except CannotStartError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit):
        pass
    finally:
        # While Python ends it gives signals back to the system, and the next would end the process with its own status.
        signals.handle(signal.SIG_IGN)
    return 0


def start(arguments: Namespace, stack: contextlib.ExitStack, is_urgent: Callable[[], bool]) -> LocalOSS:
    """Start serving in a thread of its own and return; closing the stack ends it.

    :param is_urgent: tells the end to wait for no request in progress.
    :raises CannotStartError: an argument is wrong, the extra is missing, or the port is taken.
    """
    try:
        from . import CORSRule, LocalOSS, LocalOSSServer
        from .kept_keys import DamagedKeysError
    except ModuleNotFoundError as error:
        raise CannotStartError(f"{error.name} is not installed: pip install 'oss-wsgi[local]'.") from error
    if bool(arguments.access_key_id) != bool(arguments.access_key_secret):
        raise CannotStartError("give --access-key-id and --access-key-secret together, or neither.")
    if arguments.reset and not arguments.dir:
        raise CannotStartError("--reset makes new keys in the folder of --dir: give --dir DIR too.")
    bucket, *others = dict.fromkeys(arguments.bucket or [BUCKET])
    rules = [CORSRule(arguments.cors, METHODS, expose_headers=EXPOSED)] if arguments.cors else []
    try:
        oss = LocalOSS(
            bucket,
            arguments.region,
            access_key_id=arguments.access_key_id,
            access_key_secret=arguments.access_key_secret,
            directory=arguments.dir,
            cors_rules=rules,
            acl=arguments.acl,
            cnames=dict(arguments.cname),
            security_token=arguments.security_token,
            test_mode=arguments.test_mode,
            strict=arguments.strict,
            exact_field_names=arguments.exact_field_names,
            space_as_plus=arguments.space_as_plus,
            allow_private_callback=not arguments.refuse_private_callback,
            callback_timeout=arguments.callback_timeout,
            max_cors_rules=arguments.max_cors_rules,
            reset_keys=arguments.reset,
            inspector="everywhere" if arguments.open_inspector else not arguments.no_inspector,
            log=_print_line if arguments.log else None,
        )
        stack.enter_context(oss)
        for name in others:
            oss.create_bucket(name)
        names = [bucket.name for bucket in oss.storage.buckets()]
        for host, name in arguments.cname:
            if name not in names:
                raise CannotStartError(
                    f"--cname {host}={name}: there is no such bucket, only {', '.join(names)}. Add --bucket {name}."
                )
    except ValueError as error:
        option = "--dir" if isinstance(error, DamagedKeysError) else "--bucket"
        raise CannotStartError(f"{option}: {error}.") from error
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CannotStartError(f"--dir: {arguments.dir!r} cannot be used: {reason}.") from error
    host, port = arguments.listen
    try:
        server = LocalOSSServer(oss, host, port, tls=arguments.tls)
    except ValueError as error:
        raise CannotStartError(f"--tls: {error}.") from error
    except OSError as error:
        if error.filename:
            raise CannotStartError(f"--tls: {error.filename!r} cannot be used: {error.strerror}.") from error
        # socket.create_server adds the address to the system's message.
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise CannotStartError(
            f"cannot listen on {host}:{port}: {reason}. Choose another with --listen HOST:PORT."
        ) from error
    stack.callback(server.stop, is_urgent)
    server.start()
    return oss


def _print_line(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # such as `--log | head`; the server goes on
        print(line, flush=True)


class _StoppedError(SystemExit):
    """Raised by a signal."""


class _Signals:
    """Counts signals, and raises for each until the clean-up begins.

    SIGHUP and SIGINT stay ignored where they are, by `nohup` and by shells for what runs in the background.
    """

    def __init__(self) -> None:
        self.count = 0
        self.is_ending = False
        self._is_deferred = False
        self.handle(self._count)

    def handle(self, handler: Callable[[int, object], None] | signal.Handlers) -> None:
        """Set the handler of the signals that end the server."""
        for name in ("SIGTERM", "SIGHUP", "SIGINT"):  # Windows has no SIGHUP
            number = getattr(signal, name, None)
            if number is not None and (name == "SIGTERM" or signal.getsignal(number) is not signal.SIG_IGN):
                signal.signal(number, handler)

    def _count(self, number: int, frame: object) -> None:
        self.count += 1
        error = sys.exc_info()[1]  # what the interrupted code handles
        while error is not None and not isinstance(error, _StoppedError):
            error = error.__context__
        if error is None and not (self.is_ending or self._is_deferred):
            raise _StoppedError(0)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Raise for a signal only after the block."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False
            if self.count:
                raise _StoppedError(0)


if __name__ == "__main__":
    sys.exit(main())
