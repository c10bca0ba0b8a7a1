"""Redis and Valkey for tests: started as any user, in a folder, on loopback, and ended with the tests."""

from __future__ import annotations

import ctypes
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.absent import skip_or_fail
from tests.support.ports import free_port

#: What Debian calls the servers.
PROGRAMS = {"redis": "redis-server", "valkey": "valkey-server"}

DEADLINE = 60.0
_PR_SET_PDEATHSIG = 1


class Server:
    """A running server, which a test may stop and start again with the data on its disk."""

    def __init__(self, program: str, folder: Path, options: tuple[str, ...]) -> None:
        self._program, self._options, self._folder = program, options, folder
        self._log = folder / "server.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server, again on its former port, and wait until it answers."""
        for _ in range(5):
            port = self.port or free_port()
            command = [self._program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(
                    [*command, *self._options], stdout=log, stderr=log, preexec_fn=_end_with_parent
                )
            if self._is_ready(port):
                self.port = port
                return
            self.kill()  # another program has taken the port meanwhile
        pytest.fail(self._log.read_text())

    def _is_ready(self, port: int) -> bool:
        """Wait until the server answers; False if it ends before."""
        end = time.monotonic() + DEADLINE
        while self.process is not None and self.process.poll() is None and time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(100).startswith((b"+PONG", b"-NOAUTH")):
                    return True
            time.sleep(0.02)
        return False

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            process.wait(DEADLINE)

    def client(self, **options: Any) -> Any:
        """Return a client of redis-py, which the test closes."""
        import redis

        return redis.Redis.from_url(self.url, **options)


def _end_with_parent() -> None:
    """Let the kernel end the server when the tests die."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def server_program(kind: str) -> str:
    """Return the path of a server's program; skip the test without it."""
    program = shutil.which(PROGRAMS[kind])
    if program is None:
        skip_or_fail(PROGRAMS[kind])
    return program


@contextmanager
def running(kind: str, folder: Path, *options: str) -> Iterator[Server]:
    """Run a server of a kind of ``PROGRAMS``, which writes each command to its disk unless options say otherwise."""
    program = server_program(kind)
    folder.mkdir(parents=True, exist_ok=True)
    defaults = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
    server = Server(program, folder, (*defaults, *options))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def running_cluster(kind: str, folder: Path) -> Iterator[list[Server]]:
    """Run a cluster of three primaries."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "60000", "--cluster-port")
    with ExitStack() as stack:
        servers = []
        for number in range(3):
            bus = str(free_port())
            servers.append(stack.enter_context(running(kind, folder / str(number), *options, bus)))
        clients = [stack.enter_context(server.client()) for server in servers]
        buses = [int(str(client.config_get("cluster-port")["cluster-port"])) for client in clients]
        for number, client in enumerate(clients):
            first, last = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            if number:
                clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", servers[number].port, buses[number])
        end = time.monotonic() + DEADLINE
        while not all(_is_complete(client) for client in clients):
            assert time.monotonic() < end
            time.sleep(0.05)
        yield servers


def _is_complete(client: Any) -> bool:
    state = client.execute_command("CLUSTER INFO")
    return bool(state["cluster_state"] == "ok" and state["cluster_known_nodes"] == "3")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Return a function that returns a running server of a kind, the same for all tests."""
    with ExitStack() as stack:
        started: dict[str, Server] = {}

        def of(kind: str) -> Server:
            if kind not in started:
                started[kind] = stack.enter_context(running(kind, tmp_path_factory.mktemp(kind)))
            return started[kind]

        yield of


@pytest.fixture(params=PROGRAMS)
def server(servers: Callable[[str], Server], request: pytest.FixtureRequest) -> Server:
    """Return an empty server of each kind in turn."""
    return empty(servers(request.param))


@pytest.fixture
def redis(servers: Callable[[str], Server]) -> Server:
    """Return an empty server for tests in which its kind does not matter."""
    return empty(servers("redis"))


def empty(server: Server) -> Server:
    """Delete what former tests left on a server."""
    with server.client() as client:
        client.flushall()
    return server
