"""The content of objects as files, each under a name that a person recognises.

    <directory>/<bucket>/照片-4f0c1b2a9d3e5f60.png       the content of an object, when the index says so
    <directory>/.incoming/<process>/                      files that come or go, of a process that may have been killed

A file moves between the two with one rename. In a process's folder a file that the index knows is an object all the
same, which its process had no time to move, and any other is garbage: so whatever moment a process is killed at,
nothing is lost and nothing is left once another has started.
"""

from __future__ import annotations

import io
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, wait: bool) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(descriptor: int, wait: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds the lock in the block, if it could have it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _lock(descriptor, wait)
    finally:
        os.close(descriptor)


def hold(path: Path) -> int:
    """Locks a new file until the descriptor is closed, or this process and all that it forked have ended."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    _lock(descriptor, wait=False)
    return descriptor


OWNER = ".owner"

# In a process's folder: what was replaced or deleted, from where `keep` takes nothing.
ASIDE = ".aside"

CHUNK_SIZE = 1024 * 1024


class ContentFolder:
    """:param place_of: which folder a file belongs to, None for a file that belongs to no object."""

    def __init__(self, directory: Path, place_of: Callable[[str], str | None]) -> None:
        self._directory = directory
        self._incoming = directory / ".incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        self.own = self._incoming / secrets.token_hex(8)
        # One process starts at a time, so that none takes another's folder, just made and not yet locked, for a dead's.
        with locked(self._incoming / ".starting"):
            self._tidy(place_of)
            (self.own / ASIDE).mkdir(parents=True)
            self._owner = hold(self.own / OWNER)

    def create(self, name: str) -> BinaryIO:
        return (self.own / name).open("x+b", buffering=0)

    def take(self, source: BinaryIO, name: str) -> bool:
        """Takes a file of `spool` for a new one."""
        path = getattr(source, "name", None)
        if not isinstance(path, str) or os.path.dirname(path) != str(self.own):
            return False
        os.rename(path, self.own / name)
        return True

    def rename(self, name: str, new: str) -> None:
        (self.own / name).rename(self.own / new)

    def spool(self) -> BinaryIO:
        """A file for a request's body, which whoever serves it removes if nobody took it."""
        return (self.own / f"spool-{secrets.token_hex(8)}").open("x+b")

    def open(self, place: str, name: str) -> BinaryIO | None:
        for path in self._candidates(place, name):
            with suppress(FileNotFoundError):
                return path.open("rb")
        return None

    def sync(self, file: BinaryIO) -> None:
        file.flush()
        os.fsync(file.fileno())
        if os.name == "posix":
            folder = os.open(self.own, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def keep(self, place: str, name: str) -> None:
        """Moves a file of ours to its place; somebody may have set it aside already."""
        folder = self._directory / place
        with suppress(FileNotFoundError):
            try:
                (self.own / name).rename(folder / name)
            except FileNotFoundError:
                folder.mkdir(exist_ok=True)
                (self.own / name).rename(folder / name)

    def set_aside(self, place: str, name: str) -> None:
        for path in self._candidates(place, name):
            with suppress(FileNotFoundError):
                path.rename(self.own / ASIDE / name)
                return

    def discard(self, name: str) -> None:
        (self.own / name).unlink(missing_ok=True)
        (self.own / ASIDE / name).unlink(missing_ok=True)

    def copy(self, source: BinaryIO, target: BinaryIO, size: int) -> None:
        """Appends `size` bytes without their coming through this process where the system can do that."""
        if hasattr(os, "copy_file_range"):
            with suppress(OSError):
                while size and (done := os.copy_file_range(source.fileno(), target.fileno(), size)):
                    size -= done
        while size:
            chunk = source.read(min(CHUNK_SIZE, size))
            if not chunk:
                raise EOFError("the content of an object is shorter than its record says")
            write_all(target, chunk)
            size -= len(chunk)

    def remove_place(self, place: str) -> None:
        with suppress(OSError):  # what somebody else put there stays
            (self._directory / place).rmdir()

    def close(self) -> None:
        with suppress(OSError):
            os.close(self._owner)
            (self.own / OWNER).unlink()
            (self.own / ASIDE).rmdir()
            self.own.rmdir()

    def _candidates(self, place: str, name: str) -> Iterator[Path]:
        # Its process may be moving it just now, from where we looked second to where we looked first.
        yield self._directory / place / name
        with suppress(FileNotFoundError):
            for folder in self._incoming.iterdir():
                if not folder.name.startswith("."):
                    yield folder / name
                    yield folder / ASIDE / name
        yield self._directory / place / name

    def _tidy(self, place_of: Callable[[str], str | None]) -> None:
        for folder in self._incoming.iterdir():
            if not folder.is_dir():
                continue
            with locked(folder / OWNER, wait=False) as dead:
                if not dead:
                    continue
                for path in list(folder.rglob("*")):
                    place = None if path.name == OWNER else place_of(path.name)
                    if place:
                        (self._directory / place).mkdir(exist_ok=True)
                        path.rename(self._directory / place / path.name)
                shutil.rmtree(folder, ignore_errors=True)


def write_all(file: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


class ContentMemory:
    """There are no places, so that nothing need be moved between them."""

    def __init__(self) -> None:
        self._files: dict[str, io.BytesIO] = {}

    def create(self, name: str) -> BinaryIO:
        self._files[name] = _Kept()
        return self._files[name]

    def take(self, source: BinaryIO, name: str) -> bool:
        return False

    def spool(self) -> BinaryIO | None:
        return None

    def rename(self, name: str, new: str) -> None:
        self._files[new] = self._files.pop(name)

    def open(self, place: str, name: str) -> BinaryIO | None:
        file = self._files.get(name)
        # Shares the bytes until one of the two writes.
        return None if file is None else io.BytesIO(file.getvalue())

    def sync(self, file: BinaryIO) -> None: ...

    def keep(self, place: str, name: str) -> None: ...

    def set_aside(self, place: str, name: str) -> None: ...

    def discard(self, name: str) -> None:
        self._files.pop(name, None)

    def copy(self, source: BinaryIO, target: BinaryIO, size: int) -> None:
        if target.write(source.read(size)) != size:
            raise EOFError("the content of an object is shorter than its record says")

    def remove_place(self, place: str) -> None: ...

    def close(self) -> None:
        self._files.clear()


class _Kept(io.BytesIO):
    def close(self) -> None:
        """The content outlives the upload that wrote it."""
