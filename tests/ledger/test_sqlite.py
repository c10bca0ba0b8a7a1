"""SQLiteLedger: the contract, and processes that fork, die, run side by side, or lose the file."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError, SweepRunningError, TicketUsedError
from oss_wsgi.ledger import sqlite
from oss_wsgi.ledger.base import Ledger, Pending, StoredResponse
from oss_wsgi.ledger.sqlite import SQLiteLedger
from oss_wsgi.ledger.steady_time import MARGIN

from ..support.children import fork, forking
from ..support.foreign_files import AS_ROOT, NOBODY
from ..support.ledger_programs import BYTE_LOCKS, LOCKS, POSIX, ROOT, output, start
from ..support.open_files import has_open
from ..support.sqlite_statements import Statements
from ..support.waiting import wait_until
from . import unwritable
from .contract import (
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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """What ledgers tell SQLite that are made from now on."""
    return Statements(monkeypatch)


@pytest.fixture
def clock() -> LedgerClock:
    return LedgerClock()


@pytest.fixture
def ledger(path: Path, clock: LedgerClock, statements: Statements) -> Iterator[SQLiteLedger]:
    with SQLiteLedger(path, clock=clock, wait_timeout=0.0) as ledger:
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

    def unwritable(self, ledger: Ledger) -> AbstractContextManager[None]:
        return unwritable.files()

    failing = unwritable

    def elsewhere(self) -> str:
        return f"""
from oss_wsgi.ledger.sqlite import SQLiteLedger
ledger = SQLiteLedger({str(self.path)!r}, clock=lambda: 1733227932.0, wait_timeout=60.0)
"""


@pytest.mark.slow
class TestContractWithLockFiles(TestContract):
    """The contract with lock files, as on systems other than Linux."""

    @pytest.fixture(autouse=True)
    def lock_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(fcntl, "F_OFD_SETLK", raising=False)

    def elsewhere(self) -> str:
        return "import fcntl\nvars(fcntl).pop('F_OFD_SETLK', None)" + super().elsewhere()


def lock_file(path: Path) -> Path:
    return path.with_name("ledger.db-lock")


def test_a_response_survives_a_restart(path: Path) -> None:
    second = Handler()
    for handler in Handler(), second:
        with SQLiteLedger(path, clock=LedgerClock()) as ledger:
            assert ledger.run_once(identity(), handler) == SUCCESS
            assert has_open(path)
        assert not has_open(path) and not has_open(lock_file(path))
    assert second.calls == 0
    assert set(path.parent.iterdir()) == {path, Path(f"{path}{LOCKS}")}
    assert rows(path, "SELECT expires, forget_after FROM answers") == [(NOW + 300, NOW + 300 + MARGIN)]


def test_two_instances_in_one_process_keep_each_other_out(
    path: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=0.0) as other:
        other.check()
        with handling(ledger, identity(), BlockingHandler()):
            for upload in identity(), identity(object="another, of the same ticket"):
                with pytest.raises(LedgerUnavailableError, match="ledger_busy: another call"):
                    other.run_once(upload, Handler())
            with monkeypatch.context() as without:
                without.setattr(threading, "Event", None)  # what a call waits with
                assert other.begin_once(identity(), Handler(FAILURE)) is None
        assert other.run_once(identity(), Handler(FAILURE)) == SUCCESS
        with ledger.hold("t2"):
            with pytest.raises(SweepRunningError, match=r"sweep_running\b"), other.hold("t2"):
                pytest.fail("it is held")
            assert other.run_once(identity("t2"), Handler()) == SUCCESS


def test_another_instance_waits_for_as_long_as_it_may(
    path: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    first = BlockingHandler()
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=7.0) as other, monkeypatch.context() as patched:
        other.check()
        with handling(ledger, identity(), first) as call:

            def end_first(seconds: float) -> None:
                first.release.set()
                call.outcome()

            # What a call waits with.
            patched.setattr(threading, "Event", lambda: SimpleNamespace(wait=waits.append))
            with pytest.raises(LedgerUnavailableError, match=r"after 7\.0 s"):
                other.run_once(identity(), Handler(FAILURE))
            patched.setattr(threading, "Event", lambda: SimpleNamespace(wait=end_first))
            assert other.run_once(identity(), Handler(FAILURE)) == SUCCESS
    assert sum(waits) == pytest.approx(7.0)


@BYTE_LOCKS
def test_what_cannot_be_locked_is_not_handled(path: Path, ledger: SQLiteLedger) -> None:
    ledger.check()
    lock_file(path).unlink()
    lock_file(path).mkdir()
    with pytest.raises(LedgerUnavailableError, match="is a folder, not a regular file"):
        ledger.run_once(identity(), Handler(AssertionError()))
    with pytest.raises(LedgerUnavailableError, match="is a folder, not a regular file"), ledger.hold("a"):
        pytest.fail("nothing holds it")


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
    assert set(path.parent.iterdir()) == {path, Path(f"{path}{LOCKS}")}


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used before the fork"])
def test_an_instance_made_before_a_fork_works_in_all_children(path: Path, used: bool) -> None:
    code = """
