"""A turn of the loop is bounded: many connections that need something at once do not keep the others waiting."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import pytest

from oss_wsgi.serving import server as server_module
from oss_wsgi.serving.connection import BODY, HEADER, NEW
from oss_wsgi.serving.parser import RequestParser
from oss_wsgi.serving.sharing import Share

from ..support.server_thread import (
    REQUEST,
    SetClock,
    Wrapped,
    connect,
    held_after_turns,
    phases,
    read_response,
    running,
    small,
)
from ..support.waiting import wait_until

pytestmark = pytest.mark.slow

NUMBER = 40


class CountingPoller(Wrapped):
    """A poller that records for each turn by how much a count grew, and with how many events the turn began."""

    def __init__(self, poller: Any, count: Callable[[], int]) -> None:
        super().__init__(poller)
        self.count = count
        self.turns: list[tuple[int, int]] = []
        self.before, self.events = 0, 0

    def poll(self, timeout: float) -> Any:
        now = self.count()
        self.turns.append((now - self.before, self.events))
        events = self.wrapped.poll(timeout)
        self.before, self.events = now, len(events)
        return events


@contextmanager
def connected(server: Any, number: int) -> Iterator[list[Any]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connect(server)) for _ in range(number)]


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
def test_connections_whose_time_is_over_end_a_few_in_a_turn(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SetClock()
    with running(clock=clock) as server, connected(server, NUMBER) as clients:
        for client in clients:
            client.sendall(begin)
        wait_until(lambda: phases(server) == [HEADER if begin else NEW] * NUMBER)
        ended: list[int] = []
        expire = server_module.Connection.expire

        def counted(connection: Any) -> None:
            ended.append(connection.fd)
            expire(connection)

        monkeypatch.setattr(server_module.Connection, "expire", counted)
        server.poller = poller = CountingPoller(server.poller, lambda: len(ended))
        clock.advance(11)  # once: no turn after it waits for another second
        wait_until(lambda: len(ended) == NUMBER)
        for client in clients:
            while client.recv(4096):
                pass
        server.pull_trigger()
        wait_until(lambda: sum(count for count, _ in poller.turns) == NUMBER)
        assert max(count for count, _ in poller.turns) < NUMBER


def test_pipelined_requests_are_answered_a_few_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "BATCH_SIZE", 5)
    answered: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        answered.append(environ["PATH_INFO"])
        return small(environ, start_response)

    with running(application) as server, connected(server, NUMBER) as clients:
        wait_until(lambda: phases(server) == [NEW] * NUMBER)
        server.poller = poller = CountingPoller(server.poller, lambda: len(answered))
        server.pull_trigger()
        wait_until(lambda: poller.turns)  # the poller before does not count its events
        for client in clients:
            client.sendall(REQUEST * 20)
        for client in clients:
            data = b""
            while data.count(b"\r\n\r\nok") < 20:
                data += client.recv(65536)
        assert len(answered) == NUMBER * 20
        assert all(count <= 5 + events for count, events in poller.turns)
        wait_until(lambda: server.held == 0)
        clients[0].sendall(REQUEST)  # it is read again
        read_response(clients[0])


def test_what_waits_for_its_turn_counts_as_memory() -> None:
    with running(buffered_bytes=20_000, recv_bytes=8192) as server, connected(server, NUMBER) as clients:
        held = held_after_turns(server)
        for client in clients:
            client.sendall(REQUEST * 200)
        wait_until(lambda: len(server.connections) < 10 or not server.pending)
        with connect(server) as client:
            client.sendall(REQUEST)
            read_response(client)
    assert max(held) <= 20_000


class FixedShare(Share):
    """A share in which a process may take a fixed number of connections, whatever the others have."""

    most = 1

    def room(self, connections: int, now: float) -> int:
        return self.most


def test_a_server_that_has_its_share_leaves_new_connections_to_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as stack:
        parent = stack.enter_context(closing(Share(2)))
        shares = [FixedShare(2, number, parent.descriptors) for number in (1, 2)]
        shares[0].most = 0
        servers = [stack.enter_context(running(listener=listener.dup(), share=share)) for share in shares]
        for _ in range(10):
            client = stack.enter_context(connect(servers[0]))
            client.sendall(REQUEST)
            read_response(client)
        assert [len(server.connections) for server in servers] == [0, 10]


def test_servers_that_share_a_socket_take_new_connections_in_turn() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        servers = [stack.enter_context(running(listener=listener.dup(), shares_listeners=True)) for _ in range(2)]
        for _ in range(10):  # a round has 30 each; on a busy machine a server may sleep through one
            before = [len(server.connections) for server in servers]
            for _ in range(60):
                client = stack.enter_context(connect(servers[0]))
                client.sendall(REQUEST)
                read_response(client)
            if min(len(server.connections) - had for server, had in zip(servers, before, strict=True)) >= 15:
                return
        pytest.fail("one of two servers takes nearly all connections")


class TickingClock:
    """A clock that moves on by a step at each reading."""

    def __init__(self, tick: float) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


class SteppedPoller(Wrapped):
    """A poller that lets the loop do one turn for each ``step``, and all of them after ``is_over``."""

    def __init__(self, poller: Any) -> None:
        super().__init__(poller)
        self.is_over = False
        self.start, self.end = threading.Semaphore(0), threading.Semaphore(0)

    def step(self) -> None:
        self.start.release()
        assert self.end.acquire(timeout=60)

    def poll(self, timeout: float) -> Any:
        if not self.is_over:
            self.end.release()
            assert self.start.acquire(timeout=60)
        return self.wrapped.poll(0.0)


@pytest.mark.parametrize("chunk", [b"1\r\nx\r\n", b"1;a=b\r\nx\r\n"], ids=["plain", "with an extension"])
def test_chunks_of_many_connections_let_a_small_request_pass(chunk: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    chunks_read = []
    received = RequestParser.received

    def counted(parser: RequestParser, data: bytes) -> int:
        consumed = received(parser, data)
        if chunk in data[:consumed]:
            chunks_read.append(data[:consumed].count(chunk))
        return consumed

    monkeypatch.setattr(RequestParser, "received", counted)
    timeouts = {"header_timeout": 1e9, "body_timeout": 1e9}
    with running(clock=TickingClock(0.001), threads=1, **timeouts) as server, connected(server, NUMBER) as clients:
        server.poller = poller = SteppedPoller(server.poller)
        server.pull_trigger()
        assert poller.end.acquire(timeout=60)
        try:
            for client in clients:
                client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 8000)
            while phases(server) != [BODY] * NUMBER:
                poller.step()
            with connect(server) as client:
                client.sendall(REQUEST)
                chunks_read.clear()
                answer = b""
                turns = 0
                while not answer:
                    poller.step()
                    turns += 1
                    with suppress(BlockingIOError):
                        answer = client.recv(65536, socket.MSG_DONTWAIT)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert len(chunks_read) <= 10 * turns
            assert max(chunks_read) <= 1000
            assert sum(chunks_read) < NUMBER * 8000 / 2, "most of them wait still"
        finally:
            poller.is_over = True
            poller.start.release()
