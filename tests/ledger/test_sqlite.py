"""SQLiteLedger: the contract, and processes that fork, die, run side by side, or lose the file."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError
from oss_wsgi.ledger import sqlite, sqlite_file
from oss_wsgi.ledger.base import Ledger, StoredResponse
from oss_wsgi.ledger.sqlite import SQLiteLedger
from oss_wsgi.ledger.steady_time import MARGIN
from oss_wsgi.testing.ledger_contract import (
    FAILURE,
    NOW,
    SUCCESS,
    BlockingHandler,
    Call,
    Handler,
    LedgerClock,
    LedgerContract,
    handling,
    identity,
    let_time_pass,
)

from . import unwritable
from .processes import POSIX, ROOT, output, start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SQLiteLedger]:
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=0.0) as ledger:
        yield ledger


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


class TestContract(LedgerContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path / "ledger.db"

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> SQLiteLedger:
        return SQLiteLedger(self.path, clock=clock, wait_timeout=wait_timeout)

    @contextmanager
    def unwritable(self, ledger: Ledger) -> Iterator[None]:
        with unwritable.files():
            yield


def test_a_response_survives_a_restart(path: Path) -> None:
    second = Handler()
    for handler in Handler(), second:
        with SQLiteLedger(path, clock=LedgerClock()) as ledger:
            assert ledger.run_once(identity(), handler) == SUCCESS
    assert second.calls == 0
    assert list(path.parent.iterdir()) == [path]


def test_two_instances_in_one_process_wait_for_each_other(path: Path, ledger: SQLiteLedger) -> None:
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=0.0) as other:
        busy = pytest.raises(LedgerUnavailableError, match="ledger_busy")
        with handling(ledger, identity(), BlockingHandler()), busy:
            other.run_once(identity(), Handler())
        assert other.run_once(identity(), Handler(FAILURE)) == SUCCESS


@pytest.mark.slow
def test_concurrent_processes_handle_each_upload_once(path: Path) -> None:
    code = """
sys.stdin.readline()
with SQLiteLedger(path, clock=clock, wait_timeout=60.0) as ledger:
    for number in range(40):
        def handle(transaction):
            print(number)
            return success(str(number))
        assert ledger.run_once(identity(number), handle) == success(str(number))
"""
    processes = [start(code, path) for _ in range(5)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    handled = sorted(int(line) for process in processes for line in output(process).splitlines())
    assert handled == list(range(40))
    assert rows(path, "SELECT COUNT(*) FROM claims") == [(0,)]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used before the fork"])
def test_an_instance_made_before_a_fork_works_in_all_children(path: Path, used: bool) -> None:
    code = """
ledger = SQLiteLedger(path, clock=clock, wait_timeout=60.0)
if sys.argv[2] == "True":
    ledger.run_once(identity("before"), lambda _: success("before"))
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        assert ledger._file._connection is None
        for number in range(20):
            ledger.run_once(identity(number), lambda _: os.write(1, b"%d\\n" % number) and success("child"))
        ledger.close()
        os._exit(0)
    children.append(child)
ledger.run_once(identity("parent"), lambda _: success("parent"))
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
assert ledger.run_once(identity(7), lambda _: success("not again")) == success("child")
ledger.close()
"""
    handled = sorted(int(line) for line in output(start(code, path, used)).splitlines())
    assert handled == list(range(20))
    assert rows(path, "SELECT COUNT(*) FROM claims") == [(0,)]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.slow
@POSIX
def test_a_dead_process_with_a_living_child_counts_as_dead(path: Path, ledger: SQLiteLedger) -> None:
    code = """
import signal, subprocess
def handle(transaction):
    child = os.fork()
    if not child:
        sys.stdin.read()
        os._exit(0)
    subprocess.Popen(["sleep", "20"], stdout=subprocess.DEVNULL)
    os.kill(os.getpid(), signal.SIGKILL)
