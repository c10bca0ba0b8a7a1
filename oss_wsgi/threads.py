"""Calls in threads, with a time limit or ahead of time, and hooks around a fork, which copies locks but no threads.

``cached_property`` is that of Python 3.12: without a lock.
"""

from __future__ import annotations

# This also registers hooks, before those here: so a fork waits for the objects here before it takes the lock without
# which no executor of the process can work.
import concurrent.futures.thread  # noqa: F401
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count, islice
from typing import Any, Generic, TypeVar

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


class cached_property(Generic[T]):  # noqa: N801 - the name that it has in functools
    """A method whose first result becomes an attribute of its object.

    Up to Python 3.11 that of functools has one lock for all objects of a class. While a thread computes the result, a
    fork would copy that lock taken. Here two threads may both compute a result, and the last one stays.
    """

    def __init__(self, method: Callable[[Any], T]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, instance: object, owner: type) -> T:
        if instance is None:  # of the class
            return self  # type: ignore[return-value]
        result = self._method(instance)
        vars(instance)[self._method.__name__] = result
        return result


class ForkAware:
    """Base class for objects whose locks or connections a forked child must not inherit as they are.

    A fork copies all locks but only one thread, so a lock that another thread holds stays locked in the child forever.
    """

    def __init__(self) -> None:
        """Take part in each fork that begins from now on; call this once the object has its locks."""
        _fork_aware[next(_numbers)] = self

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Keep other threads from using the object while the process forks, and close what a child must not inherit.

        Locks are held by ``with``, so that an error releases them. They are RLocks, because the handler of a signal may
        fork while its own thread has them.
        """
        yield

    def _renew_in_child(self) -> None:
        """Make new locks, and forget the parent's threads and connections. This also runs if ``_paused`` has failed."""
        return


class WithLock(ForkAware):
    """Base class for objects with a lock, ``_lock``, which is new in a child. A fork does not wait for it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        super().__init__()

    def _renew_in_child(self) -> None:
        self._lock = threading.RLock()


class Locked(WithLock):
    """Base class for objects with a lock, ``_lock``, for which a fork waits, and which is new in a child."""

    @contextmanager
    def _paused(self) -> Iterator[None]:
        with self._lock:
            yield


#: Seconds for which a fork waits for calls into other libraries.
PATIENCE = 2.0
#: Seconds between two looks at them.
_STEP = 0.001
#: What a child has inherited open: it must neither use nor close that, and garbage collection would close it.
inherited: list[object] = []

#: How often a step of a hook is tried. Handlers of signals may raise in it, and Python forks whatever a hook raises.
_TRIES = 3

_numbers = count()
_fork_aware: weakref.WeakValueDictionary[int, ForkAware] = weakref.WeakValueDictionary()
#: Held from the first step of a fork to its last.
_fork_lock = threading.RLock()
#: In ``paused`` it has the generator that holds what this thread's fork has paused. Without the generator all goes on.
_this_thread = threading.local()


@contextmanager
def no_fork() -> Iterator[None]:
    """Keep forks of other threads waiting while the with block runs."""
    with _fork_lock:
        yield


class _Calls:
    """The calls that a fork waits for, by their threads; no call begins while somebody has ``entry``."""

    def __init__(self) -> None:
        self.callers: list[int] = []
        self.entry = threading.RLock()

    def wait(self) -> None:
        """Wait until other threads have no call, for ``PATIENCE`` at most.

        It looks again and again: a Condition would keep its lock if the handler of a signal raised in its methods.
        """
        own, pause = threading.get_ident(), threading.Event()
        for _ in range(round(PATIENCE / _STEP)):
            if all(caller == own for caller in self.callers):
                return
            pause.wait(_STEP)


_calls = _Calls()


@contextmanager
def awaited() -> Iterator[None]:
    """Let the with block be a call into a library that has locks of its own, such as OpenSSL.

    A fork in another thread waits until the call has ended, for ``PATIENCE`` at most; then the child may have inherited
    a lock of the library that nobody releases.
    """
    calls, caller = _calls, threading.get_ident()
    try:
        with calls.entry:
            calls.callers.append(caller)
        yield
    finally:
        if caller in calls.callers:
            calls.callers.remove(caller)


def _objects() -> list[ForkAware]:
    """Return the objects that exist now, in the order in which they were made."""
    return [each for reference in _fork_aware.valuerefs() if (each := reference()) is not None]


def _persist(step: Callable[[], object], errors: list[BaseException]) -> None:
    """Do a step, and try it again if it raises; append what it raises."""
    for _ in range(_TRIES):
        try:
            step()
            return
        except BaseException as error:
            errors.append(error.with_traceback(None))  # a traceback would keep alive what the step has locked


def _pausing(errors: list[BaseException]) -> Iterator[None]:
    """Pause all objects, and yield; let them go on when the generator ends, or nobody has it any more."""
    with _fork_lock, _calls.entry, ExitStack() as paused:
        _calls.wait()
        for each in _objects():
            _persist(partial(_enter, paused, each), errors)
        yield


def _enter(paused: ExitStack, each: ForkAware) -> None:
    paused.enter_context(each._paused())


def _pause(errors: list[BaseException]) -> None:
    pausing = _pausing(errors)
    next(pausing)
    _this_thread.paused = pausing


def _before_fork() -> None:
    errors: list[BaseException] = []
    _persist(partial(_pause, errors), errors)
    _raise_first(errors)


def _renew() -> None:
    global _fork_lock, _calls
    _fork_lock, _calls = threading.RLock(), _Calls()
    errors: list[BaseException] = []
    for each in _objects():
        _persist(each._renew_in_child, errors)
    _raise_first(errors)


def _raise_first(errors: list[BaseException]) -> None:
    """Raise the first error, which Python then prints."""
    try:
        if errors:
            raise errors[0]
    finally:
        errors.clear()  # or the error and its frames keep each other, and an object, alive


if hasattr(os, "register_at_fork"):
    # No function in Python: in its first line the handler of a signal that came during the fork may raise.
    _let_go = partial(setattr, _this_thread, "paused", None)
    os.register_at_fork(before=_before_fork, after_in_parent=_let_go, after_in_child=_let_go)
    os.register_at_fork(after_in_child=_renew)
