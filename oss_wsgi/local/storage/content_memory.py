"""The content of objects in the memory of this process."""

from __future__ import annotations

import io
from typing import BinaryIO


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
