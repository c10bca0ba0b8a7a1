"""Batches: what gathers while a batch is under way, and how failures reach all who wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from oss_wsgi.redis.batches import Batches

DEADLINE = 60.0


class Server:
    """Answers each number with its square, the first batch when it is told to."""

    def __init__(self, fail: Callable[[], None] = lambda: None) -> None:
        self.batches: list[list[int]] = []
        self.started, self.may_answer = threading.Event(), threading.Event()
        self._fail = fail

    def __call__(self, numbers: list[int]) -> list[object]:
        self.batches.append(sorted(numbers))
        if len(self.batches) == 1:
            self.started.set()
            assert self.may_answer.wait(DEADLINE)
            self._fail()
        return [number * number if number < 100 else ValueError(str(number)) for number in numbers]


def asked(server: Server, first: int, *others: int) -> list[Future[object]]:
    """Ask for the first number, and for the others while it is under way; then let the server answer."""
    batches = Batches(server)
    pool = ThreadPoolExecutor(len(others) + 1)
    futures = [pool.submit(batches.ask, first)]
    assert server.started.wait(DEADLINE)
    for count, number in enumerate(others, 1):
        futures.append(pool.submit(batches.ask, number))
        while len(batches._waiting) < count:
            server.may_answer.wait(0.001)
    server.may_answer.set()
    for future in futures:
        future.exception(DEADLINE)
    pool.shutdown()
    assert batches.ask(9) == 81, "whatever happened, the next request is sent"
    return futures


def test_what_comes_while_a_batch_is_under_way_is_sent_together() -> None:
    server = Server()
    assert [future.result() for future in asked(server, 1, 2, 3, 4)] == [1, 4, 9, 16]
    assert server.batches == [[1], [2, 3, 4], [9]]


def test_an_error_is_raised_for_its_own_request() -> None:
    futures = asked(Server(), 1, 200, 3)
    assert [futures[0].result(), futures[2].result()] == [1, 9]
    with pytest.raises(ValueError, match="200"):
        futures[1].result()


def test_a_server_that_is_away_fails_those_that_wait_too() -> None:
    def fail() -> None:
        raise OSError("away")

    server = Server(fail)
    for future in asked(server, 1, 2, 3):
        with pytest.raises(OSError, match="away"):
            future.result()
    assert server.batches == [[1], [9]]


def test_an_interrupted_thread_does_not_take_others_with_it() -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    first, *others = asked(Server(fail), 1, 2, 3)
    assert isinstance(first.exception(), KeyboardInterrupt)
    assert [future.result() for future in others] == [4, 9]
