"""SQLiteLedger: what processes do that end, fork, run side by side, or find a file that cannot be used."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError, SettingsError
from oss_wsgi.ledger import sqlite, sqlite_file
from oss_wsgi.ledger.base import StoredResponse
from oss_wsgi.ledger.process_lock import ProcessLock, is_dead, lock_names
from oss_wsgi.ledger.sqlite import SQLiteLedger
from oss_wsgi.testing import FrozenClock

from .test_base import FAILED, GOOD, NOW, Blocking, Call, Handler, upload

ROOT = Path(__file__).parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="forks, signals and file modes are POSIX's")
START = """
import os, sys
from oss_wsgi.ledger.base import StoredResponse, UploadIdentity
from oss_wsgi.ledger.sqlite import SQLiteLedger
def upload(number): return UploadIdentity(f"t{number}", "object", "etag", 1733228232)
def good(text): return StoredResponse("200 OK", "text/plain", text.encode())
path = sys.argv[1]
clock = lambda: 1733227932.0
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[SQLiteLedger]:
    with SQLiteLedger(path, clock=FrozenClock(NOW), wait_timeout=0.0) as ledger:
        yield ledger


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", START + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return said


def test_an_answer_is_there_after_a_restart(path: Path) -> None:
    again = Handler()
    for handler in Handler(), again:
        with SQLiteLedger(path, clock=FrozenClock(NOW)) as ledger:
            assert ledger.run_once(upload(), handler) == GOOD
    assert again.calls == 0
    assert list(path.parent.iterdir()) == [path]


def test_a_closed_ledger_opens_anew(ledger: SQLiteLedger) -> None:
    ledger.run_once(upload(), Handler())
    ledger.close()
    assert ledger.run_once(upload(), Handler(FAILED)) == GOOD


def test_two_instances_in_one_process_wait_for_each_other(path: Path, ledger: SQLiteLedger) -> None:
    slow = Blocking()
    call = Call(ledger, upload(), slow)
    assert slow.started.wait(20)
    with SQLiteLedger(path, clock=FrozenClock(NOW), wait_timeout=0.0) as other:
        with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
            other.run_once(upload(), Handler())
        slow.end.set()
        assert call.outcome() == GOOD
        assert other.run_once(upload(), Handler(FAILED)) == GOOD


def test_several_processes_at_once_handle_each_upload_once(path: Path) -> None:
    code = """
sys.stdin.readline()
with SQLiteLedger(path, clock=clock, wait_timeout=30.0) as ledger:
    for number in range(40):
        def handle():
            print(number)
            return good(str(number))
        assert ledger.run_once(upload(number), handle) == good(str(number))
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


@POSIX
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used before the fork"])
def test_an_instance_made_before_a_fork_is_used_in_all_children(path: Path, used: bool) -> None:
    code = """
ledger = SQLiteLedger(path, clock=clock, wait_timeout=30.0)
if sys.argv[2] == "True":
    ledger.run_once(upload("before"), lambda: good("before"))
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        assert ledger._file._connection is None
        for number in range(20):
            ledger.run_once(upload(number), lambda: os.write(1, b"%d\\n" % number) and good("child"))
        ledger.close()
        os._exit(0)
    children.append(child)
ledger.run_once(upload("parent"), lambda: good("parent"))
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
assert ledger.run_once(upload(7), lambda: good("not again")) == good("child")
ledger.close()
"""
    handled = sorted(int(line) for line in output(start(code, path, used)).splitlines())
    assert handled == list(range(20))
    assert rows(path, "SELECT COUNT(*) FROM claims") == [(0,)]
    assert list(path.parent.iterdir()) == [path]


@POSIX
def test_a_child_does_not_keep_its_dead_parent_alive(path: Path, ledger: SQLiteLedger) -> None:
    code = """
import signal, subprocess
def handle():
    child = os.fork()
    if not child:
        sys.stdin.read()
        os._exit(0)
    subprocess.Popen(["sleep", "20"], stdout=subprocess.DEVNULL)
    os.kill(os.getpid(), signal.SIGKILL)
