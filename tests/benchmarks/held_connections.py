"""Holds many connections to a server that ask little or nothing of it, in one process beside the load.

    python -m tests.benchmarks.held_connections PORT COUNT KIND [--addresses N]

KIND is what each client does. idle: nothing. header: sends a line of a header every 5 s. body: sends a byte of a body
every 5 s. pipeline: sends 50 requests and reads no answer. mixed: a quarter of each. large-header, large-body: sends
all that is allowed but the end. list: sends all but the end of a list of parts (1 MiB) for an unknown upload. chunks:
sends such a list in chunks of one byte, without a pause. metrics: nothing, at the port of the metrics.

A connection that the server closes is opened again a second later. The program prints as JSON how many are held: once
all are open, or after 20 s, and again for each line of its standard input. It ends with its standard input. It connects
to loopback only; with --addresses from that many addresses of it.
"""

from __future__ import annotations

import argparse
import errno
import heapq
import json
import os
import random
import select
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .callbacks import CALLBACK, SIGNATURE
from .processes import raise_descriptor_limit

ROOT = Path(__file__).parents[2]
SLOW_KINDS = ("idle", "header", "body", "pipeline")
KINDS = (*SLOW_KINDS, "mixed", "large-header", "large-body", "list", "chunks", "metrics")

_MAX_COUNT = 20_000
_MAX_HEADER = 32 * 1024
_MAX_BODY = 64 * 1024
_MAX_LIST = 1024 * 1024
_DRIP_SECONDS = 5.0
_REOPEN_SECONDS = 1.0
_OPEN_SECONDS = 20.0
_MAX_CONNECTING = 100  # fewer than any server's backlog
_IP_BIND_ADDRESS_NO_PORT = 24  # of Linux: a port is free when the whole address is

_GET = f"GET {SIGNATURE} HTTP/1.1\r\nHost: app.example.com\r\n".encode()
_POST = (
    f"POST {CALLBACK} HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: {_MAX_BODY}\r\n"
    "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
).encode()


_LIST = "POST /oss/s3/multipart/none/complete?key=a HTTP/1.1\r\nHost: app.example.com\r\n"


class _Behaviour(NamedTuple):
    """What a client sends at once and every 5 seconds, whether it reads, and what it sends without a pause."""

    first: bytes = b""
    drip: bytes = b""
    reads: bool = True
    stream: bytes = b""


_BEHAVIOURS = {
    "idle": _Behaviour(),
    "header": _Behaviour(_GET, b"X-Slow: yes\r\n"),
    "body": _Behaviour(_POST, b"a"),
    "pipeline": _Behaviour((_GET + b"\r\n") * 50, reads=False),
    "large-header": _Behaviour(_GET + b"X-Large: " + b"a" * (_MAX_HEADER - len(_GET) - 64)),
    "large-body": _Behaviour(_POST + b"a" * (_MAX_BODY - 1)),
    "list": _Behaviour(f"{_LIST}Content-Length: {_MAX_LIST}\r\n\r\n".encode() + b"a" * (_MAX_LIST - 1)),
    "chunks": _Behaviour(f"{_LIST}Transfer-Encoding: chunked\r\n\r\n".encode(), stream=b"1\r\na\r\n" * 50_000),
    "metrics": _Behaviour(),
}


class Held(NamedTuple):
    """How many connections are held now, how many were opened again, and how many answers had each status."""

    held: int
    reopened: int
    answers: dict[str, int]


@dataclass(slots=True)
class _Connection:
    socket: socket.socket
    behaviour: _Behaviour
    address: str
    established: bool = False
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))


