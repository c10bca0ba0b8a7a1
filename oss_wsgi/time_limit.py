"""Calls a function with a time limit for the whole call."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")


class TimeLimitError(Exception):
    """Raised when a function has not returned within its time limit."""


def call_within(seconds: float, function: Callable[[], T], *, thread_name: str) -> T:
    """Return what ``function`` returns, or raise what it raises. Raises TimeLimitError after ``seconds``.

    Socket and SDK timeouts limit each step, not the call. So a daemon thread runs the function, and after the limit the
    caller stops waiting.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # a SystemExit would otherwise be noticed only after the time limit
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name=thread_name).start()
    wait([future], timeout=seconds)
    if not future.done():
        raise TimeLimitError(f"no result within {seconds} s")
    return future.result()
