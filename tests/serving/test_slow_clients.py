"""Slow clients of every kind beside an honest one, against server.py in a process of its own.

SLOW_CLIENTS=5000 SLOW_SECONDS=60 python -m pytest -s tests/serving/test_slow_clients.py     the long form
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..running_server import running_server
from .serving_helpers import wait_until

SLOW_CLIENTS = int(os.environ.get("SLOW_CLIENTS", "200"))
SECONDS = float(os.environ.get("SLOW_SECONDS", "2"))
HONEST_PER_SECOND = 20
# The long form is measured against the goals; the short one shows that honest clients are served at all.
IS_LONG = SLOW_CLIENTS >= 5000

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST /oss/callback HTTP/1.1\r\nHost: a\r\nContent-Length: 65000\r\n"
KINDS = ["idle", "header line", "body byte", "pipelined", "mixed", "large headers", "large bodies"]


class SlowClients:
    """Connections that one thread keeps as busy as their kind is; what the server closes is opened again."""

    def __init__(self, port: int, kind: str) -> None:
        self._port, self._kind = port, kind
        self._clients: list[socket.socket] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> SlowClients:
        for number in range(SLOW_CLIENTS):
            self._clients.append(self._open(number))
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        for client in self._clients:
            client.close()

    def _kind_of(self, number: int) -> str:
        return KINDS[number % 4] if self._kind == "mixed" else self._kind

    def _open(self, number: int) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self._port), 60)
        client.setblocking(False)
        kind = self._kind_of(number)
        first = {
            "idle": b"",
            "header line": GET,
            "body byte": POST + b"\r\n",
            "pipelined": (GET + b"\r\n") * 50,
            "large headers": GET + (b"X: " + b"x" * 8000 + b"\r\n") * 3 + b"Y: " + b"y" * 7500,
            "large bodies": POST + b"\r\n" + b"x" * 64_900,
        }[kind]
        with contextlib.suppress(OSError):
            client.send(first)
        return client

    def _run(self) -> None:
        """Send a line or a byte every 5 seconds on each."""
        while not self._ended.wait(5 * random.uniform(0.9, 1)):
            for number, client in enumerate(self._clients):
                if self._ended.is_set():
                    return
                kind = self._kind_of(number)
                try:
                    if kind == "idle":
                        client.recv(100, socket.MSG_PEEK)
                        raise ConnectionResetError
                    if kind != "pipelined":
                        client.send(b"x" if kind == "body byte" else b"X: y\r\n")
                except BlockingIOError:
                    pass
                except OSError:
                    client.close()
                    with contextlib.suppress(OSError):
                        self._clients[number] = self._open(number)


def honest(port: int) -> float | None:
    """Make a request on a new connection; return its seconds, or None without an answer of 200."""
    started = time.monotonic()
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(b"GET /oss/health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while piece := client.recv(65536):
            answer += piece
    return time.monotonic() - started if answer.startswith(b"HTTP/1.1 200 ") else None


def mebibytes(pid: int, name: str = "VmRSS") -> float:
    match = re.search(rf"{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) / 1024


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("kind", KINDS)
def test_honest_clients_are_served_beside_slow_ones(kind: str) -> None:
    with running_server() as server:
        port, pid = int(server.url.rpartition(":")[2]), server.process.pid
        for _ in range(20):
            honest(port)
        before = descriptors(pid)
        with SlowClients(port, kind):
            times = []
            for _ in range(int(SECONDS * HONEST_PER_SECOND)):
                started = time.monotonic()
                times.append(honest(port))
                time.sleep(max(0.0, 1 / HONEST_PER_SECOND - (time.monotonic() - started)))
        served = [seconds for seconds in times if seconds is not None]
        quick = sum(seconds < 1 for seconds in served)
        peak = mebibytes(pid, "VmHWM")
        wait_until(lambda: descriptors(pid) <= before)
        print(
            f"{kind}: {SLOW_CLIENTS} slow, {len(times)} honest, {len(served)} served, {quick} under 1 s, "
            f"median {statistics.median(served) * 1000:.1f} ms, longest {max(served) * 1000:.0f} ms, "
            f"peak {peak:.0f} MiB, afterwards {mebibytes(pid):.0f} MiB, {descriptors(pid)} of {before} descriptors"
        )
    assert len(served) >= 0.99 * len(times)
    if IS_LONG:
        assert quick >= 0.99 * len(times)
        assert peak <= 150
