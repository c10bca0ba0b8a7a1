"""Locks on files that end with the process that holds them, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...private_file import open_private

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
def file_lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock on a file within the block; yield whether it was acquired."""
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        yield _lock(descriptor, wait)
    finally:
        os.close(descriptor)


def create_locked(path: Path) -> int:
    """Create a file and lock it; return its descriptor.

    The lock ends when the descriptor is closed, or when this process and all that it forked have ended.
    """
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    _lock(descriptor, wait=False)
    return descriptor
