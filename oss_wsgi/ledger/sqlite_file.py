"""One process's hold on a ledger's file: a connection behind a lock, and the name in which it claims uploads."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .process_lock import Owner, ended, names

_APPLICATION_ID = 0x6F737377  # "ossw"
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS claims (ticket TEXT, object TEXT, etag TEXT, owner TEXT NOT NULL,
    PRIMARY KEY (ticket, object, etag)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (ticket TEXT, object TEXT, etag TEXT, expires INTEGER NOT NULL,
    status TEXT NOT NULL, content_type TEXT NOT NULL, body BLOB NOT NULL, UNIQUE (ticket, object, etag));
CREATE INDEX IF NOT EXISTS answers_expires ON answers (expires);
PRAGMA application_id = {_APPLICATION_ID};
COMMIT;
"""
# Among many rows each upload changes other pages. If they were brought home at every 1,000, as SQLite does, an upload
# would cost a third more at a million rows than at a thousand; with 64 MB in the log it costs the same.
_WAL_PAGES = 16_000
_BUSY_SECONDS = 2.0
_BUSY_TRIES, _BUSY_TRY_SECONDS = 400, 0.005


class LedgerFile:
    """The SQLite file of a ledger, made if it does not exist, and the owners' files beside it.

    Both the connection and the owner are made when they are first needed, and anew in a forked child. What cannot be
    used raises OSError, ValueError or sqlite3.Error.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._connection: sqlite3.Connection | None = None
        self._identity: os.stat_result | None = None
        self.path = Path(path).absolute()
        self._stem = f"{self.path}-owner-"
        self._owner: Owner | None = None
        self._owners: set[Owner] = set()
        self._lock = threading.Lock()
        # SQLite gives its side files the mode of the file. It may not be opened here once it is in use: closing
        # it would drop the locks of this process's connections.
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            with self.opened() as connection:
                connection.execute("DELETE FROM claims WHERE owner = ''")  # a file that can only be read opens, too
                self.owner(connection)
        finally:
            self.close()
        _files.add(self)

    def close(self) -> None:
        """End the connection, and the owner when its last claim has ended."""
        with self._lock:
            self._disconnect()
            self._retire(self._owner)

    def __del__(self) -> None:
        self._disconnect()  # a connection that nobody closes is warned of from Python 3.13 on

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Hold the lock and give this process's connection; after an error both it and the owner are made anew."""
        with self._lock:
            try:
                if self._connection is not None and self._replaced():
                    self._disconnect()
                if self._connection is None:
                    self._connection, self._identity = _connect(self.path), os.stat(self.path)
                yield self._connection
            except BaseException:
                self._disconnect()
                # What stands in the file under this name may no longer be true: nobody shall wait for it.
                self._retire(self._owner)
                raise

    def _replaced(self) -> bool:
        """Tell whether the file was removed, or another put in its place: what is written would be found by nobody."""
        try:
            return self._identity is None or not os.path.samestat(self._identity, os.stat(self.path))
        except FileNotFoundError:
            return True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def owner(self, connection: sqlite3.Connection) -> Owner:
        """Give the owner to claim for; where a new one is needed, what the dead have left is removed first."""
        if self._owner is None or not self._owner.valid():
            self._retire(self._owner)
            claimed = {name for (name,) in connection.execute("SELECT DISTINCT owner FROM claims")}
            for name in claimed.union(names(self._stem)):
                self.bury(connection, name)
            self._owner = Owner(self._stem)
            self._owners.add(self._owner)
        return self._owner

    def bury(self, connection: sqlite3.Connection, name: str) -> bool:
        """Remove the claims of an owner, if it has ended."""
        with ended(self._stem, name) as dead:
            if dead:
                connection.execute("DELETE FROM claims WHERE owner = ?", (name,))
        return dead

    def settle(self, owner: Owner) -> None:
        """Count a claim as ended."""
        with self._lock:
            owner.claims -= 1
            if owner is not self._owner:
                self._retire(owner)

    def _retire(self, owner: Owner | None) -> None:
        """Claim nothing more in this name, and let it go with the last handling that was claimed in it."""
        if owner is self._owner:
            self._owner = None
        if owner is not None and not owner.claims:
            owner.release()
            self._owners.discard(owner)

    def before_fork(self) -> None:
        """Close the connection: SQLite's may not be carried into a child, not even unused. No call runs meanwhile."""
        self._lock.acquire()
        self._disconnect()

    def after_fork(self, *, child: bool) -> None:
        """Go on; in a child as a process of its own, which has none of the handlings that its parent runs."""
        if child:
            for owner in self._owners:
                owner.abandon()
            self._owners.clear()
            self._owner = None
        self._lock.release()


def begin(connection: sqlite3.Connection, *, durable: bool) -> None:
    """Begin to write; ``durable`` lets the commit return when the disk has it. sqlite3.Error after two seconds."""
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    # SQLite waits longer from try to try, up to 100 ms: among busy processes those that have waited most would starve.
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TRY_SECONDS * 1000:.0f}")
    _insist(connection, "BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")


def _insist(connection: sqlite3.Connection, statement: str, pause: float = 0.0) -> sqlite3.Cursor:
    """Execute a statement, again and again while another process has the file locked; ``pause`` in seconds."""
    for left in reversed(range(_BUSY_TRIES)):
        try:
            return connection.execute(statement)
        except sqlite3.OperationalError as error:
            if not left or "locked" not in str(error):
                raise
            threading.Event().wait(pause)
    raise AssertionError("the last try raises")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("BEGIN")
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        empty = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()[0]
        connection.execute("COMMIT")
        if application != _APPLICATION_ID and not empty:
            raise ValueError("it is another application's database")
        # For this one SQLite does not wait by itself.
        if _insist(connection, "PRAGMA journal_mode = WAL", _BUSY_TRY_SECONDS).fetchone()[0] != "wal":
            raise ValueError("SQLite cannot keep a write-ahead log there")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        if application != _APPLICATION_ID:
            connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


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
