"""How long a connection may take: for a header, for a body, between requests, and to read its response."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from oss_wsgi.serving.connection import BODY, HANDLING, HEADER, IDLE, NEW, WRITING, Phase
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


TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\n"


@pytest.mark.parametrize(
    ("begin", "phase", "seconds", "rest", "end"),
    [
        (b"", NEW, 10.0, REQUEST, b""),
        (REQUEST[:-2], HEADER, 10.0, REQUEST[-2:], TIMED_OUT),
        # 20 seconds, and one for 500 bytes ...
        (POST % 6000 + b"x" * 5000, BODY, 30.0, b"x" * 1000, TIMED_OUT),
        # ... but together with 10 and one for 50,000 bytes that it may have, not more than these.
        (POST % 60_000 + b"x" * 50_000, BODY, 31.2, b"x" * 10_000, TIMED_OUT),
        (POST % 1_000_000 + b"x" * 50_000, BODY, 50.0, b"x" * 950_000, TIMED_OUT),
        (REQUEST, IDLE, 60.0, REQUEST, b""),
    ],
    ids=["nothing", "header", "body", "body that earns all it may", "longer body", "between requests"],
)
def test_a_request_that_is_late_is_refused(
    server: Any, clock: SetClock, begin: bytes, phase: Phase, seconds: float, rest: bytes, end: bytes
) -> None:
    with connect(server) as punctual, connect(server) as late:
        for client in (punctual, late):
            client.sendall(begin)
            if phase is IDLE:
                read_response(client)
        has_come = 2 * len(begin.partition(b"\r\n\r\n")[2])
        wait_until(lambda: phases(server) == [phase, phase] and server.held >= has_come)
        clock.advance(seconds - 0.1)
        wait_for_turn(server)
        punctual.sendall(rest)
        assert read_response(punctual).startswith(b"HTTP/1.1 200 OK")
        clock.advance(1.2)  # the loop looks once a second
        response = read_all(late)
    assert response.startswith(end) and bool(response) == bool(end)
    if response:
        assert b"\r\nConnection: close\r\n" in response
        for name, value in SECURITY_HEADERS:
            assert f"\r\n{name}: {value}\r\n".encode() in response


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
