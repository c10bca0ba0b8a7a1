"""The index of a storage: an SQLite database, whose transaction is the moment at which an object exists."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MEMORY = ":memory:"
#: where parts are kept until their upload is completed
PARTS = ".parts"
# Seconds that a process waits for another to end its transaction.
PATIENCE = 60.0

# Keys are kept as their UTF-8 bytes, which is the order that OSS lists them in.
SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY, created REAL NOT NULL, settings TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, size INTEGER NOT NULL, md5 TEXT NOT NULL, crc64 TEXT NOT NULL,
    content_type TEXT NOT NULL, last_modified REAL NOT NULL, headers TEXT NOT NULL, file TEXT NOT NULL,
    multipart_etag TEXT NOT NULL, PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS object_files ON objects (file);
CREATE INDEX IF NOT EXISTS object_times ON objects (bucket, last_modified);
CREATE TABLE IF NOT EXISTS uploads (
    bucket TEXT NOT NULL, key BLOB NOT NULL, id TEXT NOT NULL, started REAL NOT NULL, content_type TEXT NOT NULL,
    headers TEXT NOT NULL, PRIMARY KEY (bucket, key, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, md5 TEXT NOT NULL, crc64 TEXT NOT NULL,
    last_modified REAL NOT NULL, file TEXT NOT NULL, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS part_files ON parts (file);
"""


class ObjectIndex:
    """:param path: of the database; several processes may share it. MEMORY for one that ends with this object."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.RLock()
        # Reading waits for no transaction; in memory there is one connection, and so one lock.
        self._read_lock = self._lock if path == MEMORY else threading.RLock()
        self._connections: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self._pid = 0
        with self.transaction() as database:
            for statement in filter(str.strip, SCHEMA.split(";")):
                database.execute(statement)

    def read(self, statement: str, *values: Any) -> list[Any]:
        with self._read_lock:
            return self._connection(-1).execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._connection(0)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise

    def place_of(self, file: str) -> str | None:
        """The folder of an object's or a part's content, None for any other file."""
        rows = self.read("SELECT bucket FROM objects WHERE file = ?", file)
        rows += self.read("SELECT ? FROM parts WHERE file = ?", PARTS, file)
        return str(rows[0][0]) if rows else None

    def close(self) -> None:
        with self._lock, self._read_lock:
            for connection in self._connections:
                connection.close()
            self._connections = []

    def _connection(self, number: int) -> sqlite3.Connection:
        if self._pid != os.getpid():
            # SQLite's connections do not cross a fork: the child opens its own, and does not even close its parent's.
            with self._lock, self._read_lock:
                self._pid = os.getpid()
                self._inherited += self._connections
                self._connections = [self._connect() for _ in range(1 if self._path == MEMORY else 2)]
        return self._connections[number]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        _keep_a_log(connection)
        connection.execute("PRAGMA synchronous = FULL")
        return connection


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Change to a write-ahead log; where another process is at the same, SQLite does not wait by itself."""
    patient_until = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > patient_until:
                connection.close()
                raise
        time.sleep(0.01)