from tests.support.open_files import has_open
ledger = SQLiteLedger(path, clock=clock, wait_timeout=60.0)
if sys.argv[2] == "True":
    ledger.run_once(identity("before"), lambda _: success("before"))
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        assert not has_open(path), "SQLite allows no connection in a child"
        assert not has_open(path + "-lock")
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
    assert set(path.parent.iterdir()) == {path, Path(f"{path}{LOCKS}")}


@forking
@pytest.mark.parametrize("statement", ["SELECT * FROM", "INSERT INTO answers"])
def test_a_signal_whose_handler_forks_in_the_middle_of_a_call_keeps_nothing_waiting(
    ledger: SQLiteLedger, statements: Statements, statement: str
) -> None:
    """The child does not use the file: it has inherited an open connection, which SQLite forbids."""

    def refused() -> bool:
        with pytest.raises(LedgerUnavailableError, match="forked while the file was in use"):
            ledger.run_once(identity("t2"), Handler())
        return True

    def fork_once(text: str) -> None:
        if text.startswith(statement):
            statements.before = lambda text: None
            fork(refused)

    handler = Handler()
    statements.before = fork_once
    assert ledger.run_once(identity(), handler) == SUCCESS
    assert ledger.run_once(identity(), handler) == SUCCESS
    assert handler.calls == 1
    fork(lambda: ledger.run_once(identity("t2"), Handler()) == SUCCESS)


def test_what_is_being_handled_stays_locked_though_the_ledger_is_closed(path: Path) -> None:
    clock = LedgerClock()
    with SQLiteLedger(path, clock=clock) as ledger, SQLiteLedger(path, clock=clock, wait_timeout=0.02) as another:
        with handling(ledger, identity(), BlockingHandler()):
            ledger.close()
            with pytest.raises(LedgerUnavailableError):
                another.run_once(identity(), Handler())
        assert another.run_once(identity(), Handler(FAILURE)) == SUCCESS


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("has_byte_locks", [True, False], ids=["bytes", "lock files"])
def test_a_dead_process_with_a_living_child_counts_as_dead(
    path: Path, monkeypatch: pytest.MonkeyPatch, has_byte_locks: bool
) -> None:
    code = """
import fcntl, signal, subprocess
if sys.argv[2] == "False":
    vars(fcntl).pop("F_OFD_SETLK", None)
def handle(transaction):
    child = os.fork()
    if not child:
        sys.stdin.read()
        os._exit(0)
    subprocess.Popen(["sleep", "20"], stdout=subprocess.DEVNULL)
    os.kill(os.getpid(), signal.SIGKILL)
SQLiteLedger(path, clock=clock).run_once(UploadIdentity("t1", "user/猫 1.png", "5B3C", 1733228232), handle)
"""
    if not has_byte_locks:
        monkeypatch.delattr(fcntl, "F_OFD_SETLK", raising=False)
    # The child closes what it has inherited once it runs, which takes a moment; it lives until its input ends.
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=15.0) as ledger:
        ledger.run_once(identity("other"), Handler())
        process = start(code, path, has_byte_locks)
        assert process.wait(120) == -9
        handler = Handler()
        assert ledger.run_once(identity(), handler) == SUCCESS
        assert handler.calls == 1
    process.communicate()


