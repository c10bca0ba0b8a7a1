"""Objects in a directory: the content under a name that a person recognises, the rest in a record beside it.

    <directory>/<bucket>/照片-4f0c1b2a9d3e5f60.png     the content
    <directory>/<bucket>/.records/<SHA-256 of key>.json   key, content file, headers: an object exists when this does
    <directory>/<bucket>/.incoming/                       uploads under way

No part of a path comes from a key unchanged, so no key leads out of the directory. One process writes at a time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from fastcrc import crc64

from .errors import OSSError

MAX_STEM_SIZE = 120


@dataclass(frozen=True)
class StoredObject:
    key: str
    size: int
    md5: str
    crc64: int
    content_type: str
    last_modified: float
    headers: dict[str, str]
    file: str

    @property
    def etag(self) -> str:
        return self.md5.upper()

    @property
    def content_md5(self) -> str:
        return base64.b64encode(bytes.fromhex(self.md5)).decode()

    @property
    def checksum_headers(self) -> list[tuple[str, str]]:
        return [
            ("ETag", f'"{self.etag}"'),
            ("Content-MD5", self.content_md5),
            ("x-oss-hash-crc64ecma", str(self.crc64)),
        ]


class Storage:
    """The objects of one bucket."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._records = directory / ".records"
        self._incoming = directory / ".incoming"
        self._lock = threading.Lock()
        for folder in (self._records, self._incoming):
            folder.mkdir(parents=True, exist_ok=True)
        for leftover in self._incoming.iterdir():
            leftover.unlink()

    def incoming(self) -> IncomingObject:
        return IncomingObject(self, self._incoming / secrets.token_hex(8))

    def get(self, key: str) -> StoredObject | None:
        try:
            record = self._record(key).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return StoredObject(**json.loads(record))

    def newest(self, limit: int) -> tuple[list[StoredObject], int]:
        """Up to `limit` objects, the newest first, and how many there are."""
        with self._lock, os.scandir(self._records) as entries:
            records = sorted(entries, key=lambda entry: entry.stat().st_mtime_ns, reverse=True)
            texts = [Path(record).read_text(encoding="utf-8") for record in records[:limit]]
        return [StoredObject(**json.loads(text)) for text in texts], len(records)

    def open(self, key: str) -> tuple[StoredObject, BinaryIO] | None:
        """The object and its content, which stays readable when another upload replaces it meanwhile."""
        with self._lock:
            stored = self.get(key)
            try:
                return (stored, self.path(stored).open("rb")) if stored else None
            except FileNotFoundError:  # somebody tidied the directory
                return None

    def path(self, stored: StoredObject) -> Path:
        return self._directory / Path(stored.file).name

    def add(self, stored: StoredObject, content: Path, *, forbid_overwrite: bool) -> None:
        """Makes `content` an object in one step: before the record is in place the key has its old content."""
        with self._lock:
            replaced = self.get(stored.key)
            if replaced and forbid_overwrite:
                message = "The object you specified already exists and can not be overwritten."
                raise OSSError(409, "FileAlreadyExists", message, "0026-00000121")
            record = content.with_suffix(".json")
            with record.open("w", encoding="utf-8") as file:
                json.dump(asdict(stored), file, ensure_ascii=False, indent=1)
                os.fsync(file.fileno())
            content.replace(self.path(stored))
            record.replace(self._record(stored.key))
            if replaced:
                self.path(replaced).unlink(missing_ok=True)

    def _record(self, key: str) -> Path:
        return self._records / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


class IncomingObject:
    """An upload under way: a file that vanishes unless `commit` makes it an object."""

    def __init__(self, storage: Storage, path: Path) -> None:
        self._storage = storage
        self.path = path
        self._file = path.open("xb", buffering=0)
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._crc64 = 0
        self.size = 0

    def __enter__(self) -> IncomingObject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".json").unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._md5.update(chunk)
        self._crc64 = crc64.xz(chunk, self._crc64)
        self.size += len(chunk)

    def commit(
        self, key: str, content_type: str, headers: dict[str, str], *, now: float, forbid_overwrite: bool = False
    ) -> StoredObject:
        os.fsync(self._file.fileno())
        self._file.close()
        stored = StoredObject(
            key=key,
            size=self.size,
            md5=self._md5.hexdigest(),
            crc64=self._crc64,
            content_type=content_type,
            last_modified=now,
            headers=headers,
            file=_file_name(key),
        )
        self._storage.add(stored, self.path, forbid_overwrite=forbid_overwrite)
        return stored


def _file_name(key: str) -> str:
    """A new name that ends as the key does: readable, portable, and never the name of another upload."""
    base = re.sub(r"[^\w.() -]", "_", key.rstrip("/").rpartition("/")[2]).strip(". ")
    stem, dot, extension = base.rpartition(".")
    if not stem or len(extension.encode()) > 16:
        stem, dot, extension = base, "", ""
    stem = stem.encode()[:MAX_STEM_SIZE].decode(errors="ignore")
    return f"{stem}-{secrets.token_hex(8)}{dot}{extension}"
