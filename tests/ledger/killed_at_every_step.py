"""Handles an upload with a SQLite ledger in processes that are killed, each one step later than the one before.

    python -m tests.ledger.killed_at_every_step FOLDER started|running

A step is a statement of SQLite, a file that is opened or locked, or a line of the handler. For each step the
program prints one line of JSON: what the killed process did, and what a second process did then. The second process
starts afterwards (started), or has been running with the same file all the time (running). The program ends with the
first process that is not killed.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from oss_wsgi.ledger.base import StoredResponse, UploadIdentity
from oss_wsgi.ledger.sqlite import SQLiteLedger

UPLOAD = UploadIdentity("t1", "user/eric/a.txt", "5B3C", 1733228232)
OTHER = UploadIdentity("t2", "user/eric/b.txt", "5B3C", 1733228232)
NEW = os.O_RDWR | os.O_CREAT | os.O_TRUNC
AUDITED = {"open", "fcntl.fcntl", "sqlite3.connect"}


class Steps:
    """Counts steps, and kills this process at one of them."""

    def __init__(self, last: int, log: int) -> None:
        self.left = last
        self.log = log

    def __call__(self, name: str) -> None:
        self.left -= 1
        if not self.left:
            os.write(self.log, f"killed {name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def trace(self) -> None:
        """Count every statement and every file of this process as a step."""
        connect: Any = sqlite3.connect

        def traced(*arguments: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*arguments, **options)
            connection.set_trace_callback(lambda statement: self(" ".join(statement.split()[:3])))
            return connection

        sqlite3.connect = traced
        sys.addaudithook(lambda event, arguments: self(event) if event in AUDITED else None)


def upload(ledger: SQLiteLedger, log: int, step: Steps) -> None:
    def handle(transaction: object) -> StoredResponse:
        step("handler starts")
        os.write(log, b"handling\n")
        step("handler works")
        os.write(log, b"handled\n")
        step("handler ends")
        return StoredResponse("200 OK", "text/plain", str(os.getpid()).encode())

    step("before run_once")
    response = ledger.run_once(UPLOAD, handle)
    os.write(log, b"answered %b\n" % response.body)
    step("after run_once")


def first(path: Path, last: int, log: int) -> None:
    step = Steps(last, log)
    step.trace()
    with SQLiteLedger(path, clock=lambda: 1733227932.0) as ledger:
        upload(ledger, log, step)


def second(path: Path, log: int) -> None:
    with open_ledger(path) as ledger:
        upload(ledger, log, Steps(0, log))


def open_ledger(path: Path) -> SQLiteLedger:
    """Open a ledger that never waits: nobody has to wait for a dead process."""
    return SQLiteLedger(path, clock=lambda: 1733227932.0, wait_timeout=0.0)


def in_child(work: Any, *arguments: Any) -> int:
    """Run ``work`` in a process, and return its status: 0, or the negative number of the signal that ended it."""
    child = os.fork()
    if not child:
        status = 1
        try:
            work(*arguments)
            status = 0
        except BaseException as error:
            os.write(arguments[-1], f"raised {error!r}\n".encode())
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(folder: Path, running: bool) -> None:
    last = 0
    status = -signal.SIGKILL
    while status == -signal.SIGKILL:
        last += 1
        run_folder = folder / str(last)
        run_folder.mkdir()
        path = run_folder / "ledger.db"
        with open_ledger(path) if running else nullcontext() as ledger:
            if ledger is not None:
                ledger.run_once(OTHER, lambda _: StoredResponse("200 OK", "", b""))
            first_log, second_log = os.open(run_folder / "first", NEW), os.open(run_folder / "second", NEW)
            status = in_child(first, path, last, first_log)
            if ledger is not None:
                upload(ledger, second_log, Steps(0, second_log))
            else:
                in_child(second, path, second_log)
            os.close(first_log)
            os.close(second_log)
        logs = {name: (run_folder / name).read_text().splitlines() for name in ("first", "second")}
        print(json.dumps({**logs, "status": status}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "running")
