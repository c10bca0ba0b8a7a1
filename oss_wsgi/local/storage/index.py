"""The index of a storage: an SQLite database, whose transaction is the moment at which an object exists."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .interface import CommonPrefix, MultipartUpload, Part, StoredObject

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


OBJECT = "key, size, md5, crc64, content_type, last_modified, headers, file, multipart_etag"

UPLOAD = "id, key, started, content_type, headers"

PART = "number, size, md5, crc64, last_modified, file"


def object_row(stored: StoredObject) -> tuple[Any, ...]:
    headers = json.dumps(stored.headers, ensure_ascii=False)
    # The checksum has 64 bits, the integers of SQLite 63.
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
    return upload.id, upload.key.encode(), upload.started, upload.content_type, headers


def read_upload(row: Sequence[Any]) -> MultipartUpload:
    upload_id, key, started, content_type, headers = row
    return MultipartUpload(upload_id, key.decode(), started, content_type, json.loads(headers))


def part_row(part: Part) -> tuple[Any, ...]:
    return part.number, part.size, part.md5, str(part.crc64), part.last_modified, part.file


def read_part(row: Sequence[Any]) -> Part:
    number, size, md5, crc64, last_modified, file = row
    return Part(number, size, md5, int(crc64), last_modified, file)


Entry = StoredObject | CommonPrefix

FOLDED_BATCH = 20


def list_page(
    index: ObjectIndex, bucket: str, *, prefix: str, delimiter: str, after: str, limit: int
) -> tuple[list[Entry], bool]:
    start, end = prefix.encode(), _behind(prefix.encode())
    mark, cut = after.encode(), delimiter.encode()
    if after:
        # A marker that is itself a common prefix stands for all that it stands for in a listing.
        group = _group(mark, start, cut)
        start = max(start, _behind(mark) if group == mark else mark + b"\0")
    entries: list[Entry] = []
    while (room := limit + 1 - len(entries)) > 0:
        # Of what a delimiter folds, most rows would be read in vain.
        size = min(room, FOLDED_BATCH) if cut else room
        rows = index.read(
            f"SELECT {OBJECT} FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?",  # noqa: S608
            bucket,
            start,
            end,
            size,
        )
        for row in rows:
            group = _group(row[0], prefix.encode(), cut)
            if group:
                entries.append(CommonPrefix(group.decode()))
                start = _behind(group)
                break
            entries.append(read_object(row))
            start = row[0] + b"\0"
        else:
            if len(rows) < size:
                break
    return entries[:limit], len(entries) > limit


def _group(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    if not delimiter or not key.startswith(prefix):
        return b""
    found = key.find(delimiter, len(prefix))
    return b"" if found < 0 else key[: found + len(delimiter)]


def _behind(prefix: bytes) -> bytes:
    """The first bytes behind all that begin so; no UTF-8 begins with 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"
