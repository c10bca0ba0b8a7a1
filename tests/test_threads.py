"""Calls within a time limit, calls ahead of their turn, and what a fork does with the objects that take part in it."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from oss_wsgi import MemoryLedger, threads
from oss_wsgi.threads import ForkAware, TimeLimitError, awaited, cached_property, call_within, calls_ahead

from .support.children import fork, forking
from .support.waiting import wait_until


def test_the_result_is_returned() -> None:
    name, daemon = call_within(
        30, lambda: (threading.current_thread().name, threading.current_thread().daemon), thread_name="its own"
    )
    assert (name, daemon) == ("its own", True)


def test_an_exception_of_the_function_is_raised() -> None:
    def fail() -> None:
        raise TimeoutError("of a socket")

    with pytest.raises(TimeoutError, match="of a socket"):
        call_within(30, fail, thread_name="test")


def test_a_function_that_exits_is_heard_of_at_once() -> None:
    with pytest.raises(SystemExit):
        call_within(60, sys.exit, thread_name="test")


def test_a_call_that_takes_longer_is_not_waited_for() -> None:
    over = threading.Event()
    with pytest.raises(TimeLimitError, match=r"no result within 0\.01 s"):
        call_within(0.01, over.wait, thread_name="test")
    over.set()


def test_calls_run_ahead_up_to_the_limit_and_end_in_order() -> None:
    begun, goes_on = [], threading.Semaphore(0)

    def call(number: int) -> int:
        begun.append(number)
        assert goes_on.acquire(timeout=60)
        return number

    with calls_ahead(call, range(10), limit=3, thread_name="its own") as next_result:
        assert begun == [], "nothing runs before the first result is asked for"
        goes_on.release(10)
        results = [next_result()]
        wait_until(lambda: len(begun) == 3)
        assert sorted(begun) == [0, 1, 2]
        assert {thread.daemon for thread in threading.enumerate() if thread.name == "its own"} <= {True}
        results += [next_result() for _ in range(9)]
    assert results == sorted(begun) == list(range(10))


def test_a_call_that_fails_raises_in_its_turn_and_the_others_go_on() -> None:
    def call(number: int) -> int:
        return 12 // number

    with calls_ahead(call, [1, 0, 2], limit=8, thread_name="test") as next_result:
        assert next_result() == 12
        with pytest.raises(ZeroDivisionError):
            next_result()
        assert next_result() == 6


def test_the_end_waits_for_calls_that_have_begun() -> None:
    over, ended = threading.Event(), []

    def call(number: int) -> None:
        if number:
            assert over.wait(60)
            ended.append(number)

    def end_early() -> None:
        with calls_ahead(call, range(10), limit=4, thread_name="test") as next_result:
            next_result()
            over.set()
            raise KeyError

    with pytest.raises(KeyError):
        end_early()
    assert sorted(ended) == [1, 2, 3]


def test_no_arguments_need_no_thread() -> None:
    before = threading.enumerate()
    with calls_ahead(print, [], limit=4, thread_name="test"):
        assert threading.enumerate() == before


class Paused(ForkAware):
    """Notes what a fork does with it, in the order of a shared list."""

    def __init__(self, name: str, seen: list[str], pause: Callable[[], object] = int) -> None:
        self.name, self.seen, self.pause = name, seen, pause
        super().__init__()

    @contextmanager
    def _paused(self) -> Iterator[None]:
        self.pause()
        self.seen.append(f"pause {self.name}")
        try:
            yield
        finally:
            self.seen.append(f"resume {self.name}")

    def _renew_in_child(self) -> None:
        self.seen.append(f"renew {self.name}")


@pytest.fixture
def ignored(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Return a list that gets what Python ignores: the errors of hooks, which it keeps alive."""
    ignored: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    yield ignored
    ignored.clear()  # their frames keep a test's objects alive


class Squared:
    def __init__(self, number: int, compute: Callable[[], object] = lambda: None) -> None:
        self.number = number
        self.compute = compute

    @cached_property
    def square(self) -> int:
        """The square."""
        self.compute()
        return self.number**2


def test_a_cached_property_is_computed_once_for_each_object() -> None:
    calls: list[int] = []
    three, four = Squared(3, lambda: calls.append(3)), Squared(4, lambda: calls.append(4))
    assert [three.square, four.square, three.square] == [9, 16, 9]
    assert calls == [3, 4]
    assert cast("Any", Squared).square.__doc__ == "The square."


def test_an_object_whose_property_is_computed_keeps_no_other_one_waiting() -> None:
    def compute() -> None:
        assert call_within(60, lambda: Squared(4).square, thread_name="another") == 16

    assert Squared(3, compute).square == 9


@forking
def test_a_fork_pauses_all_objects_and_a_child_renews_them() -> None:
    seen: list[str] = []
    kept = [Paused(name, seen) for name in "ab"]
    paused = ["pause a", "pause b", "resume b", "resume a"]
    fork(lambda: seen == [*paused, "renew a", "renew b"])
    assert seen == paused
    assert len(kept) == 2


@forking
def test_one_fork_waits_for_another() -> None:
    seen: list[str] = []
    has_begun, is_second = threading.Event(), threading.Event()
    overlaps: list[bool] = []

    def wait_for_second() -> None:
        if has_begun.is_set():
            is_second.set()
        else:
            has_begun.set()
            overlaps.append(is_second.wait(1))

    paused = Paused("a", seen, wait_for_second)
    threads = [threading.Thread(target=fork, args=[lambda: True]) for _ in range(3)]
    for thread in threads:
        thread.start()
        has_begun.wait(60)
    for thread in threads:
        thread.join()
    assert overlaps == [False]
    assert seen == [f"pause {paused.name}", "resume a"] * 3


