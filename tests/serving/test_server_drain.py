"""The end in order: what has begun is answered, idle connections end, and nothing waits longer than it may."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from math import nan
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.endpoints.health import ReadinessEndpoint
from oss_wsgi.serving import make_server
from oss_wsgi.serving.connection import HANDLING, HEADER, IDLE, NEW

from ..support.absent import INHERITED_SOCKETS, PROCESSES
from ..support.forks import start
from ..support.ports import listens
from ..support.running_server import SERVER, clean_environ, running_server
from ..support.server_thread import (
    REQUEST,
    RefusingListener,
    SetClock,
    Wrapped,
    connect,
    has_ended,
    phases,
    polls_of,
    read_all,
    read_response,
    running,
    small,
    wait_for_turn,
)
from ..support.waiting import wait_until
from .test_listeners import HAND_OVER

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("in_loop", [True, False])
def test_what_has_begun_is_answered_and_ends_its_connection(in_loop: bool) -> None:
    with running(in_loop=in_loop) as server, connect(server) as begun, connect(server) as idle:
        begun.sendall(REQUEST[:-2])
        idle.sendall(REQUEST)
        read_response(idle)
        wait_until(lambda: phases(server) == sorted([HEADER, IDLE]))
        server.drain(60)
        assert read_all(idle) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(server)
        begun.sendall(REQUEST[-2:])
        answer = read_all(begun)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        wait_until(lambda: has_ended(server))


def test_a_request_in_a_thread_is_answered() -> None:
    release = threading.Event()

    def slow(environ: dict[str, Any], start_response: Any) -> Any:
        release.wait(60)
        return small(environ, start_response)

    with running(slow, in_loop=False) as server, connect(server) as client:
        client.sendall(REQUEST)
        wait_until(lambda: phases(server) == [HANDLING])
        server.drain(60)
        wait_until(lambda: server.is_stopping)
        release.set()
        answer = read_all(client)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer


def test_what_stands_in_the_backlog_is_answered() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        server = make_server(small, listener, lambda method, path, headers: True, threads=1, ident=None)
        clients = [connect(server) for _ in range(100)]
        for client in clients:
            client.sendall(REQUEST)
        server.drain(60)
        server.run()
    for client in clients:
        with client:
            assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_connection_that_sent_nothing_has_two_seconds_for_its_request() -> None:
    clock = SetClock()
    with running(clock=clock) as server, connect(server) as late, connect(server) as silent:
        wait_until(lambda: phases(server) == [NEW, NEW])
        server.drain(60)
        wait_until(lambda: server.is_stopping)
        clock.advance(1.9)
        late.sendall(REQUEST)
        assert read_all(late).startswith(b"HTTP/1.1 200 OK\r\n")
        clock.advance(0.2)
        assert read_all(silent) == b""


def test_the_end_comes_after_the_seconds_at_the_latest() -> None:
    clock = SetClock()
    release = threading.Event()

    def stuck(environ: dict[str, Any], start_response: Any) -> Any:
        release.wait(60)
        return small(environ, start_response)

    with running(stuck, in_loop=False, clock=clock) as server, connect(server) as client:
        client.sendall(REQUEST)
        wait_until(lambda: phases(server) == [HANDLING])
        server.drain(10, delay=5)
        clock.advance(4.9)
        wait_for_turn(server)
        assert not server.is_stopping
        connect(server).close()  # new ones are still accepted
        clock.advance(10)
        wait_until(lambda: server.is_stopping)
        wait_for_turn(server)
        clock.advance(0.2)
        wait_until(lambda: has_ended(server))
        release.set()


@pytest.mark.parametrize("times", [(-1, 0), (1, -0.1), (nan, 0), (1, nan)])
def test_times_that_are_none_are_refused(times: tuple[float, float]) -> None:
    with running() as server:
        with pytest.raises(ValueError, match="must be 0 or more, not"):
            server.drain(*times)
        assert not server.draining


def test_a_backlog_that_meets_a_lack_of_descriptors_is_taken_later() -> None:
    """The listener stays open until what waits there has been accepted."""
    with running() as server, connect(server) as idle:
        idle.sendall(REQUEST)
        read_response(idle)
        refusing = server.listeners[0].socket = RefusingListener(server.listeners[0].socket, refusals=5)
        with connect(server) as client:
            server.drain(60)
            client.sendall(REQUEST)
            assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")
        assert read_all(idle) == b""
        wait_until(lambda: has_ended(server))
        assert refusing.refusals == 0


def test_a_drain_without_descriptors_does_not_spin() -> None:
    clock = SetClock()
    with running(clock=clock) as server:
        server.listeners[0].socket = RefusingListener(server.listeners[0].socket)
        server.drain(60)
        wait_until(lambda: server.is_stopping)
        waits = polls_of(server)
        wait_until(lambda: len(waits) > 5)
        assert all(wait > 0 for wait in waits)


def test_a_second_call_ends_at_once() -> None:
    with running() as server, connect(server) as client:
        client.sendall(b"GET")
        wait_until(lambda: phases(server) == [HEADER])
        server.drain(3600, delay=3600)
        server.drain(0)
        wait_until(lambda: has_ended(server))


def test_a_second_call_prolongs_neither_the_delay_nor_the_end() -> None:
    clock = SetClock()
    with running(clock=clock) as server, connect(server) as client:
        client.sendall(b"GET")
        wait_until(lambda: phases(server) == [HEADER])
        server.drain(10, delay=5)
        server.drain(3600, delay=3600)
        clock.advance(5.1)
        wait_until(lambda: server.is_stopping)
        clock.advance(10)
        wait_until(lambda: has_ended(server))


@pytest.mark.parametrize("in_loop", [True, False])
def test_readiness_says_draining_while_the_listener_is_open(in_loop: bool) -> None:
    clock = SetClock()
    readiness = ReadinessEndpoint({}, clock=clock)

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        return readiness({**environ, "PATH_INFO": ""}, start_response)

    def ask() -> bytes:
        with connect(server) as client:
            client.sendall(REQUEST.replace(b"Host", b"Connection: close\r\nHost"))
            return read_all(client)

    with running(application, in_loop=in_loop, clock=clock) as server:
        assert ask().startswith(b"HTTP/1.1 200 OK\r\n")
        server.drain(10, delay=5)
        answer = ask()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert answer.endswith(b'{"status": "unavailable", "failing": ["draining"]}')
        clock.advance(6)
        wait_until(lambda: has_ended(server))


def test_a_wake_up_is_not_lost_when_a_thread_reports_while_the_loop_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[str] = []
    make_pair = socket.socketpair

    class Reader(Wrapped):
        """What the loop reads from; a thread reports while it does."""

        def recv(self, size: int) -> bytes:
            if not reported:
                reported.append("while the loop reads")
                server.report(object())
            return bytes(self.wrapped.recv(size))

    readers: list[Reader] = []

    def pair() -> tuple[Any, socket.socket]:
        reader, writer = make_pair()
        readers.append(Reader(reader))
        return readers[0], writer

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(socket, "socketpair", pair)
        server = make_server(small, listener, threads=1)
        monkeypatch.undo()
        assert not server.is_signal(SystemExit()), "it reads"
        server.report(object())
        assert readers[0].recv(10) == b"\0"
        server.task_dispatcher.shutdown()
        server.close()


PROGRAM = """
import signal, socket
from oss_wsgi.serving import make_server

