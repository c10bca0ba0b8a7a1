"""Buckets in an index with their content beside it: in a directory, or in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

from ..errors import OSSError, no_such_bucket
from .bucket import IndexedBucket
from .contents import ContentFolder, ContentMemory
from .incoming import Contents
from .index import MEMORY, ObjectIndex

INDEX = ".index.sqlite3"


class IndexedStorage:
    def __init__(self, index: ObjectIndex, contents: Contents) -> None:
        self._index = index
        self.contents = contents

    def create_bucket(self, name: str, *, now: float) -> bool:
        with self._index.transaction() as database:
            row = (name, now, json.dumps({}))
            cursor = database.execute("INSERT OR IGNORE INTO buckets (name, created, settings) VALUES (?, ?, ?)", row)
            return cursor.rowcount == 1

    def bucket(self, name: str) -> IndexedBucket:
        rows = self._index.read("SELECT name, created, settings FROM buckets WHERE name = ?", name)
        if not rows:
            raise no_such_bucket(name)
        return IndexedBucket(self._index, self.contents, *rows[0])

    def buckets(self) -> list[IndexedBucket]:
        rows = self._index.read("SELECT name, created, settings FROM buckets ORDER BY name")
        return [IndexedBucket(self._index, self.contents, *row) for row in rows]

    def delete_bucket(self, name: str) -> None:
        with self._index.transaction() as database:
            if not database.execute("SELECT 1 FROM buckets WHERE name = ?", (name,)).fetchone():
                raise no_such_bucket(name)
            for table in ("objects", "uploads"):
                if database.execute(f"SELECT 1 FROM {table} WHERE bucket = ?", (name,)).fetchone():  # noqa: S608
                    message = "The bucket has objects. Please delete them first."
                    raise OSSError(409, "BucketNotEmpty", message, "0015-00000301", BucketName=name)
            database.execute("DELETE FROM buckets WHERE name = ?", (name,))
        self.contents.remove_place(name)

    def spool(self) -> BinaryIO | None:
        return self.contents.spool()

    def close(self) -> None:
        self.contents.close()
        self._index.close()


def directory_storage(directory: str | Path) -> IndexedStorage:
    """What a person may look at: each object is a file. Several processes may use one directory."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    index = ObjectIndex(str(directory / INDEX))
    try:
        return IndexedStorage(index, ContentFolder(directory, index.place_of))
    except BaseException:
        index.close()
        raise


def memory_storage() -> IndexedStorage:
    """What ends with this process, for tests."""
    return IndexedStorage(ObjectIndex(MEMORY), ContentMemory())
