"""The objects of one bucket: what the index says of them, and the content that the index names."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from ..errors import OSSError, file_already_exists, no_such_bucket
from .incoming import Contents, IncomingContent
from .index import (
    OBJECT,
    PART,
    PARTS,
    UPLOAD,
    Entry,
    ObjectIndex,
    list_page,
    object_row,
    part_row,
    read_object,
    read_part,
    read_upload,
    upload_row,
)
from .interface import MultipartUpload, Part, StoredObject


class IndexedObjects:
    def __init__(self, index: ObjectIndex, contents: Contents, name: str, created: float, settings: str) -> None:
        self._index = index
        self._contents = contents
        self.name = name
        self.created = created
        self.settings: Mapping[str, str] = json.loads(settings)

    def change(self, settings: Mapping[str, str | None]) -> None:
        with self._index.transaction() as database:
            rows = database.execute("SELECT settings FROM buckets WHERE name = ?", (self.name,)).fetchall()
            if not rows:
                raise no_such_bucket(self.name)
            text = _changed(rows[0][0], settings)
            self.settings = json.loads(text)
            database.execute("UPDATE buckets SET settings = ? WHERE name = ?", (text, self.name))

    def get(self, key: str) -> StoredObject | None:
        statement = f"SELECT {OBJECT} FROM objects WHERE bucket = ? AND key = ?"  # noqa: S608
        rows = self._index.read(statement, self.name, key.encode())
        return read_object(rows[0]) if rows else None

    def open(self, key: str) -> tuple[StoredObject, BinaryIO] | None:
        stored = self.get(key)
        while stored:
            content = self._contents.open(self.name, stored.file)
            if content:
                return stored, content
            # Replaced or deleted between the two steps, unless somebody tidied the directory.
            found = self.get(key)
            stored = found if found and found.file != stored.file else None
        return None

    def change_headers(self, key: str, headers: Mapping[str, str | None]) -> bool:
        which = (self.name, key.encode())
        with self._index.transaction() as database:
            row = database.execute("SELECT headers FROM objects WHERE bucket = ? AND key = ?", which).fetchone()
            if row:
                statement = "UPDATE objects SET headers = ? WHERE bucket = ? AND key = ?"
                database.execute(statement, (_changed(row[0], headers), *which))
        return row is not None

    def delete(self, key: str) -> bool:
        with self._index.transaction() as database:
            old = self._take_out(database, key)
            database.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (self.name, key.encode()))
        if old:
            self._contents.discard(old.file)
        return old is not None

    def page(
        self, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000
    ) -> tuple[list[Entry], bool]:
        return list_page(self._index, self.name, prefix=prefix, delimiter=delimiter, after=after, limit=limit)

    def newest(self, limit: int) -> tuple[list[StoredObject], int]:
        statement = f"SELECT {OBJECT} FROM objects WHERE bucket = ? ORDER BY last_modified DESC LIMIT ?"  # noqa: S608
        rows = self._index.read(statement, self.name, limit)
        count = self._index.read("SELECT COUNT(*) FROM objects WHERE bucket = ?", self.name)
        return [read_object(row) for row in rows], count[0][0]

    def add(self, stored: StoredObject, *, forbid_overwrite: bool) -> None:
        with self._index.transaction() as database:
            replaced = self._replace(database, stored, forbid_overwrite)
        self._settle(stored, replaced)

    def _replace(
        self, database: sqlite3.Connection, stored: StoredObject, forbid_overwrite: bool
    ) -> StoredObject | None:
        self._check_exists(database)
        replaced = self._take_out(database, stored.key, forbid=forbid_overwrite)
        values = (self.name, *object_row(stored))
        marks = ", ".join("?" * len(values))
        database.execute(f"INSERT OR REPLACE INTO objects (bucket, {OBJECT}) VALUES ({marks})", values)  # noqa: S608
        return replaced

    def _check_exists(self, database: sqlite3.Connection) -> None:
        if not database.execute("SELECT 1 FROM buckets WHERE name = ?", (self.name,)).fetchone():
            raise no_such_bucket(self.name)

    def _settle(self, stored: StoredObject, replaced: StoredObject | None) -> None:
        self._contents.keep(self.name, stored.file)
        if replaced:
            self._contents.discard(replaced.file)

    def _take_out(self, database: sqlite3.Connection, key: str, *, forbid: bool = False) -> StoredObject | None:
        """Sets the content aside: from where it is garbage once the transaction has ended, and an object until then."""
        statement = f"SELECT {OBJECT} FROM objects WHERE bucket = ? AND key = ?"  # noqa: S608
        row = database.execute(statement, (self.name, key.encode())).fetchone()
        if row is None:
            return None
        if forbid:
            raise file_already_exists()
        old = read_object(row)
        self._contents.set_aside(self.name, old.file)
        return old


def _changed(text: str, changes: Mapping[str, str | None]) -> str:
    values = {**json.loads(text), **changes}
    return json.dumps({name: value for name, value in values.items() if value is not None}, ensure_ascii=False)


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
