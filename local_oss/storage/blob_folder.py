"""Content as files in a directory, each under a name that a person recognizes.

    <directory>/<bucket>/照片-4f0c1b2a9d3e5f60.png       the content of an object
    <directory>/.incoming/<process>/                      files that one process is writing
    <directory>/.incoming/<process>/.owner                names of files that it is moving or removing

A file moves to its folder before the transaction that adds its name to the index ends. A file is removed after the
transaction that drops its name. So whenever a process is killed, the index names only whole files. The next process to
start removes the files that the killed process was writing, and the noted files that the index does not name. No other
file is touched, whatever its name: a person may keep files in these folders too. No write waits for the disk: this is a
tool for development, and a loss of power may damage the objects of the last seconds.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from oss_wsgi.private_file import file_lock, lock, make_own_folder, open_own, open_private

from .index import IndexDatabase, named_files

LOCK_NAME = ".owner"

CHUNK_SIZE = 1024 * 1024
MAX_STEM_SIZE = 120

_PROCESS = re.compile("[0-9a-f]{16}")
#: The names of the files that a process writes in its folder: content, and notes.
_OF_PROCESS = re.compile(rf"{re.escape(LOCK_NAME)}|(?:{re.escape(LOCK_NAME)}-)?[0-9a-f]{{16}}")
#: A folder, and a name of `file_name`.
_NOTE = re.compile(r"(?!\.\.?/)([^/]+)/([^/]*-[0-9a-f]{16}(?:\.[^./]*)?)")


class Notes:
    """The files that a process is moving or removing, as lines of a file that end at a zero byte.

    Otherwise the file has no line. Writing the zero byte costs a third of truncating the file.
    """

    def __init__(self, path: Path) -> None:
        self.process = os.getpid()
        self.file = open(path, "x+b", buffering=0, opener=open_private)  # noqa: SIM115 - closed by BlobFolder
        self._lock = threading.Lock()
        self._under_way = 0

    @classmethod
    def read(cls, path: Path) -> list[tuple[str, str]]:
        """Return what a killed process noted."""
        with open(path, "rb", opener=open_own) as file:
            lines = file.read().partition(b"\0")[0].decode(errors="replace").split("\n")
        return [(match[1], match[2]) for line in lines if (match := _NOTE.fullmatch(line))]

    @contextmanager
    def hold(self, files: Iterable[tuple[str, str]]) -> Iterator[None]:
        """Note files while the with block runs."""
        text = "".join(f"{folder}/{name}\n" for folder, name in files)
        with self._lock:
            self._under_way += 1
            # A full disk allows no note: at worst, a file stays if this process is killed now.
            with suppress(OSError, ValueError):
                self.file.write(f"{text}\0".encode())
                self.file.seek(-1, os.SEEK_CUR)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                if not self._under_way:
                    with suppress(OSError, ValueError):  # ValueError after `close`
                        self.file.seek(0)
                        self.file.write(b"\0")
                        self.file.seek(0)


class BlobFolder:
    """The files of a directory, under names that the index knows; several processes may use it."""

    def __init__(self, directory: Path, index: IndexDatabase) -> None:
        self._directory = directory
        self._incoming = directory / ".incoming"
        make_own_folder(self._incoming)
        self.process_folder = self._incoming / secrets.token_hex(8)
        # Processes start one at a time: a folder that is made but not yet locked looks like that of a dead process.
        with index.transaction() as connection:
            self._clear_dead_folders(connection)
            make_own_folder(self.process_folder)
            self._owner = self._notes = Notes(self.process_folder / LOCK_NAME)
            lock(self._owner.file.fileno())

    def create(self) -> BinaryIO:
        """Create a file for new content, or for a request's body; its `name` is its path."""
        return open(self.process_folder / secrets.token_hex(8), "x+b", opener=open_private)

    def has_created(self, file: BinaryIO) -> bool:
        path = getattr(file, "name", None)
        return isinstance(path, str) and os.path.dirname(path) == str(self.process_folder)

    def noted(self, files: Iterable[tuple[str, str]]) -> AbstractContextManager[None]:
        """Note files (folder, name) that a with block moves or removes; the block begins in a transaction."""
        if self._notes.process != os.getpid():  # a forked child, whose parent goes on writing to the inherited file
            self._notes = Notes(self.process_folder / f"{LOCK_NAME}-{secrets.token_hex(8)}")
        return self._notes.hold(files)

    def publish(self, path: Path, folder: str, name: str) -> Path:
        """Move a file of `create` to a folder, in the transaction that names it."""
        target = self._directory / folder
        make_own_folder(target)
        return path.rename(target / name)

    def open(self, folder: str, name: str) -> BinaryIO | None:
        """Open a file for reading; None if it does not exist."""
        with suppress(FileNotFoundError):  # somebody may have put a link in its place
            return open(self._directory / folder / name, "rb", opener=open_private)
        return None

    def remove(self, folder: str, name: str) -> None:
        (self._directory / folder / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        """Remove the empty folder of a deleted bucket."""
        with suppress(OSError):  # the folder stays if somebody put other files there
            (self._directory / folder).rmdir()

    def close(self) -> None:
        if self._owner.file.closed:
            return
        self._notes.file.close()
        self._owner.file.close()
        if self._notes.process == os.getpid():  # a forked child leaves its parent's file
            with suppress(OSError):  # another process that starts now, or somebody by hand, has removed the folder
                os.unlink(self._notes.file.name)
                self.process_folder.rmdir()

    def _clear_dead_folders(self, connection: sqlite3.Connection) -> None:
        """Remove the folders of killed processes, and the files that they noted and the index does not name."""
        with os.scandir(self._incoming) as entries:
            folders = [entry for entry in entries if _PROCESS.fullmatch(entry.name)]
        dead = [Path(folder) for folder in folders if folder.is_dir(follow_symlinks=False) and _is_dead(Path(folder))]
        noted = [
            file
            for process_folder in dead
            for path in process_folder.glob(f"{LOCK_NAME}*")
            for file in Notes.read(path)
        ]
        named = named_files(connection) if noted else set()
        for folder, name in noted:
            if name not in named:
                self.remove(folder, name)
        for process_folder in dead:
            with suppress(OSError):  # the folder stays if somebody put other files there
                for path in [*process_folder.iterdir()]:
                    if _OF_PROCESS.fullmatch(path.name):
                        path.unlink()
                process_folder.rmdir()


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
    return False  # the process has just ended normally
