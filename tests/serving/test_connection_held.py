"""Responses that the loop holds back until something else is over, and requests that it leaves to a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from oss_wsgi.serving.connection import CLOSED, HANDLING, IDLE
from oss_wsgi.wsgi.questions import HOLD_KEY, WouldWaitError

from ..support.server_thread import (
    REQUEST,
    SetClock,
    connect,
    has_ended,
    phases,
    polls_of,
    read_all,
    read_response,
    running,
    small,
)
from ..support.waiting import wait_until

pytestmark = pytest.mark.slow


class Awaited:
    """An awaited thing that ends when the test says so."""

    def __init__(self, *, is_over: bool = False) -> None:
        self.is_over = is_over
        self.wake: Callable[[], None] | None = None
        self.settles = 0

    def settle(self, wake: Callable[[], None]) -> bool:
        self.settles += 1
        self.wake = wake
        return self.is_over

    def end(self) -> None:
        wait_until(lambda: self.wake)
        self.is_over = True
        assert self.wake is not None
        self.wake()


class Holding:
    """Application: holds the response to ``/`` back, and answers any other path at once."""

    def __init__(self, awaited: Awaited) -> None:
        self.awaited = awaited
        self.closed = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] != "/":
            return small(environ, start_response)
        environ[HOLD_KEY](self.awaited)
        self._start_response = start_response
        return self

    def __iter__(self) -> Iterator[bytes]:
        assert self.awaited.is_over
        self._start_response("200 OK", [("Content-Length", "2")])
        yield b"ok"

    def close(self) -> None:
        self.closed += 1


OTHER = REQUEST.replace(b"GET /", b"GET /other")


def test_what_is_over_at_once_holds_nothing_back() -> None:
    awaited = Awaited(is_over=True)
    application = Holding(awaited)
    with running(application) as server, connect(server) as client:
        for _ in range(2):
            client.sendall(REQUEST)
            read_response(client)
    assert (awaited.settles, application.closed) == (2, 2)


def test_others_are_answered_while_a_response_is_held_back() -> None:
    awaited = Awaited()
    with running(Holding(awaited)) as server, connect(server) as held, connect(server) as other:
        held.sendall(REQUEST + OTHER)
        wait_until(lambda: awaited.wake)
        other.sendall(OTHER)
        read_response(other)
        wait_until(lambda: phases(server) == sorted([HANDLING, IDLE]))
        assert [each.interest for each in server.connections.values() if each.phase == HANDLING] == [0]
        held.setblocking(False)
        with pytest.raises(BlockingIOError):
            held.recv(1)
        held.setblocking(True)
        awaited.end()
        answers = b""
        while answers.count(b"\r\n\r\nok") < 2:  # one is to what was sent ahead
            piece = held.recv(65536)
            assert piece, answers
            answers += piece


@pytest.mark.parametrize("peer", ["waits", "has closed"])
def test_a_held_response_costs_no_turns_and_has_no_deadline(peer: str) -> None:
    clock, awaited = SetClock(), Awaited()
    application = Holding(awaited)
    with running(application, clock=clock) as server, connect(server) as held:
        held.sendall(OTHER)
        read_response(held)
        held.sendall(REQUEST)
        wait_until(lambda: awaited.wake)
        if peer == "has closed":
            held.shutdown(socket.SHUT_RDWR)
        turns = polls_of(server)
        for _ in range(5):
            clock.advance(1000)
            seen = len(turns)
            wait_until(lambda: len(turns) > seen)  # noqa: B023
        assert len(turns) < 50
        assert phases(server) == [HANDLING]
        awaited.end()
        if peer == "waits":
            read_response(held)
        else:
            wait_until(lambda: not server.connections)
    assert application.closed == 1


def test_a_drain_waits_for_what_is_held_back() -> None:
    awaited = Awaited()
    with running(Holding(awaited)) as server, connect(server) as held:
        held.sendall(REQUEST)
        wait_until(lambda: awaited.wake)
        server.drain(60)
        wait_until(lambda: server.is_stopping)
        awaited.end()
        answer = read_all(held)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        wait_until(lambda: has_ended(server))


def test_a_held_response_is_not_evicted() -> None:
    awaited = Awaited()
    with running(Holding(awaited), connection_limit=1) as server, connect(server) as held:
        held.sendall(REQUEST)
        wait_until(lambda: awaited.wake)
        with contextlib.suppress(ConnectionResetError), connect(server) as other:
            assert read_all(other) == b""
        awaited.end()
        read_response(held)


def test_an_application_that_fails_after_it_began_to_wait_is_answered_500_after_that() -> None:
    awaited = Awaited()

    def failing(environ: dict[str, Any], start_response: Any) -> Any:
        environ[HOLD_KEY](awaited)
        raise KeyError

    with running(failing) as server, connect(server) as client:
        client.sendall(REQUEST)
        awaited.end()
        assert read_all(client).startswith(b"HTTP/1.1 500 ")


def test_a_body_that_fails_when_it_is_made_is_answered_500() -> None:
    awaited = Awaited(is_over=True)

    def failing(environ: dict[str, Any], start_response: Any) -> Any:
        environ[HOLD_KEY](awaited)
        return (1 // 0 for _ in "x")

    with running(failing) as server, connect(server) as client:
        client.sendall(REQUEST)
        assert read_all(client).startswith(b"HTTP/1.1 500 ")


def test_a_wake_that_comes_late_or_twice_is_no_matter() -> None:
    first = Awaited()
    application = Holding(first)
    with running(application) as server, connect(server) as client:
        client.sendall(REQUEST)
        first.end()
        read_response(client)
        second = application.awaited = Awaited()
        client.sendall(REQUEST)
        wait_until(lambda: second.wake)
        assert first.wake is not None
        first.wake()
        wait_until(lambda: second.settles == 2)
        second.end()
        read_response(client)


def test_a_server_that_stops_forgets_no_held_body() -> None:
    """The drain's time is over, and the response goes nowhere."""
    awaited = Awaited()
    with running(Holding(awaited)) as server, connect(server) as client:
        client.sendall(REQUEST)
        wait_until(lambda: awaited.wake)
        (connection,) = server.connections.values()
        server.drain(0)
        wait_until(lambda: has_ended(server))
        assert connection.phase == CLOSED
        awaited.end()


def test_a_request_that_would_wait_is_answered_by_a_thread_from_the_start() -> None:
    threads: list[str] = []
    bodies: list[bytes] = []

    def waiting(environ: dict[str, Any], start_response: Any) -> Any:
        threads.append(threading.current_thread().name)
        bodies.append(environ["wsgi.input"].read())
        if HOLD_KEY in environ:
            raise WouldWaitError
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    large = b"x" * 1_000_000
    with running(waiting, inbuf_overflow=100_000) as server, connect(server) as client:
        for body in (b"body", large):
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            read_response(client)
    assert bodies == [b"body", b"body", large, large]
    assert [name == "loop" for name in threads] == [True, False, True, False]
