"""`server.py --processes N` with 1, 2 and 4 processes: rates, processor time, and how new connections spread.

    python -m tests.benchmarks.process_curve                             a SQLite ledger
    python -m tests.benchmarks.process_curve --ledger postgresql         a PostgreSQL that this starts (or mariadb)
    python -m tests.benchmarks.process_curve --ledger postgresql://...   one that runs
    python -m tests.benchmarks.process_curve --spread                    which process gets the new connections
    python -m tests.benchmarks.process_curve --processes 1,2 --rounds 3 --seconds 2 --work signature

Prints for each number of processes the requests a second, p50 and p99 in milliseconds, microseconds of processor time
for each request, the ratios of both to one process, and the seconds of processor time a second that `wrk` took: medians
of the rounds, in which the numbers take turns. Signatures and callbacks keep their connections; "closed" makes one for
each callback, as OSS does. A SQLite ledger is a new file for each run. A database takes its own part of the processor.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..support.running_server import SERVER, RunningServer, clean_environ, serving
from .callbacks import SIGNATURE, Reporter
from .peer_servers import PEERS, ROOT
from .processes import cpu_seconds, raise_descriptor_limit
from .wrk import Wrk

WORKS = ("signature", "callback", "closed")
_CALLBACKS_A_SECOND = 9_000
_LISTEN = ["--listen", "127.0.0.1:0", "--local-listen", "127.0.0.1:0"]

# wrk counts which process has answered.
_COUNT = """
local counts, thread = {}, nil
function setup(t) thread = t end
function init(args) result = "" end
function response(status, headers, body)
    counts[body] = (counts[body] or 0) + 1
    result = ""
    for process, count in pairs(counts) do result = result .. process .. "=" .. count .. " " end
end
function done(summary, latency, requests) print("answered: " .. thread:get("result")) end
"""


class Figures(NamedTuple):
    """One run: requests a second, milliseconds, microseconds of the processor for each, and wrk's share of a core."""

    rate: float
    p50: float
    p99: float
    cpu: float
    generator: float


class Curve:
    """Loads one server after the other; the folder is for prepared callbacks."""

    def __init__(self, folder: Path, seconds: int, connections: int, ledger: str | None) -> None:
        self._folder = folder
        self._seconds = seconds
        self._connections = connections
        self._ledger = ledger
        reporter = Reporter()
        self._environ = clean_environ(**reporter.environ(folder))
        self._reporter = reporter
        self._wrks: dict[str, Wrk] = {}
        self.figures: dict[tuple[str, int], list[Figures]] = defaultdict(list)

    def measure(self, work: str, processes: int) -> None:
        """Start a server, load it, and keep the figures."""
        wrk = self._wrk_for(work)
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            ledger = self._ledger or str(Path(folder) / "ledger.sqlite3")
            command = [sys.executable, str(SERVER), *_LISTEN, "--processes", str(processes)]
            environ = {**self._environ, "OSS_LEDGER": ledger}
            with serving(command, environ, may_fork=False) as server:
                server.log("" if processes == 1 else "processes serve")
                before, generator = cpu_seconds(server.process.pid), _generator_seconds()
                load = wrk.run(
                    f"{server.url}{SIGNATURE}",
                    callback=work != "signature",
                    connections=self._connections,
                    seconds=self._seconds,
                )
                cpu = cpu_seconds(server.process.pid) - before
                share = (_generator_seconds() - generator) / self._seconds
        if load.not_2xx or load.lost:
            print(f"{work}, {processes}: {load.not_2xx} answers no 2xx, {load.lost} lost", file=sys.stderr)
        cpu_each = cpu / max(load.requests, 1) * 1e6
        self.figures[work, processes].append(Figures(load.rate, load.p50, load.p99, cpu_each, share))

    def _wrk_for(self, work: str) -> Wrk:
        """Return wrk with its callbacks; for a ledger that outlives a run they are new each time."""
        if work not in self._wrks or (self._ledger and work != "signature"):
            callbacks = 1 if work == "signature" else self._seconds * _CALLBACKS_A_SECOND
            requests = (report.request(closed=work == "closed") for report in self._reporter.reports(callbacks))
            folder = self._folder / work
            folder.mkdir(exist_ok=True)
            self._wrks[work] = Wrk(folder, requests, closed=False)
        return self._wrks[work]

    def report(self) -> None:
        heads = ("req/s", 8), ("times", 7), ("p50 ms", 8), ("p99 ms", 8), ("us CPU", 8), ("times", 7), ("wrk", 6)
        print(f"{'':12}{'processes':>10}" + "".join(f"{head:>{width}}" for head, width in heads))
        for (work, processes), figures in self.figures.items():
            rate, p50, p99, cpu, share = (statistics.median(column) for column in zip(*figures, strict=True))
            ones = self.figures.get((work, 1), figures)
            rates = rate / statistics.median(one.rate for one in ones)
            cpus = cpu / statistics.median(one.cpu for one in ones)
            print(
                f"{work:12}{processes:10}{rate:8.0f}{rates:7.2f}{p50:8.2f}{p99:8.2f}{cpu:8.0f}{cpus:7.2f}{share:6.2f}"
            )


