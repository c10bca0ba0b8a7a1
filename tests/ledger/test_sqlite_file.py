"""The file of a SQLite ledger: its name and mode, what is not a ledger, and waiting for its lock."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.exceptions import SettingsError
from oss_wsgi.ledger import sqlite, sqlite_file
from oss_wsgi.ledger.sqlite import SQLiteLedger
from oss_wsgi.testing.ledger_contract import Handler, LedgerClock, identity

from .processes import POSIX, output, start


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def test_a_file_that_resembles_a_lock_file_stays(path: Path) -> None:
    note = path.with_name("ledger.db-owner-notes.txt")
    note.touch()
    SQLiteLedger(path, clock=LedgerClock()).close()
    assert note.exists()


@POSIX
def test_only_this_user_can_read_the_files(path: Path) -> None:
    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        ledger.run_once(identity(), Handler())
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("name", ["a b.db", "猫.db", "what?mode=memory", "100%25#.db", "'\"; --.db"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    with SQLiteLedger(str(tmp_path / name), clock=LedgerClock()) as ledger:
        ledger.run_once(identity(), Handler())
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_relative_path_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLiteLedger("ledger.db", clock=LedgerClock()) as ledger:
        monkeypatch.chdir("/")
        ledger.run_once(identity(), Handler())
    assert [entry.name for entry in tmp_path.iterdir()] == ["ledger.db"]


def refusal(path: Path | str) -> str:
    with pytest.raises(SettingsError) as raised:
        SQLiteLedger(path, clock=LedgerClock())
    assert repr(str(path)) in str(raised.value)
    return str(raised.value)


def test_a_file_that_is_not_a_database_is_refused_unchanged(path: Path) -> None:
    path.write_text("Dear diary, " * 100)
    assert "not a database" in refusal(path)
    assert path.read_text().startswith("Dear diary")
    assert list(path.parent.iterdir()) == [path]


def test_another_applications_database_is_refused_unchanged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id)")
    before = path.read_bytes()
    assert "another application's" in refusal(path)
    assert path.read_bytes() == before


def test_a_path_that_cannot_be_a_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing" / "ledger.db")
    assert "unable to open" in refusal(tmp_path)
    assert "null" in refusal(f"{tmp_path}/a\0b")


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("read_only", ["folder", "file"])
def test_a_read_only_folder_or_file_is_refused(read_only: str) -> None:
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
        if read_only == "file":
            SQLiteLedger(path, clock=LedgerClock()).close()
            path.chmod(0o444)
        os.chmod(folder, 0o555 if read_only == "folder" else 0o777)
        message = output(start(code, path))
    assert message.startswith(f"The ledger {str(path)!r} cannot be used: ")


def test_a_statement_is_repeated_while_the_file_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.01)

    class LockedConnection:
        def __init__(self, error: str, failures: int) -> None:
            self.error, self.failures_left = error, failures

        def execute(self, statement: str) -> str:
            if not self.failures_left:
                return statement
            self.failures_left -= 1
            raise sqlite3.OperationalError(self.error)

    execute: Any = sqlite_file._execute_with_retry
    statement = "PRAGMA journal_mode = WAL"
    assert execute(LockedConnection("database is locked", 3), statement, 0.001) == statement
    for error, failures in (("database is locked", 10_000), ("disk I/O error", 1)):
        with pytest.raises(sqlite3.OperationalError, match=error):
            execute(LockedConnection(error, failures), statement, 0.001)


@pytest.mark.parametrize("when", ["open", "claim"])
def test_what_is_deleted_waits_for_a_locked_file_as_uploads_do(
    path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """SQLite's own pauses are long: among busy processes one that starts would not get the file in two seconds."""
    ledger = SQLiteLedger(path, clock=LedgerClock())
    with closing(sqlite3.connect(path, isolation_level=None)) as busy:
        busy.execute("INSERT INTO claims VALUES ('t0', '', '', '0123456789abcdef')")
        busy.execute("BEGIN IMMEDIATE")
        tries: list[str] = []
        execute = sqlite_file._execute_with_retry

        def try_again(connection: sqlite3.Connection, statement: str, *options: Any) -> sqlite3.Cursor:
            tries.append(statement)
            if statement == "BEGIN IMMEDIATE" and busy.in_transaction:
                busy.execute("COMMIT")
            return execute(connection, statement, *options)

        monkeypatch.setattr(sqlite_file, "_execute_with_retry", try_again)
        if when == "open":
            SQLiteLedger(path, clock=LedgerClock()).close()
        ledger.run_once(identity(), Handler())
        assert busy.execute("SELECT count(*) FROM claims").fetchone() == (0,)
    ledger.close()
    assert "BEGIN IMMEDIATE" in tries


_FIRST_VERSION = """
CREATE TABLE claims (ticket TEXT, object TEXT, etag TEXT, owner TEXT NOT NULL,
    PRIMARY KEY (ticket, object, etag)) WITHOUT ROWID;
CREATE TABLE answers (ticket TEXT, object TEXT, etag TEXT, expires INTEGER NOT NULL,
    status TEXT NOT NULL, content_type TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (ticket, object, etag));
CREATE INDEX answers_expires ON answers (expires);
PRAGMA application_id = 1869837175;
INSERT INTO answers VALUES ('t1', 'user/猫 1.png', '5B3C', 1733228232, '200 OK', 'application/json', '{}');
"""


def test_a_file_of_the_first_version_is_moved_over(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_FIRST_VERSION)
    clock = LedgerClock()
    for _ in range(2):
        with SQLiteLedger(path, clock=clock) as ledger:
            clock.advance(1000)
            ledger.run_once(identity(f"{clock.now}"), Handler())
            clock.advance(-1000)
            handler = Handler()
            assert ledger.run_once(identity(), handler).status == "200 OK"
            assert handler.calls == 0
            assert ledger.known([identity()[1:3], ("other", "5B3C")]) == {identity()[1:3]}
    with closing(sqlite3.connect(path)) as moved:
        names = {name for (name,) in moved.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert "answers_object" in names


@pytest.mark.slow
def test_a_file_that_another_process_is_moving_over_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.01)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as moving:
        moving.executescript(f"PRAGMA journal_mode = WAL; {_FIRST_VERSION}")
        moving.execute("BEGIN IMMEDIATE")
        end = threading.Timer(0.5, moving.execute, ["COMMIT"])
        end.start()
        try:
            SQLiteLedger(path, clock=LedgerClock()).close()
        finally:
            end.join()


def test_known_pairs_are_found_by_their_index(path: Path) -> None:
    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        ledger.run_once(identity(), Handler())
    statement = sqlite._SELECT_KNOWN.format("(?, ?), (?, ?)")
    with closing(sqlite3.connect(path)) as connection:
        plan = str(connection.execute(f"EXPLAIN QUERY PLAN {statement}", ["a", "b", "c", "d"]).fetchall())
    assert "answers_object (object=? AND etag=?)" in plan
