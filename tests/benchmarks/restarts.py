"""Restarts our server again and again while clients post callbacks: does a report fail?

    python -m tests.benchmarks.restarts                  50 restarts under 64 clients; the server binds its port itself
    python -m tests.benchmarks.restarts --systemd        the listening socket outlives the server (LISTEN_FDS)
    python -m tests.benchmarks.restarts --processes 2    two processes, ended and started together
    python -m tests.benchmarks.restarts --restarts 3 --clients 8

Each client posts one distinct callback after another, each on a new connection. Meanwhile server.py gets SIGTERM, ends,
and starts again. A report fails unless the connection that took it brings a 200. Without --systemd a refused connection
is tried again and is not counted; one that the kernel took counts as accepted. With --systemd none may be refused.
At the end the ledger, a SQLite file, must hold the answer of each report exactly once. Prints the reports sent and
failed and the ledger's rows; exit status 1 if a report failed or the ledger differs. Loopback only.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from oss_wsgi.ledger.base import StoredResponse, UploadIdentity
from oss_wsgi.ledger.sqlite import SQLiteLedger

from ..support.ports import free_port
from ..support.running_server import clean_environ
from .callbacks import Report, Reporter

ROOT = Path(__file__).parents[2]

_TIMEOUT = 30.0
_RETRY_SECONDS = 0.01
# Not the server's: a connection to one's own port and address would be a connection to oneself.
_CLIENT_ADDRESS = "127.0.0.2"
# systemd puts the sockets from descriptor 3 on, and names the process that it then becomes.
_INHERIT = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="oss-wsgi.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


class CannotRestartError(Exception):
    """The server did not start or did not end as it should; the text holds what it printed."""


@dataclass
class Outcome:
    """What became of the reports; ``failures`` are counted by their cause; ``missing`` have no answer in the ledger."""

    restarts: int
    sent: int = 0
    refused: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    missing: int = 0
    slowest: float = 0.0
    longest_end: float = 0.0

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def is_lossless(self) -> bool:
        """Return whether each report was answered, and is in the ledger once."""
        return self.sent > 0 and not self.failed and not self.missing and self.rows == self.sent


class _Server:
    """server.py with a ledger in a file; ``listener`` outlives it, or is None."""

    def __init__(
        self, folder: Path, environ: dict[str, str], port: int, listener: socket.socket | None, processes: int
    ) -> None:
        self._log = folder / "server.log"
        self._environ = clean_environ(**environ)
        self._port = port
        self._listener = listener
        command = [sys.executable, str(ROOT / "server.py"), "--ledger", str(folder / "ledger.sqlite")]
        command += ["--processes", str(processes)]
        if listener is None:
            self._command = [*command, "--listen", f"127.0.0.1:{port}"]
        else:
            self._command = [sys.executable, "-c", _INHERIT, str(listener.fileno()), *command]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it says that it serves."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environ,
                pass_fds=[self._listener.fileno()] if self._listener is not None else [],
            )
        end = time.monotonic() + _TIMEOUT
        while f"Serving http://127.0.0.1:{self._port}/" not in (output := self._output()):
            if self._process.poll() is not None or time.monotonic() > end or "Serving http" in output:
                hint = "it did not take the socket of LISTEN_FDS" if self._listener is not None else "is its port free?"
                raise CannotRestartError(f"server.py does not serve at port {self._port}: {hint}\n{output}")
            time.sleep(0.01)

    def end(self) -> float:
        """End it by SIGTERM, and return how many seconds it took."""
        assert self._process is not None
        start = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise CannotRestartError(f"server.py did not end within {_TIMEOUT:g} s\n{self._output()}") from None
        if status != 0:
            raise CannotRestartError(f"server.py ended with status {status}\n{self._output()}")
        return time.monotonic() - start

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _output(self) -> str:
        return self._log.read_text(errors="replace")


class _Clients:
    """Threads that post callbacks, each one after the other, until they are told to stop."""

    def __init__(self, count: int, port: int, reporter: Reporter, outcome: Outcome, *, retry: bool) -> None:
        self._port = port
        self._reporter = reporter
        self._outcome = outcome
        self._retry = retry
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._post, daemon=True) for _ in range(count)]
        self.sent: list[Report] = []
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        """Return once this many more reports have been answered or have failed."""
        end = time.monotonic() + _TIMEOUT
        enough = len(self.sent) + more
        while len(self.sent) < enough:
            if time.monotonic() > end:
                raise CannotRestartError(f"the clients got no {more} answers within {_TIMEOUT:g} s")
            time.sleep(0.005)

    def stop(self) -> None:
        """Let each client finish its report."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * _TIMEOUT)

    def _post(self) -> None:
        for report in self._reporter.reports():
            if self._stop.is_set():
                return
            start = time.monotonic()
            failure, refused = self._send(report.request(closed=True))
            with self._lock:
                self.sent.append(report)
                self._outcome.refused += refused
                self._outcome.slowest = max(self._outcome.slowest, time.monotonic() - start)
                if failure:
                    self._outcome.failures[failure] += 1

    def _send(self, request: bytes) -> tuple[str, int]:
        """Send one report; return what failed, or nothing, and how many connections were refused before it."""
        for refused in range(int(_TIMEOUT / _RETRY_SECONDS)):
            try:
                connection = socket.create_connection(("127.0.0.1", self._port), _TIMEOUT, (_CLIENT_ADDRESS, 0))
            except ConnectionRefusedError:
                if not self._retry:
                    return "connection refused", 0
                time.sleep(_RETRY_SECONDS)
                continue
            except OSError as error:
                return f"no connection: {error}", refused
            with connection:
                return _failure(connection, request), refused
        return "connection refused all the time", refused


