"""A call within its time limit returns or raises as it would alone; calls run ahead, in order and a few at once."""

from __future__ import annotations

import sys
import threading

import pytest

from oss_wsgi.threads import TimeLimitError, call_within, calls_ahead

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
