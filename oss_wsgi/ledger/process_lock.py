"""Locks among processes, which the kernel releases when their process ends: bytes of a file, or files."""

from __future__ import annotations

import errno
import os
import struct
import sys
import threading
from pathlib import Path

from ..private_file import make_private_folder, open_private
from .sqlite_file import file_at

if sys.platform == "win32":
    import msvcrt

    fcntl = None

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


#: A claim or a name takes one of so many bytes, or of so many files.
PLACES, _FILES = 1 << 62, 1024


class FileLocks:
    """Locks of files in the folder ``<path>s``, for kernels that have no locks of bytes which belong to a descriptor.

    They are few, so that different uploads may have to wait for each other.
    """

    def __init__(self, path: str) -> None:
        self._folder = f"{path}s"
        self._held: dict[int, int] = {}
        self._mutex = threading.Lock()

    def open(self) -> None:
        """Make the folder, where it is missing."""
        make_private_folder(self._folder)

    def place(self, number: int, *, is_name: bool = False) -> int:
        """Return the place that stands for a hash; those of names are apart from those of uploads."""
        return number % _FILES + _FILES * is_name

    def try_lock(self, place: int) -> bool:
        """Lock a place that this process does not hold; return False if another process holds it."""
        self.open()
        path = os.path.join(self._folder, f"{place:04}")
        while True:
            descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
            try:
                has_lock = try_lock(descriptor)
                is_current = os.path.samestat(os.fstat(descriptor), os.stat(path))
            except FileNotFoundError:
                is_current = False
            except BaseException:
                os.close(descriptor)
                raise
            if is_current and has_lock:
                with self._mutex:
                    self._held[place] = descriptor
                return True
            os.close(descriptor)
            if is_current:
                return False

    def unlock(self, place: int) -> None:
        """Unlock a place."""
        with self._mutex:
            descriptor = self._held.pop(place, -1)
        if descriptor >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """Do nothing: a descriptor is open only while its lock is held."""

    def before_fork(self) -> None:
        """Let no call begin until ``after_fork``."""
        self._mutex.acquire()

    def after_fork(self, *, is_child: bool) -> None:
        """Allow calls again; a child closes what it has inherited, or its parent's locks would outlive the parent."""
        if is_child:
            for descriptor in self._held.values():
                os.close(descriptor)
            self._held.clear()
        self._mutex.release()


class ByteLocks:
    """Locks of bytes in the file ``path``: open file description locks, which know no threads.

    Locks of ``lockf`` would not do: two ledgers of one process would share them, and lose them whenever any descriptor
    of the file is closed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._file = 0, 0
        self._held: set[int] = set()
        self._mutex = threading.Lock()

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def open(self) -> None:
        """Make the file, where it is missing, and open it."""
        with self._mutex:
            self._open()

    def place(self, number: int, *, is_name: bool = False) -> int:
        """Return the offset that stands for a hash; those of names are apart from those of uploads."""
        return number + PLACES * is_name

    def try_lock(self, place: int) -> bool:
        """Lock a byte that this process does not hold; return False if another process holds it."""
        with self._mutex:
            while True:
                if self._descriptor < 0:
                    self._open()
                has_lock = _set_lock(self._descriptor, fcntl.F_WRLCK, place)
                try:
                    if file_at(self._path) == self._file:
                        break
                except FileNotFoundError:
                    pass
                self._open()  # nobody else would see the locks of a file that was removed
            if has_lock:
                self._held.add(place)
            return has_lock

    def unlock(self, place: int) -> None:
        """Unlock a byte."""
        with self._mutex:
            self._held.discard(place)
            if self._descriptor >= 0:
                _set_lock(self._descriptor, fcntl.F_UNLCK, place)

    def close(self) -> None:
        """Close the file, unless locks are held."""
        with self._mutex:
            if not self._held:
                self._close()

    def before_fork(self) -> None:
        """Let no call begin until ``after_fork``."""
        self._mutex.acquire()

    def after_fork(self, *, is_child: bool) -> None:
        """Allow calls again; a child closes what it has inherited, or its parent's locks would outlive the parent."""
        if is_child:
            self._close()
            self._held.clear()
        self._mutex.release()

    def _open(self) -> None:
        """Open the file, and lock there what is held, as far as nobody else has locked it meanwhile."""
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT)
        try:
            for place in self._held:
                _set_lock(descriptor, fcntl.F_WRLCK, place)
            status = os.fstat(descriptor)
            if os.geteuid() == 0:  # as SQLite does with its files: root may only look after another user's ledger
                owner = os.stat(self._path.removesuffix("-lock"))
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
        except BaseException:
            os.close(descriptor)
            raise
        self._close()
        self._descriptor, self._file = descriptor, (status.st_dev, status.st_ino)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _set_lock(descriptor: int, kind: int, place: int) -> bool:
    """Lock or unlock a byte; return False if another descriptor has it locked."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, place, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def locks_beside(path: Path) -> ByteLocks | FileLocks:
    """Return the locks that this system has."""
    name, place = f"{path}-lock", 2 * PLACES - 1
    if not hasattr(fcntl, "F_OFD_SETLK"):
        return FileLocks(name)
    locks = ByteLocks(name)
    try:
        locks.try_lock(place)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return FileLocks(name)  # a kernel that only resembles Linux
    locks.unlock(place)
    return locks
