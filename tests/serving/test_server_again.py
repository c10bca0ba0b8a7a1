"""Another try of a request, for which an application asks: the request waits in the loop, not in a thread."""

from __future__ import annotations

from typing import Any

import pytest

from oss_wsgi.wsgi.responses import AGAIN_KEY, THREADS_KEY

from ..support.server_thread import SetClock, connect, phases, read_response, running
from ..support.waiting import wait_until

pytestmark = pytest.mark.slow

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no try count as long, as a busy machine may hold one up."""
    monkeypatch.setattr("oss_wsgi.serving.task.QUICK_SECONDS", 3600.0)


class Refuses:
    """An application that asks for another try a number of times, and records the body of each."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.bodies: list[bytes] = []
        self.environ: dict[str, Any] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.environ = environ
        self.bodies.append(environ["wsgi.input"].read())
        if len(self.bodies) <= self.times:
            environ[AGAIN_KEY].is_asked = environ[AGAIN_KEY].is_offered
            start_response("503 Service Unavailable", [("Content-Length", "2")])
        else:
            start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]


@pytest.mark.parametrize("request_bytes", [POST, CHUNKED], ids=["plain", "chunked"])
def test_the_client_sees_the_last_response_alone_and_each_try_has_the_body(request_bytes: bytes) -> None:
    clock = SetClock()
    application = Refuses(2)
    with running(application, in_loop=False, clock=clock) as server, connect(server) as client:
        waiting = waiting_for_a_try(server)
        for _ in range(2):  # the connection stays
            waiting.clear()
            application.bodies.clear()
            client.sendall(request_bytes)
            for count in (1, 2):
                wait_until(lambda count=count: len(waiting) == count)  # type: ignore[misc]
                clock.advance(0.2)
            assert read_response(client).startswith(b"HTTP/1.1 200 OK")
            assert application.bodies == [b"hello"] * 3
    assert application.environ[THREADS_KEY] == 2


def test_what_is_refused_each_time_is_answered_so() -> None:
    application = Refuses(1000)
    with running(application, in_loop=False) as server, connect(server) as client:
        client.sendall(POST)
        assert read_response(client).startswith(b"HTTP/1.1 503")
    assert len(application.bodies) > 1


def waiting_for_a_try(server: Any) -> list[Any]:
    """Return a list that gets each connection whose request is put off from now on."""
    put_off, waiting = server.put_off, []

    def note(connection: Any) -> None:
        put_off(connection)
        waiting.append(connection)

    server.put_off = note
    return waiting


def test_requests_that_wait_for_a_try_hold_no_thread_and_are_bounded() -> None:
    """The clock stands: 64 wait, one more is answered, and so is another request."""
    clock = SetClock()

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        again = environ[AGAIN_KEY]
        again.is_asked = again.is_offered and environ["QUERY_STRING"] == "again"
        start_response("200 OK", [("Content-Length", "2")])
        return [b"ok"]

    with running(application, in_loop=False, clock=clock, threads=1) as server:
        waiting = waiting_for_a_try(server)
        clients = [connect(server) for _ in range(66)]
        for client in clients[:64]:
            client.sendall(b"GET /?again HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_until(lambda: len(waiting) == 64)
        for client, query in zip(clients[64:], (b"again", b"other"), strict=True):
            client.sendall(b"GET /?%s HTTP/1.1\r\nHost: a\r\n\r\n" % query)
            read_response(client)
        assert len(waiting) == 64
        clients[0].close()
        clock.advance(1)
        read_response(clients[1])
        for client in clients:
            client.close()
        wait_until(lambda: phases(server) == [])


def test_the_end_of_another_request_brings_the_next_try_and_more_patience() -> None:
    """The clock moves after each end: in all longer than a request waits while none ends."""
    clock = SetClock()
    refusals = 5

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        nonlocal refusals
        again = environ[AGAIN_KEY]
        again.frees_others = environ["QUERY_STRING"] == "ends"
        status = "200 OK"
        if environ["QUERY_STRING"] == "waits" and refusals:
            refusals -= 1
            again.is_asked = again.is_offered
            status = "503 Service Unavailable"
        start_response(status, [("Content-Length", "2")])
        return [b"ok"]

    with running(application, in_loop=False, clock=clock) as server:
        put_off = waiting_for_a_try(server)
        with connect(server) as waiting, connect(server) as other:
            waiting.sendall(b"GET /?waits HTTP/1.1\r\nHost: a\r\n\r\n")
            for number in (1, 2, 3, 4, 5):
                wait_until(lambda number=number: len(put_off) == number)  # type: ignore[misc]
                other.sendall(b"GET /?ends HTTP/1.1\r\nHost: a\r\n\r\n")
                read_response(other)
                clock.now += 0.15
            assert read_response(waiting).startswith(b"HTTP/1.1 200")


def test_a_try_that_took_long_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oss_wsgi.serving.task.QUICK_SECONDS", 0.0)
    application = Refuses(1000)
    with running(application, in_loop=False) as server, connect(server) as client:
        client.sendall(POST)
        assert read_response(client).startswith(b"HTTP/1.1 503")
    assert len(application.bodies) == 1


def test_a_drain_answers_what_waits_for_its_try() -> None:
    """The clock stands, so that no other try is due."""
    clock = SetClock()
    application = Refuses(1000)
    with running(application, in_loop=False, clock=clock) as server, connect(server) as client:
        waiting = waiting_for_a_try(server)
        client.sendall(POST)
        wait_until(lambda: waiting)
        server.drain(60)
        assert read_response(client).startswith(b"HTTP/1.1 503 ")
        assert len(application.bodies) == 2


def test_the_loop_ends_while_a_request_waits_for_its_try() -> None:
    clock = SetClock()
    application = Refuses(1000)
    with running(application, in_loop=False, clock=clock) as server, connect(server) as client:
        waiting = waiting_for_a_try(server)
        client.sendall(POST)
        wait_until(lambda: waiting)
