"""Content as files in a directory, each under a name that a person recognizes.

    <directory>/<bucket>/照片-4f0c1b2a9d3e5f60.png       the content of an object
    <directory>/.incoming/<process>/                      files that one process is writing

A file moves to its folder before the transaction that names it in the index ends, and is removed after the one that
names it no longer. So at whatever moment a process is killed, the index names whole files only. What the killed process
left is removed by the next one that starts.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from fastcrc import crc64

from ...parts.crc64 import joined
from ...private_file import file_lock, lock, make_private_folder, narrow_folder, open_private
from .index import IndexDatabase, named_files
from .records import Part, StoredObject

LOCK_NAME = ".owner"

CHUNK_SIZE = 1024 * 1024
MAX_STEM_SIZE = 120

#: The end of a name of `file_name`.
_TOKEN = re.compile(r"-[0-9a-f]{16}(\.[^.]*)?\Z")


class BlobFolder:
    """The files of a directory, under names that the index knows; several processes may use it."""

    def __init__(self, directory: Path, index: IndexDatabase) -> None:
        self._directory = directory
        self._incoming = directory / ".incoming"
        _private_folder(self._incoming)
        self.process_folder = self._incoming / secrets.token_hex(8)
        # Processes start one at a time: a folder that is made but not yet locked looks like that of a dead process.
        with index.transaction() as connection:
            self._clear_dead_folders(connection)
            _private_folder(self.process_folder)
            self._lock = open_private(self.process_folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            lock(self._lock)

    def create(self) -> BinaryIO:
        """Create a file for new content, or for a request's body; its `name` is its path."""
        return open(self.process_folder / secrets.token_hex(8), "x+b", opener=open_private)

    def has_created(self, file: BinaryIO) -> bool:
        """Return whether a file is one of `create`."""
        path = getattr(file, "name", None)
        return isinstance(path, str) and os.path.dirname(path) == str(self.process_folder)

    def name(self, path: Path, key: str) -> Path:
        """Give a file of `create` the name that it keeps."""
        return path.rename(self.process_folder / file_name(key, path.name))

    def finish(self, file: BinaryIO) -> None:
        """Close a file, so that it and its name survive a loss of power."""
        file.flush()
        os.fsync(file.fileno())
        file.close()
        if os.name == "posix":
            folder = os.open(self.process_folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def publish(self, path: Path, folder: str) -> Path:
        """Move a file to a folder, in the transaction that names it."""
        target = self._directory / folder
        _private_folder(target)
        return path.rename(target / path.name)

    def open(self, folder: str, name: str) -> BinaryIO | None:
        """Open a file for reading; None if it does not exist."""
        with suppress(FileNotFoundError):
            return open(self._directory / folder / name, "rb")
        return None

    def remove(self, folder: str, name: str) -> None:
        """Remove a file that the index no longer names."""
        (self._directory / folder / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        """Remove the empty folder of a deleted bucket."""
        with suppress(OSError):  # it stays when somebody put other files there
            (self._directory / folder).rmdir()

    def close(self) -> None:
        lock, self._lock = self._lock, -1
        if lock < 0:  # closed before, and the number may be another file's now
            return
        with suppress(OSError):  # another process that starts now, or somebody by hand, has removed the folder
            os.close(lock)
            (self.process_folder / LOCK_NAME).unlink()
            self.process_folder.rmdir()

    def _clear_dead_folders(self, connection: sqlite3.Connection) -> None:
        """Remove what killed processes left: their folders, and files that the index does not name."""
        dead = [folder for folder in self._incoming.iterdir() if folder.is_dir() and _is_dead(folder)]
        if not dead:
            return
        folders = named_files(connection)
        for path in self._directory.glob("*/*"):
            if _TOKEN.search(path.name) and path.name not in folders and path.is_file():
                path.unlink(missing_ok=True)
        for process_folder in dead:
            for path in process_folder.iterdir():
                if path.name in folders:  # after a loss of power, the move may be lost
                    self.publish(path, folders[path.name])
            shutil.rmtree(process_folder, ignore_errors=True)


def copy_bytes(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Append `size` bytes of one file to another.

    :raises EOFError: the source has fewer bytes.
    """
    target.flush()
    # copy_file_range leaves the bytes in the kernel; not every system and file system has it.
    if hasattr(os, "copy_file_range"):
        with suppress(OSError):
            while size and (copied := os.copy_file_range(source.fileno(), target.fileno(), size)):
                size -= copied
    while size:
        chunk = source.read(min(CHUNK_SIZE, size))
        if not chunk:
            raise EOFError("the content of an object is shorter than the index says")
        target.write(chunk)
        size -= len(chunk)


def file_name(key: str, token: str) -> str:
    """Return a name that ends as the key does: readable, valid on any system, and unique by its token."""
    base = re.sub(r"[^\w.() -]", "_", key.rstrip("/").rpartition("/")[2]).strip(". ")
    stem, dot, extension = base.rpartition(".")
    if not stem or len(extension.encode()) > 16:
        stem, dot, extension = base, "", ""
    stem = stem.encode()[:MAX_STEM_SIZE].decode(errors="ignore")
    return f"{stem}-{token}{dot}{extension}"


def _is_dead(process_folder: Path) -> bool:
    """Return whether the process of a folder has ended."""
    with suppress(FileNotFoundError), file_lock(process_folder / LOCK_NAME, wait=False) as is_dead:
        return is_dead
    return False  # it has just ended by itself


def _private_folder(path: Path) -> None:
    """Make a folder with mode 700; one that exists gets it too."""
    make_private_folder(path)
    narrow_folder(path)


class ObjectWriter:
    """A new file, whose MD5 and CRC-64 are computed while it is written.

    It is deleted at the end of the `with` block unless a bucket has made it an object or a part.

    :ivar path: where the file is.
    :ivar is_stored: whether a bucket has made it an object or a part.
    """

    def __init__(self, blobs: BlobFolder) -> None:
        self._blobs = blobs
        self._file: BinaryIO | None = None
        self._hash = hashlib.md5(usedforsecurity=False)
        self._known_md5: str | None = None
        self.path: Path | None = None
        self.is_stored = False
        self.crc64 = 0
        self.size = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(OSError):  # the disk is full: what is stored was synced, and the rest is deleted now
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
        :param source: a file from `BlobFolder.create`, which becomes the content itself: that saves a copy.
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
        """Write the whole content of another object, whose checksums are known."""
        if not stored.md5:  # an object made of parts has no MD5 of the whole
            while chunk := content.read(CHUNK_SIZE):
                self.write(chunk)
            return
        copy_bytes(content, self._open_file(), stored.size)
        self._known_md5, self.crc64, self.size = stored.md5, stored.crc64, stored.size

    def join(self, parts: Iterable[tuple[Part, BinaryIO]], *, is_hashed: bool) -> None:
        """Write the whole contents of parts.

        :param is_hashed: compute the MD5 of them all; without it they are not even read.
        """
        checksums = []
        for part, content in parts:
            with content:
                if is_hashed:
                    while chunk := content.read(CHUNK_SIZE):
                        self._hash.update(chunk)
                    content.seek(0)
                copy_bytes(content, self._open_file(), part.size)
            checksums.append((part.crc64, part.size))
        self.crc64, self.size = joined(checksums), sum(size for _, size in checksums)
        self._known_md5 = None if is_hashed else ""

    def open(self) -> BinaryIO:
        """Open the written bytes for reading."""
        file = self._open_file()
        file.flush()
        return open(file.name, "rb")

    def finish(self, key: str = "") -> str:
        """Close the file under the name that it keeps, which ends as the key does; return the name."""
        file = self._open_file()
        # Before the file is synced: a journal takes both in one step.
        self.path = self._blobs.name(Path(file.name), key)
        self._blobs.finish(file)
        return self.path.name

    def publish(self, folder: str) -> None:
        """Move the file to a folder, in the transaction that names it."""
        if self.path:
            self.path = self._blobs.publish(self.path, folder)

    def _open_file(self) -> BinaryIO:
        if self._file is None:
            self._file = self._blobs.create()
            self.path = Path(self._file.name)
        return self._file

    def _update_checksums(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.crc64 = crc64.xz(chunk, self.crc64)
        self.size += len(chunk)
