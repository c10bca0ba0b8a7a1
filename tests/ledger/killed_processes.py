"""Kills processes that handle uploads, again and again, and counts the rows that are left: one for each upload.

    python -m tests.ledger.killed_processes postgresql [--kills 1000] [--processes 4] [--own] [--without-lock]

Several processes share a database with ``SQLLedger.sharing``; each handler inserts a row into the application's table.
Reports of the same uploads go to all of them, as OSS and a sweep may send them, and one process after the other gets
SIGKILL and is started again. A report that gets no answer comes again. In the end each upload has exactly one row, and
all its reports got the same answer. ``--without-lock`` breaks the claim, and the program must detect that. With
``sqlite`` the ledger is a file, and with ``--own`` it has transactions of its own: then the handler may run again after
a kill, so that a row may repeat, but answers may not differ.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from typing import Any

import sqlalchemy
from sqlalchemy.engine import Connection, Engine

from oss_wsgi.ledger import transactional
from oss_wsgi.ledger.base import Handle, Ledger, StoredResponse, UploadIdentity
from oss_wsgi.ledger.sql import SQLLedger
from oss_wsgi.ledger.sql_tables import key_of
from oss_wsgi.ledger.sqlite import SQLiteLedger

from ..support.databases import running

DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "sqlite": "sqlite"}
#: In the place of a file: a ledger in the database, with transactions of its own.
OWN = "own"
#: Uploads that are reported at the same time.
WINDOW = 8
#: How many processes get each report.
REPORTS = 3
THREADS = 4
#: Each process is a fork of one that has imported all of this: a new Python takes twenty times as long.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["__main__", __name__, "psycopg", "pymysql"])


def engine_of(url: str) -> Engine:
    """Return the application's engine: it has the defaults that people have."""
    parsed = sqlalchemy.make_url(url)
    return sqlalchemy.create_engine(parsed.set(drivername=DRIVERS[parsed.drivername]), pool_size=THREADS + 1)


def scattered(identity: UploadIdentity, now: float) -> dict[str, Any]:
    """Return a key at a random place, so that no claim meets another one."""
    return {**key_of(identity, now), "place": random.getrandbits(62), "upload": random.getrandbits(62)}


def work(url: str, file: str, without_lock: bool, reports: Pipe, answers: Pipe) -> None:
    """Handle the uploads whose numbers come in, each in a thread, and send their answers."""
    engine = engine_of(url)
    ledger: Ledger
    if file == OWN:
        ledger = SQLLedger(url, clock=time.time)
    elif file:
        ledger = SQLiteLedger(file, clock=time.time)
    else:
        ledger = SQLLedger.sharing(engine.begin, clock=time.time)
        if without_lock:
            broken: Any = transactional
            broken.key_of = scattered

    def handle(number: str) -> Handle:
        text = f"{os.getpid()} {random.getrandbits(64):x}"

        def insert(transaction: Connection | None) -> StoredResponse:
            with contextlib.nullcontext(transaction) if transaction is not None else engine.begin() as connection:
                connection.exec_driver_sql(f"INSERT INTO works (upload, answer) VALUES ('{number}', '{text}')")
            # Without a lock the handlers overlap, also on a machine that is busy with something else.
            time.sleep(random.random() * (0.2 if without_lock else 0.004))
            return StoredResponse("200 OK", "text/plain", text.encode())

        return insert

    def answer(number: str) -> None:
        upload = UploadIdentity(f"ticket {number}", f"object {number}", "5B3C", int(time.time()) + 3600)
        try:
            line = ledger.run_once(upload, handle(number)).body.decode()
        except Exception as error:
            line = "! " + str(error).partition("\n")[0]  # SQLAlchemy adds a line about its own pages
        os.write(answers.fileno(), f"{number} {line}\n".encode())

    with open(reports.fileno(), closefd=False) as lines:
        for line in lines:
            threading.Thread(target=answer, args=(line.strip(),), daemon=True).start()