def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

listener = socket.create_server(("127.0.0.1", 0))
server = make_server(application, listener, lambda method, path, headers: True)
if {handles}:
    signal.signal(signal.SIGTERM, lambda number, frame: server.drain(60))
print(server.effective_port, flush=True)
server.run()
print("ended", flush=True)
"""


@pytest.mark.parametrize(("handles", "number"), [(True, signal.SIGTERM), (False, signal.SIGINT)])
def test_a_signal_ends_anybody_s_application(handles: bool, number: int) -> None:
    """A handler that drains, or Python's own of Ctrl-C, which raises."""
    with start(["-c", PROGRAM.format(handles=handles)], os.environ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(REQUEST)
            read_response(client)
            process.send_signal(number)
            assert process.communicate(timeout=60)[0] == "ended\n"
    assert process.returncode == 0


SWALLOWING = """
import os, signal, socket
from oss_wsgi.serving import make_server

def application(environ, start_response):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    except BaseException as error:
        print(type(error).__name__, flush=True)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]

signal.signal(signal.SIGINT, signal.default_int_handler)
listener = socket.create_server(("127.0.0.1", 0))
server = make_server(application, listener, lambda method, path, headers: True)
print(server.effective_port, flush=True)
server.run()
print("ended", flush=True)
"""


def test_ctrl_c_that_the_application_swallows_ends_the_server() -> None:
    with start(["-c", SWALLOWING], os.environ) as process:
        assert process.stdout is not None
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline())), 60) as client:
            client.sendall(REQUEST)
            assert process.communicate(timeout=60)[0] == "KeyboardInterrupt\nended\n"
    assert process.returncode == 0


