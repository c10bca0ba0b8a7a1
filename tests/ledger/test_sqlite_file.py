"""The file of a SQLite ledger: its name, its mode, files that are no ledger, and waiting for its lock."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.exceptions import LedgerUnavailableError, SettingsError
from oss_wsgi.ledger import sqlite_file
from oss_wsgi.ledger.sqlite import SQLiteLedger

from ..support.foreign_files import AS_ROOT, KINDS, NOBODY, plant, victim_of
from ..support.ledger_programs import BYTE_LOCKS, LOCKS, POSIX, output, start
from .contract import Handler, LedgerClock, identity


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@POSIX
@pytest.mark.parametrize("is_there", [False, True])
def test_only_this_user_can_read_the_files(path: Path, is_there: bool) -> None:
    if is_there:
        SQLiteLedger(path, clock=LedgerClock()).close()
        path.chmod(0o666)
    with (
        closing(sqlite3.connect(path if is_there else ":memory:")) as other,
        closing(other.execute("PRAGMA user_version = 1")),
        SQLiteLedger(path, clock=LedgerClock()) as ledger,
    ):
        ledger.run_once(identity(), Handler())
        modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert len(modes) == 4
    assert modes.pop(f"ledger.db{LOCKS}") == (0o600 if LOCKS == "-lock" else 0o700)
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("name", ["a b.db", "猫.db", "what?mode=memory", "100%25#.db", "'\"; --.db"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    with SQLiteLedger(str(tmp_path / name), clock=LedgerClock()) as ledger:
        ledger.run_once(identity(), Handler())
    assert {entry.name for entry in tmp_path.iterdir()} == {name, f"{name}{LOCKS}"}


def test_a_relative_path_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLiteLedger("ledger.db", clock=LedgerClock()) as ledger:
        monkeypatch.chdir("/")
        ledger.run_once(identity(), Handler())
    assert {entry.name for entry in tmp_path.iterdir()} == {"ledger.db", f"ledger.db{LOCKS}"}


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
    assert "is a folder, not a regular file" in refusal(tmp_path)
    assert "null" in refusal(f"{tmp_path}/a\0b")


@POSIX
@pytest.mark.parametrize("kind", ["dangling link", "hard link"])
@pytest.mark.parametrize("end", [pytest.param("-lock", marks=BYTE_LOCKS), "-wal", "-shm", "-journal"])
def test_what_another_user_put_beside_the_ledger_is_refused_unchanged(tmp_path: Path, end: str, kind: str) -> None:
    """As root: the ledger belongs to another user, whose SQLite files root would give to that user."""
    folder, victim = tmp_path / "of the service", victim_of(tmp_path)
    folder.mkdir()
    path, before = folder / "ledger.db", victim.state()
    SQLiteLedger(path, clock=LedgerClock()).close()
    if os.geteuid() == 0:
        for file in (folder, *folder.iterdir()):
            os.chown(file, NOBODY, NOBODY)
    Path(f"{path}{end}").unlink(missing_ok=True)
    plant(kind, Path(f"{path}{end}"), victim)
    message = refusal(path)
    assert f"'{path}{end}' " in message
    assert KINDS[kind] in message
    assert "must be able to write" not in message, "another fix"
    assert victim.state() == before
    assert not victim.path.with_name("missing").exists()


@POSIX
@pytest.mark.parametrize("kind", ["hard link", "pipe"])
def test_a_ledger_that_is_no_regular_file_with_one_name_is_refused(tmp_path: Path, kind: str) -> None:
    victim, path = victim_of(tmp_path), tmp_path / "ledger.db"
    before = victim.state()
    plant(kind, path, victim)
    assert KINDS[kind] in refusal(path)
    assert victim.state() == before


@POSIX
@pytest.mark.parametrize("end", ["", pytest.param("-lock", marks=BYTE_LOCKS), "-wal"])
def test_a_link_that_comes_while_the_ledger_is_open_is_not_followed(tmp_path: Path, end: str) -> None:
    victim, path, handler = victim_of(tmp_path), tmp_path / "ledger.db", Handler()
    before = victim.state()
    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        ledger.run_once(identity(), handler)
        ledger.close()
        Path(f"{path}{end}").unlink(missing_ok=True)
        plant("link", Path(f"{path}{end}"), victim)
        with pytest.raises(LedgerUnavailableError, match=f"'{path}{end}' is a symbolic link"):
            ledger.run_once(identity("t2"), handler)
    assert (handler.calls, victim.state()) == (1, before)


@AS_ROOT
def test_root_follows_a_link_to_the_ledger_only_if_it_is_roots(tmp_path: Path, path: Path) -> None:
    SQLiteLedger(path, clock=LedgerClock()).close()
    link = tmp_path / "link.db"
    link.symlink_to(path)
    SQLiteLedger(link, clock=LedgerClock()).close()
    os.lchown(link, NOBODY, NOBODY)
    assert "is a symbolic link of user 65534" in refusal(link)


@AS_ROOT
def test_root_leaves_the_rights_of_another_users_ledger(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    SQLiteLedger(path, clock=LedgerClock()).close()
    path.chmod(0o644)
    os.chown(path, NOBODY, NOBODY)
    with SQLiteLedger(path, clock=LedgerClock()) as ledger:
        ledger.run_once(identity(), Handler())
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (NOBODY, 0o644)
    assert "let its owner run chmod 600" in caplog.text


@pytest.mark.slow
@POSIX
# A file of its own user would be made writable.
@pytest.mark.parametrize("read_only", ["folder", pytest.param("file", marks=[AS_ROOT, BYTE_LOCKS])])
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
    assert "The user of this process must be able to write" in message


def test_a_statement_is_repeated_while_the_file_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.01)

    class LockedConnection:
        def __init__(self, error: str, failures: int) -> None:
            self.error, self.failures_left = error, failures

        def execute(self, statement: str) -> str:
            if not self.failures_left:
                return statement
            self.failures_left -= 1
            raise sqlite3.OperationalError(self.error)

    execute: Any = sqlite_file.execute_with_retry
    statement = "PRAGMA journal_mode = WAL"
    assert execute(LockedConnection("database is locked", 3), statement, 0.001) == statement
    for error, failures in (("database is locked", 10_000), ("disk I/O error", 1)):
        with pytest.raises(sqlite3.OperationalError, match=error):
            execute(LockedConnection(error, failures), statement, 0.001)


@pytest.mark.parametrize("version", [0, 2])
def test_a_file_of_another_version_is_refused_and_left_as_it_is(path: Path, version: int) -> None:
    ledger = SQLiteLedger(path, clock=LedgerClock())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    problem = f"version {version}, and this program uses version 1"
    assert problem in refusal(path)
    handler = Handler()
    with pytest.raises(LedgerUnavailableError, match=problem):
        ledger.run_once(identity(), handler)
    assert handler.calls == 0
    assert path.read_bytes() == before


@POSIX
def test_a_disk_where_sqlite_keeps_no_log_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name, **options: connect(f"{name}&vfs=unix-dotfile", **options))
    assert "SQLite cannot keep a write-ahead log there" in refusal(path)


@pytest.mark.slow
def test_processes_that_start_together_make_one_file(path: Path) -> None:
    code = """
sys.stdin.readline()
with SQLiteLedger(path, clock=clock) as ledger:
    ledger.check()
"""
    processes = [start(code, path) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [output(process) for process in processes] == [""] * 4
