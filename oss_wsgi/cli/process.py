"""Runs a server until it is told to end, and says in a sentence why one cannot start."""

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
    """Something that keeps a server from starting, in a sentence for the person who started it."""


def until_stopped(program: str, work: Callable[[contextlib.ExitStack], None]) -> int:
    """Do ``work`` until SIGTERM, SIGHUP or Ctrl-C; exit status 0 then, 2 when it cannot start.

    What must be undone at the end goes onto the stack that ``work`` is given.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _on_signals(_leave)
    try:
        with contextlib.ExitStack() as stack:
            work(stack)
    except (CannotStartError, SettingsError, ValueError) as error:
        for problem in getattr(error, "problems", [str(error)]):
            print(f"{program}: {problem}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit):
        pass
    return 0


def drain_on_signals(server: Any, seconds: float, delay: float) -> None:
    """Let the next signal drain a server of `make_server`, and a second one end it at once."""

    def end(number: int, frame: object) -> None:
        server.drain(0)

    def begin(number: int, frame: object) -> None:
        _on_signals(end)
        server.drain(seconds, delay)

    _on_signals(begin)


def end_quietly() -> None:
    """Let no second signal break into what is undone at the end."""
    _on_signals(signal.SIG_IGN)


def _on_signals(handler: Any) -> None:
    """Handle the signals that end a server; one that is ignored, as `nohup` and shells do, stays so."""
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextlib.contextmanager
def bind(address: tuple[str, int], option: str) -> Iterator[socket.socket]:
    """Give a listening socket."""
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise cannot_listen(option, host, port, error) from error
    with listener:
        yield listener


def cannot_listen(option: str, host: str, port: int, error: OSError) -> CannotStartError:
    """Say that an address cannot be had, and how another is chosen."""
    # socket.create_server adds the address to the system's own words.
    reason = (error.strerror or str(error)).partition(" (while")[0]
    return CannotStartError(f"cannot listen on {host}:{port}: {reason}. Choose another with {option} HOST:PORT.")


def web_address(listener: socket.socket) -> str:
    """Give the URL at which this machine reaches a listening socket."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _leave(number: int, frame: object) -> None:
    raise SystemExit(0)
