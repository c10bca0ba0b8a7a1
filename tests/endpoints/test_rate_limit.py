"""RateLimit: a token bucket for each caller, in bounded memory that a flood cannot exploit."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oss_wsgi.endpoints.rate_limit import RateLimit
from oss_wsgi.testing import FrozenClock

from ..support.children import fork, forking


def passed(limit: RateLimit, who: str, times: int) -> int:
    return sum(limit(who) is None for _ in range(times))


def test_count_requests_pass_and_the_next_must_wait() -> None:
    limit = RateLimit(3, 60, clock=FrozenClock())
    assert [limit("user:eric") for _ in range(4)] == [None, None, None, 20.0]


def test_the_bucket_refills_evenly() -> None:
    clock = FrozenClock()
    limit = RateLimit(3, 60, clock=clock)
    assert passed(limit, "a", 5) == 3
    clock.advance(19)
    assert limit("a") == pytest.approx(1)
    clock.advance(1)
    assert passed(limit, "a", 5) == 1
    clock.advance(1000)
    assert passed(limit, "a", 5) == 3


def test_each_caller_has_its_own_bucket() -> None:
    limit = RateLimit(1, 60, clock=FrozenClock())
    assert limit("user:a") is None
    assert limit("user:b") is None
    assert limit("user:a") == 60


def test_a_refused_request_does_not_count() -> None:
    clock = FrozenClock()
    limit = RateLimit(1, 10, clock=clock)
    assert passed(limit, "a", 1000) == 1
    clock.advance(10)
    assert limit("a") is None


@pytest.mark.slow
@given(
    count=st.integers(1, 2000),
    seconds=st.floats(0.01, 1e6),
    start=st.sampled_from([0.0, 12345.678, 1733227932.123]),
    steps=st.lists(st.floats(0, 2e6), max_size=30),
)
def test_any_sequence_keeps_the_limit(count: int, seconds: float, start: float, steps: list[float]) -> None:
    clock = FrozenClock(start)
    limit = RateLimit(count, seconds, clock=clock)
    assert passed(limit, "a", count) == count
    total = 0
    for step in steps:
        clock.advance(step)
        total += limit("a") is None
    elapsed = clock() - start
    assert total <= elapsed * count / seconds + 1e-3
    wait = limit("a")
    if wait is not None:
        assert 0 < wait <= seconds / count * (1 + 1e-6)
        clock.advance(wait + 1e-6 * max(1, abs(start) / 1e9))
        assert limit("a") is None


@pytest.mark.parametrize("seconds", [7, 10, 60, 100.1, 3600])
def test_waiting_exactly_as_told_is_enough(seconds: float) -> None:
    for count in range(1, 8):
        clock = FrozenClock(1733227932.123)
        limit = RateLimit(count, seconds, clock=clock)
        passed(limit, "a", count)
        for _ in range(20):
            wait = limit("a")
            assert wait is not None
            clock.advance(wait)
            assert limit("a") is None


def test_a_clock_that_is_set_back_changes_nothing() -> None:
    clock = FrozenClock()
    limit = RateLimit(2, 10, clock=clock)
    assert passed(limit, "a", 3) == 2
    clock.advance(-3600)
    assert limit("a") == 5
    clock.advance(5)
    assert limit("a") is None


def test_a_flood_of_new_callers_keeps_memory_and_limits() -> None:
    class Caller(str):
        """A caller of whom it is known whether anything still refers to it."""

    clock = FrozenClock()
    limit = RateLimit(5, 100, clock=clock, max_callers=100)
    callers: weakref.WeakSet[Caller] = weakref.WeakSet()
    assert passed(limit, "user:greedy", 9) == 5
    for number in range(5000):
        clock.advance(0.001)
        caller = Caller(f"address:{number}")
        callers.add(caller)
        assert limit(caller) is None
        assert len(callers) <= 101, "one of them is here"
    assert limit("user:greedy") is not None


@pytest.mark.slow
def test_a_flood_gains_a_caller_less_than_one_request() -> None:
    clock = FrozenClock()
    limit = RateLimit(4, 40, clock=clock, max_callers=50)
    spent = passed(limit, "greedy", 4)
    for number in range(40000):
        clock.advance(0.01)
        limit(f"address:{number}")
        spent += limit("greedy") is None
    assert spent <= 4 + 400 / 10 + 1


def test_callers_with_a_full_bucket_are_forgotten_first() -> None:
    clock = FrozenClock()
    limit = RateLimit(2, 20, clock=clock, max_callers=4)
    for who in ("x", "y"):
        limit(who)
    clock.advance(10)
    assert passed(limit, "c", 3) == passed(limit, "d", 3) == 2
    limit("e")
    assert passed(limit, "c", 1) == passed(limit, "d", 1) == 0


def test_by_default_10_000_callers_are_remembered_and_a_tenth_is_forgotten_at_once() -> None:
    limit = RateLimit(1, 60, clock=FrozenClock())
    for number in range(10_000):
        assert limit(str(number)) is None
    assert limit("0") is not None
    assert limit("another") is None
    assert [limit(who) is None for who in ("0", "999", "1000")] == [True, True, False]


def test_max_callers_may_be_one() -> None:
    limit = RateLimit(1, 60, clock=FrozenClock(), max_callers=1)
    assert [limit("a"), limit("b")] == [None, None]
    assert limit("b") == 60
    assert limit("a") is None, "it was forgotten"


class SlowName(str):
    """A name that lets other threads run at each look-up."""

    __slots__ = ()

    def __hash__(self) -> int:
        time.sleep(0)
        return super().__hash__()

    __eq__ = str.__eq__


@pytest.mark.slow
def test_threads_share_one_limit() -> None:
    limit = RateLimit(200, 60, clock=FrozenClock(), max_callers=10)
    counts: list[int] = []
    name = SlowName("a")
    threads = [threading.Thread(target=lambda: counts.append(passed(limit, name, 100))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 200


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count must be a whole number, 1 or more, not 0."),
        ({"count": 1.5}, "count must"),
        ({"count": True}, "count must"),
        ({"count": "10"}, "count must"),
        ({"seconds": 0}, "seconds must be a number over 0, not 0."),
        ({"seconds": -1}, "seconds must"),
        ({"seconds": float("nan")}, "seconds must"),
        ({"seconds": float("inf")}, "seconds must"),
        ({"seconds": "60"}, "seconds must"),
        ({"max_callers": 0}, "max_callers must"),
        ({"clock": 7}, "clock must be a callable"),
    ],
)
def test_invalid_arguments_are_refused(wrong: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"count": 10, "seconds": 60, "clock": FrozenClock(), **wrong}
    with pytest.raises(ValueError, match=message):
        RateLimit(options.pop("count"), options.pop("seconds"), **options)


@forking
def test_a_child_that_was_forked_while_a_thread_counted_counts_itself() -> None:
    is_counting, may_go_on = threading.Event(), threading.Event()

    def clock() -> float:
        if threading.current_thread() is thread:
            is_counting.set()
            may_go_on.wait(60)
        return 0.0

    limit = RateLimit(1, 60, clock=clock)
    thread = threading.Thread(target=limit, args=["a"])
    thread.start()
    is_counting.wait(60)
    fork(lambda: limit("b") is None and limit("b") == 60.0)
    may_go_on.set()
    thread.join()
    assert limit("b") is None
