"""How many connections, how much memory, and what an application or a client may not do to the others."""

from __future__ import annotations

import contextlib
import errno
import shutil
import socket
import threading
import tracemalloc
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from oss_wsgi.serving.connection import BODY, CLOSED, HANDLING, HEADER, IDLE, NEW, WRITING
from oss_wsgi.serving.server import evictable

from ..support.server_thread import (
    REQUEST,
    RefusingListener,
    SetClock,
    Wrapped,
    connect,
    held_after_turns,
    phases,
    read_all,
    read_response,
    running,
    small,
)
from ..support.waiting import wait_until

pytestmark = pytest.mark.slow


def post_head(length: int, more: bytes = b"", path: bytes = b"/") -> bytes:
    """Return the header of a POST whose body has ``length`` bytes."""
    return b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%s\r\n" % (path, length, more)


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_full_server_lets_the_longest_idle_connection_go_first() -> None:
    clock = SetClock()
    with running(clock=clock, connection_limit=3) as server:
        clients = [connect(server) for _ in range(3)]
        wait_until(lambda: phases(server) == [NEW] * 3)
        clients[0].sendall(b"GET")  # the oldest, whose request is not complete
        wait_until(lambda: HEADER in phases(server))
        for client in (clients[2], clients[1]):
            clock.advance(1)
            client.sendall(REQUEST)
            read_response(client)
        wait_until(lambda: phases(server) == sorted([HEADER, IDLE, IDLE]))
        for gone in (clients[2], clients[1]):
            clock.advance(1)
            clients.append(connect(server))
            clients[-1].sendall(REQUEST)
            read_response(clients[-1])
            assert is_closed(gone)
        clients[0].sendall(REQUEST[3:])  # idle ones went before it
        read_response(clients[0])
        for client in clients:
            client.close()


def test_the_address_that_holds_most_gives_way_and_what_is_handled_stays() -> None:
    class Stub:
        def __init__(self, name: str, address: str, phase: int, since: float) -> None:
            self.name, self.address, self.phase, self.since, self.fd = name, address, phase, since, 0

    stubs: Any = [
        Stub("handled", "a", HANDLING, 0),
        Stub("idle", "a", IDLE, 9),
        Stub("longest idle", "a", IDLE, 8),
        Stub("oldest body", "a", BODY, 1),
        Stub("header", "a", HEADER, 2),
        Stub("reads nothing", "a", WRITING, 1),
        Stub("other idle", "b", IDLE, 0),
        Stub("closed", "b", CLOSED, 0),
    ]
    order = [each.name for each in reversed(evictable(stubs, {"a": 6, "b": 1}, 100))]  # type: ignore[attr-defined]
    assert order == ["longest idle", "idle", "oldest body", "header", "reads nothing", "other idle"]


def test_an_address_may_hold_a_number_of_connections() -> None:
    with running(connections_per_address=2) as server:
        held = [connect(server) for _ in range(2)]
        wait_until(lambda: len(server.connections) == 2)
        with contextlib.suppress(ConnectionResetError), connect(server) as another:
            assert is_closed(another)
        held[0].close()
        wait_until(lambda: len(server.connections) == 1)
        with connect(server) as another:
            another.sendall(REQUEST)
            read_response(another)
        held[1].close()
        wait_until(lambda: server.counts == {})


def test_a_network_of_ipv6_is_one_address_and_a_mapped_ipv4_address_is_one_too() -> None:
    addresses = ["2001:db8:0:1::1", "2001:db8:0:1:2::2", "2001:db8:0:2::1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"]

    class IPv6Listener(Wrapped):
        family = socket.AF_INET6

        def _accept(self) -> Any:
            descriptor, _ = self.wrapped._accept()
            return descriptor, (addresses.pop(), 1, 0, 0)

    with running() as server, contextlib.ExitStack() as stack:
        server.listeners[0].socket = IPv6Listener(server.listeners[0].socket)
        for _ in range(len(addresses)):
            stack.enter_context(connect(server))
        wait_until(lambda: len(server.connections) == 5)
        assert sorted(server.counts.values()) == [1, 1, 1, 2]


