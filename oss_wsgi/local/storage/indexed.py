"""The storage of the local OSS: an index, and content in a directory or in memory."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import OSSError, no_such_bucket
from .blob_folder import BlobFolder
from .blob_store import BlobStore, MemoryBlobStore
from .bucket import IndexedBucket
from .index import MEMORY, PARTS, IndexDatabase
from .private_file import narrow, open_private, outer_folder, private_folder

INDEX = ".index.sqlite3"


def directory_storage(directory: str | Path) -> IndexedStorage:
    """Return a storage in a directory, where each object is a file that a person can look at.

    Several processes may use one directory.
    """
    directory = Path(directory)
    outer_folder(directory)
    path = directory / INDEX
    with suppress(FileExistsError):
        os.close(open_private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    index = IndexDatabase(str(path))
    try:
        for side_file in ("", "-wal", "-shm"):  # of an index that others could read until now
            narrow(f"{path}{side_file}")
        for folder in (PARTS, *(name for (name,) in index.read("SELECT name FROM buckets"))):
            if (directory / folder).is_dir():
                private_folder(directory / folder)
        return IndexedStorage(index, BlobFolder(directory, index.folder_of))
    except BaseException:
        index.close()
        raise


def memory_storage() -> IndexedStorage:
    """Return a storage in memory, for tests."""
    return IndexedStorage(IndexDatabase(MEMORY), MemoryBlobStore())


class IndexedStorage:
    """A Storage made of an index and a blob store."""

    def __init__(self, index: IndexDatabase, blobs: BlobStore) -> None:
        self._index = index
        self.blobs = blobs

    def create_bucket(self, name: str, *, now: float) -> bool:
        with self._index.transaction() as connection:
            row = (name, now, json.dumps({}))
            statement = "INSERT OR IGNORE INTO buckets (name, created, settings) VALUES (?, ?, ?)"
            return connection.execute(statement, row).rowcount == 1

    def bucket(self, name: str) -> IndexedBucket:
        rows = self._index.read("SELECT name, created, settings FROM buckets WHERE name = ?", name)
        if not rows:
            raise no_such_bucket(name)
        return IndexedBucket(self._index, self.blobs, *rows[0])

    def buckets(self) -> list[IndexedBucket]:
        rows = self._index.read("SELECT name, created, settings FROM buckets ORDER BY name")
        return [IndexedBucket(self._index, self.blobs, *row) for row in rows]

    def delete_bucket(self, name: str) -> None:
        with self._index.transaction() as connection:
            if not connection.execute("SELECT 1 FROM buckets WHERE name = ?", (name,)).fetchone():
                raise no_such_bucket(name)
            for table in ("objects", "uploads"):
                if connection.execute(f"SELECT 1 FROM {table} WHERE bucket = ?", (name,)).fetchone():  # noqa: S608
                    message = "The bucket has objects. Please delete them first."
                    raise OSSError(409, "BucketNotEmpty", message, "0015-00000301", BucketName=name)
            connection.execute("DELETE FROM buckets WHERE name = ?", (name,))
        self.blobs.remove_folder(name)

    def spool(self) -> BinaryIO | None:
        return self.blobs.spool()

    def close(self) -> None:
        self.blobs.close()
        self._index.close()