class Worker:
    """A process that handles uploads, and its successors."""

    def __init__(self, proof: Proof, url: str, file: str, without_lock: bool) -> None:
        self._proof, self._arguments = proof, (url, file, without_lock)
        self._lock = threading.Lock()
        self._start()

    def _start(self) -> None:
        reports, self._reports = FORKS.Pipe(duplex=False)
        answers, into = FORKS.Pipe(duplex=False)
        with reports, into:
            self.process = FORKS.Process(target=work, args=(*self._arguments, reports, into), daemon=True)
            self.process.start()
        self._hearing = threading.Thread(target=self._hear, args=(answers,), daemon=True)
        self._hearing.start()

    def _hear(self, answers: Pipe) -> None:
        with answers, open(answers.fileno(), closefd=False) as lines:
            for line in lines:
                number, _, text = line.rstrip("\n").partition(" ")
                self._proof.hear(int(number), text)

    def report(self, number: int) -> None:
        with self._lock, contextlib.suppress(OSError):
            os.write(self._reports.fileno(), f"{number}\n".encode())

    def kill(self) -> None:
        with self._lock:
            self.end()
            self._start()

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self._hearing.join()
        self._reports.close()


class Proof:
    """The reports, their answers, and the kills."""

    def __init__(self, url: str, file: str, arguments: argparse.Namespace) -> None:
        self.answers: dict[int, set[str]] = defaultdict(set)
        self.counts: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._workers = [Worker(self, url, file, arguments.without_lock) for _ in range(arguments.processes)]
        self._kills = arguments.kills
        self.killed = 0

    def hear(self, number: int, text: str) -> None:
        with self._changed:
            if text.startswith("!"):
                self.errors[text.partition(":")[0]] += 1
            else:
                self.answers[number].add(text)
                self.counts[number] += 1
            self._changed.notify_all()

    def run(self) -> int:
        """Report uploads until ``kills`` processes were killed; return how many uploads were reported."""
        first = 0
        while self.killed < self._kills:
            uploads = range(first, first + WINDOW)
            self._handle(uploads)
            first += WINDOW
        for worker in self._workers:
            worker.end()
        return first

    def _handle(self, uploads: range) -> None:
        kills = random.randint(0, 2)
        for _ in range(2000):
            missing = [number for number in uploads if not self.counts[number]]
            for number in missing:
                for worker in random.sample(self._workers, min(REPORTS, len(self._workers))):
                    worker.report(number)
            if kills and self.killed < self._kills:
                time.sleep(random.random() * 0.03)
                random.choice(self._workers).kill()
                self.killed += 1
                kills -= 1
            with self._changed:
                if self._changed.wait_for(lambda: all(self.counts[number] for number in uploads), 0.5):
                    return
        raise AssertionError(f"uploads without an answer: {self.errors}")


def prove(arguments: argparse.Namespace, url: str = "") -> dict[str, Any]:
    """Run the proof in an empty database, without a ``url`` on a server of its own, and return what it found."""
    with contextlib.ExitStack() as stack:
        file = OWN if arguments.own else ""
        if arguments.kind == "sqlite":
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            url, file = f"sqlite:///{folder}/works.db?timeout=60", f"{folder}/ledger.db"
        elif not url:
            url = stack.enter_context(running(arguments.kind)).url
        engine = engine_of(url)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE works (upload VARCHAR(40), answer VARCHAR(80))")
        if arguments.kind != "sqlite":
            len(SQLLedger.sharing(engine.begin, clock=time.time))  # makes the tables
        proof = Proof(url, file, arguments)
        uploads = proof.run()
        with engine.begin() as connection:
            rows = Counter(int(row[0]) for row in connection.exec_driver_sql("SELECT upload FROM works"))
        engine.dispose()
    return {
        "kind": arguments.kind,
        "kills": proof.killed,
        "uploads": uploads,
        "answered": sum(proof.counts.values()),
        "rows": rows.total(),
        "uploads without a row": sum(not rows[number] for number in range(uploads)),
        "uploads with several rows": sum(count > 1 for count in rows.values()),
        "uploads with several answers": sum(len(texts) > 1 for texts in proof.answers.values()),
        "errors": dict(proof.errors),
    }


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=["postgresql", "mariadb", "sqlite"])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--own", action="store_true")
    parser.add_argument("--without-lock", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    print(json.dumps(prove(parse(sys.argv[1:]))))
