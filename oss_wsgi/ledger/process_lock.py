"""Tells at once whether a process still lives: it holds a lock on a file, which the kernel lets go when it ends.

Neither process IDs, which containers share, nor leases, which make others wait, are needed.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

if sys.platform == "win32":
    import msvcrt

    def _locked(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _locked(descriptor: int) -> bool:
        # Not lockf: its locks go when the process closes any other descriptor of the file, a look at it included.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_NAME = re.compile("[0-9a-f]{16}")


class Owner:
    """A new name, whose file ``stem + name`` this process locks until ``release`` or its end; OSError if it cannot.

    The descriptor is closed on exec, so that a program started by this process does not hold the lock on. After a
    fork both processes hold it: the child calls ``abandon``.
    """

    def __init__(self, stem: str) -> None:
        self.claims = 0
        while True:
            self.name = secrets.token_hex(8)
            self._path = stem + self.name
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                # Before it was locked, another process may have taken it for a dead owner's, and removed it.
                if _locked(self._descriptor) and self.valid():
                    return
            except BaseException:
                self.release()
                raise
            self.abandon()

    def valid(self) -> bool:
        """Tell whether the others still find the file: nobody has swept it from the folder."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Let go, as if this process had ended; after ``abandon`` nothing."""
        if self._descriptor < 0:
            return
        if sys.platform == "win32":
            self.abandon()
        with suppress(OSError):
            os.unlink(self._path)
        if sys.platform != "win32":
            self.abandon()

    def abandon(self) -> None:
        """Close the descriptor and leave the file: in a forked child the lock stays with the parent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def names(stem: str) -> list[str]:
    """List the owners that have a file."""
    folder, prefix = os.path.split(stem)
    found = [name[len(prefix) :] for name in os.listdir(folder) if name.startswith(prefix)]
    return [name for name in found if _NAME.fullmatch(name)]


@contextmanager
def ended(stem: str, name: str) -> Iterator[bool]:
    """Tell whether an owner has ended; if so its file is held in the block, and removed after it.

    Meanwhile others take it for alive, and nobody removes the file of a newborn that they saw unlocked.
    """
    try:
        descriptor = os.open(stem + name, os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    try:
        locked = _locked(descriptor)
        yield locked
        if locked:
            with suppress(OSError):  # Windows removes no open file, and its owner is as dead with it
                os.unlink(stem + name)
    finally:
        os.close(descriptor)
