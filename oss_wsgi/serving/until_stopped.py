"""Runs a server until it is stopped, and says in one sentence why it cannot start."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..exceptions import OSSWSGIError, SettingsError


class CannotStartError(OSSWSGIError):
    """Raised when a server cannot start, with a sentence for the person who started it."""


def run_until_stopped(
    program: str, serve: Callable[[contextlib.ExitStack], None], say: Callable[[str], str] = str
) -> int:
    """Call ``serve`` and return 0 after SIGTERM, SIGHUP or Ctrl-C, or 2 if it cannot start.

    What ``serve`` puts on the stack is undone at the end; signals do not interrupt that, and `is_urgent` reports them.
    They do not change the exit status either, until the program has ended.

    :param say: returns why it cannot start in the language of the person who started it.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _ending.reset()
    _handle_signals(_exit)
    # Python gives signals back to the system while it ends, so the next one would change the exit status.
    atexit.register(_handle_signals, signal.SIG_IGN)
    try:
        with contextlib.ExitStack() as stack:
            try:
                serve(stack)
            finally:
                _handle_signals(_hurry)
    except (CannotStartError, SettingsError, ValueError) as error:
        for problem in getattr(error, "problems", [str(error)]):
            print(f"{program}: {say(problem)}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit):
        pass
    return 0


def drain_on_signals(server: Any, seconds: float, delay: float) -> None:
    """Make the next signal drain a server of `make_server`, and the one after it end the server at once.

    Nothing is raised for a signal from now on: code that catches everything cannot swallow it.
    """
    count = 0

    def stop(number: int, frame: object) -> None:
        nonlocal count
        count += 1
        if count == 1:
            _ending.time = time.monotonic() + delay + seconds
            server.drain(seconds, delay)
        else:
            _ending.time = -math.inf
            server.drain(0)

    _handle_signals(stop)
    if _ending.was_raised:  # but something caught it while the server started
        server.drain(0)


def wait_for_signal() -> None:
    """Wait until a signal ends the process, by SystemExit; return if one came before and something caught it."""
    while not _ending.was_raised:
        time.sleep(1)  # a longer one can miss a signal that comes just before it


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Let signals end the process only after the block, which must be short.

    It is for what is made in one step and undone by the stack in another, such as a temporary folder.
    """
    _ending.is_deferred = True
    try:
        yield
    finally:
        _ending.is_deferred = False
        if _ending.was_raised:
            raise _StoppedError(0)


def is_urgent() -> bool:
    """Return whether the clean-up must wait for nothing more: time is up, or a second signal came."""
    return time.monotonic() >= _ending.time


class _Ending:
    """What signals have asked for so far: one for the process, because signals are the process's too."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        #: Whether `_exit` has raised, or would have.
        self.was_raised = False
        self.is_deferred = False
        #: When the process must have ended, on the monotonic clock.
        self.time = math.inf


_ending = _Ending()


class _StoppedError(SystemExit):
    """Raised by a signal."""


def _exit(number: int, frame: object) -> None:
    """End what starts or waits; a clean-up that has begun goes on."""
    error = sys.exc_info()[1]  # what the interrupted code handles
    while error is not None and not isinstance(error, _StoppedError):
        error = error.__context__
    if error is not None:
        _hurry(number, frame)
        return
    _ending.was_raised = True
    if not _ending.is_deferred:
        raise _StoppedError(0)


def _hurry(number: int, frame: object) -> None:
    """End the clean-up soon."""
    _ending.time = -math.inf


def _handle_signals(handler: Callable[[int, object], None] | signal.Handlers) -> None:
    """Set the handler of the signals that end a server.

    SIGHUP and SIGINT stay ignored where they are, by `nohup` and by shells for what runs in the background.
    """
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        number = getattr(signal, name, None)
        if number is not None and (name == "SIGTERM" or signal.getsignal(number) is not signal.SIG_IGN):
            signal.signal(number, handler)


def listening_socket(address: tuple[str, int], option: str) -> socket.socket:
    """Return a listening socket. Raises CannotStartError, which names the ``option`` that chose the address."""
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=4096)
    except OSError as error:
        raise cannot_listen_error(option, host, port, error) from error


def cannot_listen_error(option: str, host: str, port: int, error: OSError) -> CannotStartError:
    """Return the error for an address that is not available, with the option that chooses another."""
    # socket.create_server adds the address to the system's own words.
    reason = (error.strerror or str(error)).partition(" (while")[0]
    place = f"{host}:{port}: {reason}"
    return CannotStartError(f"cannot listen on {place}. Choose another with {option} HOST:PORT.")


def local_url(listener: socket.socket) -> str:
    """Return the URL at which this machine reaches a listening socket; of a Unix socket ``unix:`` and its path."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