@pytest.mark.slow
@BYTE_LOCKS
@pytest.mark.parametrize("second", ["started", "running"])
def test_a_process_killed_at_any_step_loses_and_repeats_nothing(tmp_path: Path, second: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.ledger.killed_at_every_step", str(tmp_path), second]
    stdout = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout
    runs = [json.loads(line) for line in stdout.splitlines()]
    steps = {run["first"][-1].removeprefix("killed ") for run in runs[:-1]}
    assert steps >= {"before run_once", "fcntl.fcntl", "SELECT * FROM", "handler starts", "handler works"}
    assert steps >= {"handler ends", "BEGIN IMMEDIATE", "INSERT INTO answers", "COMMIT", "after run_once"}
    assert runs[-1]["status"] == 0
    for run in runs:
        answered = [line for line in run["first"] if line.startswith("answered")]
        # A response given is final; without one the second process handles the upload, unless it was stored by then.
        assert run["second"][:-1] in ([], ["handling", "handled"] * (not answered)), run
        assert run["second"][:-1] or "handled" in run["first"], run
        assert run["second"][-1].startswith("answered")
        assert answered in ([], run["second"]), run
    stored = [run for run in runs if not run["second"][:-1] and run["first"][-1].startswith("killed")]
    assert {run["first"][-1] for run in stored} >= {"killed fcntl.fcntl"}, "killed at the unlock"


@BYTE_LOCKS
@pytest.mark.parametrize("is_replaced", [False, True], ids=["removed", "replaced"])
def test_a_lock_file_that_is_gone_is_made_again_with_its_locks(
    path: Path, ledger: SQLiteLedger, is_replaced: bool
) -> None:
    with (
        SQLiteLedger(path, clock=LedgerClock(), wait_timeout=0.0) as other,
        handling(ledger, identity("t1"), BlockingHandler()),
    ):
        lock_file(path).unlink()
        if is_replaced:
            lock_file(path).touch()
        with handling(ledger, identity("t2"), BlockingHandler()):
            for ticket in ("t1", "t2"):
                with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
                    other.run_once(identity(ticket), Handler())


@AS_ROOT
@BYTE_LOCKS
@pytest.mark.parametrize("is_there", [False, True])
def test_root_makes_the_lock_file_for_the_owner_of_the_ledger(path: Path, is_there: bool) -> None:
    """A lock file that is there keeps its owner: it may be any file of root's."""
    SQLiteLedger(path, clock=LedgerClock()).close()
    os.chown(path, NOBODY, NOBODY)
    if not is_there:
        lock_file(path).unlink()
    with SQLiteLedger(path, clock=LedgerClock()) as of_root:
        of_root.check()
    assert lock_file(path).stat().st_uid == (0 if is_there else NOBODY)


@BYTE_LOCKS
def test_an_upload_that_was_stored_twice_keeps_its_first_response(path: Path, ledger: SQLiteLedger) -> None:
    """Nothing but a lock file that somebody removes lets two processes handle an upload at once."""
    second = Handler(StoredResponse("200 OK", "text/plain", b"second"))
    with SQLiteLedger(path, clock=LedgerClock()) as other:

        def handle(transaction: object) -> StoredResponse:
            lock_file(path).unlink()
            return other.run_once(identity(), Handler())

        assert ledger.run_once(identity(), lambda _: handle(_) and second()) == SUCCESS
    assert (second.calls, len(ledger)) == (1, 1)


@pytest.fixture
def one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """All texts have the same hash."""
    monkeypatch.setattr(sqlite, "blake2b", lambda text, digest_size: hashlib.blake2b(b"7", digest_size=digest_size))


@pytest.mark.usefixtures("one_hash")
def test_uploads_with_one_place_wait_for_each_other(ledger: SQLiteLedger) -> None:
    """Where two hashes are the same: the kernel knows one lock only, which the first end would free for both."""
    with handling(ledger, identity("t1"), BlockingHandler()) as call:
        with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
            ledger.run_once(identity("t2"), Handler())
    assert call.outcome() == SUCCESS
    assert ledger.run_once(identity("t2"), Handler()) == SUCCESS


def test_a_kernel_without_such_locks_gets_lock_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    with SQLiteLedger(path, clock=LedgerClock(), wait_timeout=0.0) as ledger:
        ledger.run_once(identity(), Handler())
    assert path.with_name("ledger.db-locks").is_dir()


def test_a_removed_file_is_noticed_and_its_replacement_used(path: Path, ledger: SQLiteLedger) -> None:
    ledger.run_once(identity(), Handler())
    for file in path.parent.iterdir():
        if file.is_file():  # elsewhere than on Linux the locks are a folder
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


def test_a_file_that_another_one_replaces_is_noticed(path: Path, ledger: SQLiteLedger, tmp_path: Path) -> None:
    """A backup that is put back with one move; nobody asks the ledger in between."""
    ledger.run_once(identity(), Handler())
    assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS
    backup = tmp_path / "backup.db"
    with SQLiteLedger(backup, clock=LedgerClock()):
        pass
    os.replace(backup, path)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    handler = Handler()
    assert ledger.run_once(identity(), handler) == SUCCESS
    assert handler.calls == 1, "the backup does not know it"
    with SQLiteLedger(path, clock=LedgerClock()) as other:
        assert other.run_once(identity(), Handler(FAILURE)) == SUCCESS, "it was written into the file that is there"


@pytest.mark.slow
@POSIX
def test_a_full_disk_shows_before_the_handler(path: Path) -> None:
    """In a new process, and after a first failure. A limit of the size of files stands for the disk."""
    code = """
import resource
from oss_wsgi.exceptions import LedgerUnavailableError
def limit(bytes): resource.setrlimit(resource.RLIMIT_FSIZE, (bytes, resource.RLIM_INFINITY))
def upload(number):
    handled = []
    try:
        ledger.run_once(identity(number), lambda _: handled.append(number) or success("stored"))
        print(len(handled), "stored")
    except LedgerUnavailableError as error:
        print(len(handled), error.reason)
ledger = SQLiteLedger(path, clock=clock)
for number in range(2):
    limit(os.path.getsize(f"{path}-wal") if number else 20_000)
    upload(f"{number} full")
    upload(f"{number} full")
    limit(resource.RLIM_INFINITY)
    upload(f"{number} again")
"""
    lines = output(start(code, path)).splitlines()
    assert lines[:3] == ["0 ledger_unavailable", "0 ledger_unavailable", "1 stored"]
    assert lines[3:] == ["1 ledger_unavailable", "0 ledger_unavailable", "1 stored"]


def has_free(monkeypatch: pytest.MonkeyPatch, free: Callable[[], int]) -> None:
    """Let the disk have as many free bytes as ``free`` returns."""
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=free(), f_frsize=1))


