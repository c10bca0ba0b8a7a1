"""The SQLite file of a ledger as one process uses it: a connection behind a lock, and the name of its claims."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..private_file import narrow, open_private
from .process_lock import ProcessLock, is_dead, lock_names
from .steady_time import MARGIN

_APPLICATION_ID = 0x6F737377  # "ossw"
# `expires` is in the caller's Unix seconds, `forget_after` in the seconds of `steady_time`. `tickets` counts the
# objects of tickets that are valid for several. By the index of object and ETag a sweep finds what was handled.
_VERSION = 1
_SCHEMA = f"""
CREATE TABLE claims (ticket TEXT, object TEXT, etag TEXT, owner TEXT NOT NULL,
    PRIMARY KEY (ticket, object, etag)) WITHOUT ROWID;
CREATE TABLE answers (ticket TEXT, object TEXT, etag TEXT, expires INTEGER NOT NULL,
    status TEXT NOT NULL, content_type TEXT NOT NULL, body BLOB NOT NULL, forget_after INTEGER NOT NULL DEFAULT 0,
    UNIQUE (ticket, object, etag));
PRAGMA application_id = {_APPLICATION_ID};
"""
# From a file of the first version, whose answers were forgotten by the clock alone.
_ADD_FORGET_AFTER = f"""
ALTER TABLE answers ADD COLUMN forget_after INTEGER NOT NULL DEFAULT 0;
UPDATE answers SET forget_after = expires + {MARGIN};
DROP INDEX IF EXISTS answers_expires;
"""  # noqa: S608
_SCHEMA_1 = f"""
CREATE INDEX answers_forget_after ON answers (forget_after);
CREATE INDEX answers_object ON answers (object, etag);
CREATE TABLE tickets (ticket TEXT PRIMARY KEY, objects INTEGER NOT NULL, expires INTEGER NOT NULL,
    forget_after INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX tickets_forget_after ON tickets (forget_after);
CREATE TABLE steady_time (id INTEGER PRIMARY KEY CHECK (id = 1), seconds REAL NOT NULL, clock REAL NOT NULL);
PRAGMA user_version = {_VERSION};
"""
# In a large table each upload changes other pages. With a checkpoint every 1,000 pages, SQLite's default, an upload
# costs a third more at a million rows than at a thousand; with 64 MB in the log it costs the same.
_WAL_PAGES = 16_000
_BUSY_SECONDS = 2.0
_MOVE_SECONDS = 60.0
#: Seconds between two tries while another process has the file locked: to write, and to open the file.
_BEGIN_PAUSE, _OPEN_PAUSE = 0.0004, 0.005


class LedgerFile:
    """The SQLite file of a ledger, created if it does not exist, and the lock files of the processes beside it.

    The connection and this process's lock are made when they are first needed, and again in a forked child.

    Raises OSError, ValueError or sqlite3.Error for a file that cannot be used.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._connection: sqlite3.Connection | None = None
        self._identity: os.stat_result | None = None
        self.path = Path(path).absolute()
        self._stem = f"{self.path}-owner-"
        self._process_lock: ProcessLock | None = None
        self._process_locks: set[ProcessLock] = set()
        self._lock = threading.Lock()
        # SQLite gives its side files the mode of the file. It may not be opened here once it is in use: closing it
        # would drop the locks of this process's connections.
        with suppress(FileExistsError):
            os.close(open_private(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            with self.opened() as connection:
                _execute(connection, "DELETE FROM claims WHERE owner = ''")  # SQLite opens a read-only file, too
                self.process_lock(connection)
                for side_file in ("", "-wal", "-shm"):  # of a file that others could read until now
                    narrow(f"{self.path}{side_file}")
        finally:
            self.close()
        _files.add(self)

    def close(self) -> None:
        """Close the connection, and release this process's lock when its last claim has ended."""
        with self._lock:
            self._disconnect()
            self._retire(self._process_lock)

    def __del__(self) -> None:
        self._disconnect()  # from Python 3.13 on, a connection that is not closed causes a warning

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Hold the lock and yield this process's connection; after an error connect again under a new name."""
        with self._lock:
            try:
                if self._connection is not None and self._is_replaced():
                    self._disconnect()
                if self._connection is None:
                    self._connection, self._identity = _connect(self.path), os.stat(self.path)
                yield self._connection
            except BaseException:
                self._disconnect()
                # Claims under this name may be stale; others must not wait for them.
                self._retire(self._process_lock)
                raise

    def _is_replaced(self) -> bool:
        """Return whether the path no longer leads to the open file, so that nobody would find what is written."""
        try:
            return self._identity is None or not os.path.samestat(self._identity, os.stat(self.path))
        except FileNotFoundError:
            return True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def process_lock(self, connection: sqlite3.Connection) -> ProcessLock:
        """Return the lock whose name new claims carry; before a new one is made, delete the claims of the dead."""
        if self._process_lock is None or not self._process_lock.is_valid():
            self._retire(self._process_lock)
            claimed = {name for (name,) in connection.execute("SELECT DISTINCT owner FROM claims")}
            for name in claimed.union(lock_names(self._stem)):
                self.delete_claims_if_dead(connection, name)
            self._process_lock = ProcessLock(self._stem)
            self._process_locks.add(self._process_lock)
        return self._process_lock

    def delete_claims_if_dead(self, connection: sqlite3.Connection, name: str) -> bool:
        """Delete the claims under a name if its process has ended; return whether it has."""
        with is_dead(self._stem, name) as dead:
            if dead:
                _execute(connection, "DELETE FROM claims WHERE owner = ?", name)
        return dead

    def finish_claim(self, process_lock: ProcessLock) -> None:
        """Count one claim less; with the last one, release the lock if it is no longer used."""
        with self._lock:
            process_lock.claims -= 1
            if process_lock is not self._process_lock:
                self._retire(process_lock)

    def _retire(self, process_lock: ProcessLock | None) -> None:
        """Claim nothing more under this name, and release it if no handling goes on under it."""
        if process_lock is self._process_lock:
            self._process_lock = None
        if process_lock is not None and not process_lock.claims:
            process_lock.release()
            self._process_locks.discard(process_lock)

    def before_fork(self) -> None:
        """Close the connection, and let calls wait: SQLite allows no connection to pass into a child, even unused."""
        self._lock.acquire()
        self._disconnect()

    def after_fork(self, *, child: bool) -> None:
        """Allow calls again; the child starts as a process of its own, without the claims of its parent."""
        if child:
            for process_lock in self._process_locks:
                process_lock.detach_after_fork()
            self._process_locks.clear()
            self._process_lock = None
        self._lock.release()


def begin(connection: sqlite3.Connection, *, durable: bool, seconds: float | None = None) -> None:
    """Begin a transaction that writes; with ``durable`` its commit returns only when the data is on the disk.

    Raises sqlite3.Error if the file stays locked for two seconds, or for ``seconds``.
    """
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    # SQLite itself would sleep 1 ms and then longer, up to 100: several times what another process needs the file for,
    # and among busy processes the longest waiters would starve.
    connection.execute("PRAGMA busy_timeout = 0")
    _execute_with_retry(connection, "BEGIN IMMEDIATE", _BEGIN_PAUSE, seconds)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")


def _execute(connection: sqlite3.Connection, statement: str, *values: str) -> None:
    """Execute a statement that writes, in a transaction of its own; raises what ``begin`` raises."""
    begin(connection, durable=False)
    connection.execute(statement, values)
    connection.execute("COMMIT")


def _execute_with_retry(
    connection: sqlite3.Connection, statement: str, pause: float, seconds: float | None = None
) -> sqlite3.Cursor:
    """Execute a statement, and repeat it after each pause while another process has the file locked."""
    for tries_left in reversed(range(round((seconds or _BUSY_SECONDS) / pause))):
        try:
            return connection.execute(statement)
        except sqlite3.OperationalError as error:
            if not tries_left or "locked" not in str(error):
                raise
            threading.Event().wait(pause)
    raise AssertionError("the last try raises")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("BEGIN")
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        is_empty = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()[0]
        connection.execute("COMMIT")
        if application_id != _APPLICATION_ID and not is_empty:
            raise ValueError("it is another application's database")
        # SQLite's own busy time-out does not apply to this statement.
        mode = _execute_with_retry(connection, "PRAGMA journal_mode = WAL", _OPEN_PAUSE).fetchone()[0]
        if mode != "wal":
            raise ValueError("SQLite cannot keep a write-ahead log there")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        if application_id != _APPLICATION_ID or _version(connection) < _VERSION:
            _make_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables of a new file, or change those of an older version, unless another process has done it."""
    # Another process may be making the index of a large old file meanwhile.
    begin(connection, durable=True, seconds=_MOVE_SECONDS)
    try:
        if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
            scripts = _SCHEMA + _SCHEMA_1
        elif _version(connection) < _VERSION:
            scripts = _ADD_FORGET_AFTER + _SCHEMA_1
        else:
            scripts = ""
        for statement in filter(str.strip, scripts.split(";")):  # executescript would commit before it begins
            connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


_files: weakref.WeakSet[LedgerFile] = weakref.WeakSet()
_forking: list[LedgerFile] = []


def _before_fork() -> None:
    _forking.extend(_files)
    for file in _forking:
        file.before_fork()


def _after_fork(*, child: bool) -> None:
    while _forking:
        _forking.pop().after_fork(child=child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(child=False),
        after_in_child=lambda: _after_fork(child=True),
    )
