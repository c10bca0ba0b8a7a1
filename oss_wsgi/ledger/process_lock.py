"""A lock on a file by which other processes see at once whether this process still lives.

The kernel releases the lock when the process ends. Process IDs would not do, because containers share them; nor would
leases, because the others would have to wait for them.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..private_file import open_private

if sys.platform == "win32":
    import msvcrt

    def try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed; return False if another descriptor has it locked."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed; return False if another descriptor has it locked."""
        # Not lockf: its locks are lost when the process closes any other descriptor of the same file.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_NAME = re.compile("[0-9a-f]{16}")


class ProcessLock:
    """Locks a new file ``stem + name`` until ``release`` or the end of this process.

    The descriptor is closed on exec, so that a program started by this process does not keep the lock. After a fork
    both processes hold it: the child calls ``detach_after_fork``.

    Raises OSError if the file cannot be made or locked.
    """

    def __init__(self, stem: str) -> None:
        #: how many uploads are being handled under this name
        self.claims = 0
        while True:
            self.name = secrets.token_hex(8)
            self._path = stem + self.name
            self._descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            try:
                # Before it was locked, another process may have taken it for a dead one's file and removed it.
                if try_lock(self._descriptor) and self.is_valid():
                    return
            except BaseException:
                self.release()
                raise
            self._close()

    def is_valid(self) -> bool:
        """Return whether other processes still find the file: it was not removed from the folder."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Remove the file and release the lock, as the end of the process would; do nothing the second time."""
        if self._descriptor < 0:
            return
        if sys.platform == "win32":  # Windows removes no open file
            self._close()
        with suppress(OSError):
            os.unlink(self._path)
        if sys.platform != "win32":
            self._close()

    def detach_after_fork(self) -> None:
        """Close the descriptor and leave the file: in a forked child the lock stays with the parent."""
        self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def lock_names(stem: str) -> list[str]:
    """List the names that have a file."""
    folder, prefix = os.path.split(stem)
    names = [name[len(prefix) :] for name in os.listdir(folder) if name.startswith(prefix)]
    return [name for name in names if _NAME.fullmatch(name)]


@contextmanager
def is_dead(stem: str, name: str) -> Iterator[bool]:
    """Return, for a with block, whether the process that locked a name has ended.

    If so, its file is locked during the block and removed after it. Meanwhile others take the process for alive, so
    that nobody removes the file of a new process that they saw between its creation and its lock.
    """
    try:
        descriptor = os.open(stem + name, os.O_RDWR)
    except FileNotFoundError:
        yield True
        return
    try:
        locked = try_lock(descriptor)
        yield locked
        if locked:
            with suppress(OSError):  # Windows removes no open file; the lock of a dead process stays free
                os.unlink(stem + name)
    finally:
        os.close(descriptor)