SQLiteLedger(path, clock=clock).run_once(UploadIdentity("t1", "user/猫 1.png", "5B3C", 1733228232), handle)
"""
    ledger.run_once(identity("other"), Handler())
    process = start(code, path)
    assert process.wait(120) == -9
    assert rows(path, "SELECT COUNT(*) FROM claims") == [(1,)]
    handler = Handler()
    assert ledger.run_once(identity(), handler) == SUCCESS
    assert handler.calls == 1
    process.communicate()


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("second", ["started", "running"])
def test_a_process_killed_at_any_step_loses_and_repeats_nothing(tmp_path: Path, second: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.ledger.killed_at_every_step", str(tmp_path), second]
    stdout = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout
    runs = [json.loads(line) for line in stdout.splitlines()]
    steps = {run["first"][-1].removeprefix("killed ") for run in runs[:-1]}
    assert steps >= {
        "before run_once",
        "fcntl.flock",
        "INSERT INTO claims",
        "COMMIT",
        "handler starts",
        "handler works",
    }
    assert steps >= {"handler ends", "DELETE FROM claims", "INSERT OR REPLACE", "after run_once", "os.remove"}
    assert runs[-1]["status"] == 0
    for run in runs:
        answered = [line for line in run["first"] if line.startswith("answered")]
        # A response given is final; without one the second process handles the upload, once, without waiting.
        assert run["second"][:-1] == ([] if answered else ["handling", "handled"]), run
        assert run["second"][-1].startswith("answered")
        assert answered in ([], run["second"]), run
        assert (run["claims"], run["left"]) == (0, []), run


@POSIX
def test_a_process_whose_lock_file_was_removed_claims_under_a_new_name(path: Path, ledger: SQLiteLedger) -> None:
    ledger.run_once(identity("t1"), Handler())
    next(path.parent.glob("*-owner-*")).unlink()
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=0.0) as other:
        busy = pytest.raises(LedgerUnavailableError, match="ledger_busy")
        with handling(ledger, identity("t2"), BlockingHandler()) as call, busy:
            other.run_once(identity("t2"), Handler())
    assert call.outcome() == SUCCESS


def test_only_a_response_is_synced_to_the_disk(
    path: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    with ledger._file.opened() as connection:
        connection.set_trace_callback(statements.append)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    ledger.run_once(identity("t1"), Handler())
    ledger.run_once(identity("t2"), Handler(FAILURE))
    modes = [statement.split()[-1] for statement in statements if "synchronous" in statement]
    assert modes == ["NORMAL", "FULL", "NORMAL", "NORMAL"]


def test_a_removed_file_is_noticed_and_its_replacement_used(path: Path, ledger: SQLiteLedger) -> None:
    ledger.run_once(identity(), Handler())
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(LedgerUnavailableError, match="unable to open"):
        ledger.check()
    handler = Handler()
    with pytest.raises(LedgerUnavailableError):
        ledger.run_once(identity(), handler)
    assert handler.calls == 0
    with SQLiteLedger(path, clock=LedgerClock()) as other:
        assert ledger.run_once(identity(), handler) == SUCCESS
        assert other.run_once(identity(), Handler(FAILURE)) == SUCCESS
    assert handler.calls == 1


def fill_disk(ledger: SQLiteLedger) -> None:
    with ledger._file.opened() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_response_that_cannot_be_stored_is_not_returned(
    path: Path, ledger: SQLiteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    large = Handler(StoredResponse("200 OK", "text/plain", bytes(1_000_000)))
    ledger.run_once(identity("t0"), Handler())

    def handle(transaction: object) -> StoredResponse:
        fill_disk(ledger)
        return large()

    with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
        ledger.run_once(identity("t1"), handle)
    assert [(record.levelname, "full" in record.getMessage()) for record in caplog.records] == [("ERROR", True)]
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=0.0) as other:
        assert other.run_once(identity("t1"), large) == large.result
    assert large.calls == 2
    assert ledger.run_once(identity("t0"), Handler(FAILURE)) == SUCCESS
    assert ledger.run_once(identity("t1"), Handler(FAILURE)) == large.result


@pytest.fixture
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a locked file after few tries instead of two seconds."""
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.01)


@pytest.mark.usefixtures("few_tries")
def test_a_locked_file_still_gives_stored_responses(
    path: Path, ledger: SQLiteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.run_once(identity("t0"), Handler())
    handler = Handler()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailableError) as raised:
            ledger.run_once(identity("t1"), handler)
        assert raised.value.reason == "ledger_unavailable"
        assert ledger.run_once(identity("t0"), handler) == SUCCESS
        assert handler.calls == 0
    assert ledger.run_once(identity("t1"), handler) == SUCCESS
    assert caplog.records == []


@pytest.mark.usefixtures("few_tries")
@pytest.mark.parametrize("response", [SUCCESS, FAILURE])
def test_a_claim_whose_outcome_cannot_be_written_blocks_nobody(
    path: Path, ledger: SQLiteLedger, response: StoredResponse, caplog: pytest.LogCaptureFixture
) -> None:
    other = SQLiteLedger(path, clock=LedgerClock(), wait_timeout=0.0)
    with other, handling(ledger, identity("slow"), BlockingHandler()) as call:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:

            def handle(transaction: object) -> StoredResponse:
                connection.execute("BEGIN IMMEDIATE")
                return response

            if response is SUCCESS:
                with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
                    ledger.run_once(identity("t1"), handle)
            else:
                assert ledger.run_once(identity("t1"), handle) == response
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        # The name is shared with a handling that goes on, and no other process may take that over.
        with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
            other.run_once(identity("slow"), Handler())
    assert call.outcome() == SUCCESS
    with other:
        handler = Handler()
        assert other.run_once(identity("t1"), handler) == SUCCESS
        assert handler.calls == 1


