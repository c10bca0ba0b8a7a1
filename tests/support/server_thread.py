"""A server in a thread of the test, with a clock that the test sets."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from oss_wsgi.serving import make_server

from .waiting import wait_until

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class SetClock:
    """A clock that stands still until the test sets it, which wakes the loop of ``server``."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.server: Any = None

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.server.pull_trigger()


def small(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Application: 200 and ``ok``, or as many bytes as the query says."""
    body = b"x" * int(environ["QUERY_STRING"] or 0) or b"ok"
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def running(
    application: Any = small,
    *,
    in_loop: bool | Callable[..., bool] = True,
    clock: Any = None,
    listener: socket.socket | None = None,
    **options: Any,
) -> Iterator[Any]:
    """Run a server until the block ends; without a listener, on a port of its own."""
    listener = listener or socket.create_server(("127.0.0.1", 0), backlog=1024)
    if clock is not None:
        options["clock"] = clock
    server = make_server(
        application,
        listener,
        in_loop if callable(in_loop) else lambda method, path, headers: in_loop,
        **{"threads": 2, "ident": None, **options},
    )
    if clock is not None:
        clock.server = server
    thread = server.loop = threading.Thread(target=server.run, name="loop")
    thread.start()
    if clock is not None:
        # One sweep begins at once. Under way while the clock is set, it would not look again at what it has seen.
        wait_for_turn(server)
    try:
        yield server
    finally:
        server.drain(0)
        thread.join(60)
        assert not thread.is_alive()


class Wrapped:
    """A socket or a poller of the server, of which a test changes some methods."""

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)


class RefusingListener(Wrapped):
    """A listening socket whose process has no descriptor left, for as many attempts as ``refusals`` says."""

    def __init__(self, listener: Any, refusals: float = float("inf")) -> None:
        super().__init__(listener)
        self.refusals, self.attempts = refusals, 0

    def _accept(self) -> Any:
        if self.refusals:
            self.refusals -= 1
            self.attempts += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self.wrapped._accept()


def has_ended(server: Any) -> bool:
    return not server.loop.is_alive()


def wait_for_turn(server: Any) -> None:
    """Wait until the loop has done in a whole turn what was due by now."""
    polls = polls_of(server)

    def has_turned() -> bool:
        server.pull_trigger()
        return len(polls) >= 2

    wait_until(has_turned)


def each_turn(server: Any, seen: Callable[[float], object]) -> None:
    """Call ``seen`` with the longest wait of each turn that begins from now on, before the loop waits."""

    class Watched(Wrapped):
        def poll(self, timeout: float) -> Any:
            seen(timeout)
            return self.wrapped.poll(timeout)

    server.poller = Watched(server.poller)


def polls_of(server: Any) -> list[float]:
    """Return a list that gets the longest wait of each turn that begins from now on."""
    polls: list[float] = []
    each_turn(server, polls.append)
    return polls


def connect(server: Any) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.effective_port), 60)


def read_all(client: socket.socket) -> bytes:
    data = b""
    while piece := client.recv(65536):
        data += piece
    return data


def read_response(client: socket.socket) -> bytes:
    """Read one response with the body ``ok``."""
    data = b""
    while not data.endswith(b"\r\n\r\nok"):
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return data


def phases(server: Any) -> list[int]:
    return sorted(connection.phase for connection in list(server.connections.values()))


def held_after_turns(server: Any) -> list[int]:
    """Return a list that gets the memory held at the end of each turn, since within a turn it may be more."""
    held: list[int] = []
    each_turn(server, lambda timeout: held.append(server.held))
    server.pull_trigger()
    wait_until(lambda: held)  # the poller before counts nothing
    return held
