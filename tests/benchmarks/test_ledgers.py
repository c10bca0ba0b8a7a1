"""What a ledger adds to a callback: uploads a second in memory and SQLite, with 1 and 8 threads, and among many rows.

    pytest tests/benchmarks/test_ledgers.py --benchmark-enable --benchmark-group-by=group -s

Each round is ROUND new uploads; the rate of the median round is printed. In SQLite each waits for the disk once, or
shares its wait with the threads beside it. The number of rows stays the same: with each upload one expires.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.ledger.base import Ledger, StoredResponse, UploadIdentity
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.ledger.sqlite import SQLiteLedger
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
ROUND = 400
GOOD = StoredResponse("200 OK", "application/json", b'{"Status": "Ok"}')


def uploads(lifetime: int, clock: FrozenClock, seed: int = 7) -> Callable[[], UploadIdentity]:
    draw = random.Random(seed)

    def new() -> UploadIdentity:
        clock.advance(1)
        ticket = f"{draw.getrandbits(96):024x}"
        return UploadIdentity(ticket, "user/eric/cat.png", "5B3C1A2E053D763E1B002CC607C5A0FE", int(clock()) + lifetime)

    return new


def work(ledger: Ledger, new: Callable[[], UploadIdentity], threads: int) -> None:
    def some() -> None:
        for _ in range(ROUND // threads):
            ledger.run_once(new(), lambda _: GOOD)

    running = [threading.Thread(target=some) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def measure(benchmark: Any, ledger: Ledger, new: Callable[[], UploadIdentity], threads: int, rounds: int) -> None:
    benchmark.pedantic(work, (ledger, new, threads), rounds=rounds, warmup_rounds=2)
    if benchmark.stats is not None:
        print(f"\n{benchmark.name}: {ROUND / benchmark.stats.stats.median:,.0f} uploads/s")


@pytest.mark.parametrize("threads", [1, 8])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_uploads(benchmark: Any, tmp_path: Path, kind: str, threads: int) -> None:
    benchmark.group = "uploads"
    clock = FrozenClock(NOW)
    new = uploads(10_000, clock)
    if kind == "memory":
        measure(benchmark, MemoryLedger(clock=clock, max_uploads=20_000), new, threads, 20)
        return
    with SQLiteLedger(tmp_path / "ledger.db", clock=clock) as ledger:
        measure(benchmark, ledger, new, threads, 20)


@pytest.mark.parametrize("rows", [10**3, 10**6])
def test_uploads_among_rows(benchmark: Any, tmp_path: Path, rows: int) -> None:
    benchmark.group = "uploads among rows"
    clock = FrozenClock(NOW)
    path = tmp_path / "ledger.db"
    held = 10 if benchmark.disabled else rows
    with SQLiteLedger(path, clock=clock) as ledger:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            new = uploads(0, FrozenClock(NOW))
            many = itertools.islice(iter(new, None), held)
            values = ((i.ticket, number, i.object, i.etag, *GOOD, i.expires) for number, i in enumerate(many))
            connection.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)", values)
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        measure(benchmark, ledger, uploads(held, clock, seed=8), 1, 40)