def test_a_damaged_file_raises_our_error_and_not_sqlites(path: Path) -> None:
    ledger = SQLiteLedger(path, clock=LedgerClock())
    path.write_text("Dear diary, " * 100)
    handler = Handler()
    with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
        ledger.run_once(identity(), handler)
    with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
        ledger.run_once(identity(object="\udc80"), handler)
    assert handler.calls == 0
    path.unlink()


@pytest.mark.slow
def test_concurrent_responses_are_written_together(ledger: SQLiteLedger) -> None:
    statements: list[str] = []
    barrier = threading.Barrier(9)

    def handle(transaction: object) -> StoredResponse:
        barrier.wait(60)
        return SUCCESS

    calls = [Call(ledger, identity(f"t{number}"), handle) for number in range(8)]
    while barrier.n_waiting < 8:
        assert all(call.is_alive() for call in calls)
    with ledger._file.opened() as connection:  # holds the lock that the ends of the handlings need
        connection.set_trace_callback(statements.append)
        barrier.wait(60)
        while len(ledger._outcomes) < 8:
            assert all(call.is_alive() for call in calls)
    assert [call.outcome() for call in calls] == [SUCCESS] * 8
    assert sum("INSERT OR REPLACE" in statement for statement in statements) == 8
    assert sum("COMMIT" in statement for statement in statements) == 1


def insert_responses(path: Path, count: int, expires: int, forget_after: int | None = None) -> None:
    generator = random.Random(f"{count} {expires}")
    end = "200 OK", "", b"{}", expires if forget_after is None else forget_after
    with closing(sqlite3.connect(path)) as connection:
        values = ((f"{generator.getrandbits(96):024x}", "o", "e", expires, *end) for _ in range(count))
        connection.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        connection.commit()


def test_expired_responses_are_deleted_a_few_at_a_time(path: Path, ledger: SQLiteLedger) -> None:
    insert_responses(path, 10, NOW - 1)
    counts = []
    for number in range(4):
        ledger.run_once(identity(f"t{number}"), Handler())
        counts += rows(path, f"SELECT COUNT(*) FROM answers WHERE expires < {NOW}")
    assert counts == [(6,), (2,), (0,), (0,)]


@pytest.mark.parametrize(("expires", "forget_after"), [(NOW - 1, NOW), (NOW, NOW - 1)], ids=["steady time", "clock"])
def test_a_response_that_one_time_calls_valid_stays(
    path: Path, ledger: SQLiteLedger, expires: int, forget_after: int
) -> None:
    insert_responses(path, 10, expires, forget_after)
    for number in range(4):
        ledger.run_once(identity(f"t{number}"), Handler())
    assert rows(path, f"SELECT COUNT(*) FROM answers WHERE expires = {expires}") == [(10,)]


def test_the_count_of_a_ticket_is_deleted_after_its_responses(path: Path) -> None:
    clock = LedgerClock()
    with SQLiteLedger(path, clock=clock) as ledger:
        for number in range(3):
            ledger.run_once(identity(object=f"user/{number}", max_objects=3), Handler())
        assert rows(path, "SELECT ticket, objects FROM tickets") == [("t1", 3)]
        let_time_pass(ledger, clock, MARGIN)
        assert rows(path, "SELECT ticket, objects FROM tickets") == [("t1", 3)]
        let_time_pass(ledger, clock, 1000)
        assert rows(path, "SELECT ticket, objects FROM tickets") == []
        assert len(ledger) == 0


@pytest.mark.parametrize("jump", [86_400, -86_400])
def test_a_clock_that_jumps_over_a_restart_forgets_nothing(path: Path, jump: int) -> None:
    uploads = [identity(f"t{number}", expires=NOW + 10 + number) for number in range(10)]
    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        for upload in uploads:
            ledger.run_once(upload, Handler())
    for now in (NOW + jump, NOW + jump, NOW + 1, NOW + 2 * jump):
        with SQLiteLedger(path, clock=LedgerClock(now)) as ledger:
            for number in range(10):
                ledger.run_once(identity(f"{now} {number}", expires=now + 300), Handler())
    with SQLiteLedger(path, clock=LedgerClock(NOW + 2)) as ledger:
        again = Handler()
        assert [ledger.run_once(upload, again) for upload in uploads] == [SUCCESS] * 10
        assert again.calls == 0


