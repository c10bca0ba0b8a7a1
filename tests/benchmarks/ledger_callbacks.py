"""Measures callbacks with tickets over HTTP, one server for each ledger in turn, beside a bare durable insert."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..support.ports import free_port
from .callbacks import Reporter
from .peer_servers import PEERS, ROOT, Server, running
from .processes import cpu_seconds
from .wrk import Wrk

_TMPFS = Path("/dev/shm")
_CALLBACKS_A_SECOND = 14_000  # more than the quickest ledger takes, so that few come twice


class Figures(NamedTuple):
    """Calls a second, microseconds of the server's processor for each, and p50 in milliseconds."""

    rate: float
    cpu: float
    p50: float


@dataclass
class Row:
    """A server with its ledger; ``folder`` is where the file is, None for memory."""

    name: str
    command: list[str]
    folder: Path | None = None
    figures: dict[int, list[Figures]] = field(default_factory=lambda: defaultdict(list))


def bare_inserts(folder: Path, seconds: int) -> float:
    """Return how many durable inserts one connection does in a second."""
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS bare (ticket BLOB PRIMARY KEY, object TEXT, etag TEXT, body BLOB)"
        )
        start, count = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < seconds:
            values = secrets.token_bytes(12), "user/eric/20261126/a.png", "5B3C1A2E", b'{"Status": "Ok"}'
            connection.execute("INSERT INTO bare VALUES (?, ?, ?, ?)", values)
            count += 1
    return count / elapsed


def print_callbacks(connections: Sequence[int], seconds: int, rounds: int) -> None:
    """Measure memory and SQLite, with and without a handler, in one and two processes, and print the table."""
    if shutil.which("wrk") is None:
        print("wrk is missing, so that callbacks over HTTP are left out: apt-get install wrk")
        return
    server = [sys.executable, str(ROOT / "server.py"), "--listen", "127.0.0.1:{port}"]
    handler = [sys.executable, str(PEERS / "handler.py"), "{port}"]
    with ExitStack() as stack:
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tmpfs = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=_TMPFS if _TMPFS.is_dir() else None)))
        groups = [
            [
                Row("memory", server),
                Row("sqlite, tmpfs", server, tmpfs),
                Row("sqlite, disk", server, disk),
                Row("sqlite, tmpfs, 2 processes", [*server, "--processes", "2"], tmpfs),
            ],
            [Row("memory, 5 ms in threads", handler), Row("sqlite, tmpfs, 5 ms in threads", handler, tmpfs)],
        ]
        reporter = Reporter()
        reports = reporter.reports(seconds * _CALLBACKS_A_SECOND)
        wrk = Wrk(disk, (report.request() for report in reports), closed=False)
        environ = {**os.environ, **reporter.environ(disk), "PYTHONPATH": str(ROOT)}
        bare = []
        for _ in range(rounds):
            bare.append(bare_inserts(disk, 1))
            for number in connections:
                for row in (row for group in groups for row in group):
                    row.figures[number].append(_measure(row, wrk, environ, number, seconds))
    print(f"bare durable insert on the disk: {statistics.median(bare):,.0f}/s")
    print(f"{'callbacks over HTTP':<45}{'a second':>10}{'us CPU':>8}{'p50 ms':>8}  rate, CPU, p50 to memory's")
    for number in connections:
        for group in groups:
            base = _median(group[0].figures[number])
            for row in group:
                own = _median(row.figures[number])
                ratios = "" if row is group[0] else " ".join(f"{a / b:6.2f}" for a, b in zip(own, base, strict=True))
                title = f"{number:>3} connections  {row.name}"
                print(f"{title:<45}{own.rate:>10,.0f}{own.cpu:>8.0f}{own.p50:>8.2f}  {ratios}", flush=True)


def _measure(row: Row, wrk: Wrk, environ: dict[str, str], connections: int, seconds: int) -> Figures:
    with ExitStack() as stack:
        environ = dict(environ)
        if row.folder is not None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=row.folder))
            environ["OSS_LEDGER"] = f"{folder}/ledger.db"
        port = free_port()
        server = Server(row.name, row.command, ["callback"])
        pid = stack.enter_context(running(server, port, environ, ROOT))
        url = f"http://127.0.0.1:{port}/"
        before = _cpu_at_rest(pid)
        load = wrk.run(url, callback=True, connections=connections, seconds=seconds)
        cpu = (cpu_seconds(pid) - before) / max(load.requests, 1) * 1e6
        if load.not_2xx or load.lost:
            print(f"{row.name}: {load.not_2xx} of {load.requests} were not 2xx, {load.lost} lost", file=sys.stderr)
    return Figures(load.rate, cpu, load.p50)


def _cpu_at_rest(pid: int) -> float:
    """Wait until all processes of a server have started, and return the processor time that this took."""
    seconds = 0.0
    while seconds < (now := cpu_seconds(pid)):
        seconds = now
        time.sleep(0.5)
    return seconds


def _median(figures: list[Figures]) -> Figures:
    return Figures(*map(statistics.median, zip(*figures, strict=True)))