SQLiteLedger(path, clock=clock).run_once(UploadIdentity("t1", "user/猫 1.png", "5B3C", 1733228232), handle)
"""
    ledger.run_once(upload("other"), Handler())
    process = start(code, path)
    assert process.wait(60) == -9
    assert rows(path, "SELECT COUNT(*) FROM claims") == [(1,)]
    handler = Handler()
    assert ledger.run_once(upload(), handler) == GOOD
    assert handler.calls == 1
    process.communicate()


@POSIX
@pytest.mark.parametrize("second", ["started", "running"])
def test_killed_at_every_step_an_upload_is_never_lost_and_never_handled_twice_to_the_end(
    tmp_path: Path, second: str
) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.killed_at_every_step", str(tmp_path), second]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
    runs = [json.loads(line) for line in said.splitlines()]
    steps = {run["first"][-1].removeprefix("killed ") for run in runs[:-1]}
    assert steps >= {"before once", "fcntl.flock", "INSERT INTO claims", "COMMIT", "handler starts", "handler works"}
    assert steps >= {"handler ends", "DELETE FROM claims", "INSERT OR REPLACE", "after once", "os.remove"}
    assert runs[-1]["status"] == 0
    for run in runs:
        answered = [line for line in run["first"] if line.startswith("answered")]
        # An answer given is the answer for good; without one the second process handles, once, and at once.
        assert run["second"][:-1] == ([] if answered else ["handling", "handled"]), run
        assert run["second"][-1].startswith("answered")
        assert answered in ([], run["second"]), run
        assert (run["claims"], run["left"]) == (0, []), run


def test_an_owner_lives_until_it_is_released(tmp_path: Path) -> None:
    stem = str(tmp_path / "x-owner-")
    owner = ProcessLock(stem)
    with is_dead(stem, owner.name) as dead:
        assert not dead
    assert lock_names(stem) == [owner.name]
    owner.release()
    with is_dead(stem, owner.name) as dead:
        assert dead
    assert lock_names(stem) == []


def test_a_file_that_only_looks_like_an_owners_stays(path: Path) -> None:
    note = path.with_name("ledger.db-owner-notes.txt")
    note.touch()
    SQLiteLedger(path, clock=FrozenClock(NOW)).close()
    assert note.exists()


@POSIX
def test_an_owner_whose_file_was_swept_away_claims_under_a_new_name(path: Path, ledger: SQLiteLedger) -> None:
    ledger.run_once(upload("t1"), Handler())
    next(path.parent.glob("*-owner-*")).unlink()
    slow = Blocking()
    call = Call(ledger, upload("t2"), slow)
    assert slow.started.wait(20)
    with SQLiteLedger(path, clock=FrozenClock(NOW), wait_timeout=0.0) as other:
        with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
            other.run_once(upload("t2"), Handler())
    slow.end.set()
    assert call.outcome() == GOOD


@POSIX
def test_only_this_user_reads_it(path: Path, ledger: SQLiteLedger) -> None:
    ledger.run_once(upload(), Handler())
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


def test_the_log_is_write_ahead_and_the_answer_alone_is_synced(
    path: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    with ledger._file.opened() as connection:
        connection.set_trace_callback(statements.append)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    ledger.run_once(upload("t1"), Handler())
    ledger.run_once(upload("t2"), Handler(FAILED))
    modes = [statement.split()[-1] for statement in statements if "synchronous" in statement]
    assert modes == ["NORMAL", "FULL", "NORMAL", "NORMAL"]


@pytest.mark.parametrize("name", ["a b.db", "猫.db", "what?mode=memory", "100%25#.db", "'\"; --.db"])
def test_any_name_of_a_file_will_do(tmp_path: Path, name: str) -> None:
    with SQLiteLedger(str(tmp_path / name), clock=FrozenClock(NOW)) as ledger:
        ledger.run_once(upload(), Handler())
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_relative_name_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLiteLedger("ledger.db", clock=FrozenClock(NOW)) as ledger:
        monkeypatch.chdir("/")
        ledger.run_once(upload(), Handler())
    assert [entry.name for entry in tmp_path.iterdir()] == ["ledger.db"]


def refused(path: Path | str) -> str:
    with pytest.raises(SettingsError) as caught:
        SQLiteLedger(path, clock=FrozenClock(NOW))
    assert repr(str(path)) in str(caught.value)
    return str(caught.value)


def test_a_file_that_was_removed_under_it_is_missed_and_another_in_its_place_is_used(
    path: Path, ledger: SQLiteLedger
) -> None:
    ledger.run_once(upload(), Handler())
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(LedgerUnavailableError, match="unable to open"):
        ledger.check()
    handler = Handler()
    with pytest.raises(LedgerUnavailableError):
        ledger.run_once(upload(), handler)
    assert handler.calls == 0
    with SQLiteLedger(path, clock=FrozenClock(NOW)) as other:
        assert ledger.run_once(upload(), handler) == GOOD
        assert other.run_once(upload(), Handler(FAILED)) == GOOD
    assert handler.calls == 1


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_text("Dear diary, " * 100)
    assert "not a database" in refused(path)
    assert path.read_text().startswith("Dear diary")
    assert list(path.parent.iterdir()) == [path]


def test_another_applications_database_is_refused_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    before = path.read_bytes()
    assert "another application's" in refused(path)
    assert path.read_bytes() == before


def test_a_missing_folder_a_folder_and_no_name_at_all_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "missing" / "ledger.db")
    assert "unable to open" in refused(tmp_path)
    assert "null" in refused(f"{tmp_path}/a\0b")


@POSIX
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_can_only_be_read_is_refused(what: str) -> None:
    code = """