def test_the_log_is_cut_before_it_fills_the_disk(
    path: Path, ledger: SQLiteLedger, clock: LedgerClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, lengths = StoredResponse("200 OK", "", bytes(256 * 1024)), []
    for free in (1 << 30, 1 << 20):
        has_free(monkeypatch, lambda free=free: free)
        for number in range(16):
            ledger.run_once(identity(f"{free} {number}"), Handler(large))
            lengths.append(os.path.getsize(f"{path}-wal"))
        clock.advance(1)
    assert lengths[15] > 16 * 256 * 1024, "one long log costs less"
    assert max(lengths[16:]) < 2 * 1024 * 1024
    assert len(ledger) == 32


def test_the_log_of_a_small_disk_is_cut_although_a_second_is_not_over(
    path: Path, ledger: SQLiteLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_free(monkeypatch, lambda: 20 * 1024 * 1024 - os.path.getsize(f"{path}-wal"))
    large, lengths = StoredResponse("200 OK", "", bytes(256 * 1024)), []
    for number in range(32):
        ledger.run_once(identity(f"{number}"), Handler(large))
        lengths.append(os.path.getsize(f"{path}-wal"))
    assert max(lengths) < 6 * 1024 * 1024


@BYTE_LOCKS
def test_an_upload_asks_the_disk_for_its_two_files_and_the_free_space_once_a_second(
    ledger: SQLiteLedger, clock: LedgerClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FILE is asked for before the handler and before the commit, ``-lock`` once it is locked."""
    ledger.run_once(identity("t0"), Handler())
    asked: list[str] = []
    for name in ("stat", "lstat", "statvfs"):
        ask = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *path, name=name, ask=ask, **how: asked.append(name) or ask(*path, **how))
    for number in range(1, 4):
        ledger.run_once(identity(f"t{number}"), Handler())
    several = [identity("t5", object=name, max_objects=9) for name in "abcd"]
    for upload in several:
        ledger.run_once(upload, Handler())
    assert asked == ["lstat"] * 3 * 7
    pending = ledger.begin_once(identity("t6"), Handler())
    assert isinstance(pending, Pending)
    assert pending.settle(lambda: None)
    assert asked == ["lstat"] * 3 * 8
    clock.advance(1)
    ledger.run_once(identity("t7"), Handler())
    assert asked == ["lstat"] * 3 * 8 + ["lstat"] * 2 + ["statvfs", "lstat"]


@pytest.fixture
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up a locked file after few tries instead of two seconds."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.01)


@pytest.mark.usefixtures("few_tries")
def test_a_locked_file_still_gives_stored_responses(
    path: Path, ledger: SQLiteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.run_once(identity("t0"), Handler())
    handler = Handler()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(2):  # the first failure shows at the end, the next one before the handler
            with pytest.raises(LedgerUnavailableError) as raised:
                ledger.run_once(identity("t1"), handler)
            assert raised.value.reason == "ledger_unavailable"
        assert ledger.run_once(identity("t0"), handler) == SUCCESS
        assert handler.calls == 1
    assert ledger.run_once(identity("t1"), handler) == SUCCESS
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.usefixtures("few_tries")
def test_a_thread_does_not_wait_for_others_that_all_wait_for_a_locked_file(
    ledger: SQLiteLedger, statements: Statements
) -> None:
    with statements.held("COMMIT", lambda: Call(ledger, identity(), Handler())) as call:
        for act in (ledger.check, lambda: ledger.run_once(identity("t2"), Handler(FAILURE))):
            with pytest.raises(LedgerUnavailableError, match="other threads write"):
                act()
    assert call.outcome() == SUCCESS


def test_a_damaged_file_raises_our_error_and_not_sqlites(path: Path) -> None:
    ledger = SQLiteLedger(path, clock=LedgerClock())
    path.write_text("Dear diary, " * 100)
    handler = Handler()
    for act in (
        lambda: ledger.run_once(identity(), handler),
        lambda: ledger.run_once(identity(object="\udc80"), handler),
        lambda: ledger.load("name"),
    ):
        with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
            act()
    assert handler.calls == 0
    path.unlink()


def test_responses_that_come_during_a_commit_are_written_together(
    path: Path, ledger: SQLiteLedger, statements: Statements
) -> None:
    """Who commits answers after that, and one of those that have come meanwhile commits for all of them."""
    ledger.check()  # or the first call commits a probe too
    statements.seen.clear()
    with statements.held("COMMIT", lambda: Call(ledger, identity("first"), Handler())) as first:
        pending = [ledger.begin_once(identity(f"t{number}"), Handler()) for number in range(8)]
    assert first.outcome() == SUCCESS
    for each in pending:
        assert isinstance(each, Pending)
        woken = threading.Event()
        assert each.settle(woken.set) or woken.wait(60)
        assert each.result() == SUCCESS
    assert statements.seen.count("BEGIN IMMEDIATE") == 2
    assert len(ledger) == 9
    written = statements.connections[-1]
    assert written.execute("PRAGMA synchronous").fetchone() == (2,)
    assert written.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_threads_whose_responses_another_one_commits_go_on(ledger: SQLiteLedger, statements: Statements) -> None:
    ledger.check()
    handlers = [Handler() for _ in range(8)]
    with statements.held("COMMIT", lambda: Call(ledger, identity("first"), Handler())) as first:
        calls = [Call(ledger, identity(f"t{number}"), handler) for number, handler in enumerate(handlers)]
        wait_until(lambda: all(handler.calls for handler in handlers))
    assert [call.outcome() for call in (first, *calls)] == [SUCCESS] * 9


def test_a_thread_that_is_interrupted_while_it_commits_holds_up_nobody(
    ledger: SQLiteLedger, statements: Statements
) -> None:
    ledger.check()

    def interrupt(statement: str) -> None:
        if statement == "BEGIN IMMEDIATE":
            raise KeyboardInterrupt

    statements.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        ledger.run_once(identity(), Handler())
    statements.before = lambda statement: None
    assert Call(ledger, identity(), Handler()).outcome() == SUCCESS


@pytest.mark.parametrize("is_next", [False, True])
def test_a_thread_that_is_interrupted_while_it_waits_holds_up_nobody(
    ledger: SQLiteLedger, statements: Statements, monkeypatch: pytest.MonkeyPatch, is_next: bool
) -> None:
    """The handler of a signal may raise in the main thread, also in one whose turn to commit has come."""
    ledger.check()
    with ExitStack() as stack:
        first = stack.enter_context(statements.held("COMMIT", lambda: Call(ledger, identity("t0"), Handler())))

        class Interrupted:
            """A lock on which a thread waits for the commit: its second ``acquire`` is the wait."""

            is_new = True

            def acquire(self) -> None:
                if self.is_new:
                    self.is_new = False
                    return
                if is_next:
                    stack.close()
                    first.outcome()
                raise KeyboardInterrupt

            def release(self) -> None:
                return

        with monkeypatch.context() as patched:
            patched.setattr(threading, "Lock", Interrupted)
            with pytest.raises(KeyboardInterrupt):
                ledger.run_once(identity("t1"), Handler())
    assert first.outcome() == SUCCESS
    assert Call(ledger, identity("t1"), Handler()).outcome() == SUCCESS


def insert_responses(path: Path, count: int, expires: int, forget_after: int | None = None) -> None:
    generator = random.Random(f"{count} {expires}")
    end = expires if forget_after is None else forget_after
    with closing(sqlite3.connect(path)) as connection:
        rows = ((generator.randbytes(16), generator.getrandbits(63), expires, end) for _ in range(count))
        connection.executemany(f"INSERT INTO answers ({_COLUMNS}) VALUES (?, ?, ?, ?, 'o', 'e', '', '', '')", rows)
        connection.commit()


_COLUMNS = "ticket, upload, expires, forget_after, object, etag, status, content_type, body"


def test_expired_responses_are_deleted_a_few_at_a_time(path: Path, ledger: SQLiteLedger) -> None:
    insert_responses(path, 30, NOW - 1)
    counts = []
    for number in range(5):
        ledger.run_once(identity(f"t{number}"), Handler())
        counts += rows(path, f"SELECT COUNT(*) FROM answers WHERE expires < {NOW}")
    assert counts == [(10,), (0,), (0,), (0,), (0,)]


@pytest.mark.slow
def test_what_has_expired_is_deleted_as_fast_as_responses_come(path: Path) -> None:
    clock = LedgerClock()
    with SQLiteLedger(path, clock=clock) as ledger:
        insert_responses(path, 2000, NOW - 1)
        for number in range(400):
            ledger.run_once(identity(f"t{number}"), Handler())
        assert rows(path, f"SELECT COUNT(*) FROM answers WHERE expires < {NOW}") == [(0,)]


@pytest.mark.parametrize(("expires", "forget_after"), [(NOW - 1, NOW), (NOW, NOW - 1)], ids=["steady time", "clock"])
def test_a_response_that_one_time_calls_valid_stays(
    path: Path, ledger: SQLiteLedger, expires: int, forget_after: int
) -> None:
    insert_responses(path, 10, expires, forget_after)
    for number in range(4):
        ledger.run_once(identity(f"t{number}"), Handler())
    assert rows(path, f"SELECT COUNT(*) FROM answers WHERE expires = {expires}") == [(10,)]


def test_expired_notes_are_deleted_as_fast_as_notes_come(path: Path) -> None:
    clock = LedgerClock()
    with SQLiteLedger(path, clock=clock) as ledger:
        ledger.note([(f"{number}", "old") for number in range(1000)], NOW - 10 * MARGIN)
        ledger.note([("valid", "mark")], NOW + 10 * MARGIN)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE steady_time SET seconds = seconds + ?", (MARGIN + 1,))
            connection.commit()
        clock.advance(60)
        for number in range(5):
            ledger.note([(f"{number} {other}", "mark") for other in range(100)], NOW + 300)
        assert rows(path, f"SELECT COUNT(*) FROM notes WHERE expires < {NOW}") == [(0,)]
        assert ledger.known([("valid", "mark"), ("0", "old")]) == {("valid", "mark")}


@pytest.mark.slow
def test_the_count_of_a_ticket_is_deleted_after_its_responses(path: Path) -> None:
    clock = LedgerClock()
    with SQLiteLedger(path, clock=clock) as ledger:
        for number in range(3):
            ledger.run_once(identity(object=f"user/{number}", max_objects=3), Handler())
        assert rows(path, "SELECT ticket, name, value FROM notes") == [("t1", "objects", 3)]
        let_time_pass(ledger, clock, MARGIN)
        assert rows(path, "SELECT ticket, name, value FROM notes") == [("t1", "objects", 3)]
        let_time_pass(ledger, clock, 1000)
        assert rows(path, "SELECT * FROM notes") == []
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


@pytest.mark.slow
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
def test_racing_processes_exceed_the_count_by_what_they_handle_at_once(path: Path) -> None:
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
    assert 30 <= len(handled) == len(set(handled)) <= 33
    assert rows(path, "SELECT value FROM notes") == rows(path, "SELECT COUNT(*) FROM answers") == [(len(handled),)]


def test_a_claim_does_not_expire_with_its_ticket(ledger: SQLiteLedger) -> None:
    slow = identity("slow", expires=NOW - 1)
    with handling(ledger, slow, BlockingHandler()) as call:
        ledger.run_once(identity("t1"), Handler())
        with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
            ledger.run_once(slow, Handler())
    assert call.outcome() == SUCCESS


def upload_cost(path: Path, statements: Statements, ticket: str) -> int:
    """Return how many instructions of its virtual machine SQLite executes for one upload."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        ledger.run_once(identity(f"{ticket} before"), Handler())
        statements.connections[-1].set_progress_handler(count, 1)
        ledger.run_once(identity(ticket), Handler())
    return counted


@pytest.mark.slow
def test_an_upload_costs_the_same_among_a_hundred_thousand(path: Path, statements: Statements) -> None:
    SQLiteLedger(path, clock=LedgerClock()).close()
    insert_responses(path, 1000, NOW - 1)
    few = upload_cost(path, statements, "few")
    insert_responses(path, 100_000, NOW - 1)
    insert_responses(path, 1000, NOW + 1)
    insert_responses(path, 1001, NOW + 1, NOW + 86_400)
    assert upload_cost(path, statements, "many") == few > 100


def test_no_statement_scans_a_whole_table(path: Path, ledger: SQLiteLedger, statements: Statements) -> None:
    traced: set[str] = set()
    insert_responses(path, 30, NOW - 1)
    ledger.load("name")
    connection = statements.connections[-1]
    connection.set_trace_callback(traced.add)
    ledger.check()
    for upload in (identity("t1"), *(identity("t2", object=name, max_objects=4) for name in "abcd")):
        ledger.run_once(upload, Handler())
        ledger.run_once(upload, Handler())
    with pytest.raises(TicketUsedError):
        ledger.run_once(identity("t2", object="e", max_objects=4), Handler())
    ledger.note([("a", "5B3C")], NOW + 300)
    ledger.known([("a", "5B3C")])
    ledger.load("name")
    connection.set_trace_callback(None)
    verbs = ("SELECT", "INSERT", "DELETE", "REPLACE")
    plans = {
        each: [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {each}")]
        for each in traced
        if each.strip().startswith(verbs)
    }
    tables = {word for steps in plans.values() for step in steps if step.startswith("SEARCH") for word in step.split()}
    assert tables >= {"answers", "notes", "texts"}
    # What the subqueries return has a few rows; the steady time has one.
    allowed = {"SCAN CONSTANT ROW", "SCAN (subquery-1)", "SCAN steady_time"}
    scans = {step for steps in plans.values() for step in steps if step.startswith("SCAN")}
    assert scans <= allowed, plans


@pytest.mark.usefixtures("one_hash")
def test_known_reads_texts_and_not_only_hashes(ledger: SQLiteLedger) -> None:
    ledger.run_once(identity("t1"), Handler())
    assert ledger.known([("another", "5B3C"), identity()[1:3]]) == {identity()[1:3]}
    other = Handler(StoredResponse("200 OK", "text/plain", b"other"))
    assert ledger.run_once(identity("t1", etag="other"), other) == other.result
    assert ledger.run_once(identity("t1", etag="third"), other) == other.result
    assert ledger.run_once(identity("t1"), Handler(FAILURE)) == SUCCESS


@pytest.mark.slow
def test_a_long_ticket_is_found_by_its_index(ledger: SQLiteLedger) -> None:
    """Among many objects of one ticket, and many ETags of one object."""
    uploads = [identity(object=f"o{number % 50}", etag=f"e{number}", max_objects=50) for number in range(200)]
    for upload in uploads:
        ledger.run_once(upload, Handler())
    again = Handler(FAILURE)
    assert [ledger.run_once(upload, again) for upload in uploads] == [SUCCESS] * 200
    assert again.calls == 0
    with pytest.raises(TicketUsedError):
        ledger.run_once(identity(object="o50", max_objects=50), again)
    with pytest.raises(TicketUsedError):
        ledger.run_once(uploads[7]._replace(etag="new", forbid_overwrite=True), again)


def test_a_ticket_is_stored_in_16_bytes_and_any_text_is_one(path: Path, ledger: SQLiteLedger) -> None:
    tickets = ["6a1c" * 8, "6A1C" * 8, "6a1c" * 8 + "00", "猫", ""]
    for ticket in tickets:
        handler = Handler()
        ledger.run_once(identity(ticket), handler)
        assert handler.calls == 1
    kept = [row[0] for row in rows(path, "SELECT ticket FROM answers ORDER BY rowid")]
    assert kept == [bytes.fromhex("6a1c" * 8), *tickets[1:]]


def test_links_to_one_file_are_one_ledger(path: Path, ledger: SQLiteLedger, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with SQLiteLedger(link, clock=LedgerClock()) as other, ledger.hold("sweep"):
        with pytest.raises(SweepRunningError), other.hold("sweep"):
            pytest.fail("it is held")
    assert sorted(tmp_path.glob("link.db*")) == [link]


def test_where_space_is_short_a_probe_comes_before_each_handler(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = LedgerClock()
    with SQLiteLedger(path, clock=clock) as ledger:
        ledger.run_once(identity("before"), Handler())
        has_free(monkeypatch, lambda: 0)
        clock.advance(1)
        handler = Handler()
        for may_wait in (True, False):
            with unwritable.files(), pytest.raises(LedgerUnavailableError):
                ledger.run_once(identity(may_wait=may_wait), handler)
            assert handler.calls == 0
            assert ledger.run_once(identity("between"), Handler()) == SUCCESS
        assert ledger.run_once(identity(), handler) == SUCCESS


@pytest.mark.parametrize("question", ["SELECT count(*)", "SELECT object, etag"])
def test_no_upload_waits_for_a_count_or_for_what_a_sweep_asks(
    ledger: SQLiteLedger, statements: Statements, question: str
) -> None:
    """In a large file these take long."""
    ask = ledger.__len__ if "count" in question else lambda: ledger.known([("object", "etag")])
    asking = threading.Thread(target=ask)

    def handle_unless_known(transaction: object) -> StoredResponse:
        assert ledger.known([("another", "etag")]) == set()
        return SUCCESS

    ledger.check()
    with statements.held(question, asking.start):
        pending = ledger.begin_once(identity("in the loop"), Handler())
        assert isinstance(pending, Pending)
        assert pending.settle(lambda: None)
        uploads = [Call(ledger, identity(f"t{number}"), Handler()) for number in range(4)]
        uploads.append(Call(ledger, identity("found, or in parts"), handle_unless_known))
        assert [upload.outcome() for upload in uploads] == [SUCCESS] * 5
    asking.join()
    assert len(ledger) == 6


def test_what_another_process_has_just_stored_is_counted(path: Path, ledger: SQLiteLedger) -> None:
    assert len(ledger) == 0
    with SQLiteLedger(path, clock=LedgerClock()) as another:
        for number in range(3):
            another.run_once(identity(f"t{number}"), Handler())
            assert len(ledger) == number + 1
