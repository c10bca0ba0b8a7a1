"""Threads: callbacks find a thread while other requests hold all that they may have."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from oss_wsgi.serving.threads import Threads, reserved_threads

from ..support.waiting import wait_until


class Task:
    """A request that ends when the test says so."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name
        self.release = threading.Event()
        self.is_cancelled = False

    def service(self) -> None:
        self.log.append(self.name)
        assert self.release.wait(60)

    def cancel(self) -> None:
        self.is_cancelled = True


class Company:
    """Threads, and the tasks that they have begun."""

    def __init__(self, count: int, *, has_callbacks: bool = True) -> None:
        self.threads = Threads(count, has_callbacks=has_callbacks)
        self.begun: list[str] = []
        self.tasks: dict[str, Task] = {}

    def add(self, *names: str) -> None:
        for name in names:
            self.tasks[name] = task = Task(self.begun, name)
            self.threads.add_task(task, is_callback=name.startswith("callback"))

    def end(self, name: str) -> None:
        self.tasks[name].release.set()

    def wait_for(self, *names: str) -> None:
        wait_until(lambda: sorted(self.begun) == sorted(names))


@pytest.fixture
def made() -> Iterator[list[Company]]:
    companies: list[Company] = []
    yield companies
    for company in companies:
        company.threads.shutdown()
        for task in company.tasks.values():
            task.release.set()


def test_a_callback_begins_while_others_hold_all_their_threads(made: list[Company]) -> None:
    made.append(company := Company(2))
    company.add("a", "b", "c", "d")
    company.wait_for("a", "b")
    company.add("callback 1")
    company.wait_for("a", "b", "callback 1")
    company.end("callback 1")
    company.add("callback 2", "callback 3")
    company.wait_for("a", "b", "callback 1", "callback 2")
    assert company.threads.waiting == 3
    company.end("a")
    company.wait_for("a", "b", "callback 1", "callback 2", "c")
    company.end("callback 2")
    company.wait_for("a", "b", "callback 1", "callback 2", "c", "callback 3")


def test_callbacks_take_each_thread_that_is_free(made: list[Company]) -> None:
    made.append(company := Company(4))
    names = [f"callback {number}" for number in range(5)]
    company.add(*names)
    company.wait_for(*names)


def test_what_comes_first_goes_first(made: list[Company]) -> None:
    """A flood of forged callbacks takes no turn of other requests."""
    made.append(company := Company(2))
    company.add("a", "b", "callback 1")
    company.wait_for("a", "b", "callback 1")
    company.add("c", "callback 2")
    company.end("a")
    company.wait_for("a", "b", "callback 1", "c")


def test_callbacks_have_a_quarter_more_threads_but_not_beside_a_single_one(made: list[Company]) -> None:
    assert [reserved_threads(count) for count in (1, 2, 4, 7, 8, 16)] == [0, 1, 1, 1, 2, 4]
    made.append(company := Company(1))
    company.add("a", "callback 1")
    company.wait_for("a")
    company.end("a")
    company.wait_for("a", "callback 1")


def test_without_callbacks_there_are_no_further_threads(made: list[Company]) -> None:
    made.append(company := Company(2, has_callbacks=False))
    company.add("a", "b", "callback")
    company.wait_for("a", "b")
    company.end("a")
    company.wait_for("a", "b", "callback")


def test_the_end_waits_for_what_has_begun_and_gives_up_the_rest(
    made: list[Company], caplog: pytest.LogCaptureFixture
) -> None:
    made.append(company := Company(2))
    company.add("a", "b", "c", "callback")
    company.wait_for("a", "b", "callback")
    ending = threading.Thread(target=company.threads.shutdown, args=(lambda: 60.0,))
    ending.start()
    for name in ("a", "b", "callback"):
        company.end(name)
    ending.join(60)
    assert company.tasks["c"].is_cancelled
    assert company.threads.waiting == 0
    assert "c" not in company.begun
    assert [record.message for record in caplog.records] == ["1 requests that waited for a thread are given up"]


def test_a_thread_that_ends_takes_nothing_of_the_time_for_the_others(made: list[Company]) -> None:
    made.append(company := Company(3, has_callbacks=False))
    names = ["a", "b", "c"]
    company.add(*names)
    company.wait_for(*names)
    asked: list[float] = []

    def seconds() -> float:  # each further question means that 0.1 s more have passed
        asked.append(time.monotonic())
        if names:
            company.end(names.pop())
        return 60.0

    company.threads.shutdown(seconds)
    assert asked[-1] - asked[0] > 0.09 * (len(asked) - 1)


def test_a_failing_request_ends_no_thread(made: list[Company], caplog: pytest.LogCaptureFixture) -> None:
    made.append(company := Company(1))

    class Failing(Task):
        def service(self) -> None:
            raise SystemExit

    company.threads.add_task(Failing([], ""))
    company.add("a")
    company.wait_for("a")
    assert "made a request fail" in caplog.text
