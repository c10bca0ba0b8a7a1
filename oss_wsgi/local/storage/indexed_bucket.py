"""One bucket of a storage: its objects, and what is uploaded to it in parts."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence

from ..errors import OSSError
from .bucket import IndexedObjects
from .incoming import IncomingContent
from .index import PARTS
from .object_rows import PART, UPLOAD, part_row, read_part, read_upload, upload_row
from .stored_object import MultipartUpload, Part, StoredObject


class IndexedBucket(IndexedObjects):
    def incoming(self) -> IncomingContent:
        return IncomingContent(self._contents, self)

    def begin(self, key: str, content_type: str, headers: dict[str, str], *, now: float) -> MultipartUpload:
        upload = MultipartUpload(secrets.token_hex(16).upper(), key, now, content_type, headers)
        with self._index.transaction() as database:
            self._check_exists(database)
            values = (self.name, *upload_row(upload))
            marks = ", ".join("?" * len(values))
            database.execute(f"INSERT INTO uploads (bucket, {UPLOAD}) VALUES ({marks})", values)  # noqa: S608
        return upload

    def upload(self, key: str, upload_id: str) -> MultipartUpload:
        statement = f"SELECT {UPLOAD} FROM uploads WHERE bucket = ? AND key = ? AND id = ?"  # noqa: S608
        rows = self._index.read(statement, self.name, key.encode(), upload_id)
        if not rows:
            raise _no_such_upload(upload_id)
        return read_upload(rows[0])

    def uploads(
        self, *, prefix: str = "", after: tuple[str, str] = ("", ""), limit: int = 1000
    ) -> tuple[list[MultipartUpload], bool]:
        key, upload_id = after
        statement = (
            f"SELECT {UPLOAD} FROM uploads WHERE bucket = ? AND substr(key, 1, ?) = ?"  # noqa: S608
            " AND (key > ? OR (key = ? AND ? <> '' AND id > ?)) ORDER BY key, id LIMIT ?"
        )
        start = prefix.encode()
        marks = (key.encode(), key.encode(), upload_id, upload_id)
        rows = self._index.read(statement, self.name, len(start), start, *marks, limit + 1)
        return [read_upload(row) for row in rows[:limit]], len(rows) > limit

    def parts(self, upload: MultipartUpload, *, after: int = 0, limit: int = 10000) -> tuple[list[Part], bool]:
        statement = f"SELECT {PART} FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?"  # noqa: S608
        rows = self._index.read(statement, upload.id, after, limit + 1)
        return [read_part(row) for row in rows[:limit]], len(rows) > limit

    def add_part(self, upload: MultipartUpload, part: Part) -> None:
        with self._index.transaction() as database:
            self._check_under_way(database, upload)
            replaced = database.execute(
                "SELECT file FROM parts WHERE upload = ? AND number = ?", (upload.id, part.number)
            ).fetchone()
            if replaced:
                self._contents.set_aside(PARTS, replaced[0])
            values = (upload.id, *part_row(part))
            marks = ", ".join("?" * len(values))
            database.execute(f"INSERT OR REPLACE INTO parts (upload, {PART}) VALUES ({marks})", values)  # noqa: S608
        self._contents.keep(PARTS, part.file)
        if replaced:
            self._contents.discard(replaced[0])

    def complete(
        self, upload: MultipartUpload, parts: Sequence[Part], *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        with self.incoming() as incoming:
            for part in parts:
                content = self._contents.open(PARTS, part.file)
                if content is None:
                    raise _no_such_upload(upload.id)
                with content:
                    incoming.append(part, content)

            def add(stored: StoredObject) -> None:
                with self._index.transaction() as database:
                    self._check_under_way(database, upload)
                    replaced = self._replace(database, stored, forbid_overwrite)
                    files = self._end(database, upload)
                self._settle(stored, replaced)
                for file in files:
                    self._contents.discard(file)

            return incoming.commit_made_of(parts, upload, add, now=now)

    def abort(self, upload: MultipartUpload) -> None:
        with self._index.transaction() as database:
            self._check_under_way(database, upload)
            files = self._end(database, upload)
        for file in files:
            self._contents.discard(file)

    def _check_under_way(self, database: sqlite3.Connection, upload: MultipartUpload) -> None:
        values = (self.name, upload.key.encode(), upload.id)
        statement = "SELECT 1 FROM uploads WHERE bucket = ? AND key = ? AND id = ?"
        if not database.execute(statement, values).fetchone():
            raise _no_such_upload(upload.id)

    def _end(self, database: sqlite3.Connection, upload: MultipartUpload) -> list[str]:
        """Takes the upload and its parts out of the index, and gives the files to discard when that is done."""
        rows = database.execute("SELECT file FROM parts WHERE upload = ?", (upload.id,)).fetchall()
        for (file,) in rows:
            self._contents.set_aside(PARTS, file)
        database.execute("DELETE FROM parts WHERE upload = ?", (upload.id,))
        values = (self.name, upload.key.encode(), upload.id)
        database.execute("DELETE FROM uploads WHERE bucket = ? AND key = ? AND id = ?", values)
        return [file for (file,) in rows]


def _no_such_upload(upload_id: str) -> OSSError:
    message = (
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or"
        " completed."
    )
    return OSSError(404, "NoSuchUpload", message, "0042-00000002", UploadId=upload_id)
