"""A call within its time limit returns or raises as it would alone; a longer call is abandoned."""

from __future__ import annotations

import sys
import threading

import pytest

from oss_wsgi.threads import TimeLimitError, call_within


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
