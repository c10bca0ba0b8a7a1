"""The storage of the local OSS: buckets in a folder, where each object is a file that a person can look at."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ...private_file import make_private_folder, narrow, narrow_folder, open_private
from ..errors import OSSError, no_such_bucket
from .blob_folder import BlobFolder
from .bucket import Bucket
from .index import PARTS, IndexDatabase

INDEX = ".index.sqlite3"


class Storage:
    """All buckets of a folder, which several processes may use at once."""

    def __init__(self, directory: str | Path) -> None:
        directory = Path(directory)
        make_private_folder(directory)
        path = directory / INDEX
        with suppress(FileExistsError):
            os.close(open_private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        self._index = IndexDatabase(str(path))
        try:
            for side_file in ("", "-wal", "-shm"):  # of an index that others could read until now
                narrow(f"{path}{side_file}")
            for folder in (PARTS, *(name for (name,) in self._index.read("SELECT name FROM buckets"))):
                narrow_folder(directory / folder)
            self.blobs = BlobFolder(directory, self._index)
        except BaseException:
            self._index.close()
            raise

    def create_bucket(self, name: str, *, now: float) -> bool:
        """Create a bucket; return False when it exists already."""
        with self._index.transaction() as connection:
            statement = "INSERT OR IGNORE INTO buckets (name, created) VALUES (?, ?)"
            return connection.execute(statement, (name, now)).rowcount == 1

    def bucket(self, name: str) -> Bucket:
        """Return a bucket; raise OSSError 404 NoSuchBucket if there is none."""
        rows = self._index.read("SELECT name, created, settings FROM buckets WHERE name = ?", name)
        if not rows:
            raise no_such_bucket(name)
        return Bucket(self._index, self.blobs, *rows[0])

    def buckets(self) -> list[Bucket]:
        """Return all buckets in the order of their names."""
        rows = self._index.read("SELECT name, created, settings FROM buckets ORDER BY name")
        return [Bucket(self._index, self.blobs, *row) for row in rows]

    def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket.

        :raises OSSError: 404 NoSuchBucket; 409 BucketNotEmpty while it has objects or uploads.
        """
        with self._index.transaction() as connection:
            if not connection.execute("SELECT 1 FROM buckets WHERE name = ?", (name,)).fetchone():
                raise no_such_bucket(name)
            for table in ("objects", "uploads"):
                if connection.execute(f"SELECT 1 FROM {table} WHERE bucket = ?", (name,)).fetchone():  # noqa: S608
                    message = "The bucket has objects. Please delete them first."
                    raise OSSError(409, "BucketNotEmpty", message, "0015-00000301", BucketName=name)
            connection.execute("DELETE FROM buckets WHERE name = ?", (name,))
            self.blobs.remove_folder(name)

    def close(self) -> None:
        self.blobs.close()
        self._index.close()
