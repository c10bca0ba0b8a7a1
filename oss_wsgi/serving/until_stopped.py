"""Runs a server until it is stopped, and says in one sentence why it cannot start."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..exceptions import OSSWSGIError, SettingsError


class CannotStartError(OSSWSGIError):
    """Raised when a server cannot start, with a sentence for the person who started it."""


def run_until_stopped(
    program: str, serve: Callable[[contextlib.ExitStack], None], say: Callable[[str], str] = str
) -> int:
    """Call ``serve`` and return 0 after SIGTERM, SIGHUP or Ctrl-C, or 2 if it cannot start.

    At the end the stack that ``serve`` has filled is undone. Signals neither interrupt this nor change the exit
    status until the program has ended; `is_urgent` reports them.

    :param say: translates a reason for which the server cannot start, for the person who started it.
    """
    global _ending
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _ending = _Ending()
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

    From now on a signal raises nothing, so code that catches everything cannot swallow it.
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
        time.sleep(1)  # a longer sleep can miss a signal that comes just before it


@contextlib.contextmanager
def signals_deferred() -> Iterator[None]:
    """Let signals end the process only after the block, which must be short.

    Use it to make something and enter it in the stack that undoes it, such as a temporary folder.
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


@dataclass
class _Ending:
    """The end that signals have asked for so far. The process has one, because signals are for the process.

    ``was_raised``: `_exit` has raised, or would have. ``time``: when the process must have ended (monotonic clock).
    """

    was_raised: bool = False
    is_deferred: bool = False
    time: float = math.inf


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

    Ignored SIGHUP and SIGINT stay ignored: `nohup`, and shells for programs in the background, ignore them.
    """
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        number = getattr(signal, name, None)
        if number is not None and (name == "SIGTERM" or signal.getsignal(number) is not signal.SIG_IGN):
            signal.signal(number, handler)
