"""Calls in threads, with a time limit or ahead of time, and hooks around a fork, which copies locks but no threads."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import TypeVar

A = TypeVar("A")
T = TypeVar("T")


class TimeLimitError(Exception):
    """Raised when a function has not returned within its time limit."""


def call_within(seconds: float, function: Callable[[], T], *, thread_name: str) -> T:
    """Return what ``function`` returns, or raise what it raises. Raises TimeLimitError after ``seconds``.

    Socket and SDK timeouts limit each step, not the call. So a daemon thread runs the function, and the caller stops
    waiting after the limit.
    """
    _, future = _begin(function, thread_name)
    wait([future], timeout=seconds)
    if not future.done():
        raise TimeLimitError(f"no result within {seconds} s")
    return future.result()


@contextmanager
def calls_ahead(
    function: Callable[[A], T], arguments: Iterable[A], *, limit: int, thread_name: str
) -> Iterator[Callable[[], T]]:
    """Call ``function`` with each argument, in order and up to ``limit`` at once, each in a daemon thread.

    Yields a callable that waits for the next result, and returns it or raises what the function raised. No more than
    ``limit`` calls are ahead of it. The end of the with block waits for the calls that have begun.
    """
    left = iter(arguments)
    begun: deque[tuple[threading.Thread, Future[T]]] = deque()

    def next_result() -> T:
        begun.extend(_begin(partial(function, each), thread_name) for each in islice(left, limit - len(begun)))
        thread, future = begun[0]
        thread.join()
        begun.popleft()
        return future.result()

    try:
        yield next_result
    finally:
        for thread, _ in begun:
            thread.join()


def _begin(function: Callable[[], T], thread_name: str) -> tuple[threading.Thread, Future[T]]:
    """Run a function in a daemon thread."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # SystemExit too: otherwise the caller would wait for the whole limit
            future.set_exception(error)

    thread = threading.Thread(target=work, daemon=True, name=thread_name)
    thread.start()
    return thread, future


class ForkAware:
    """Base class for objects that are called before and after each fork of the process."""

    def __init__(self) -> None:
        _fork_aware.add(self)

    def _before_fork(self) -> None:
        """Release what a child must not inherit, and block all calls until ``_after_fork``."""
        return

    def _after_fork(self, *, is_child: bool) -> None:
        """Allow calls again. The parent's calls do not run in a child, which must not wait for them."""
        return


_fork_aware: weakref.WeakSet[ForkAware] = weakref.WeakSet()
_forking: list[ForkAware] = []


def _before_fork() -> None:
    _forking.extend(_fork_aware)
    for each in _forking:
        each._before_fork()


def _after_fork(*, is_child: bool) -> None:
    while _forking:
        _forking.pop()._after_fork(is_child=is_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(is_child=False),
        after_in_child=lambda: _after_fork(is_child=True),
    )
