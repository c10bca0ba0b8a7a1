"""Ledgers under a server's loop: they begin to store, and the loop or a thread commits."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError, TicketUsedError
from oss_wsgi.ledger import sqlite
from oss_wsgi.ledger.base import LoopLedger, Pending
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.ledger.sqlite import SQLiteLedger
from oss_wsgi.testing.ledger_contract import (
    DEADLINE,
    FAILURE,
    SUCCESS,
    BlockingHandler,
    Call,
    Handler,
    LedgerClock,
    handling,
    identity,
)

from ..support.ledger_programs import POSIX, output, start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SQLiteLedger]:
    """Return a ledger that has stored something, so that a loop may ask it."""
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=DEADLINE) as ledger:
        ledger.check()
        yield ledger


class Woken:
    """Counts the calls of a ``wake``."""

    def __init__(self) -> None:
        self.count = 0
        self.event = threading.Event()

    def __call__(self) -> None:
        self.count += 1
        self.event.set()

    def wait(self) -> None:
        assert self.event.wait(DEADLINE)


def begun(ledger: LoopLedger, ticket: str = "t1", **options: Any) -> Pending:
    pending = ledger.begin_once(identity(ticket, **options), Handler())
    assert isinstance(pending, Pending)
    return pending


def test_memory_answers_a_loop_at_once() -> None:
    ledger = MemoryLedger(clock=LedgerClock())
    handler = Handler()
    assert ledger.begin_once(identity(), handler) == ledger.begin_once(identity(), handler) == SUCCESS
    assert handler.calls == 1
    with pytest.raises(TicketUsedError):
        ledger.begin_once(identity(object="another"), handler)
    with handling(ledger, identity("t2"), BlockingHandler()):
        assert ledger.begin_once(identity("t2"), handler) is None
    assert ledger.begin_once(identity("t2"), handler) == SUCCESS
    assert handler.calls == 1


def test_a_ledger_that_has_not_written_yet_asks_for_a_thread(path: Path) -> None:
    handler = Handler()
    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        assert ledger.begin_once(identity(), handler) is None
        assert handler.calls == 0
        ledger.run_once(identity("t2"), Handler())
        assert ledger.begin_once(identity(), handler) is not None


def test_one_commit_stores_what_a_loop_has_begun(ledger: SQLiteLedger) -> None:
    statements: list[str] = []
    ledger._writer.opened().set_trace_callback(statements.append)
    pendings = [begun(ledger, f"t{number}") for number in range(8)]
    assert len(ledger) == 0
    woken = Woken()
    assert [pending.settle(woken) for pending in pendings] == [True] * 8
    assert [pending.result() for pending in pendings] == [SUCCESS] * 8
    assert (len(ledger), statements.count("COMMIT"), woken.count) == (8, 1, 0)
    assert ledger.begin_once(identity("t1"), Handler(FAILURE)) == SUCCESS


def test_a_response_that_fails_is_not_pending(ledger: SQLiteLedger) -> None:
    assert ledger.begin_once(identity(), Handler(FAILURE)) == FAILURE
    with pytest.raises(KeyError):
        ledger.begin_once(identity(), Handler(KeyError()))
    assert begun(ledger).settle(Woken())


def test_an_upload_stays_locked_until_it_is_settled(path: Path, ledger: SQLiteLedger) -> None:
    pending = begun(ledger)
    assert ledger.begin_once(identity(), Handler(FAILURE)) is None
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=0.0) as other:
        with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
            other.run_once(identity(), Handler(FAILURE))
        waiting = Call(ledger, identity(), Handler(FAILURE))
        assert pending.settle(Woken())
        assert waiting.outcome() == SUCCESS
        assert other.run_once(identity(), Handler(FAILURE)) == SUCCESS


def test_a_thread_commits_where_the_disk_is_slow(ledger: SQLiteLedger) -> None:
    """And the loop does again, once the disk is quick."""
    ledger._commit_seconds = 1.0
    pending, woken = begun(ledger), Woken()
    with ledger._writer.lock:
        assert not pending.settle(woken)
    woken.wait()
    assert (pending.result(), pending.settle(woken)) == (SUCCESS, True)
    assert ledger._commit_seconds == 0.0
    assert begun(ledger, "t2").settle(woken)


@pytest.mark.parametrize("holder", ["a thread of this process", "another process"])
def test_a_loop_waits_for_nobody_who_writes(path: Path, ledger: SQLiteLedger, holder: str) -> None:
    pending, woken = begun(ledger), Woken()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        if holder == "another process":
            other.execute("BEGIN IMMEDIATE")
        else:
            ledger._writer.lock.acquire()
        assert not pending.settle(woken)
        later = begun(ledger, "t2")
        assert not later.settle(woken)
        if holder == "another process":
            other.execute("COMMIT")
        else:
            ledger._writer.lock.release()
    woken.wait()
    while not (pending.settle(woken) and later.settle(woken)):
        pass
    assert (pending.result(), later.result(), len(ledger)) == (SUCCESS, SUCCESS, 2)


def test_a_thread_that_commits_takes_what_a_loop_has_begun(ledger: SQLiteLedger) -> None:
    pending, woken = begun(ledger), Woken()
    assert ledger.run_once(identity("t2"), Handler()) == SUCCESS
    assert pending.settle(woken)
    assert (pending.result(), len(ledger), woken.count) == (SUCCESS, 2, 0)


def test_a_commit_that_fails_is_the_error_of_its_responses(
    ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)
    pendings, woken = [begun(ledger, ticket) for ticket in ("t1", "t2")], Woken()
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        while not all(pending.settle(woken) for pending in pendings):
            woken.wait()
    for pending in pendings:
        with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
            pending.result()
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 2
    assert ledger.begin_once(identity("t1"), Handler()) is None, "a probe comes first"
    handler = Handler()
    assert ledger.run_once(identity("t1"), handler) == SUCCESS
    assert handler.calls == 1


def test_a_loop_does_not_wait_while_both_connections_are_in_use(ledger: SQLiteLedger) -> None:
    """Threads read with one, and write with the other."""
    handler = Handler()
    with ledger._writer.lock, ledger._reader.lock:
        outcome: list[Any] = []
        asking = threading.Thread(target=lambda: outcome.append(ledger.begin_once(identity(), handler)), daemon=True)
        asking.start()
        asking.join(DEADLINE)
    assert outcome == [None]
    assert handler.calls == 0
    assert ledger.run_once(identity(), handler) == SUCCESS


def test_a_loop_writes_no_probe_where_a_write_fails_after_its_first_look(
    ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, handler = ledger._find, Handler()

    def fail_meanwhile(*arguments: Any, **options: Any) -> Any:
        ledger._is_proven = False
        return find(*arguments, **options)

    monkeypatch.setattr(ledger, "_find", fail_meanwhile)
    assert ledger.begin_once(identity(), handler) is None
    assert handler.calls == 0
    assert not ledger._is_proven
    assert ledger.run_once(identity(), handler) == SUCCESS


def test_what_interrupts_a_commit_leaves_no_upload_locked(
    ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler of a signal may raise anywhere in the loop."""
    pending = begun(ledger)

    def interrupt(connection: object, batch: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "_insert", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pending.settle(Woken())
    monkeypatch.undo()
    with pytest.raises(LedgerUnavailableError):
        pending.result()
    assert ledger.run_once(identity(), Handler()) == SUCCESS


def test_a_long_log_is_written_to_the_tables_by_a_thread(ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    monkeypatch.setattr(sqlite, "_CHECKPOINT_EVERY", 2)
    monkeypatch.setattr(ledger, "_checkpoint", lambda: threads.append(threading.current_thread().name))
    for number in range(4):
        assert begun(ledger, f"t{number}").settle(Woken())
    ledger.close()
    assert len(threads) == 1
    assert threads[0].startswith("ledger")


@pytest.mark.slow
@POSIX
def test_a_fork_leaves_what_is_pending_to_the_parent(path: Path) -> None:
    code = """
ledger = SQLiteLedger(path, clock=clock, wait_timeout=60.0)
ledger.check()
def upload(number): return ledger.begin_once(identity(number), lambda _: success(f"{os.getpid()}"))
pending = upload(1)
child = os.fork()
if not child:
    ledger.check()
    assert len(ledger) == 0 and upload(2).settle(print) and len(ledger) == 1
    ledger.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert pending.settle(print) and pending.result() == success(f"{os.getpid()}")
assert len(ledger) == 2
ledger.close()
"""
    assert output(start(code, path)) == ""
