"""The buckets in a folder: their records in the index, and the content of their objects and parts."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from fastcrc import crc64

from oss_wsgi.private_file import make_private_folder, narrow, narrow_folder, open_private, sqlite_files

from ..errors import OSSError, file_already_exists, invalid_part, no_such_bucket
from .blob_folder import CHUNK_SIZE, BlobFolder, copy_bytes, file_name
from .index import (
    PARTS,
    CommonPrefix,
    IndexDatabase,
    MultipartUpload,
    Part,
    StoredObject,
    common_prefix,
    first_key_after,
    from_text,
    to_text,
)

INDEX = ".index.sqlite3"

#: The name of the setting that blocks public access: `true`, the default, or `false`.
PUBLIC_ACCESS_BLOCK = "publicAccessBlock"

Entry = StoredObject | CommonPrefix
_FILE_OF_OBJECT = "SELECT bucket, file FROM objects WHERE bucket = ? AND key = ?"

# Rows to read at once for a listing with a delimiter, where most rows may fall under a common prefix.
FOLDED_BATCH = 20


@dataclass(frozen=True)
class ClassStat:
    """The objects of one storage class, and their bytes."""

    objects: int = 0
    size: int = 0
    billed_size: int = 0


@dataclass(frozen=True)
class BucketStat:
    """What a bucket holds: its objects by storage class, its unfinished uploads, and their parts."""

    classes: Mapping[str, ClassStat]
    uploads: int
    parts: int


class Bucket:
    """One bucket: its settings, its objects, and the uploads in parts that are in progress.

    Times are Unix seconds; keys are text, ordered by their UTF-8 bytes. `settings` holds the ACL, the CORS rules and so
    on, as text under the operations' own names.
    """

    def __init__(self, index: IndexDatabase, blobs: BlobFolder, name: str, created: float, settings: str) -> None:
        self._index = index
        self._blobs = blobs
        self.name = name
        self.created = created
        self.settings: Mapping[str, str] = json.loads(settings)

    @property
    def acl(self) -> str:
        """The ACL, which holds for objects without an ACL of their own."""
        return self.settings.get("acl", "private")

    @property
    def blocks_public_access(self) -> bool:
        """Whether nobody may use or set a public ACL: true unless Block Public Access was switched off."""
        return self.settings.get(PUBLIC_ACCESS_BLOCK, "true") == "true"

    @property
    def storage_class(self) -> str:
        """The class of objects that name none."""
        return self.settings.get("storage-class", "Standard")

    @property
    def redundancy(self) -> str:
        return self.settings.get("redundancy", "LRS")

    def change(self, settings: Mapping[str, str | None]) -> None:
        """Change these settings and leave the others; None removes a setting."""
        with self._index.transaction() as connection:
            rows = connection.execute("SELECT settings FROM buckets WHERE name = ?", (self.name,)).fetchall()
            if not rows:
                raise no_such_bucket(self.name)
            self.settings = _changed(json.loads(rows[0][0]), settings)
            values = json.dumps(self.settings, ensure_ascii=False), self.name
            connection.execute("UPDATE buckets SET settings = ? WHERE name = ?", values)

    def incoming(self) -> Incoming:
        return Incoming(self._blobs, self)

    def get(self, key: str) -> StoredObject | None:
        """Return the record of an object; None if it does not exist."""
        rows = self._index.read("SELECT record FROM objects WHERE bucket = ? AND key = ?", self.name, key.encode())
        return from_text(StoredObject, rows[0][0]) if rows else None

    def open(self, key: str) -> tuple[StoredObject, BinaryIO] | None:
        """Return an object and its content, which stays readable when the object is replaced or deleted."""
        stored = self.get(key)
        while stored:
            content = self._blobs.open(self.name, stored.file)
            if content:
                return stored, content
            # The object was replaced or deleted between the two steps, unless somebody removed the file by hand.
            current = self.get(key)
            stored = current if current and current.file != stored.file else None
        return None

    def change_headers(self, key: str, headers: Mapping[str, str | None]) -> bool:
        """Change these headers of an object and leave the others; None removes one. Return False without an object."""
        values = (self.name, key.encode())
        with self._index.transaction() as connection:
            row = connection.execute("SELECT record FROM objects WHERE bucket = ? AND key = ?", values).fetchone()
            if row:
                stored = from_text(StoredObject, row[0])
                text = to_text(replace(stored, headers=_changed(stored.headers, headers)))
                connection.execute("UPDATE objects SET record = ? WHERE bucket = ? AND key = ?", (text, *values))
        return row is not None

    def delete(self, key: str) -> bool:
        """Delete an object; return False if it is missing."""
        values = (self.name, key.encode())
        with self.changes() as (connection, replaced):
            replaced += connection.execute(_FILE_OF_OBJECT, values).fetchall()
            connection.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", values)
        return bool(replaced)

    def page(
        self, *, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000
    ) -> tuple[list[Entry], bool]:
        """Return up to `limit` entries after the key `after`, and whether more follow."""
        start, end = prefix.encode(), first_key_after(prefix.encode())
        marker, separator = after.encode(), delimiter.encode()
        if after:
            # A marker that is a common prefix excludes all keys that begin with it.
            common = common_prefix(marker, start, separator)
            start = max(start, first_key_after(marker) if common == marker else marker + b"\0")
        statement = "SELECT key, record FROM objects WHERE bucket = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
        entries: list[Entry] = []
        while (room := limit + 1 - len(entries)) > 0:
            size = min(room, FOLDED_BATCH) if separator else room
            rows = self._index.read(statement, self.name, start, end, size)
            for name, record in rows:
                common = common_prefix(name, prefix.encode(), separator)
                if common:
                    entries.append(CommonPrefix(common.decode()))
                    start = first_key_after(common)
                    break
                entries.append(from_text(StoredObject, record))
                start = name + b"\0"
            else:
                if len(rows) < size:
                    break
        return entries[:limit], len(entries) > limit

    def stat(self, min_billed_size: int) -> BucketStat:
        """Return the numbers of the bucket's contents.

        :param min_billed_size: the fewest bytes that an object counts in `billed_size`.
        """
        rows = self._index.read(
            "SELECT json_extract(record, '$.headers.\"x-oss-storage-class\"'), COUNT(*),"
            " SUM(json_extract(record, '$.size')), SUM(MAX(json_extract(record, '$.size'), ?))"
            " FROM objects WHERE bucket = ? GROUP BY 1",
            min_billed_size,
            self.name,
        )
        uploads = self._index.read(
            "SELECT COUNT(DISTINCT uploads.id), COUNT(number) FROM uploads LEFT JOIN parts ON upload = uploads.id"
            " WHERE bucket = ?",
            self.name,
        )
        return BucketStat({name or "Standard": ClassStat(*counts) for name, *counts in rows}, *uploads[0])

    def begin(
        self, key: str, content_type: str, headers: dict[str, str], *, now: float, sequential: bool = False
    ) -> MultipartUpload:
        """Begin an upload in parts.

        :param sequential: the parts have to come in order and once each, and the object has an MD5 of the whole.
        """
        upload = MultipartUpload(secrets.token_hex(16).upper(), key, now, content_type, headers, sequential)
        with self._index.transaction() as connection:
            self.check_exists(connection)
            values = self.name, key.encode(), upload.id, to_text(upload)
            connection.execute("INSERT INTO uploads VALUES (?, ?, ?, ?)", values)
        return upload

    def upload(self, key: str, upload_id: str) -> MultipartUpload:
        """Return an upload in progress; raise OSSError 404 NoSuchUpload if it is missing."""
        statement = "SELECT record FROM uploads WHERE bucket = ? AND key = ? AND id = ?"
        rows = self._index.read(statement, self.name, key.encode(), upload_id)
        if not rows:
            raise _no_such_upload(upload_id)
        return from_text(MultipartUpload, rows[0][0])

    def uploads(self, prefix: str = "") -> list[MultipartUpload]:
        """Return the uploads in progress, in the order of their keys and ids."""
        statement = "SELECT record FROM uploads WHERE bucket = ? AND substr(key, 1, ?) = ? ORDER BY key, id"
        start = prefix.encode()
        rows = self._index.read(statement, self.name, len(start), start)
        return [from_text(MultipartUpload, text) for (text,) in rows]

    def parts(self, upload: MultipartUpload, *, after: int = 0, limit: int = 10000) -> tuple[list[Part], bool]:
        """Return up to `limit` parts after the number `after`, and whether more follow."""
        statement = "SELECT record FROM parts WHERE upload = ? AND number > ? ORDER BY number LIMIT ?"
        rows = self._index.read(statement, upload.id, after, limit + 1)
        return [from_text(Part, text) for (text,) in rows[:limit]], len(rows) > limit

    def complete(
        self, upload: MultipartUpload, parts: Sequence[Part], *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        """Make one object of these parts and end the upload; other parts are deleted. Raises what `commit` raises."""
        with self.incoming() as incoming:
            incoming.join(upload, parts)
            metadata = upload.key, upload.content_type, upload.headers
            return incoming.commit(*metadata, now=now, forbid_overwrite=forbid_overwrite)

    def open_part(self, upload: MultipartUpload, part: Part) -> BinaryIO:
        """Open the content of a part, even if somebody has meanwhile sent the same part again."""
        file = part.file
        while (content := self._blobs.open(PARTS, file)) is None:
            replacing, _ = self.parts(upload, after=part.number - 1, limit=1)
            if not replacing or replacing[0].file == file:  # the upload ended, or somebody removed the file by hand
                raise _no_such_upload(upload.id)
            if (replacing[0].number, replacing[0].md5) != (part.number, part.md5):
                raise invalid_part(upload.id, str(part.number), part.etag)
            file = replacing[0].file
        return content

    def abort(self, upload: MultipartUpload) -> None:
        """End an upload and delete its parts; raise OSSError 404 NoSuchUpload if it is missing."""
        with self.changes() as (connection, replaced):
            self.check_in_progress(connection, upload)
            replaced += self.delete_upload(connection, upload)

    @contextmanager
    def changes(
        self, incoming: Incoming | None = None, folder: str = ""
    ) -> Iterator[tuple[sqlite3.Connection, list[tuple[str, str]]]]:
        """Begin a transaction.

        Also yield a list, for the files that the index no longer names: folder and name.

        :param incoming: new content that the index names from now on, in `folder`.
        """
        replaced: list[tuple[str, str]] = []
        with ExitStack() as noted:
            with self._index.transaction() as connection:
                yield connection, replaced
                new = [(folder, incoming.name)] if incoming and incoming.path else []
                noted.enter_context(self._blobs.noted([*new, *replaced]))
                if incoming and incoming.path:
                    incoming.path = self._blobs.publish(incoming.path, folder, incoming.name)
            if incoming:
                incoming.is_stored = True
            for file in replaced:
                self._blobs.remove(*file)

    def check_exists(self, connection: sqlite3.Connection) -> None:
        if not connection.execute("SELECT 1 FROM buckets WHERE name = ?", (self.name,)).fetchone():
            raise no_such_bucket(self.name)

    def check_in_progress(self, connection: sqlite3.Connection, upload: MultipartUpload) -> None:
        values = (self.name, upload.key.encode(), upload.id)
        statement = "SELECT 1 FROM uploads WHERE bucket = ? AND key = ? AND id = ?"
        if not connection.execute(statement, values).fetchone():
            raise _no_such_upload(upload.id)

    def delete_upload(self, connection: sqlite3.Connection, upload: MultipartUpload) -> list[tuple[str, str]]:
        """Delete an upload and its parts from the index; return the files of the parts."""
        files = connection.execute("SELECT ?, file FROM parts WHERE upload = ?", (PARTS, upload.id)).fetchall()
        connection.execute("DELETE FROM parts WHERE upload = ?", (upload.id,))
        values = (self.name, upload.key.encode(), upload.id)
        connection.execute("DELETE FROM uploads WHERE bucket = ? AND key = ? AND id = ?", values)
        return files


class Incoming:
    """New content of a bucket in a file, whose MD5 and CRC-64 are computed while it is written.

    The file is deleted at the end of the `with` block unless it has become an object or a part.

    :ivar path: where the file is.
    :ivar name: the name that the file keeps.
    :ivar is_stored: whether the file has become an object or a part.
    """

    def __init__(self, blobs: BlobFolder, bucket: Bucket) -> None:
        self._blobs = blobs
        self._bucket = bucket
        self._file: BinaryIO | None = None
        self._hash = hashlib.md5(usedforsecurity=False)
        self._known_md5: str | None = None
        self._completed: MultipartUpload | None = None
        self._multipart_etag = ""
        self.path: Path | None = None
        self.name = ""
        self.is_stored = False
        self.crc64 = 0
        self.size = 0

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a full disk: a stored file was closed before, and any other is deleted now
            if self._file:
                self._file.close()
        if self.path and not self.is_stored:
            self.path.unlink(missing_ok=True)

    @property
    def md5(self) -> str:
        """The hexadecimal MD5 of the bytes written so far; "" after parts that were not hashed."""
        return self._hash.hexdigest() if self._known_md5 is None else self._known_md5

    def write(self, chunk: bytes) -> None:
        self._open_file().write(chunk)
        self._update_checksums(chunk)

    def receive(self, chunks: Iterable[bytes], source: BinaryIO | None) -> None:
        """Write the whole content.

        :param chunks: the content, read from `source`.
        :param source: a file from `BlobFolder.create`; the file itself becomes the content, which saves a copy.
        """
        if source is None or not self._blobs.has_created(source):
            for chunk in chunks:
                self.write(chunk)
            return
        self._file, self.path = source, Path(source.name)
        for chunk in chunks:
            self._update_checksums(chunk)
        source.truncate(self.size)

    def copy(self, stored: StoredObject, content: BinaryIO) -> None:
        if not stored.md5:  # an object made of parts has no MD5 of the whole
            while chunk := content.read(CHUNK_SIZE):
                self.write(chunk)
            return
        copy_bytes(content, self._open_file(), stored.size)
        self._known_md5, self.crc64, self.size = stored.md5, stored.crc64, stored.size

    def join(self, upload: MultipartUpload, parts: Sequence[Part]) -> None:
        """Write the whole contents of parts, for the object that completes their upload.

        The object's ETag is the MD5 of the parts' ETags, joined as they are written, not of the content (the Go SDK's
        tests have an ETag from OSS). The object has an MD5 only if the upload is sequential.
        """
        for part in parts:
            with self._bucket.open_part(upload, part) as content:
                while chunk := content.read(CHUNK_SIZE):
                    self.crc64 = crc64.xz(chunk, self.crc64)
                    if upload.sequential:
                        self._hash.update(chunk)
                content.seek(0)
                copy_bytes(content, self._open_file(), part.size)
        self.size = sum(part.size for part in parts)
        self._known_md5 = None if upload.sequential else ""
        etags = "".join(part.etag for part in parts)
        digest = hashlib.md5(etags.encode(), usedforsecurity=False).hexdigest()
        self._completed, self._multipart_etag = upload, f"{digest.upper()}-{len(parts)}"

    def open(self) -> BinaryIO:
        """Open the written bytes for reading."""
        file = self._open_file()
        file.flush()
        return open(file.name, "rb")

    def commit(
        self,
        key: str,
        content_type: str,
        headers: dict[str, str],
        *,
        now: float,
        forbid_overwrite: bool = False,
    ) -> StoredObject:
        """Make the content an object in one step; until then the key has its old content.

        :raises OSSError: 409 FileAlreadyExists, when `forbid_overwrite` is set and the key has an object; 404
            NoSuchUpload when the upload has ended.
        """
        bucket, upload = self._bucket, self._completed
        known = key, self.size, self.md5, self.crc64, content_type, now, headers
        stored = StoredObject(*known, self._finish(key), self._multipart_etag)
        with bucket.changes(self, bucket.name) as (connection, replaced):
            if upload:
                bucket.check_in_progress(connection, upload)
            bucket.check_exists(connection)
            values = bucket.name, key.encode()
            replaced += connection.execute(_FILE_OF_OBJECT, values).fetchall()
            if replaced and forbid_overwrite:
                raise file_already_exists()
            row = *values, stored.file, to_text(stored)
            connection.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?)", row)
            if upload:
                replaced += bucket.delete_upload(connection, upload)
        return stored

    def commit_part(self, upload: MultipartUpload, number: int, *, now: float) -> Part:
        """Make the content a part, which replaces a part of the same number.

        :raises OSSError: 404 NoSuchUpload, when the upload has ended. In a sequential upload 409 PartAlreadyExist for a
            second part of a number, and 400 PartNotSequential for a number that does not follow the last one.
        """
        part = Part(number, self.size, self.md5, self.crc64, now, self._finish())
        with self._bucket.changes(self, PARTS) as (connection, replaced):
            self._bucket.check_in_progress(connection, upload)
            if upload.sequential:
                (last,) = connection.execute("SELECT MAX(number) FROM parts WHERE upload = ?", (upload.id,)).fetchone()
                _check_sequence(number, last or 0)
            statement = "SELECT ?, file FROM parts WHERE upload = ? AND number = ?"
            replaced += connection.execute(statement, (PARTS, upload.id, number)).fetchall()
            row = upload.id, number, part.file, to_text(part)
            connection.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?)", row)
        return part

    def _open_file(self) -> BinaryIO:
        if self._file is None:
            self._file = self._blobs.create()
            self.path = Path(self._file.name)
        return self._file

    def _update_checksums(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.crc64 = crc64.xz(chunk, self.crc64)
        self.size += len(chunk)

    def _finish(self, key: str = "") -> str:
        """Close the file, and return the name that it keeps, which ends as the key does."""
        file = self._open_file()
        file.close()
        self.name = file_name(key, os.path.basename(file.name))
        return self.name


def _check_sequence(number: int, last: int) -> None:
    """Raise OSSError unless a part of a sequential upload follows the last one, 0 for none (protocol.md 16.2)."""
    if number <= last:
        message = "The part of this number exists already, and a sequential upload does not replace it."
        raise OSSError(409, "PartAlreadyExist", message, PartNumber=str(number))
    if number != last + 1:
        message = "For sequential multipart upload, you must upload parts one by one in order of their numbers."
        raise OSSError(400, "PartNotSequential", message, PartNumber=str(number))


def _changed(values: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return the values with these changes; None removes a member."""
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