RAISING = """
import os, signal, socket, sys
from oss_wsgi.serving import make_server

class Handler:
    def method(self, number, frame):
        sys.exit()

    def __call__(self, number, frame):
        sys.exit()

def function(number, frame):
    sys.exit()

def application(environ, start_response):
    os.kill(os.getpid(), getattr(signal, environ["QUERY_STRING"]))
    for _ in range(1000):
        pass
    raise SystemExit

signal.signal(signal.SIGUSR1, lambda number, frame: None)
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, {handler})
listener = socket.create_server(("127.0.0.1", 0))
server = make_server(application, listener, lambda method, path, headers: True)
print(server.effective_port, flush=True)
server.run()
print("ended", flush=True)
"""


@pytest.mark.parametrize("handler", ["function", "Handler().method", "Handler()"])
def test_only_what_a_signal_s_handler_raises_ends_the_server(handler: str) -> None:
    """SystemExit of the application itself is answered 500, also right after a signal whose handler raised nothing."""
    with start(["-c", RAISING.format(handler=handler)], os.environ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for name in ("SIGUSR1", "SIGCHLD", "SIGUSR1"):
            with socket.create_connection(("127.0.0.1", port), 60) as client:
                client.sendall(REQUEST.replace(b"/ ", f"/?{name} ".encode()))
                assert read_all(client).startswith(b"HTTP/1.1 500 ")
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(REQUEST.replace(b"/ ", b"/?SIGTERM "))
            assert process.communicate(timeout=60)[0] == "ended\n"
    assert process.returncode == 0


@pytest.mark.parametrize("numbers", [["SIGTERM"], ["SIGHUP"], ["SIGINT"], ["SIGTERM", "SIGTERM"], ["SIGINT", "SIGHUP"]])
def test_server_py_cleans_up_whatever_ends_it(tmp_path: Path, numbers: list[str]) -> None:
    """A request that never ends holds the first signal; the second one ends at once."""
    with running_server("--drain", "3600" if numbers[1:] else "10", TMPDIR=str(tmp_path)) as server:
        assert list(tmp_path.iterdir())
        host, _, port = server.url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), 60) as client:
            if numbers[1:]:
                client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n")
            else:
                client.sendall(b"GET /oss/health HTTP/1.1\r\nHost: a\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 200")
            for count, name in enumerate(numbers):
                if count:  # the first has been handled
                    wait_until(lambda: not listens(server.url))
                os.kill(server.process.pid, getattr(signal, name))
            assert server.process.wait(60) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=PROCESSES)])
def test_signals_until_it_has_ended_leave_the_exit_status_0(processes: str, name: str) -> None:
    with running_server("--processes", processes) as server:
        server.log("Ctrl-C ends it.")
        while server.process.poll() is None:
            server.process.send_signal(getattr(signal, name))
            time.sleep(0.0005)  # or it has no time to end
        assert server.process.returncode == 0


@INHERITED_SOCKETS
def test_listen_together_with_inherited_sockets_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fds = [listener.fileno()]
        command = [sys.executable, "-c", HAND_OVER, str(fds[0]), str(SERVER), "--listen", "127.0.0.1:0"]
        run = subprocess.run(command, env=clean_environ(), pass_fds=fds, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "--listen: LISTEN_FDS has the sockets already" in run.stderr
