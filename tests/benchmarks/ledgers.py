"""Measures each ledger: calls a second, p50 and p99, beside a bare durable insert into the same server.

    python -m tests.benchmarks.ledgers [memory sqlite postgresql mariadb redis valkey]
        [--rows 10000 1000000] [--connections 1 8 32] [--seconds 2] [--rounds 3]

Each connection is a thread of one process, as in ``oss-wsgi serve``; the handler does nothing. A bare insert is one
statement in autocommit mode through the driver alone, with the same bytes in a table with one key. For each number of
rows a ledger is filled first; then they are measured in turns, and the median round is printed. For SQLite a second
table has callbacks over HTTP (``ledger_callbacks``).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import secrets
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import sqlalchemy

from oss_wsgi.ledger.base import Ledger, StoredResponse, UploadIdentity
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.ledger.sql_engine import engine_from
from oss_wsgi.ledger.sql_tables import answers, encoded, tickets
from oss_wsgi.ledger.url import ledger_from

from ..support.databases import running
from ..support.ports import free_port
from .ledger_callbacks import print_callbacks

KINDS = ("memory", "sqlite", "postgresql", "mariadb", "redis", "valkey")
GOOD = StoredResponse("200 OK", "application/json", b'{"Status": "Ok"}')
NAME = "user/eric/20261126/0123456789abcdef0123456789abcdef.png"
ETAG = "5B3C1A2E053D763E1B002CC607C5A0FE"
LIFE = 8 * 24 * 3600
#: Room for the rows that are measured: on a machine with less, 10**7 of them do not fit into memory.
MEMORY = "1GB"

Act = Callable[[], object]


class Subject(NamedTuple):
    """A ledger with a number of rows, or the bare insert beside it."""

    name: str
    rows: int
    #: Makes what one thread does once.
    act: Callable[[], Act]


class Measured(NamedTuple):
    """Calls a second, and milliseconds."""

    rate: float
    p50: float
    p99: float


def measure(subject: Subject, connections: int, seconds: float) -> Measured:
    """Let threads call for a number of seconds."""
    times: list[list[float]] = [[] for _ in range(connections)]
    acts = [subject.act() for _ in range(connections)]
    for act in acts:
        act()
    barrier = threading.Barrier(connections + 1)
    ends = [0.0]

    def work(act: Act, own: list[float]) -> None:
        barrier.wait()
        while (start := time.perf_counter()) < ends[0]:
            act()
            own.append(time.perf_counter() - start)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(acts, times, strict=True)]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    ends[0] = start + seconds
    barrier.wait()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    joined = sorted(moment for own in times for moment in own)
    return Measured(len(joined) / elapsed, statistics.median(joined) * 1000, joined[int(len(joined) * 0.99)] * 1000)


def calls(ledger: Ledger) -> Callable[[], Act]:
    """Return the function of a thread: it handles new uploads, one after another."""

    def call() -> None:
        expires = int(time.time()) + LIFE
        upload = UploadIdentity(f"{expires:08x}{secrets.token_hex(12)}", NAME, ETAG, expires)  # as tickets have it
        ledger.run_once(upload, lambda _: GOOD)

    return lambda: call


@contextlib.contextmanager
def subjects(kind: str, rows: list[int], threads: int) -> Iterator[list[Subject]]:
    """Start what a kind of ledger needs, and yield the subjects to measure."""
    with contextlib.ExitStack() as stack:
        if kind == "memory":
            ledger = MemoryLedger(clock=time.time, max_uploads=2_000_000, max_bytes=2**30)
            yield [Subject(kind, 0, calls(ledger))]
        elif kind == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            yield _sqlite_subjects(folder, rows, stack)
        elif kind in ("redis", "valkey"):
            yield _redis_subjects(kind, stack)
        else:
            options = {
                "postgresql": (f"-cshared_buffers={MEMORY}", "-cmax_wal_size=8GB", "-cmax_connections=300"),
                "mariadb": ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=2G", "--max-connections=300"),
            }[kind]
            server = stack.enter_context(running(kind, *options))
            yield [_bare_sql(server.url), *(_sql_subject(kind, server.url, count, threads, stack) for count in rows)]


def _sqlite_subjects(folder: str, rows: list[int], stack: contextlib.ExitStack) -> list[Subject]:
    bare = sqlite3.connect(f"{folder}/bare.db", isolation_level=None, check_same_thread=False)
    stack.callback(bare.close)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE bare (ticket BLOB PRIMARY KEY, object TEXT, etag TEXT, body BLOB)")
    lock = threading.Lock()

    def insert() -> None:
        with lock:
            bare.execute("INSERT INTO bare VALUES (?, ?, ?, ?)", (secrets.token_bytes(12), NAME, ETAG, GOOD.body))

    made = [Subject("bare insert", 0, lambda: insert)]
    for count in rows:
        path = f"{folder}/{count}.db"
        ledger = ledger_from(path, clock=time.time)
        stack.callback(ledger.close)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            _fill_sqlite(connection, count)
        made.append(Subject("sqlite", count, calls(ledger)))
    return made


def _fill_sqlite(connection: sqlite3.Connection, rows: int) -> None:
    """Fill the table with tickets in the order of time; its indexes are made afterwards, which is faster."""
    for pragma in ("synchronous = OFF", "cache_size = -500000", "temp_store = FILE"):
        connection.execute(f"PRAGMA {pragma}")
    select = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'answers' AND sql IS NOT NULL"
    indexes = connection.execute(select).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    later = int(time.time()) + LIFE
    connection.execute(
        "INSERT INTO answers (ticket, upload, object, etag, status, content_type, body, expires, forget_after) "
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
        "SELECT CAST(printf('%016d', n) AS BLOB), random(), ?, ?, ?, ?, ?, ?, ? FROM numbers",
        (rows, NAME, ETAG, *GOOD, later, later),
    )
    for _, text in indexes:
        connection.execute(text)
    connection.commit()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _bare_sql(url: str) -> Subject:
    engine = engine_from(url, threads=1, wait_timeout=60.0)
    binary = "bytea" if engine.dialect.name == "postgresql" else "VARBINARY(64)"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TABLE bare (ticket {binary} PRIMARY KEY, object VARCHAR(1023), etag VARCHAR(64), body {binary})"
        )
    statement = "INSERT INTO bare VALUES (%s, %s, %s, %s)"
    words, named = engine.dialect.create_connect_args(engine.url)

    def make() -> Act:
        connection: Any = engine.dialect.connect(*words, **named, autocommit=True)
        cursor = connection.cursor()

        def insert() -> None:
            cursor.execute(statement, (secrets.token_bytes(12), NAME, ETAG, GOOD.body))

        return insert

    return Subject("bare insert", 0, make)


def _sql_subject(kind: str, url: str, rows: int, threads: int, stack: contextlib.ExitStack) -> Subject:
    engine = engine_from(url, threads=1, wait_timeout=3600.0).execution_options(isolation_level="AUTOCOMMIT")
    database = f"rows_{rows}"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {database}")
    engine.dispose()
    url = f"{url.removesuffix('/app')}/{database}"
    ledger = ledger_from(url, clock=time.time, threads=threads)
    stack.callback(ledger.close)
    engine = engine_from(url, threads=1, wait_timeout=3600.0).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        _fill(connection, rows)
    engine.dispose()
    return Subject(kind, rows, calls(ledger))


def _fill(connection: sqlalchemy.Connection, rows: int) -> None:
    """Fill the table with tickets in the order of time; the other keys are made afterwards, which is faster."""
    is_postgresql = connection.dialect.name == "postgresql"
    for index in answers.indexes:
        index.drop(connection)
    number: Any
    source: Any
    if is_postgresql:
        number = sqlalchemy.func.generate_series(1, rows, type_=sqlalchemy.BigInteger).column_valued("number")
        source = sqlalchemy.select(number).subquery()
        number = source.c.number
        ticket = sqlalchemy.func.convert_to(sqlalchemy.func.lpad(sqlalchemy.func.to_hex(number), 32, "0"), "UTF8")
    else:
        number = sqlalchemy.literal_column("seq", sqlalchemy.BigInteger)
        source = sqlalchemy.table(f"seq_1_to_{rows}")
        ticket = sqlalchemy.func.lpad(sqlalchemy.func.hex(number), 32, "0")
    upload = sqlalchemy.cast(number, sqlalchemy.BigInteger) * 92233720357 % 1125899906842597  # scatters as a hash does
    expires = int(time.time()) + LIFE
    values = {
        "ticket": ticket,
        "upload": upload,
        "object": encoded(NAME),
        "etag": encoded(ETAG),
        "expires": expires,
        "forget_after": expires + 86_400,
        "status": encoded(GOOD.status),
        "content_type": encoded(GOOD.content_type),
        "body": GOOD.body,
    }
    columns = [value if hasattr(value, "type") else sqlalchemy.literal(value) for value in values.values()]
    connection.execute(answers.insert().from_select(list(values), sqlalchemy.select(*columns).select_from(source)))
    if is_postgresql:
        connection.exec_driver_sql("SET maintenance_work_mem = '512MB'")
    lock = sqlalchemy.select(ticket, sqlalchemy.literal(0), sqlalchemy.literal(0)).select_from(source)
    connection.execute(tickets.insert().from_select(["ticket", "place", "turn"], lock))
    for index in answers.indexes:
        index.create(connection)
    if is_postgresql:
        connection.exec_driver_sql("VACUUM ANALYZE oss_wsgi_answers, oss_wsgi_tickets")
        connection.exec_driver_sql("CHECKPOINT")


def _redis_subjects(kind: str, stack: contextlib.ExitStack) -> list[Subject]:
    import redis

    folder = stack.enter_context(tempfile.TemporaryDirectory())
    port = free_port()
    command = [f"{kind}-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes"]
    command += ["--appendfsync", "always"]  # or each upload waits for the disk of the next second
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.send_signal, signal.SIGTERM)
    client = redis.Redis(port=port)
    stack.callback(client.close)
    for _ in range(100):
        with contextlib.suppress(redis.ConnectionError):
            client.ping()
            break
        time.sleep(0.05)
    ledger = ledger_from(f"redis://127.0.0.1:{port}/0", clock=time.time)
    stack.callback(ledger.close)

    def insert() -> None:
        client.set(secrets.token_hex(12), GOOD.body)

    return [Subject("bare SET", 0, lambda: insert), Subject(kind, 0, calls(ledger))]


def main() -> None:
    """Print a table for each kind of ledger."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--clients", type=int, nargs="*", default=[16, 64], help="connections of callbacks over HTTP")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    kinds = arguments.kinds or KINDS
    print(f"{os.cpu_count()} cores; calls a second, p50 and p99 in ms, part of the bare insert")
    for kind in kinds:
        if kind in ("redis", "valkey") and importlib.util.find_spec("oss_wsgi.ledger.redis") is None:
            continue
        with subjects(kind, arguments.rows, max(arguments.connections)) as found:
            for connections in arguments.connections:
                _print(found, connections, arguments)
        if kind == "sqlite" and arguments.clients:
            print_callbacks(arguments.clients, max(1, round(arguments.seconds)), arguments.rounds)


def _print(found: list[Subject], connections: int, arguments: argparse.Namespace) -> None:
    rounds: list[list[Measured]] = [[] for _ in found]
    for _ in range(arguments.rounds):
        for subject, own in zip(found, rounds, strict=True):
            own.append(measure(subject, connections, arguments.seconds))
    middle = [sorted(own)[len(own) // 2] for own in rounds]
    for subject, measured in zip(found, middle, strict=True):
        part = "" if subject is found[0] else f"{measured.rate / middle[0].rate:6.2f}"
        rows = f"{subject.rows:>9,} rows" if subject.rows else " " * 14
        print(
            f"{connections:>3} connections  {subject.name:<12}{rows} {measured.rate:>8,.0f}/s "
            f"{measured.p50:>7.2f} {measured.p99:>7.2f} {part}",
            flush=True,
        )


if __name__ == "__main__":
    main()
