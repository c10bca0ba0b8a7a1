"""Where a storage keeps content: the interface, and a store in memory."""

from __future__ import annotations

import io
from typing import BinaryIO, Protocol


class BlobStore(Protocol):
    """Files under names that the index knows: the content of objects and parts, and content still being written.

    A new file belongs to this process until `publish` moves it to the folder of its bucket.
    """

    def create(self, name: str, /) -> BinaryIO:
        """Create a file for new content."""

    def spool(self) -> BinaryIO | None:
        """Open a named file for a request's body; None when such a file saves nothing."""

    def adopt(self, source: BinaryIO, name: str, /) -> bool:
        """Make a file of `spool` a new file of this name; return False for any other file."""

    def rename(self, name: str, new_name: str, /) -> None:
        """Rename a file that is not published."""

    def open(self, folder: str, name: str, /) -> BinaryIO | None:
        """Open a file for reading, published or not; None if it does not exist."""

    def copy(self, source: BinaryIO, target: BinaryIO, size: int, /) -> None:
        """Append `size` bytes of one file to another.

        :raises EOFError: the source has fewer bytes.
        """

    def sync(self, file: BinaryIO, /) -> None:
        """Make a new file and its name survive a loss of power."""

    def publish(self, folder: str, name: str, /) -> None:
        """Move a file of this process to its folder."""

    def quarantine(self, folder: str, name: str, /) -> None:
        """Move a replaced or deleted file to where `publish` cannot reach it."""

    def discard(self, name: str, /) -> None:
        """Delete a file that is not published, or that is in quarantine."""

    def remove_folder(self, folder: str, /) -> None:
        """Remove the empty folder of a deleted bucket."""

    def close(self) -> None: ...


class MemoryBlobStore:
    """Content in memory. It has no folders, so that nothing moves."""

    def __init__(self) -> None:
        self._files: dict[str, io.BytesIO] = {}

    def create(self, name: str) -> BinaryIO:
        self._files[name] = _MemoryFile()
        return self._files[name]

    def spool(self) -> BinaryIO | None:
        return None

    def adopt(self, source: BinaryIO, name: str) -> bool:
        return False

    def rename(self, name: str, new_name: str) -> None:
        self._files[new_name] = self._files.pop(name)

    def open(self, folder: str, name: str) -> BinaryIO | None:
        file = self._files.get(name)
        # The two share the bytes until one of them writes.
        return None if file is None else io.BytesIO(file.getvalue())

    def copy(self, source: BinaryIO, target: BinaryIO, size: int) -> None:
        if target.write(source.read(size)) != size:
            raise content_too_short()

    def sync(self, file: BinaryIO) -> None: ...

    def publish(self, folder: str, name: str) -> None: ...

    def quarantine(self, folder: str, name: str) -> None: ...

    def discard(self, name: str) -> None:
        self._files.pop(name, None)

    def remove_folder(self, folder: str) -> None: ...

    def close(self) -> None:
        self._files.clear()


class _MemoryFile(io.BytesIO):
    def close(self) -> None:
        """Do nothing: the content outlives the upload that wrote it."""


def content_too_short() -> EOFError:
    return EOFError("the content of an object is shorter than the index says")


def write_all(file: BinaryIO, chunk: bytes) -> None:
    """Write a whole chunk; an unbuffered file may take less at once."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]
