"""The file of a SQLite ledger: functions that make and open it, and its tables."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from ..explanations.text import Text
from ..private_file import check_private, narrow, open_private, sqlite_files

_APPLICATION_ID = 0x6F737377  # "ossw"
_VERSION = 1
# `expires` is in the caller's Unix seconds, `forget_after` in the seconds of `steady_time`. A ticket of 32 hex digits
# is stored as 16 bytes. `upload` is a hash of the object in its upper half and of the ETag in its lower one. Only this
# column's index is not in the order of time; sweeps find handled uploads by that index. `notes` has the number of
# objects of each ticket that is valid for several, and the notes of pairs.
_SCHEMA = f"""
CREATE TABLE answers (ticket NOT NULL, upload INTEGER NOT NULL, object TEXT NOT NULL, etag TEXT NOT NULL,
    status TEXT NOT NULL, content_type TEXT NOT NULL, body BLOB NOT NULL, expires INTEGER NOT NULL,
    forget_after INTEGER NOT NULL);
CREATE INDEX answers_ticket ON answers (ticket, upload);
CREATE INDEX answers_upload ON answers (upload);
CREATE INDEX answers_forget_after ON answers (forget_after);
CREATE TABLE notes (ticket NOT NULL, name TEXT NOT NULL, value INTEGER, expires INTEGER NOT NULL,
    forget_after INTEGER NOT NULL, PRIMARY KEY (ticket, name)) WITHOUT ROWID;
CREATE INDEX notes_forget_after ON notes (forget_after);
CREATE TABLE texts (name TEXT PRIMARY KEY, text NOT NULL) WITHOUT ROWID;
CREATE TABLE steady_time (id INTEGER PRIMARY KEY CHECK (id = 1), seconds REAL NOT NULL, clock REAL NOT NULL);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
"""
# In a large table each upload changes different pages. With a checkpoint every 1,000 pages, SQLite's default, an upload
# costs a third more at a million rows than at a thousand; with a log of 64 MB it costs the same.
_WAL_PAGES = 16_000

#: Seconds for which a call waits while another process, or another thread, writes to the file.
BUSY_SECONDS = 1.5
#: Seconds between two tries. SQLite itself would sleep 1 ms and then longer, up to 100 ms. That is several times as
#: long as another process needs the file, and with busy processes the longest waiters would starve.
_BEGIN_PAUSE, _OPEN_PAUSE = 0.0004, 0.005


def make_file(path: Path) -> None:
    """Make an empty file that only its owner can read, unless there is one."""
    # Do not open a file in use here: closing it would drop the locks of this process's connections.
    with suppress(FileExistsError):
        os.close(open_private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def narrow_files(path: Path) -> None:
    """Let only the owner read the file, and SQLite's files beside it, which have its mode."""
    for file in sqlite_files(path):
        narrow(file)


def connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open the file, and make its tables if it is empty; do not make the file.

    SQLite itself waits for ``busy_seconds`` while the file is locked.

    Raises sqlite3.Error, UnsafeFileError, and ValueError for a file that is not a ledger of this version.
    """
    for file in sqlite_files(path):
        check_private(file)
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        is_made = _is_made(connection)
        # SQLite's own busy time-out does not apply to this statement.
        mode = execute_with_retry(connection, "PRAGMA journal_mode = WAL", _OPEN_PAUSE).fetchone()[0]
        if mode != "wal":
            raise ValueError("SQLite cannot keep a write-ahead log there")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        connection.execute(f"PRAGMA busy_timeout = {busy_seconds * 1000:.0f}")
        connection.execute("PRAGMA synchronous = FULL")
        if not is_made:
            _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def begin(connection: sqlite3.Connection, seconds: float) -> None:
    """Begin a transaction that writes; sqlite3.Error if another process writes for longer than ``seconds``."""
    execute_with_retry(connection, "BEGIN IMMEDIATE", _BEGIN_PAUSE, seconds)


def execute_with_retry(
    connection: sqlite3.Connection, statement: str, pause: float, seconds: float | None = None
) -> sqlite3.Cursor:
    """Execute a statement; repeat it after a pause while another process has the file locked."""
    for tries_left in reversed(range(1 + round((BUSY_SECONDS if seconds is None else seconds) / pause))):
        try:
            return connection.execute(statement)
        except sqlite3.OperationalError as error:
            if not tries_left or "locked" not in str(error):
                raise
            threading.Event().wait(pause)
    raise AssertionError("the last try raises")


def _is_made(connection: sqlite3.Connection) -> bool:
    """Return whether the tables exist; ValueError if the file has other tables."""
    connection.execute("BEGIN")
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    is_empty = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()[0]
    connection.execute("ROLLBACK")
    if is_empty:
        return False
    if application_id != _APPLICATION_ID:
        raise ValueError("it is another application's database")
    if version != _VERSION:
        raise ValueError(
            Text(
                "its tables have version {1}, and this program uses version {2}: install the release of "
                "oss-wsgi that made them, or use another file",
                version,
                _VERSION,
            )
        )
    return True


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file, unless another process has done it meanwhile; the caller closes after an error."""
    begin(connection, BUSY_SECONDS)
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
        for statement in filter(str.strip, _SCHEMA.split(";")):  # executescript would commit first
            connection.execute(statement)
    connection.execute("COMMIT")