from oss_wsgi.exceptions import SettingsError
import urllib.parse  # pathlib's, which may be out of reach afterwards
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere
try:
    SQLiteLedger(path, clock=clock)
except SettingsError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        if what == "file":
            SQLiteLedger(path, clock=FrozenClock(NOW)).close()
            path.chmod(0o444)
        os.chmod(folder, 0o555 if what == "folder" else 0o777)
        said = output(start(code, path))
    assert said.startswith(f"The ledger {str(path)!r} cannot be used: ")


def fill_disk(ledger: SQLiteLedger) -> None:
    with ledger._file.opened() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")


def test_an_answer_that_does_not_fit_is_given_and_the_next_call_handles_again(
    path: Path, ledger: SQLiteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    large = Handler(StoredResponse("200 OK", "text/plain", bytes(1_000_000)))
    ledger.run_once(upload("t0"), Handler())

    def handle() -> StoredResponse:
        fill_disk(ledger)
        return large()

    assert ledger.run_once(upload("t1"), handle) == large.answer
    assert [(record.levelname, "full" in record.getMessage()) for record in caplog.records] == [("ERROR", True)]
    with SQLiteLedger(path, clock=FrozenClock(NOW), wait_timeout=0.0) as other:
        assert other.run_once(upload("t1"), large) == large.answer
    assert large.calls == 2
    assert ledger.run_once(upload("t0"), Handler(FAILED)) == GOOD
    assert ledger.run_once(upload("t1"), Handler(FAILED)) == large.answer


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try twice where a locked file is tried for seconds."""
    monkeypatch.setattr(sqlite_file, "_BUSY_TRIES", 2)


@pytest.mark.usefixtures("hasty")
def test_while_the_file_is_locked_nothing_is_handled_and_answers_are_given(
    path: Path, ledger: SQLiteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.run_once(upload("t0"), Handler())
    handler = Handler()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailableError) as caught:
            ledger.run_once(upload("t1"), handler)
        assert caught.value.reason == "ledger_unavailable"
        assert ledger.run_once(upload("t0"), handler) == GOOD
        assert handler.calls == 0
    assert ledger.run_once(upload("t1"), handler) == GOOD
    assert caplog.records == []


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("answer", [GOOD, FAILED])
def test_a_claim_whose_end_could_not_be_written_blocks_nobody(
    path: Path, ledger: SQLiteLedger, answer: StoredResponse, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Blocking()
    call = Call(ledger, upload("slow"), slow)
    assert slow.started.wait(20)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:

        def handle() -> StoredResponse:
            connection.execute("BEGIN IMMEDIATE")
            return answer

        assert ledger.run_once(upload("t1"), handle) == answer
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    with SQLiteLedger(path, clock=FrozenClock(NOW), wait_timeout=0.0) as other:
        # The name is shared with a handling that goes on, which nobody may take over.
        with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
            other.run_once(upload("slow"), Handler())
        slow.end.set()
        assert call.outcome() == GOOD
        handler = Handler()
        assert other.run_once(upload("t1"), handler) == GOOD
        assert handler.calls == 1


def test_a_file_that_has_gone_bad_is_no_error_of_sqlite(path: Path) -> None:
    ledger = SQLiteLedger(path, clock=FrozenClock(NOW))
    path.write_text("Dear diary, " * 100)
    handler = Handler()
    with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
        ledger.run_once(upload(), handler)
    with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
        ledger.run_once(upload(object="\udc80"), handler)
    assert handler.calls == 0
    path.unlink()


def test_answers_that_come_together_are_written_together(ledger: SQLiteLedger) -> None:
    statements: list[str] = []
    together = threading.Barrier(8)

    def handle() -> StoredResponse:
        together.wait(20)
        return GOOD

    with ledger._file.opened() as connection:
        connection.set_trace_callback(statements.append)
    calls = [Call(ledger, upload(f"t{number}"), handle) for number in range(8)]
    assert [call.outcome() for call in calls] == [GOOD] * 8
    assert sum("INSERT OR REPLACE" in statement for statement in statements) == 8
    assert sum("FULL" in statement for statement in statements) <= 8


def fill(path: Path, count: int, expires: int) -> None:
    draw = random.Random(f"{count} {expires}")
    with closing(sqlite3.connect(path)) as connection:
        values = ((f"{draw.getrandbits(96):024x}", "o", "e", expires, "200 OK", "", b"{}") for _ in range(count))
        connection.executemany("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        connection.commit()


def test_what_has_expired_leaves_a_few_rows_at_a_time(path: Path, ledger: SQLiteLedger) -> None:
    fill(path, 10, NOW - 1)
    counts = []
    for number in range(4):
        ledger.run_once(upload(f"t{number}"), Handler())
        counts += rows(path, f"SELECT COUNT(*) FROM answers WHERE expires < {NOW}")
    assert counts == [(6,), (2,), (0,), (0,)]


def test_a_claim_that_outlives_its_ticket_is_not_taken_for_expired(ledger: SQLiteLedger) -> None:
    slow = Blocking()
    call = Call(ledger, upload("slow", expires=NOW - 1), slow)
    assert slow.started.wait(20)
    ledger.run_once(upload("t1"), Handler())
    with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
        ledger.run_once(upload("slow", expires=NOW - 1), Handler())
    slow.end.set()
    assert call.outcome() == GOOD


def steps_of_an_upload(path: Path, ticket: str) -> int:
    """Count what SQLite's virtual machine does for one upload, in its own instructions."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    with SQLiteLedger(path, clock=FrozenClock(NOW)) as ledger:
        ledger.run_once(upload(f"{ticket} before"), Handler())
        with ledger._file.opened() as connection:
            connection.set_progress_handler(count, 1)
        ledger.run_once(upload(ticket), Handler())
    return counted


def test_an_upload_takes_the_same_steps_among_a_hundred_thousand(path: Path) -> None:
    SQLiteLedger(path, clock=FrozenClock(NOW)).close()
    fill(path, 1000, NOW - 1)
    few = steps_of_an_upload(path, "few")
    fill(path, 100_000, NOW - 1)
    fill(path, 1000, NOW + 1)
    assert steps_of_an_upload(path, "many") == few > 100


@pytest.mark.parametrize(
    "name", ["_SELECT_RESPONSE", "_OTHER_OBJECT_EXISTS", "_SELECT_CLAIM", "_DELETE_CLAIM", "_DELETE_EXPIRED"]
)
def test_no_statement_reads_a_whole_table(path: Path, ledger: SQLiteLedger, name: str) -> None:
    query: str = getattr(sqlite, name)
    with ledger._file.opened() as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", ["1"] * query.count("?"))]
    assert any("SEARCH" in step for step in plan)
    assert not [step for step in plan if step.startswith("SCAN") and "CONSTANT ROW" not in step]


def test_a_statement_for_which_sqlite_does_not_wait_is_tried_again_while_the_file_is_locked() -> None:
    class Locked:
        def __init__(self, error: str, times: int) -> None:
            self.error, self.left = error, times

        def execute(self, statement: str) -> str:
            if not self.left:
                return statement
            self.left -= 1
            raise sqlite3.OperationalError(self.error)

    insist: Any = sqlite_file._execute_with_retry
    assert insist(Locked("database is locked", 3), "PRAGMA journal_mode = WAL") == "PRAGMA journal_mode = WAL"
    for error, times in (("database is locked", 10_000), ("disk I/O error", 1)):
        with pytest.raises(sqlite3.OperationalError, match=error):
            insist(Locked(error, times), "PRAGMA journal_mode = WAL")
