"""The index of a storage: an SQLite database with the records of objects, and of uploads in parts.

Adding or deleting an object is one transaction.
"""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from oss_wsgi.private_file import check_own, sqlite_files
from oss_wsgi.threads import ForkAware, inherited

#: The folder of parts, which belong to no bucket's folder until their upload is completed.
PARTS = ".parts"

# Seconds to wait for another process to end its transaction.
LOCK_TIMEOUT = 60.0

# Keys are stored as UTF-8 bytes, whose order is the one that OSS lists them in; records as JSON.
SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY, created REAL NOT NULL, settings TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key BLOB NOT NULL, file TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (
    bucket TEXT NOT NULL, key BLOB NOT NULL, id TEXT NOT NULL, record TEXT NOT NULL, PRIMARY KEY (bucket, key, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, file TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (upload, number)
) WITHOUT ROWID;
"""

# The places of the two connections in their list.
WRITER = 0
READER = 1


class Checked:
    md5: str
    crc64: int
    multipart_etag: str = ""

    @property
    def etag(self) -> str:
        return self.multipart_etag or self.md5.upper()

    @property
    def content_md5(self) -> str | None:
        return base64.b64encode(bytes.fromhex(self.md5)).decode() if self.md5 else None

    @property
    def crc64_header(self) -> tuple[str, str]:
        return "x-oss-hash-crc64ecma", str(self.crc64)

    @property
    def content_md5_header(self) -> list[tuple[str, str]]:
        """A list with the header; an empty list without an MD5 of the whole content."""
        return [("Content-MD5", self.content_md5)] if self.content_md5 else []

    @property
    def checksum_headers(self) -> list[tuple[str, str]]:
        return [("ETag", f'"{self.etag}"'), self.crc64_header, *self.content_md5_header]


@dataclass(frozen=True)
class StoredObject(Checked):
    """An object, without its content.

    :param md5: hexadecimal; "" for an object made of parts, unless they came in order (`sequential`).
    :param last_modified: Unix seconds.
    :param file: the name of the file with the content.
    """

    key: str
    size: int
    md5: str
    crc64: int
    content_type: str
    last_modified: float
    headers: dict[str, str]
    file: str = ""
    #: "" for an object that is not made of parts.
    multipart_etag: str = ""

    @property
    def type(self) -> str:
        return "Multipart" if self.multipart_etag else "Normal"


@dataclass(frozen=True)
class CommonPrefix:
    """The one entry in a listing for all keys that share a beginning up to the delimiter."""

    key: str


@dataclass(frozen=True)
class MultipartUpload:
    id: str
    key: str
    started: float
    content_type: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    sequential: bool = False


@dataclass(frozen=True)
class Part(Checked):
    number: int
    size: int
    md5: str
    crc64: int
    last_modified: float
    file: str = ""


Record = TypeVar("Record", StoredObject, MultipartUpload, Part)


def to_text(record: StoredObject | MultipartUpload | Part) -> str:
    return json.dumps(vars(record), ensure_ascii=False)


def from_text(kind: type[Record], text: str) -> Record:
    return kind(**json.loads(text))


class IndexDatabase(ForkAware):
    """The connections of this process to a database, which several processes of one user may share."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()  # reads do not wait for transactions
        self._connections: list[sqlite3.Connection | None] = [None, None]
        super().__init__()
        with self.transaction() as connection:
            for statement in filter(str.strip, SCHEMA.split(";")):
                connection.execute(statement)

    def read(self, statement: str, *values: Any) -> list[Any]:
        """Return the rows of a query; the query sees only committed transactions."""
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
                if connection.in_transaction:  # false if the disk is full, or a signal came after COMMIT
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self._disconnect()
            self._connections = []

    def _disconnect(self) -> None:
        for connection in self._connections:
            if connection is not None:
                connection.close()
        self._connections = [None for _ in self._connections]

    @contextmanager
    def _paused(self) -> Iterator[None]:
        """Wait for the other threads' work, and close the connections: SQLite's do not survive a fork."""
        with self._write_lock, self._read_lock:
            self._disconnect()
            yield

    def _renew_in_child(self) -> None:
        self._write_lock, self._read_lock = threading.RLock(), threading.RLock()
        inherited.append(self._connections)  # still open only if `_paused` has failed
        self._connections = [None for _ in self._connections]

    def _connection(self, purpose: int) -> sqlite3.Connection:
        """Return the connection for a purpose; the caller holds the lock for that purpose."""
        connection = self._connections[purpose]
        if connection is None:
            connection = self._connections[purpose] = self._connect()
        return connection

    def _connect(self) -> sqlite3.Connection:
        for file in sqlite_files(self._path):  # the index decides which files are read, served and removed
            check_own(file)
        connection = sqlite3.connect(self._path, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        _use_write_ahead_log(connection)
        connection.execute("PRAGMA synchronous = NORMAL")  # a commit waits for no disk
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


def named_files(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT file FROM objects UNION ALL SELECT file FROM parts")}


def common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """Return the beginning of a key up to the first delimiter after the prefix; empty without a delimiter."""
    if not delimiter or not key.startswith(prefix):
        return b""
    position = key.find(delimiter, len(prefix))
    return b"" if position < 0 else key[: position + len(delimiter)]


def first_key_after(prefix: bytes) -> bytes:
    """Return the first bytes after all keys that begin with the prefix; no UTF-8 begins with 255."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix else b"\xff"
