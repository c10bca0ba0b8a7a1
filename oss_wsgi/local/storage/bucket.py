"""The objects of one bucket: what the index says of them, and the content that the index names."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from typing import BinaryIO

from ..errors import file_already_exists, no_such_bucket
from .incoming import Contents
from .index import ObjectIndex
from .listing import Entry, list_page
from .object_rows import OBJECT, object_row, read_object
from .stored_object import StoredObject


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