def test_a_connection_that_is_gone_before_it_is_accepted_delays_no_other() -> None:
    class Aborting(Wrapped):
        refusals = 1

        def _accept(self) -> Any:
            if self.refusals:
                self.refusals -= 1
                raise ConnectionAbortedError(errno.ECONNABORTED, "aborted")
            return self.wrapped._accept()

    with running(clock=SetClock()) as server:  # a pause would never end
        server.listeners[0].socket = Aborting(server.listeners[0].socket)
        with connect(server) as client:
            client.sendall(REQUEST)
            read_response(client)


def test_of_many_connections_that_one_address_makes_at_once_the_first_stay() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(listener.getsockname(), 60)) for _ in range(5)]
        with running(connections_per_address=2, listener=listener) as server:
            for client in clients[:2]:
                client.sendall(REQUEST)
                read_response(client)
            wait_until(lambda: len(server.connections) == 2)
            for client in clients[2:]:
                with contextlib.suppress(ConnectionResetError):
                    assert is_closed(client)


def test_files_take_half_of_what_is_free_and_threads_half_of_that(monkeypatch: pytest.MonkeyPatch) -> None:
    megabyte = 1 << 20
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=64 * megabyte))
    with running(threads=8) as server:
        assert (server.file_bytes, server.adj.outbuf_high_watermark) == (32 * megabyte, 2 * megabyte)


def test_without_descriptors_accepting_pauses_and_others_are_served(caplog: pytest.LogCaptureFixture) -> None:
    clock = SetClock()
    with running(clock=clock) as server, connect(server) as client:
        client.sendall(REQUEST)
        read_response(client)
        (listener,) = server.listeners
        refusing = listener.socket = RefusingListener(listener.socket)
        with connect(server) as waiting:
            waiting.sendall(REQUEST)
            wait_until(lambda: refusing.attempts == 1)
            for _ in range(10):
                client.sendall(REQUEST)
                read_response(client)
            assert refusing.attempts == 1, "the loop does not try again and again"
            clock.advance(1)
            wait_until(lambda: refusing.attempts == 2)
            refusing.refusals = 0
            clock.advance(1)
            read_response(waiting)
    assert len([record for record in caplog.records if "no connection can be accepted" in record.message]) == 1


@pytest.mark.parametrize("in_loop", [True, False])
def test_a_client_that_sends_too_much_reads_the_whole_answer(in_loop: bool) -> None:
    """A close with unread bytes would reset the connection while the client still sends, which then reads nothing."""
    with running(in_loop=in_loop, clock=SetClock(), max_request_body_size=1000) as server:
        for head in (
            post_head(20_000_000),
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ):
            with connect(server) as client:
                client.sendall(head + b"x" * 20_000_000)
                answer = read_all(client)
                assert answer.startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 200 "))
                assert answer.endswith((b"(generated by server)", b"\r\n\r\nok"))


def test_memory_of_unfinished_requests_is_bounded() -> None:
    with running(buffered_bytes=300_000, max_request_header_size=30_000) as server:
        held = held_after_turns(server)
        clients = [connect(server) for _ in range(30)]
        wait_until(lambda: len(server.connections) == 30)
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000)
        wait_until(lambda: len(server.connections) < 15)
        with connect(server) as client:
            client.sendall(REQUEST)
            read_response(client)
        for client in clients:
            client.close()
        wait_until(lambda: not server.connections and server.held == 0)
    assert 200_000 < max(held) <= 300_000


def test_memory_of_requests_that_wait_for_a_thread_is_bounded() -> None:
    may_end = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        may_end.wait(60)
        return small(environ, start_response)

    with running(application, in_loop=False, buffered_bytes=60_000) as server:
        clients = [connect(server) for _ in range(12)]
        wait_until(lambda: len(server.connections) == 12)
        try:
            for client in clients:
                client.sendall(post_head(5000, b"Connection: close\r\n") + b"x" * 5000)
            wait_until(lambda: len(server.connections) == 8)
            assert 8 * 7000 < server.held <= 60_000
        finally:
            may_end.set()
        statuses = [read_all(client)[9:12] for client in clients]
        assert sorted(statuses) == [b"200"] * 8 + [b"503"] * 4
        for client in clients:
            client.close()
        wait_until(lambda: not server.connections and server.held == 0)
        with connect(server) as client:
            client.sendall(post_head(5000) + b"x" * 5000)
            read_response(client)
            wait_until(lambda: phases(server) == [IDLE] and server.held == 0)


