"""Ledgers under a server's loop: they begin to store, and the loop or a thread commits."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError, SweepRunningError, TicketUsedError
from oss_wsgi.ledger import sqlite
from oss_wsgi.ledger.base import LoopLedger, Pending, StoredResponse
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.ledger.sqlite import SQLiteLedger

from ..support.ledger_programs import BYTE_LOCKS, POSIX, output, start
from ..support.sqlite_statements import Statements
from .contract import (
    DEADLINE,
    FAILURE,
    SUCCESS,
    BlockingHandler,
    Call,
    Handler,
    LedgerClock,
    first_ended,
    handling,
    identity,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    return Statements(monkeypatch)


@pytest.fixture
def clock() -> LedgerClock:
    return LedgerClock()


@pytest.fixture
def ledger(path: Path, statements: Statements, clock: LedgerClock) -> Iterator[SQLiteLedger]:
    """Return a ledger that has stored something, so that a loop may ask it."""
    with SQLiteLedger(path, clock=clock, wait_timeout=DEADLINE) as ledger:
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


def begun(ledger: LoopLedger, ticket: str = "t1", response: StoredResponse = SUCCESS) -> Pending:
    pending = ledger.begin_once(identity(ticket), Handler(response))
    assert isinstance(pending, Pending)
    return pending


def test_memory_answers_a_loop_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = MemoryLedger(clock=LedgerClock())
    handler = Handler()
    assert ledger.begin_once(identity(), handler) == ledger.begin_once(identity(), handler) == SUCCESS
    assert handler.calls == 1
    with pytest.raises(TicketUsedError):
        ledger.begin_once(identity(object="another"), handler)
    with handling(ledger, identity("t2"), BlockingHandler()), monkeypatch.context() as without:
        without.setattr(threading, "Lock", None)  # a call waits on one of its own
        assert ledger.begin_once(identity("t2"), handler) is None
        with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
            ledger.run_once(identity("t2", may_wait=False), handler)
        with ledger.hold("sweep"), pytest.raises(SweepRunningError), ledger.hold("sweep"):
            pytest.fail("it is held")
    assert ledger.begin_once(identity("t2"), handler) == SUCCESS
    assert handler.calls == 1


def test_a_ledger_that_has_not_written_yet_asks_for_a_thread(path: Path) -> None:
    handler = Handler()
    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        assert ledger.begin_once(identity(), handler) is None
        assert handler.calls == 0
        ledger.run_once(identity("t2"), Handler())
        assert ledger.begin_once(identity(), handler) is not None


def test_one_commit_stores_what_a_loop_has_begun(ledger: SQLiteLedger, statements: Statements) -> None:
    statements.seen.clear()
    pendings = [begun(ledger, f"t{number}") for number in range(8)]
    assert len(ledger) == 0
    woken = Woken()
    assert [pending.settle(woken) for pending in pendings] == [True] * 8
    assert [pending.result() for pending in pendings] == [SUCCESS] * 8
    assert (len(ledger), statements.seen.count("COMMIT"), woken.count) == (8, 1, 0)
    assert ledger.begin_once(identity("t1"), Handler(FAILURE)) == SUCCESS


def test_a_response_that_cannot_be_written_fails_alone(ledger: SQLiteLedger) -> None:
    bad = StoredResponse("200 OK", "\udc80", b"its type cannot be encoded")
    pendings = [begun(ledger, f"t{number}", bad if number == 2 else SUCCESS) for number in range(4)]
    assert [pending.settle(Woken()) for pending in pendings] == [True] * 4
    with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
        pendings.pop(2).result()
    assert [pending.result() for pending in pendings] == [SUCCESS] * 3
    assert len(ledger) == 3


def test_a_response_that_fails_is_not_pending(ledger: SQLiteLedger) -> None:
    assert ledger.begin_once(identity(), Handler(FAILURE)) == FAILURE
    with pytest.raises(KeyError):
        ledger.begin_once(identity(), Handler(KeyError()))
    assert begun(ledger).settle(Woken())


@pytest.mark.parametrize(
    ("error", "raised"),
    [(sqlite3.DatabaseError("it failed"), LedgerUnavailableError), (KeyboardInterrupt("it failed"), KeyboardInterrupt)],
)
def test_what_a_loop_cannot_read_is_an_error_and_leaves_nothing_locked(
    ledger: SQLiteLedger, statements: Statements, error: BaseException, raised: type[BaseException]
) -> None:
    def fail(statement: str) -> None:
        if "SELECT" in statement:
            raise error

    statements.before = fail
    with pytest.raises(raised, match="it failed"):
        ledger.begin_once(identity(), Handler())
    statements.before = lambda statement: None
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


def test_a_loop_takes_no_turn_from_the_calls_that_may_wait(
    ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with handling(ledger, identity(), BlockingHandler()):
        with monkeypatch.context() as without:
            without.setattr(threading, "Lock", None)  # a call waits on one of its own
            assert ledger.begin_once(identity(), Handler(FAILURE)) is None
        calls = [Call(ledger, identity(), Handler(FAILURE)) for _ in range(2)]
        (refused,) = first_ended(calls, 1)
    calls.remove(refused)
    assert calls[0].outcome() == SUCCESS


def test_a_thread_commits_where_the_disk_is_slow(
    ledger: SQLiteLedger, statements: Statements, clock: LedgerClock
) -> None:
    """And the loop does again, once the disk is quick."""
    threads: list[threading.Thread] = []
    seconds = 1.0

    def commit(statement: str) -> None:
        if statement == "COMMIT":
            threads.append(threading.current_thread())
            clock.advance(seconds)

    statements.before = commit
    assert begun(ledger, "t1").settle(Woken())
    seconds = 0.0
    pending, woken = begun(ledger, "t2"), Woken()
    if not pending.settle(woken):  # the thread may have been quick
        woken.wait()
    assert (pending.result(), pending.settle(woken)) == (SUCCESS, True)
    loop = threading.current_thread()
    assert [thread is loop for thread in threads] == [True, False]
    for number in range(3, 100):  # the thread has woken the loop, but its turn may not be over yet
        pending, woken = begun(ledger, f"t{number}"), Woken()
        if not pending.settle(woken):
            woken.wait()
        if threads[-1] is loop:
            break
    assert threads[-1] is loop
    ledger.close()
    assert not threads[1].is_alive()


def test_a_stored_response_is_read_while_another_upload_of_the_ticket_is_handled(ledger: SQLiteLedger) -> None:
    for each in (ledger, MemoryLedger(clock=LedgerClock())):
        each.run_once(identity(), Handler())
        with handling(each, identity(etag="another"), BlockingHandler()):
            assert each.run_once(identity(may_wait=False), Handler(FAILURE)) == SUCCESS


@pytest.mark.parametrize("holder", ["a thread that commits", "a thread that saves", "another process"])
def test_a_loop_waits_for_nobody_who_writes(
    path: Path, ledger: SQLiteLedger, statements: Statements, holder: str
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other, ExitStack() as stack:
        if holder == "another process":
            other.execute("BEGIN IMMEDIATE")
            stack.callback(other.execute, "COMMIT")
        elif holder == "a thread that commits":
            stack.enter_context(statements.held("COMMIT", lambda: Call(ledger, identity("t0"), Handler())))
        else:
            saving = threading.Thread(target=ledger.save, args=("a", "text"))
            stack.callback(saving.join, DEADLINE)
            stack.enter_context(statements.held("COMMIT", saving.start))
        pending, woken = begun(ledger), Woken()
        assert not pending.settle(woken)
        later = begun(ledger, "t2")
        assert not later.settle(woken)
        stack.close()
    woken.wait()
    while not (pending.settle(woken) and later.settle(woken)):
        pass
    assert (pending.result(), later.result()) == (SUCCESS, SUCCESS)
    assert ledger.known([identity()[1:3]]) == {identity()[1:3]}


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


def test_responses_that_cannot_be_stored_alone_either_are_not_given(
    ledger: SQLiteLedger, statements: Statements
) -> None:
    def fail(statement: str) -> None:
        if statement == "COMMIT":
            raise sqlite3.OperationalError("the disk is full")

    pendings, woken = [begun(ledger, ticket) for ticket in ("t1", "t2", "t3")], Woken()
    statements.before = fail
    while not all(pending.settle(woken) for pending in pendings):
        woken.wait()
    for pending in pendings:
        with pytest.raises(LedgerUnavailableError, match="the disk is full"):
            pending.result()


def test_a_loop_does_not_wait_while_both_connections_are_in_use(ledger: SQLiteLedger, statements: Statements) -> None:
    """Threads read with one, and write with the other."""
    handler = Handler()
    ledger.run_once(identity("t3"), Handler())
    writing = statements.held("COMMIT", lambda: Call(ledger, identity("t2"), Handler()))
    reading = statements.held("SELECT", lambda: Call(ledger, identity("t3"), Handler(FAILURE)))
    with writing as writes, reading as reads:
        outcome: list[Any] = []
        asking = threading.Thread(target=lambda: outcome.append(ledger.begin_once(identity(), handler)), daemon=True)
        asking.start()
        asking.join(DEADLINE)
    assert outcome == [None]
    assert handler.calls == 0
    assert writes.outcome() == reads.outcome() == ledger.run_once(identity(), handler) == SUCCESS


def test_a_loop_writes_no_probe_where_a_write_fails_after_its_first_look(
    ledger: SQLiteLedger, statements: Statements, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write fails while the loop reads, because the loop has the connection that writes."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)

    def fail_meanwhile(statement: str) -> None:
        with pytest.raises(LedgerUnavailableError, match="other threads write"):
            ledger.check()

    handler = Handler()
    statements.before = fail_meanwhile
    statements.seen.clear()
    assert ledger.begin_once(identity(), handler) is None
    assert handler.calls == 0
    assert [statement for statement in statements.seen if not statement.startswith("SELECT")] == []
    statements.before = lambda statement: None
    assert ledger.run_once(identity(), handler) == SUCCESS


def test_what_interrupts_a_commit_leaves_no_upload_locked(ledger: SQLiteLedger, statements: Statements) -> None:
    """The handler of a signal may raise anywhere in the loop."""
    pending = begun(ledger)

    def interrupt(statement: str) -> None:
        if statement.startswith("INSERT INTO answers"):
            raise KeyboardInterrupt

    statements.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        pending.settle(Woken())
    statements.before = lambda statement: None
    with pytest.raises(LedgerUnavailableError):
        pending.result()
    assert ledger.run_once(identity(), Handler()) == SUCCESS


@pytest.mark.slow
@BYTE_LOCKS
def test_a_long_log_is_written_to_the_tables_by_a_thread(ledger: SQLiteLedger, statements: Statements) -> None:
    threads: list[threading.Thread] = []

    def note(statement: str) -> None:
        if statement == "PRAGMA wal_checkpoint":
            threads.append(threading.current_thread())

    statements.before = note
    for first in (0, 2000):
        pendings = [begun(ledger, f"t{first + number}") for number in range(2000)]
        assert all(pending.settle(Woken()) for pending in pendings)
    ledger.close()  # waits for its thread
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("has_byte_locks", [True, False], ids=["bytes", "lock files"])
def test_a_fork_leaves_what_is_pending_to_the_parent(path: Path, has_byte_locks: bool) -> None:
    code = """
import fcntl
if sys.argv[2] == "False":
    vars(fcntl).pop("F_OFD_SETLK", None)
ledger = SQLiteLedger(path, clock=clock, wait_timeout=60.0)
ledger.check()
def upload(number): return ledger.begin_once(identity(number), lambda _: success(f"{os.getpid()}"))
pending = upload(1)
(of_child, to_parent), (of_parent, to_child) = os.pipe(), os.pipe()
child = os.fork()
if not child:
    os.close(to_child)
    ledger.check()
    assert len(ledger) == 0 and upload(1) is None and upload(2).settle(print) and len(ledger) == 1
    os.write(to_parent, b"1")
    os.read(of_parent, 1)
    assert upload(1) == success(f"{os.getppid()}")
    ledger.close()
    os._exit(0)
os.close(to_parent)
assert os.read(of_child, 1)
other = SQLiteLedger(path, clock=clock)
other.check()
assert other.begin_once(identity(1), None) is None
other.close()
assert pending.settle(print) and pending.result() == success(f"{os.getpid()}")
os.write(to_child, b"1")
assert os.waitpid(child, 0)[1] == 0
assert len(ledger) == 2
ledger.close()
"""
    assert output(start(code, path, has_byte_locks)) == ""
