"""Content as files in a directory, each under a name that a person recognizes.

    <directory>/<bucket>/照片-4f0c1b2a9d3e5f60.png       the content of an object that the index names
    <directory>/.incoming/<process>/                      files that one process is writing or deleting

One rename moves a file between the two. When a process is killed, another one that starts later clears its folder: it
publishes the files that the index names, because their process had no time to, and deletes the rest. So at whatever
moment a process is killed, no object is lost and no garbage stays.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from ...private_file import file_lock, lock, make_private_folder, narrow_folder, open_private

LOCK_NAME = ".owner"
STARTING = ".starting"

QUARANTINE = ".aside"

CHUNK_SIZE = 1024 * 1024


class BlobFolder:
    """The files of a directory, under names that the index knows; several processes may use it.

    A new file belongs to this process until `publish` moves it to the folder of its bucket.

    :param folder_of: returns the folder of a file by its name; None for a file that no object and no part has.
    """

    def __init__(self, directory: Path, folder_of: Callable[[str], str | None]) -> None:
        self._directory = directory
        self._incoming = directory / ".incoming"
        _private_folder(self._incoming)
        self.process_folder = self._incoming / secrets.token_hex(8)
        # Processes start one at a time: a folder that is made but not yet locked looks like that of a dead process.
        with file_lock(self._incoming / STARTING):
            self._clear_dead_folders(folder_of)
            _private_folder(self.process_folder / QUARANTINE)
            self._lock = open_private(self.process_folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            lock(self._lock)

    def create(self, name: str) -> BinaryIO:
        """Create a file for new content."""
        return open(self.process_folder / name, "x+b", buffering=0, opener=open_private)

    def spool(self) -> BinaryIO:
        """Open a named file for a request's body; the caller removes one that `adopt` makes no content of."""
        return open(self.process_folder / f"spool-{secrets.token_hex(8)}", "x+b", opener=open_private)

    def adopt(self, source: BinaryIO, name: str) -> bool:
        """Make a file of `spool` a new file of this name; return False for any other file."""
        path = getattr(source, "name", None)
        if not isinstance(path, str) or os.path.dirname(path) != str(self.process_folder):
            return False
        os.rename(path, self.process_folder / name)
        return True

    def rename(self, name: str, new_name: str) -> None:
        """Rename a file that is not published."""
        (self.process_folder / name).rename(self.process_folder / new_name)

    def open(self, folder: str, name: str) -> BinaryIO | None:
        """Open a file for reading, published or not; None if it does not exist."""
        for path in self._candidates(folder, name):
            with suppress(FileNotFoundError):
                return path.open("rb")
        return None

    def copy(self, source: BinaryIO, target: BinaryIO, size: int) -> None:
        """Append `size` bytes of one file to another.

        :raises EOFError: the source has fewer bytes.
        """
        # copy_file_range leaves the bytes in the kernel; not every system and file system has it.
        if hasattr(os, "copy_file_range"):
            with suppress(OSError):
                while size and (copied := os.copy_file_range(source.fileno(), target.fileno(), size)):
                    size -= copied
        while size:
            chunk = source.read(min(CHUNK_SIZE, size))
            if not chunk:
                raise EOFError("the content of an object is shorter than the index says")
            write_all(target, chunk)
            size -= len(chunk)

    def sync(self, file: BinaryIO) -> None:
        """Make a new file and its name survive a loss of power."""
        file.flush()
        os.fsync(file.fileno())
        if os.name == "posix":
            folder = os.open(self.process_folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def publish(self, folder: str, name: str) -> None:
        """Move a file of this process to its folder."""
        target = self._directory / folder
        # Another thread or process may have put the file in quarantine already. On a full disk it stays where it is:
        # `open` looks there too, and the next process publishes it.
        with suppress(OSError):
            try:
                (self.process_folder / name).rename(target / name)
            except FileNotFoundError:
                _private_folder(target)
                (self.process_folder / name).rename(target / name)

    def quarantine(self, folder: str, name: str) -> None:
        """Move a replaced or deleted file to where `publish` cannot reach it."""
        for path in self._candidates(folder, name):
            with suppress(FileNotFoundError):
                path.rename(self.process_folder / QUARANTINE / name)
                return

    def discard(self, name: str) -> None:
        """Delete a file that is not published, or that is in quarantine."""
        (self.process_folder / name).unlink(missing_ok=True)
        (self.process_folder / QUARANTINE / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        """Remove the empty folder of a deleted bucket."""
        with suppress(OSError):  # it stays when somebody put other files there
            (self._directory / folder).rmdir()

    def close(self) -> None:
        lock, self._lock = self._lock, -1
        if lock < 0:  # closed before, and the number may be another file's now
            return
        with ExitStack() as stack, suppress(OSError):
            # A process that starts meanwhile would take the folder for a dead process's, and it would vanish under it.
            with suppress(OSError):  # somebody has removed all folders by hand
                stack.enter_context(file_lock(self._incoming / STARTING))
            os.close(lock)
            (self.process_folder / LOCK_NAME).unlink()
            (self.process_folder / QUARANTINE).rmdir()
            self.process_folder.rmdir()

    def _candidates(self, folder: str, name: str) -> Iterator[Path]:
        """Yield all paths that a file may have.

        The first comes again at the end: while we look, the file's process may publish it.
        """
        yield self._directory / folder / name
        with suppress(FileNotFoundError):
            for process_folder in self._incoming.iterdir():
                if not process_folder.name.startswith("."):
                    yield process_folder / name
                    yield process_folder / QUARANTINE / name
        yield self._directory / folder / name

    def _clear_dead_folders(self, folder_of: Callable[[str], str | None]) -> None:
        for process_folder in self._incoming.iterdir():
            if not process_folder.is_dir():
                continue
            with file_lock(process_folder / LOCK_NAME, wait=False) as is_dead:
                if not is_dead:
                    continue
                for path in list(process_folder.rglob("*")):
                    folder = None if path.name == LOCK_NAME else folder_of(path.name)
                    if folder:
                        _private_folder(self._directory / folder)
                        path.rename(self._directory / folder / path.name)
                shutil.rmtree(process_folder, ignore_errors=True)


def write_all(file: BinaryIO, chunk: bytes) -> None:
    """Write a whole chunk; an unbuffered file may take less at once."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _private_folder(path: Path) -> None:
    """Make a folder with mode 700; one that exists gets it too."""
    make_private_folder(path)
    narrow_folder(path)