@pytest.mark.parametrize("has_answered", [False, True])
def test_an_idle_connection_holds_less_than_four_kibibytes(has_answered: bool) -> None:
    number = 200
    with running() as server:
        with connect(server) as client:
            client.sendall(REQUEST)
            read_response(client)
        wait_until(lambda: not server.connections)
        clients = [socket.socket() for _ in range(number)]
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for client in clients:
                client.connect(("127.0.0.1", int(server.effective_port)))
                if has_answered:
                    client.sendall(REQUEST)
                    while not client.recv(100).endswith(b"ok"):
                        pass
            wait_until(lambda: len(server.connections) == number)
            held = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        for client in clients:
            client.close()
    assert held / number < 4096


@pytest.fixture
def polled(monkeypatch: pytest.MonkeyPatch) -> None:
    from oss_wsgi.serving import server
    from oss_wsgi.serving.poller import SelectorPoller

    monkeypatch.setattr(server, "make_poller", SelectorPoller)
    monkeypatch.setattr(server, "EXCLUSIVE", 0)


@pytest.mark.usefixtures("polled")
@pytest.mark.parametrize("in_loop", [True, False])
def test_a_system_without_epoll_is_served_too(in_loop: bool) -> None:
    with running(in_loop=in_loop) as server, connect(server) as slow:
        slow.sendall(REQUEST.replace(b"/", b"/?8000000", 1))
        for _ in range(3):
            with connect(server) as client:
                for _ in range(3):
                    client.sendall(REQUEST)
                    read_response(client)
        count = 0
        while count < 8_000_000:
            count += len(slow.recv(1 << 20))


def test_requests_that_wait_for_a_thread_are_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    may_end = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        may_end.wait(60)
        return small(environ, start_response)

    with running(application, in_loop=False) as server:
        clients = [connect(server) for _ in range(12)]
        try:
            for client in clients:
                client.sendall(REQUEST)
            wait_until(lambda: server.task_dispatcher.waiting == 10)
        finally:
            may_end.set()
        for client in clients:
            assert read_response(client).startswith(b"HTTP/1.1 200 ")
            client.close()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "9 requests wait for one of 2 threads: more threads may help, or a faster application"
    ]


def test_a_callback_that_finds_a_thread_is_answered_where_no_other_request_may_wait() -> None:
    may_end = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] != "/callback":
            may_end.wait(60)
        return small(environ, start_response)

    def post(client: socket.socket, path: str, size: int) -> None:
        client.sendall(post_head(size, path=path.encode()) + bytes(size))

    def is_callback(method: str, path: str, headers: Any) -> bool:
        return path == "/callback"

    with (
        running(application, in_loop=False, buffered_bytes=100_000, is_callback=is_callback) as server,
        ExitStack() as clients,
    ):
        waiting = [clients.enter_context(connect(server)) for _ in range(2)]
        try:
            for client in waiting:
                post(client, "/", 47_000)
            wait_until(lambda: phases(server) == [HANDLING] * 2)
            wait_until(lambda: server.task_dispatcher.has_idle)  # the last thread has begun
            # What follows needs more memory than is left, and is read in one piece: after a part of a request that
            # needs too much, the connection would end without an answer.
            with connect(server) as client:
                post(client, "/callback", 6000)
                assert read_response(client).startswith(b"HTTP/1.1 200 ")
            with connect(server) as client:
                post(client, "/", 6000)
                head = client.recv(65536).partition(b"\r\n\r\n")[0]
                assert head.startswith(b"HTTP/1.1 503 ")
                assert b"\r\nRetry-After: 1" in head
        finally:
            may_end.set()
        for client in waiting:
            assert read_response(client).startswith(b"HTTP/1.1 200 ")


