"""Bodies that arrive over ASGI: their deadlines, and the memory that they share."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from oss_wsgi.exceptions import BodyTimeoutError, MemoryTakenError
from oss_wsgi.serving.bodies import BODIES, Bodies
from oss_wsgi.serving.bounds import OBJECTS_BYTES, Limits

from ..support.waiting import TIMEOUT

KIBIBYTE = 1024
LARGE = 100 * KIBIBYTE


class Client:
    """Sends pieces of a body, and then nothing until the test says more."""

    def __init__(self, *pieces: bytes, ends: bool = False) -> None:
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, piece in enumerate(pieces, start=1):
            self.send(piece, more=not (ends and number == len(pieces)))

    def send(self, piece: bytes, *, more: bool = True) -> None:
        self.messages.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    async def receive(self) -> dict[str, Any]:
        return await self.messages.get()


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, TIMEOUT))


def bodies(**limits: Any) -> Bodies:
    return Bodies(Limits(**limits), clock=time.monotonic)


async def read(
    bodies: Bodies, client: Client, length: int = LARGE, *, host: str = "a", has_thread: bool = False
) -> bytes | Exception | None:
    """Read a body, and count it no longer; return the error instead of raising it."""
    with bodies.count(host) as body:
        try:
            stream = await body.read(client.receive, length, has_thread=lambda: has_thread)
        except (BodyTimeoutError, MemoryTakenError) as error:
            return error
        return None if stream is None else stream.read()


async def arriving(bodies: Bodies, client: Client, count: int, **options: Any) -> asyncio.Task[Any]:
    """Begin to read a body, and return when so many bytes of all are counted."""
    task = asyncio.create_task(read(bodies, client, **options))
    while bodies.held < count:
        assert not task.done(), task
        await asyncio.sleep(0)
    return task


def test_the_bounds_are_those_of_make_server_for_the_whole_process() -> None:
    assert BODIES.limits == Limits()


def test_a_body_is_returned_whole_and_counted_until_its_request_ends() -> None:
    async def requests() -> None:
        each = bodies()
        client = Client(b"ab", b"", b"c", ends=True)
        with each.count("a") as body:
            stream = await body.read(client.receive, 3, has_thread=lambda: False)
            assert stream is not None
            assert stream.read() == b"abc"
            assert each.held == OBJECTS_BYTES + 3
        assert each.held == 0
        assert await read(each, Client(b"ab", ends=True), 3) == b"ab", "shorter than announced"
        assert await read(each, Client(b"ab", b"cd", b"ef"), 3) == b"abcd", "no more is read"
        gone = Client(b"ab")
        gone.messages.put_nowait({"type": "http.disconnect"})
        assert await read(each, gone) is None
        assert each.held == 0

    run(requests())


@pytest.mark.slow
def test_a_body_that_stops_ends_at_its_deadline() -> None:
    async def requests() -> None:
        each = bodies(body_timeout=0.2)
        error = await read(each, Client(b"a" * 10), 5)
        assert not isinstance(error, Exception), "10 bytes of 5: nothing to wait for"
        error = await read(each, Client(b"a" * 10))
        assert isinstance(error, BodyTimeoutError)
        assert (error.reason, "of 102400 bytes 10 came within" in error.hint) == ("body_timeout", True)
        assert each.held == 0

    run(requests())


@pytest.mark.parametrize(
    ("received", "longest", "seconds"),
    [
        (0, 65_536, 20),
        (500, 65_536, 21),
        (5000, 65_536, 30),
        (65_536, 65_536, 31.3),
        (1 << 20, 1 << 20, 51),
        (9, 0, 20),
    ],
)
def test_bytes_that_arrive_earn_time_up_to_a_bound(received: int, longest: int, seconds: float) -> None:
    assert Limits().body_seconds(received, longest) == pytest.approx(seconds, abs=0.03)


def test_beyond_the_bound_the_oldest_body_of_the_address_that_has_most_is_given_up() -> None:
    async def requests() -> None:
        each = bodies(buffered_bytes=4 * LARGE)
        piece = bytes(LARGE - 1)
        honest = await arriving(each, Client(piece), LARGE, host="192.0.2.1")
        greedy = [
            await arriving(each, Client(piece), number * LARGE, host=host)
            for number, host in enumerate(("2001:db8::1", "2001:db8::2"), start=2)
        ]
        last = asyncio.create_task(read(each, Client(piece, b"x", ends=True), host="192.0.2.9"))
        assert await last == piece + b"x", "the newcomer has its body"
        error = await greedy[0]
        assert isinstance(error, MemoryTakenError)
        assert error.reason == "memory_taken"
        assert not honest.done()
        assert not greedy[1].done()
        honest.cancel()
        greedy[1].cancel()

    run(requests())


def test_requests_that_have_ended_count_for_no_address() -> None:
    async def requests() -> None:
        each = bodies(buffered_bytes=4 * LARGE)
        piece = bytes(LARGE - 1)
        for _ in range(3):
            await read(each, Client(b"ab", ends=True), 2, host="a")
        first = await arriving(each, Client(piece), LARGE, host="a")
        others = [await arriving(each, Client(piece), number * LARGE, host="b") for number in (2, 3)]
        assert await read(each, Client(piece, ends=True), host="c") == piece
        assert isinstance(await others[0], MemoryTakenError)
        assert not (first.done() or others[1].done())
        first.cancel()
        others[1].cancel()

    run(requests())


def test_a_body_that_alone_is_too_much_is_given_up_and_read_no_further() -> None:
    async def requests() -> None:
        each = bodies(buffered_bytes=LARGE)
        client = Client(*[bytes(LARGE // 2)] * 9)
        assert isinstance(await read(each, client, 5 * LARGE), MemoryTakenError)
        assert client.messages.qsize() >= 6
        assert each.held == 0

    run(requests())


def test_what_is_handled_is_not_given_up_and_others_are_refused_meanwhile() -> None:
    async def requests() -> None:
        each = bodies(buffered_bytes=LARGE)
        with each.count("a") as body:
            await body.read(Client(bytes(LARGE - OBJECTS_BYTES), ends=True).receive, LARGE, has_thread=lambda: False)
            assert each.held == LARGE
            for ends in (True, False):
                error = await read(each, Client(b"report", ends=ends), 60)
                assert isinstance(error, MemoryTakenError)
            whole = Client(b"report", ends=True)
            assert await read(each, whole, 6, has_thread=True) == b"report", "a thread waits for it"
            assert each.held == LARGE
        assert await read(each, Client(b"report", ends=True), 6) == b"report"

    run(requests())


def test_many_bodies_that_stop_hold_no_more_than_the_bound() -> None:
    async def requests() -> None:
        each = bodies(buffered_bytes=10 * LARGE)
        tasks = [asyncio.create_task(read(each, Client(bytes(LARGE - 1)))) for _ in range(150)]
        while sum(task.done() for task in tasks) < 140:
            assert each.held <= 10 * LARGE
            await asyncio.sleep(0)
        assert all(isinstance(task.result(), MemoryTakenError) for task in tasks if task.done())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert each.held == 0

    run(requests())


def test_a_request_that_is_cancelled_stops_reading() -> None:
    async def requests() -> None:
        each = bodies()
        cancelled = asyncio.Event()

        class Noting(Client):
            async def receive(self) -> dict[str, Any]:
                try:
                    return await super().receive()
                except asyncio.CancelledError:
                    cancelled.set()
                    raise

        task = await arriving(each, Noting(b"half"), OBJECTS_BYTES + 4)
        task.cancel()
        await cancelled.wait()
        await asyncio.gather(task, return_exceptions=True)
        assert each.held == 0

    run(requests())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_counts_none_of_its_parents_bodies() -> None:
    async def requests() -> None:
        each = bodies()
        with each.count("a"):
            child = os.fork()
            if not child:
                os._exit(each.held)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert each.held == OBJECTS_BYTES

    run(requests())


@pytest.mark.slow
def test_loops_of_other_threads_share_the_bound() -> None:
    each = bodies(buffered_bytes=2 * LARGE)
    errors: list[Any] = []
    first = threading.Thread(target=lambda: errors.append(run(read(each, Client(bytes(LARGE - 1))))))
    first.start()

    async def second() -> None:
        while each.held < LARGE:
            await asyncio.sleep(0.001)
        task = await arriving(each, Client(bytes(LARGE - 1)), LARGE)
        await asyncio.to_thread(first.join, TIMEOUT)
        task.cancel()

    run(second())
    assert [type(error) for error in errors] == [MemoryTakenError]