def _no_such_upload(upload_id: str) -> OSSError:
    message = (
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or"
        " completed."
    )
    return OSSError(404, "NoSuchUpload", message, UploadId=upload_id)


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
            for file in sqlite_files(path):  # others could read an old index until now
                narrow(file)
            for folder in (PARTS, *(name for (name,) in self._index.read("SELECT name FROM buckets"))):
                narrow_folder(directory / folder)
            self.blobs = BlobFolder(directory, self._index)
        except BaseException:
            self._index.close()
            raise

    def create_bucket(self, name: str, *, now: float, settings: Mapping[str, str] | None = None) -> bool:
        """Create a bucket with these settings; return False, and change nothing, when it exists already."""
        with self._index.transaction() as connection:
            statement = "INSERT OR IGNORE INTO buckets VALUES (?, ?, ?)"
            row = name, now, json.dumps(settings or {}, ensure_ascii=False)
            return connection.execute(statement, row).rowcount == 1

    def bucket(self, name: str) -> Bucket:
        """Return a bucket; raise OSSError 404 NoSuchBucket if it is missing."""
        rows = self._index.read("SELECT name, created, settings FROM buckets WHERE name = ?", name)
        if not rows:
            raise no_such_bucket(name)
        return Bucket(self._index, self.blobs, *rows[0])

    def buckets(self) -> list[Bucket]:
        rows = self._index.read("SELECT name, created, settings FROM buckets ORDER BY name")
        return [Bucket(self._index, self.blobs, *row) for row in rows]

    def delete_bucket(self, name: str) -> None:
        """Delete an empty bucket; raise OSSError 409 BucketNotEmpty while it has objects or uploads."""
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