def test_bodies_in_files_are_bounded_together() -> None:
    megabyte = 1 << 20
    with running(file_bytes=8 * megabyte) as server:
        clients = [connect(server) for _ in range(10)]
        wait_until(lambda: len(server.connections) == 10)
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(post_head(3 * megabyte) + bytes(2 * megabyte))
        wait_until(lambda: len(server.connections) <= 4)
        wait_until(lambda: server.held < megabyte)  # the last bytes have come, so all are in files
        assert megabyte < server.filed <= 8 * megabyte
        with connect(server) as client:
            client.sendall(REQUEST)
            read_response(client)
        for client in clients:
            client.close()
        wait_until(lambda: not server.connections)
        assert server.filed == server.held == 0


def test_files_of_requests_that_wait_for_a_thread_are_bounded() -> None:
    may_end = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        may_end.wait(60)
        return small(environ, start_response)

    body = bytes(2 << 20)
    with running(application, in_loop=False, file_bytes=5 << 20) as server, contextlib.ExitStack() as stack:
        stack.callback(may_end.set)
        request = post_head(len(body), b"Connection: close\r\n") + body
        clients = [stack.enter_context(connect(server)) for _ in range(3)]
        for number, client in enumerate(clients[:2], start=1):
            client.sendall(request)
            wait_until(lambda number=number: phases(server).count(HANDLING) == number)
        with contextlib.suppress(ConnectionError):
            clients[2].sendall(request)
        assert is_closed(clients[2])
        may_end.set()
        for client in clients[:2]:
            assert read_all(client).startswith(b"HTTP/1.1 200 ")


def test_a_body_of_a_mebibyte_is_held_in_memory_and_counts() -> None:
    with running(max_request_body_size=1000, body_limit=lambda method, path: 1 << 20) as server:
        with connect(server) as client:
            client.sendall(post_head(1 << 20) + bytes((1 << 20) - 1))
            wait_until(lambda: server.held > 1 << 20)
            assert server.filed == 0
            client.sendall(b"x")
            read_response(client)
        wait_until(lambda: not server.connections)
        assert server.held == 0


def test_more_connections_than_descriptors_are_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    limit = 10**9
    with running(connection_limit=limit, max_request_body_size=1000) as server:
        assert 16 <= server.connection_limit < limit
        messages = [record.getMessage() for record in caplog.records]
    (message,) = (each for each in messages if "were asked for" in each)
    assert message.startswith(f"{limit} connections were asked for, and {server.connection_limit} are used: ")


def test_a_full_server_accepts_no_more_than_it_may_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are replaced in the same turn have a descriptor until then."""
    most = 0

    class Counted(dict[int, Any]):
        def __setitem__(self, fd: int, connection: Any) -> None:
            nonlocal most
            super().__setitem__(fd, connection)
            most = max(most, len(self))

    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener, contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(socket.create_connection(listener.getsockname(), 60))
        with running(listener=listener, connection_limit=10) as server:
            server.connections = Counted(server.connections)
            with connect(server) as client:
                client.sendall(REQUEST)
                read_response(client)
    assert most <= 20


@pytest.mark.parametrize(
    ("path", "prefix", "expected"),
    [("///a", "", "/a"), ("/b/a", "/b", "/a"), ("//b/a", "/b", "/a"), ("/ba", "/b", "/ba")],
)
def test_application_is_asked_about_the_path_that_it_gets(path: str, prefix: str, expected: str) -> None:
    asked: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        asked.append(environ["PATH_INFO"])
        return small(environ, start_response)

    def is_nonblocking(method: str, path: str, headers: Any) -> bool:
        asked.append(path)
        return True

    def body_limit(method: str, path: str) -> int:
        asked.append(path)
        return 1000

    request = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".encode()
    with running(application, in_loop=is_nonblocking, body_limit=body_limit, url_prefix=prefix) as server:
        with connect(server) as client:
            client.sendall(request)
            assert read_response(client).startswith(b"HTTP/1.1 200")
    assert set(asked) == {expected}
