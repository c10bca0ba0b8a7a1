"""Opens a file to be uploaded, and refuses what has no size of its own."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO


class UnreadableFileError(Exception):
    """Raised when a file cannot be uploaded as it is, in a sentence."""


@contextlib.contextmanager
def opened(path: str) -> Iterator[tuple[BinaryIO, int]]:
    """Give a regular file and its size; UnreadableFileError for everything else."""
    try:
        file = open(path, "rb", opener=_at_once)  # noqa: SIM115 - closed below
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise UnreadableFileError(f"cannot be read: {said}") from error
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableFileError("it is no regular file, so it has no size to sign: copy what it gives into one")
        if found.st_size == 0 and _gives(file):
            raise UnreadableFileError("it says that it is empty, and is not: copy what it gives into a file")
        yield file, found.st_size


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for who writes into a FIFO."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _gives(file: BinaryIO) -> bool:
    """Tell a file of /proc from an empty one."""
    try:
        return bool(file.read(1))
    except OSError:
        return True