class _Holder:
    def __init__(self, port: int, kinds: list[str], addresses: list[str]) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._unopened = deque(
            (_BEHAVIOURS[kind], addresses[number % len(addresses)]) for number, kind in enumerate(kinds)
        )
        self._connecting = 0
        # When, which connection: a descriptor may be another connection's by then, so the object is compared.
        self._timers: list[tuple[float, int, _Connection]] = []
        self._closed: deque[tuple[float, _Behaviour, str]] = deque()
        self._reopened = 0
        self._answers: Counter[str] = Counter()

    def run(self) -> None:
        """Hold the connections until standard input ends."""
        self._epoll.register(sys.stdin.fileno(), select.EPOLLIN | select.EPOLLHUP)
        start, announced = time.monotonic(), False
        while True:
            self._open_some()
            for descriptor, events in self._epoll.poll(self._pause()):
                if descriptor == sys.stdin.fileno():
                    if not os.read(descriptor, 100):
                        return
                    self._print()
                if (connection := self._connections.get(descriptor)) is not None:
                    self._handle(connection, events)
            now = time.monotonic()
            self._drip(now)
            while self._closed and self._closed[0][0] <= now:
                self._unopened.append(self._closed.popleft()[1:])
                self._reopened += 1
            all_open = not self._unopened and not self._connecting
            if not announced and (all_open or now > start + _OPEN_SECONDS):
                announced = True
                self._print()

    def _pause(self) -> float:
        due = [self._timers[0][0]] if self._timers else []
        due += [self._closed[0][0]] if self._closed else []
        return min(0.5, max(0.0, min(due, default=1e9) - time.monotonic()))

    def _print(self) -> None:
        held = sum(connection.established for connection in self._connections.values())
        print(json.dumps(Held(held, self._reopened, dict(self._answers))._asdict()), flush=True)

    def _open_some(self) -> None:
        while self._unopened and self._connecting < _MAX_CONNECTING:
            behaviour, address = self._unopened.popleft()
            client = socket.socket()
            client.setblocking(False)
            if not behaviour.reads:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            client.bind((address, 0))
            if client.connect_ex(("127.0.0.1", self._port)) not in (0, errno.EINPROGRESS):
                client.close()
                self._closed.append((time.monotonic() + _REOPEN_SECONDS, behaviour, address))
                continue
            self._connections[client.fileno()] = _Connection(client, behaviour, address)
            self._epoll.register(client, select.EPOLLOUT)
            self._connecting += 1

    def _handle(self, connection: _Connection, events: int) -> None:
        try:
            if not connection.established:
                self._established(connection)
            elif events & (select.EPOLLHUP | select.EPOLLERR | (select.EPOLLRDHUP * (not connection.behaviour.reads))):
                self._close(connection)
            elif events & select.EPOLLIN:
                answer = connection.socket.recv(65536)
                if not answer:
                    self._close(connection)
                elif answer.startswith(b"HTTP/1."):
                    self._answers[answer[9:12].decode("ascii", "replace")] += 1
            elif events & select.EPOLLOUT:
                self._send(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)

    def _established(self, connection: _Connection) -> None:
        error = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        connection.established = True
        self._connecting -= 1
        connection.unsent = memoryview(connection.behaviour.first)
        self._send(connection)
        if connection.behaviour.drip:
            due = time.monotonic() + random.uniform(0, _DRIP_SECONDS)
            heapq.heappush(self._timers, (due, id(connection), connection))

    def _send(self, connection: _Connection) -> None:
        """Send what the socket takes, and wait for what the client does next."""
        with suppress(BlockingIOError):
            while connection.unsent:
                connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
                connection.unsent = connection.unsent or memoryview(connection.behaviour.stream)
        awaited = select.EPOLLIN if connection.behaviour.reads else select.EPOLLRDHUP
        self._epoll.modify(connection.socket, awaited | (select.EPOLLOUT if connection.unsent else 0))

    def _drip(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            due, _, connection = heapq.heappop(self._timers)
            if self._connections.get(connection.socket.fileno()) is not connection:
                continue
            try:
                connection.socket.send(connection.behaviour.drip)
            except BlockingIOError:
                pass
            except OSError:
                self._close(connection)
                continue
            heapq.heappush(self._timers, (due + _DRIP_SECONDS, id(connection), connection))

    def _close(self, connection: _Connection) -> None:
        self._connecting -= not connection.established
        del self._connections[connection.socket.fileno()]
        connection.socket.close()
        self._closed.append((time.monotonic() + _REOPEN_SECONDS, connection.behaviour, connection.address))


class Holding:
    """Connections that a process of its own holds; ``at_start`` says how many there were once all had been opened."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._questions, self._answers = process.stdin, process.stdout
        self.at_start = self._read()

    def now(self) -> Held:
        self._questions.write("\n")
        self._questions.flush()
        return self._read()

    def _read(self) -> Held:
        return Held(**json.loads(self._answers.readline()))


@contextmanager
def holding(port: int, count: int, kind: str = "idle", addresses: int = 1) -> Iterator[Holding]:
    """Hold connections to a port of loopback as long as the block runs."""
    command = [sys.executable, "-m", "tests.benchmarks.held_connections", str(port), str(count), kind]
    with subprocess.Popen(
        [*command, "--addresses", str(addresses)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:  # its end closes standard input and waits
        yield Holding(process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--addresses", type=int, default=1, help="default: %(default)s")
    arguments = parser.parse_args()
    if not 0 < arguments.count <= min(_MAX_COUNT, raise_descriptor_limit() - 100):
        parser.error(f"COUNT is at most {_MAX_COUNT} and the limit of descriptors less 100")
    if not 0 < arguments.addresses <= 200:
        parser.error("--addresses is 1 to 200")
    kinds = SLOW_KINDS if arguments.kind == "mixed" else (arguments.kind,)
    addresses = [f"127.0.0.{number + 1}" for number in range(arguments.addresses)]
    _Holder(arguments.port, [kinds[n % len(kinds)] for n in range(arguments.count)], addresses).run()


if __name__ == "__main__":
    main()