@forking
def test_an_object_that_cannot_be_paused_keeps_no_other_one_locked(ignored: list[Any]) -> None:
    seen: list[str] = []
    kept = [Paused("a", seen), Paused("b", seen, lambda: 1 / 0), Paused("c", seen)]
    fork(lambda: seen[-3:] == ["renew a", "renew b", "renew c"])
    assert seen == ["pause a", "pause c", "resume c", "resume a"]
    assert [each.exc_type for each in ignored] == [ZeroDivisionError]
    assert len(kept) == 3


@forking
def test_a_signal_whose_handler_raises_in_a_hook_leaves_nothing_unpaused(ignored: list[Any]) -> None:
    seen: list[str] = []
    signals = [signal.SIGUSR1]

    def raise_signal() -> None:
        while signals:
            signal.raise_signal(signals.pop())

    def interrupt(number: int, frame: object) -> None:
        raise InterruptedError

    paused = Paused("a", seen, raise_signal)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        fork(lambda: seen == ["pause a", "resume a", "renew a"])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == ["pause a", "resume a"]
    assert [each.exc_type for each in ignored] == [InterruptedError]
    assert paused.name == "a"


INTERRUPTED = """
import faulthandler, os, random, signal, sys, threading
from oss_wsgi import MemoryLedger, threads
faulthandler.dump_traceback_later(100, exit=True)
sys.unraisablehook = lambda ignored: interruptions.append(ignored.exc_type)
ledger = MemoryLedger(clock=lambda: 1733227932.0)
interruptions = []

def interrupt(number, frame):
    while frame is not None:  # the hooks of logging would not stand it
        if frame.f_code.co_filename == threads.__file__:
            raise InterruptedError
        frame = frame.f_back

signal.signal(signal.SIGALRM, interrupt)
for _ in range(300):
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 2e-4))
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)

def use():
    child = os.fork()
    ledger.known([("a", "b")])
    if not child:
        os._exit(0)
    print(os.waitpid(child, 0)[1])

thread = threading.Thread(target=use)
thread.start()
thread.join()
assert interruptions
"""


@forking
def test_handlers_of_signals_that_raise_anywhere_in_the_hooks_leave_no_lock_taken() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@forking
def test_a_fork_waits_for_a_call_that_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    has_begun, may_end = threading.Event(), threading.Event()
    paused = Paused("object", seen)

    def call() -> None:
        with awaited():
            has_begun.set()
            assert may_end.wait(60)
            seen.append("call")

    wait = threads._calls.wait
    monkeypatch.setattr(threads._calls, "wait", lambda: (may_end.set(), wait()))
    thread = threading.Thread(target=call)
    thread.start()
    assert has_begun.wait(60)
    fork(lambda: True)
    thread.join()
    assert seen == ["call", "pause object", "resume object"]
    assert paused.seen is seen


@forking
def test_a_call_may_fork_itself_and_its_child_may_call() -> None:
    def called() -> bool:
        with awaited():
            return True

    with awaited():
        with awaited():
            pass
        fork(called)
    assert called()
    assert not threads._calls.callers


@forking
def test_a_fork_waits_a_while_only_for_a_call_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "PATIENCE", 0.01)
    has_begun, may_end = threading.Event(), threading.Event()

    def call() -> None:
        with awaited():
            has_begun.set()
            assert may_end.wait(60)

    thread = threading.Thread(target=call)
    thread.start()
    assert has_begun.wait(60)
    fork(lambda: True)
    may_end.set()
    thread.join()


@forking
def test_an_object_made_during_a_fork_is_not_paused_by_it() -> None:
    seen: list[str] = []
    made: list[Paused] = []
    first = Paused("first", seen, lambda: made.append(Paused("second", seen)))
    fork(lambda: seen == ["pause first", "resume first", "renew first", "renew second"])
    assert seen == ["pause first", "resume first"]
    assert first.name == "first"


@forking
def test_an_object_that_nobody_else_needs_lives_until_the_fork_is_over() -> None:
    seen: list[str] = []
    kept: list[Paused] = []

    def drop() -> None:
        kept.clear()
        gc.collect()

    first = Paused("first", seen, drop)
    kept.append(Paused("second", seen))
    fork(lambda: True)
    assert seen == ["pause first", "pause second", "resume second", "resume first"]
    assert first.name == "first"


@forking
def test_a_fork_in_a_hook_waits_for_nothing_that_its_own_thread_has_paused() -> None:
    ledger = MemoryLedger(clock=lambda: 1733227932.0)
    seen: list[str] = []

    def fork_once() -> None:
        if "forks" not in seen:
            seen.append("forks")
            fork(lambda: ledger.known([("a", "b")]) == set())

    paused = Paused("a", seen, fork_once)
    fork(lambda: ledger.known([("a", "b")]) == set())
    assert seen == ["forks", "pause a", "resume a", "pause a", "resume a"]
    assert paused.name == "a"


@forking
def test_a_module_that_is_imported_during_a_fork_gives_back_nothing() -> None:
    code = """
import concurrent.futures.thread, os
os.register_at_fork(before=lambda: __import__("oss_wsgi.threads"))
for _ in range(2):
    child = os.fork()
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
