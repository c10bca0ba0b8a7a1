"""How long a connection may take: for a header, for a body, between requests, and to read its response."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from oss_wsgi.serving.connection import BODY, HANDLING, HEADER, IDLE, NEW, WRITING
from oss_wsgi.wsgi.responses import SECURITY_HEADERS

from ..support.server_thread import (
    REQUEST,
    SetClock,
    connect,
    phases,
    read_all,
    read_response,
    running,
    wait_for_turn,
)
from ..support.waiting import wait_until

pytestmark = pytest.mark.slow

POST = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def server(clock: SetClock) -> Iterator[Any]:
    with running(clock=clock) as server:
        yield server


def test_a_header_has_ten_seconds(server: Any, clock: SetClock) -> None:
    with connect(server) as quick, connect(server) as slow:
        for client in (quick, slow):
            client.sendall(REQUEST[:-2])
        wait_until(lambda: phases(server) == [HEADER, HEADER])
        clock.advance(9.9)
        quick.sendall(REQUEST[-2:])
        assert read_response(quick).startswith(b"HTTP/1.1 200 OK")
        clock.advance(1.1)  # the loop looks once a second
        answer = read_all(slow)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    for name, value in SECURITY_HEADERS:
        assert f"\r\n{name}: {value}\r\n".encode() in answer


@pytest.mark.parametrize("blanks", [b"\r\n", b"\r\n\r\n", b" \r\n\r\n", b"\r", b" "])
def test_empty_lines_earn_no_time(server: Any, clock: SetClock, blanks: bytes) -> None:
    """They stand before a request, and are ignored (RFC 9112 section 2.2)."""
    with connect(server) as first, connect(server) as later:
        later.sendall(REQUEST + blanks)
        read_response(later)
        wait_until(lambda: phases(server) == [NEW, IDLE])
        for _ in range(3):
            clock.advance(3)
            first.sendall(blanks)
            later.sendall(blanks)
        later.sendall(blanks + REQUEST)
        assert read_response(later).startswith(b"HTTP/1.1 200 ")
        assert server.held == 0
        clock.advance(2)
        assert read_all(first) == b""
        for seconds in (20, 20, 17):  # 59 since the answer
            clock.advance(seconds)
            later.sendall(blanks)
        with connect(server) as other:  # the loop has read the blanks when it answers: they would reset the connection
            other.sendall(REQUEST)
            read_response(other)
        clock.advance(1)
        assert read_all(later) == b""


def test_the_first_header_counts_from_the_accept_and_later_ones_from_their_first_byte(
    server: Any, clock: SetClock
) -> None:
    with connect(server) as first, connect(server) as later:
        later.sendall(REQUEST)
        read_response(later)
        wait_until(lambda: phases(server) == [NEW, IDLE])
        clock.advance(9)
        first.sendall(b"GET")
        later.sendall(b"GET")
        wait_until(lambda: phases(server) == [HEADER, HEADER])
        clock.advance(2)
        assert read_all(first).startswith(b"HTTP/1.1 408 ")
        later.sendall(REQUEST[3:])
        read_response(later)
        later.sendall(b"GET")
        wait_until(lambda: HEADER in phases(server))
        clock.advance(11)
        assert read_all(later).startswith(b"HTTP/1.1 408 ")


def test_a_connection_that_sends_nothing_is_closed_without_a_word(server: Any, clock: SetClock) -> None:
    with connect(server) as client:
        wait_until(lambda: phases(server) == [NEW])
        clock.advance(10.1)
        assert read_all(client) == b""


def test_a_body_has_twenty_seconds_and_a_second_for_500_bytes(server: Any, clock: SetClock) -> None:
    with connect(server) as steady, connect(server) as slow:
        steady.sendall(POST % 6000 + b"x" * 5000)
        slow.sendall(POST % 6000 + b"x" * 10)
        wait_until(lambda: phases(server) == [BODY, BODY] and server.held > 5000)
        clock.advance(29.9)
        assert read_all(slow).startswith(b"HTTP/1.1 408 ")
        steady.sendall(b"x" * 1000)
        assert read_all(steady).startswith(b"HTTP/1.1 200 ")


def test_the_time_of_a_body_counts_from_its_beginning(server: Any, clock: SetClock) -> None:
    with connect(server) as client:
        client.sendall(POST % 600)
        wait_until(lambda: phases(server) == [BODY])
        held = server.held
        clock.advance(15)
        client.sendall(b"x" * 10)
        wait_until(lambda: server.held >= held + 10)
        clock.advance(6)
        assert read_all(client).startswith(b"HTTP/1.1 408 ")


def test_what_a_body_earns_is_bounded_by_what_it_may_be(server: Any, clock: SetClock) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
    with connect(server) as short, connect(server) as long:
        short.sendall(head % 60_000 + b"x" * 50_000)
        long.sendall(head % 1_000_000 + b"x" * 50_000)
        wait_until(lambda: phases(server) == [BODY, BODY] and server.held > 100_000)
        clock.advance(31)
        wait_for_turn(server)
        assert phases(server) == [BODY, BODY]
        clock.advance(1)  # 20 s, 10 s and 60,000 bytes at 50,000 a second
        assert read_all(short).startswith(b"HTTP/1.1 408 ")
        clock.advance(17)
        wait_for_turn(server)
        assert phases(server) == [BODY]
        clock.advance(2)
        assert read_all(long).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(("seconds", "is_open"), [(59.9, True), (60.1, False)])
def test_an_idle_connection_has_a_minute(server: Any, clock: SetClock, seconds: float, is_open: bool) -> None:
    with connect(server) as client:
        client.sendall(REQUEST)
        read_response(client)
        wait_until(lambda: phases(server) == [IDLE])
        clock.advance(seconds)
        if is_open:
            client.sendall(REQUEST)
            read_response(client)
        else:
            assert read_all(client) == b""


@pytest.mark.parametrize("in_loop", [True, False])
def test_a_peer_that_does_not_read_is_reset(clock: SetClock, in_loop: bool) -> None:
    with running(clock=clock, in_loop=in_loop) as server, connect(server) as client:
        client.sendall(REQUEST.replace(b"/", b"/?20000000", 1))
        wait_until(lambda: phases(server) == [WRITING])
        clock.advance(19)
        assert phases(server) == [WRITING]
        clock.advance(1e6)
        wait_until(lambda: phases(server) == [])
        with pytest.raises(ConnectionResetError):
            read_all(client)


def test_a_peer_that_reads_earns_a_second_for_500_bytes(server: Any, clock: SetClock) -> None:
    with connect(server) as client:
        client.sendall(REQUEST.replace(b"/", b"/?40000000", 1))
        wait_until(lambda: phases(server) == [WRITING])
        (connection,) = server.connections.values()

        def has_taken() -> bool:
            client.recv(65536)
            return bool(connection.output.taken > 100_000)

        wait_until(has_taken)
        clock.advance(200)
        wait_for_turn(server)
        assert phases(server) == [WRITING]


def test_a_thread_that_writes_to_a_peer_that_does_not_read_is_freed(clock: SetClock) -> None:
    ended: list[bool] = []

    def endless(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        try:
            while True:
                yield b"x" * 100_000
        finally:
            ended.append(True)

    with running(endless, clock=clock, in_loop=False, outbuf_high_watermark=1_000_000) as server:
        with connect(server) as client:
            client.sendall(REQUEST)
            wait_until(lambda: phases(server) == [HANDLING] and server.held > 0)

            def is_over() -> bool:
                clock.advance(100)  # again and again: the wait begins with what the socket does not take
                return bool(ended)

            wait_until(is_over)
            wait_until(lambda: phases(server) == [])


def test_a_handler_may_take_as_long_as_it_likes(clock: SetClock) -> None:
    def patient(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        clock.advance(1e6)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with running(patient, clock=clock, in_loop=False) as server, connect(server) as client:
        client.sendall(REQUEST)
        read_response(client)


def test_waitress_s_own_timeout_is_the_idle_one() -> None:
    with running(channel_timeout=7) as server:
        assert server.limits.idle_timeout == 7