def _failure(connection: socket.socket, request: bytes) -> str:
    """Send a request, read the answer to the end, and return in words why it failed."""
    answer = b""
    error = "closed"
    try:
        connection.sendall(request)
        while piece := connection.recv(65536):
            answer += piece
    except OSError as problem:
        error = type(problem).__name__
    head, end, body = answer.partition(b"\r\n\r\n")
    if not answer:
        return f"{error} without an answer"
    if not head.startswith(b"HTTP/1.1 200 "):
        return f"answered {head[9:12].decode('latin-1')}"
    is_whole = body.startswith(b'{"Status": "Ok"') and body.endswith(b"}")
    if not end or not is_whole or error != "closed":
        return f"{error} within the answer"
    return ""


@contextlib.contextmanager
def _listening(systemd: bool) -> Iterator[tuple[int, socket.socket | None]]:
    """Yield a port, and a listening socket where systemd would have one."""
    with _listener() as listener:
        port = int(listener.getsockname()[1])
        if systemd:
            yield port, listener
            return
    yield port, None


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", free_port()), backlog=1024)


def measure(
    restarts: int, clients: int, *, systemd: bool, reports_between: int | None = None, processes: int = 1
) -> Outcome:
    """Restart server.py under clients, each time after a number of reports (None: as many as clients)."""
    outcome = Outcome(restarts)
    reporter = Reporter()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, listener = stack.enter_context(_listening(systemd))
        server = _Server(folder, reporter.environ(folder), port, listener, processes)
        stack.callback(server.kill)
        server.start()
        posting = _Clients(clients, port, reporter, outcome, retry=not systemd)
        try:
            for _ in range(restarts):
                posting.wait_for(clients if reports_between is None else reports_between)
                outcome.longest_end = max(outcome.longest_end, server.end())
                server.start()
            posting.wait_for(clients)
        finally:
            posting.stop()
        server.end()
        outcome.sent = len(posting.sent)
        identities = [report.identity(reporter.tickets) for report in posting.sent]
        outcome.rows, outcome.missing = _compare(folder / "ledger.sqlite", identities)
    return outcome


def _compare(file: Path, identities: list[UploadIdentity]) -> tuple[int, int]:
    """Return how many answers a ledger keeps, and how many of these uploads have none."""
    missing = []

    def handle(transaction: object) -> StoredResponse:
        return StoredResponse("500 Internal Server Error", "", b"")  # kept by no ledger

    with SQLiteLedger(file, clock=time.time) as ledger:
        rows = len(ledger)
        missing = [identity for identity in identities if ledger.run_once(identity, handle).status[0] != "2"]
    return rows, len(missing)


def report(outcome: Outcome, clients: int) -> None:
    print(f"{outcome.restarts} restarts under {clients} clients: {outcome.sent} reports sent, {outcome.failed} failed")
    for failure, count in outcome.failures.most_common():
        print(f"  {count} {failure}")
    print(f"ledger: {outcome.rows} rows, {outcome.missing} reports missing")
    print(
        f"{outcome.refused} connections refused and tried again; the slowest report took {outcome.slowest:.2f} s, "
        f"the slowest end {outcome.longest_end:.2f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--clients", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--systemd", action="store_true", help="the server inherits its socket, by LISTEN_FDS")
    parser.add_argument("--processes", type=int, default=1, help="default: %(default)s")
    arguments = parser.parse_args()
    if not 0 < arguments.restarts <= 1000 or not 0 < arguments.clients <= 500:
        parser.error("--restarts is 1 to 1000, --clients 1 to 500")
    try:
        how = {"systemd": arguments.systemd, "processes": arguments.processes}
        outcome = measure(arguments.restarts, arguments.clients, **how)
    except CannotRestartError as error:
        print(error, file=sys.stderr)
        return 1
    report(outcome, arguments.clients)
    return int(not outcome.is_lossless)


if __name__ == "__main__":
    sys.exit(main())
