"""Content as files in a directory, each under a name that a person recognizes.

    <directory>/<bucket>/照片-4f0c1b2a9d3e5f60.png       the content of an object
    <directory>/.incoming/<process>/                      files that one process is writing

A file moves to its folder before the transaction that names it in the index ends, and is removed after the one that
names it no longer. So at whatever moment a process is killed, the index names whole files only. What the killed process
left is removed by the next one that starts. Nothing waits for the disk: this is a tool for development, and a loss of
power may damage the objects of the last seconds.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from oss_wsgi.private_file import file_lock, lock, make_private_folder, narrow_folder, open_private

from .index import IndexDatabase, named_files

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
        path = getattr(file, "name", None)
        return isinstance(path, str) and os.path.dirname(path) == str(self.process_folder)

    def publish(self, path: Path, folder: str, name: str) -> Path:
        """Move a file of `create` to a folder, in the transaction that names it."""
        target = self._directory / folder
        _private_folder(target)
        return path.rename(target / name)

    def open(self, folder: str, name: str) -> BinaryIO | None:
        """Open a file for reading; None if it does not exist."""
        with suppress(FileNotFoundError):
            return open(self._directory / folder / name, "rb")
        return None

    def remove(self, folder: str, name: str) -> None:
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
        named = named_files(connection)
        for path in self._directory.glob("*/*"):
            if _TOKEN.search(path.name) and path.name not in named and path.is_file():
                path.unlink(missing_ok=True)
        for process_folder in dead:
            shutil.rmtree(process_folder, ignore_errors=True)


def copy_bytes(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Append `size` bytes of one file to another; raise EOFError if the source has fewer."""
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
    with suppress(FileNotFoundError), file_lock(process_folder / LOCK_NAME) as is_dead:
        return is_dead
    return False  # it has just ended by itself


def _private_folder(path: Path) -> None:
    """Make a folder with mode 700; one that exists gets it too."""
    make_private_folder(path)
    narrow_folder(path)