def test_a_long_pause_forgets_only_what_has_expired(path: Path) -> None:
    """A process that is started again after a week finds a steady time that lags; it deletes later, not too early."""
    week = 7 * 86_400
    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        ledger.run_once(identity("expired"), Handler())
        ledger.run_once(identity("valid", expires=NOW + 2 * week), Handler())
    clock = LedgerClock(NOW + week)
    with SQLiteLedger(path, clock=clock) as ledger:
        assert ledger.run_once(identity("valid", expires=NOW + 2 * week), Handler(FAILURE)) == SUCCESS
        let_time_pass(ledger, clock, 2 * 86_400)
        assert rows(path, "SELECT ticket FROM answers") == [("valid",)]


@pytest.mark.slow
def test_racing_processes_never_exceed_the_count(path: Path) -> None:
    code = """
sys.stdin.readline()
with SQLiteLedger(path, clock=clock, wait_timeout=60.0) as ledger:
    for number in range(20):
        upload = UploadIdentity("t1", f"user/{sys.argv[2]} {number}", "etag", 1733228232, False, 30)
        try:
            ledger.run_once(upload, lambda transaction: print(upload.object) or success("stored"))
        except Exception as error:
            assert type(error).__name__ == "TicketUsedError", repr(error)
"""
    processes = [start(code, path, name) for name in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    handled = [line for process in processes for line in output(process).splitlines()]
    assert len(handled) == len(set(handled)) == 30
    assert rows(path, "SELECT ticket, objects FROM tickets") == [("t1", 30)]
    assert rows(path, "SELECT COUNT(*) FROM answers") == [(30,)]


def test_a_claim_does_not_expire_with_its_ticket(ledger: SQLiteLedger) -> None:
    slow = identity("slow", expires=NOW - 1)
    with handling(ledger, slow, BlockingHandler()) as call:
        ledger.run_once(identity("t1"), Handler())
        with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
            ledger.run_once(slow, Handler())
    assert call.outcome() == SUCCESS


def upload_cost(path: Path, ticket: str) -> int:
    """Return how many instructions of its virtual machine SQLite executes for one upload."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        ledger.run_once(identity(f"{ticket} before"), Handler())
        with ledger._file.opened() as connection:
            connection.set_progress_handler(count, 1)
        ledger.run_once(identity(ticket), Handler())
    return counted


@pytest.mark.slow
def test_an_upload_costs_the_same_among_a_hundred_thousand(path: Path) -> None:
    SQLiteLedger(path, clock=LedgerClock()).close()
    insert_responses(path, 1000, NOW - 1)
    few = upload_cost(path, "few")
    insert_responses(path, 100_000, NOW - 1)
    insert_responses(path, 1000, NOW + 1)
    insert_responses(path, 1001, NOW + 1, NOW + 86_400)
    assert upload_cost(path, "many") == few > 100


@pytest.mark.parametrize(
    ("options", "statement"),
    [({"forbid_overwrite": True}, "FROM claims"), ({"max_objects": 2}, "SELECT objects")],
    ids=["an object that is not overwritten", "the last of some objects"],
)
def test_what_another_process_stores_between_two_statements_is_no_other_upload(
    path: Path, ledger: SQLiteLedger, options: dict[str, Any], statement: str
) -> None:
    if "max_objects" in options:
        ledger.run_once(identity(object="user/first.png", **options), Handler())
    with SQLiteLedger(path, clock=LedgerClock()) as other:
        reports = [Handler(), Handler()]

        def store(text: str) -> None:
            if statement in text and not reports[1].calls:
                other.run_once(identity(**options), reports[1])

        with ledger._file.opened() as connection:
            connection.set_trace_callback(store)
        assert ledger.run_once(identity(**options), reports[0]) == SUCCESS
    assert [report.calls for report in reports] == [0, 1]


@pytest.mark.parametrize(
    "name",
    [
        "_SELECT_RESPONSE",
        "_OTHER_OBJECT_EXISTS",
        "_OBJECT_EXISTS",
        "_SELECT_CLAIMS",
        "_SELECT_OBJECT_COUNT",
        "_DELETE_CLAIM",
        "_DELETE_EXPIRED",
        "_DELETE_EXPIRED_TICKETS",
    ],
)
def test_no_statement_scans_a_whole_table(path: Path, ledger: SQLiteLedger, name: str) -> None:
    query: str = getattr(sqlite, name)
    with ledger._file.opened() as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", ["1"] * query.count("?"))]
    assert any("SEARCH" in step for step in plan)
    # What the subquery returns has four rows.
    assert {step for step in plan if step.startswith("SCAN")} <= {"SCAN CONSTANT ROW", "SCAN (subquery-1)"}
