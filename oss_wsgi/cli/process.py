"""Runs a server until it is stopped, and says in one sentence why it cannot start."""

from __future__ import annotations

import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ..exceptions import SettingsError


class CannotStartError(Exception):
    """Raised in a sentence, for the person who started a server, when it cannot start."""


def run_until_stopped(program: str, serve: Callable[[contextlib.ExitStack], None]) -> int:
    """Call ``serve`` and return 0 after SIGTERM, SIGHUP or Ctrl-C, or 2 if it cannot start.

    What ``serve`` puts on the stack is undone at the end.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _handle_signals(_exit)
    try:
        with contextlib.ExitStack() as stack:
            serve(stack)
    except (CannotStartError, SettingsError, ValueError) as error:
        for problem in getattr(error, "problems", [str(error)]):
            print(f"{program}: {problem}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit):
        pass
    return 0


def drain_on_signals(server: Any, seconds: float, delay: float) -> None:
    """Make the next signal drain a server of `make_server`, and the one after it end the server at once."""

    def end(number: int, frame: object) -> None:
        server.drain(0)

    def begin(number: int, frame: object) -> None:
        _handle_signals(end)
        server.drain(seconds, delay)

    _handle_signals(begin)


def ignore_signals() -> None:
    """Ignore SIGTERM, SIGHUP and Ctrl-C from now on, so that a further one does not interrupt the clean-up."""
    _handle_signals(signal.SIG_IGN)


def _handle_signals(handler: Any) -> None:
    """Set the handler of the signals that end a server; one that is ignored, as `nohup` and shells do, stays so."""
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextlib.contextmanager
def listening_socket(address: tuple[str, int], option: str) -> Iterator[socket.socket]:
    """Yield a listening socket. Raises CannotStartError, which names the ``option`` that chose the address."""
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise cannot_listen_error(option, host, port, error) from error
    with listener:
        yield listener


def cannot_listen_error(option: str, host: str, port: int, error: OSError) -> CannotStartError:
    """Return the error for an address that is not available, with the option that chooses another."""
    # socket.create_server adds the address to the system's own words.
    reason = (error.strerror or str(error)).partition(" (while")[0]
    return CannotStartError(f"cannot listen on {host}:{port}: {reason}. Choose another with {option} HOST:PORT.")


def local_url(listener: socket.socket) -> str:
    """Return the URL at which this machine reaches a listening socket; of a Unix socket ``unix:`` and its path."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _exit(number: int, frame: object) -> None:
    ignore_signals()  # a closed terminal sends SIGHUP twice, and nothing may interrupt the clean-up
    raise SystemExit(0)