def _generator_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # of children that have ended: wrk
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def _who(processes: int) -> Iterator[RunningServer]:
    command = [sys.executable, "-m", "oss_wsgi", "serve", *_LISTEN, "--app", "who:application"]
    command += ["--processes", str(processes)]
    with serving(command, clean_environ(PYTHONPATH=str(ROOT)), PEERS, may_fork=False) as server:
        server.log("Ctrl-C ends it.")
        yield server


def spread(processes: int, connections: int, seconds: int, folder: Path) -> None:
    """Print how many connections each of several processes got, for several ways of making them."""
    script = folder / "count.lua"
    script.write_text(_COUNT)
    with _who(processes) as server:
        port = int(server.url.rpartition(":")[2])
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
        _print_counts("at once, kept", Counter(map(_ask, held)))
        for connection in held:
            connection.close()
        counts: Counter[str] = Counter()
        held = []
        for _ in range(connections):
            held.append(socket.create_connection(("127.0.0.1", port)))
            counts[_ask(held[-1])] += 1
        _print_counts("one by one, kept", counts)
        for connection in held:
            connection.close()
        _print_counts("2,000 in batches, kept", _in_batches(port, 16, 2000))
        _print_counts("16 clients, one for each request", _closed(port, 16, 250))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(script), "-H", "Connection: close"]
        output = subprocess.run([*command, server.url], check=True, capture_output=True, text=True).stdout
        answered = re.search("answered: (.*)", output)
        pairs = [pair.partition("=") for pair in (answered[1] if answered else "").split()]
        _print_counts("wrk, one for each request", Counter({name: int(count) for name, _, count in pairs}))


def _in_batches(port: int, clients: int, connections: int) -> Counter[str]:
    """Open connections in batches of up to 100 and keep them; ask each only when all are open."""
    held: list[socket.socket] = []

    def connect() -> None:
        left = connections // clients
        while left > 0:
            batch = [socket.socket() for _ in range(min(left, 100))]
            for connection in batch:
                connection.setblocking(False)
                connection.connect_ex(("127.0.0.1", port))
            held.extend(batch)
            left -= len(batch)

    threads = [threading.Thread(target=connect) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts: Counter[str] = Counter()
    for connection in held:
        connection.settimeout(60)
        counts[_ask(connection)] += 1
        connection.close()
    return counts


def _closed(port: int, clients: int, requests: int) -> Counter[str]:
    counts = [Counter[str]() for _ in range(clients)]

    def ask(counter: Counter[str]) -> None:
        for _ in range(requests):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                counter[_ask(connection)] += 1

    threads = [threading.Thread(target=ask, args=(counter,)) for counter in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts, Counter[str]())


def _ask(connection: socket.socket) -> str:
    connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    return connection.recv(4096).rpartition(b"\r\n\r\n")[2].decode()


def _print_counts(name: str, counts: Counter[str]) -> None:
    print(f"{name:34}{', '.join(str(count) for _, count in sorted(counts.items()))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", default="1,2,4", help="comma-separated (default: %(default)s)")
    parser.add_argument("--work", default=",".join(WORKS), help="comma-separated (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--ledger", help="postgresql, mariadb, or the URL of one; default: a new SQLite file for each")
    parser.add_argument("--spread", action="store_true", help="count the new connections of each process, and no more")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.exit(2, "wrk is missing: apt-get install wrk\n")
    raise_descriptor_limit()
    numbers = [int(number) for number in arguments.processes.split(",")]
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory())
        if arguments.spread:
            for number in (number for number in numbers if number > 1):
                print(f"{number} processes, connections that each got:")
                spread(number, arguments.connections, arguments.seconds, Path(name))
            return
        ledger = arguments.ledger
        if ledger in ("postgresql", "mariadb"):
            from ..support.databases import running

            ledger = stack.enter_context(running(ledger)).url
        curve = Curve(Path(name), arguments.seconds, arguments.connections, ledger)
        for turn in range(arguments.rounds):
            for work in arguments.work.split(","):
                for number in numbers:
                    curve.measure(work, number)
            print(f"round {turn + 1} of {arguments.rounds}, {os.getloadavg()[0]:.1f} load", file=sys.stderr)
            curve.report()


if __name__ == "__main__":
    main()
