"""The index of a storage: an SQLite database. Adding or deleting an object is one transaction."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .records import CommonPrefix, MultipartUpload, Part, StoredObject

#: The folder of parts, which belong to no bucket's folder until their upload is completed.
PARTS = ".parts"

# Seconds to wait for another process to end its transaction.
LOCK_TIMEOUT = 60.0

# Keys are stored as UTF-8 bytes, whose order is the one that OSS lists them in.
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
    headers TEXT NOT NULL, sequential INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (bucket, key, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, md5 TEXT NOT NULL, crc64 TEXT NOT NULL,
    last_modified REAL NOT NULL, file TEXT NOT NULL, PRIMARY KEY (upload, number)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS part_files ON parts (file);
"""

# The columns of a row that makes a StoredObject, a MultipartUpload, a Part.
OBJECT = "key, size, md5, crc64, content_type, last_modified, headers, file, multipart_etag"

UPLOAD = "id, key, started, content_type, headers, sequential"

PART = "number, size, md5, crc64, last_modified, file"

# Which of the connections.
WRITER = 0
READER = 1


class IndexDatabase:
    """The connections of this process to the database.

    :param path: of the database, which several processes may share.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()  # reads do not wait for transactions
        self._connections: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self._pid = 0
        with self.transaction() as connection:
            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)

    def read(self, statement: str, *values: Any) -> list[Any]:
        """Return the rows of a query, which sees only what transactions have committed."""
        with self._read_lock:
            return self._connection(READER).execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction that commits at the end of the block, or rolls back after an exception."""
        with self._write_lock:
            connection = self._connection(WRITER)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # not when the disk is full, or a signal came after COMMIT
                    connection.execute("ROLLBACK")
                raise

    def folder_of(self, file: str) -> str | None:
        """Return the folder for the content of an object or a part; None for any other file."""
        rows = self.read("SELECT bucket FROM objects WHERE file = ?", file)
        rows += self.read("SELECT ? FROM parts WHERE file = ?", PARTS, file)
        return str(rows[0][0]) if rows else None

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            for connection in self._connections:
                connection.close()
            self._connections = []

    def _connection(self, purpose: int) -> sqlite3.Connection:
        if self._pid != os.getpid():
            # SQLite connections do not survive a fork: the child opens its own, and never closes its parent's.
            with self._write_lock, self._read_lock:
                self._pid = os.getpid()
                self._inherited += self._connections
                self._connections = [self._connect() for _ in (WRITER, READER)]
        return self._connections[purpose]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = FULL")
        return connection


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log, and retry while another process does the same: SQLite does not wait there."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                connection.close()
                raise
        time.sleep(0.01)


def object_row(stored: StoredObject) -> tuple[Any, ...]:
    headers = json.dumps(stored.headers, ensure_ascii=False)
    # The checksum is text: it has 64 bits and no sign, and SQLite's integers have a sign.
    return (
        stored.key.encode(),
        stored.size,
        stored.md5,
        str(stored.crc64),
        stored.content_type,
        stored.last_modified,
        headers,
        stored.file,
        stored.multipart_etag,
    )


def read_object(row: Sequence[Any]) -> StoredObject:
    key, size, md5, crc64, content_type, last_modified, headers, file, etag = row
    return StoredObject(
        key.decode(), size, md5, int(crc64), content_type, last_modified, json.loads(headers), file, etag
    )


def upload_row(upload: MultipartUpload) -> tuple[Any, ...]:
    headers = json.dumps(upload.headers, ensure_ascii=False)
    return upload.id, upload.key.encode(), upload.started, upload.content_type, headers, int(upload.sequential)


def read_upload(row: Sequence[Any]) -> MultipartUpload:
    upload_id, key, started, content_type, headers, sequential = row
    return MultipartUpload(upload_id, key.decode(), started, content_type, json.loads(headers), bool(sequential))


def part_row(part: Part) -> tuple[Any, ...]:
    return part.number, part.size, part.md5, str(part.crc64), part.last_modified, part.file


def read_part(row: Sequence[Any]) -> Part:
    number, size, md5, crc64, last_modified, file = row
    return Part(number, size, md5, int(crc64), last_modified, file)


Entry = StoredObject | CommonPrefix

# Rows to read at once for a listing with a delimiter, where most rows may fall under a common prefix.
FOLDED_BATCH = 20


def list_page(
    index: IndexDatabase, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
) -> tuple[list[Entry], bool]:
    """Return up to `limit` entries of a bucket after the key `after`, and whether more follow."""
    start, end = prefix.encode(), _first_key_after(prefix.encode())
    marker, separator = after.encode(), delimiter.encode()
    if after:
        # A marker that is a common prefix excludes all keys that begin with it.
        common = common_prefix(marker, start, separator)
        start = max(start, _first_key_after(marker) if common == marker else marker + b"\0")
    entries: list[Entry] = []
    while (room := limit + 1 - len(entries)) > 0:
        size = min(room, FOLDED_BATCH) if separator else room
        rows = index.read(
            f"SELECT {OBJECT} FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",  # noqa: S608
            bucket,
            start,
            end,
            size,
        )
        for row in rows:
            common = common_prefix(row[0], prefix.encode(), separator)
            if common:
                entries.append(CommonPrefix(common.decode()))
                start = _first_key_after(common)
                break
            entries.append(read_object(row))
            start = row[0] + b"\0"
        else:
            if len(rows) < size:
                break
    return entries[:limit], len(entries) > limit


def common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """Return the beginning of a key up to the first delimiter after the prefix; empty without a delimiter."""
    if not delimiter or not key.startswith(prefix):
        return b""
    position = key.find(delimiter, len(prefix))
    return b"" if position < 0 else key[: position + len(delimiter)]


def _first_key_after(prefix: bytes) -> bytes:
    """Return the first bytes after all keys that begin with the prefix; no UTF-8 begins with 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"
