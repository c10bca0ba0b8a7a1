"""Locks that end with their process: bytes of one file, or whole files where the kernel cannot lock a byte.

Both kinds have the same methods. A place is a number that stands for an upload or a name.
"""

from __future__ import annotations

import errno
import os
import struct
import threading
from pathlib import Path

from ..private_file import lock, make_private_folder, open_private

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: How many places there are for uploads, and again for names.
PLACES = 1 << 62
_FILES = 1024


def locks_beside(path: Path) -> ByteLocks | FileLocks:
    """Return the kind of locks that this system has."""
    name, place = f"{path}-lock", 2 * PLACES - 1
    if not hasattr(fcntl, "F_OFD_SETLK"):
        return FileLocks(name)
    locks = ByteLocks(name)
    try:
        locks.try_lock(place)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return FileLocks(name)  # a kernel that imitates Linux, without these locks
    locks.unlock(place)
    return locks


class ByteLocks:
    """Locks of bytes in the file ``path``: open file description locks, which all threads of a process share.

    ``lockf`` is no alternative: two ledgers of one process would share its locks, and lose them whenever any descriptor
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

    def place(self, number: int, *, is_name: bool = False) -> int:
        """Return the offset for a hash; names and uploads never share an offset."""
        return number + PLACES * is_name

    def try_lock(self, place: int) -> bool:
        """Lock a byte; return False if another call or process holds it."""
        with self._mutex:
            if place in self._held:  # two hashes are equal; the kernel would lock it twice and unlock it once
                return False
            while True:
                if self._descriptor < 0:
                    self._open()
                has_lock = _set_lock(self._descriptor, fcntl.F_WRLCK, place)
                try:
                    if file_at(self._path) == self._file:
                        break
                except FileNotFoundError:
                    pass
                self._open()  # other processes do not see locks of a removed file
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
        """Block all calls until ``after_fork``."""
        self._mutex.acquire()

    def after_fork(self, *, is_child: bool) -> None:
        """Allow calls again. A child closes its inherited file, because it would keep its parent's locks alive."""
        if is_child:
            self._close()
            self._held.clear()
        self._mutex.release()

    def _open(self) -> None:
        """Open the file that is there now, and lock all held places in it that nobody else has locked meanwhile."""
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT)
        try:
            for place in self._held:
                _set_lock(descriptor, fcntl.F_WRLCK, place)
            status = os.fstat(descriptor)
            if os.geteuid() == 0:  # as SQLite does: root may look after another user's ledger, who must keep access
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
    """Lock or unlock a byte; return False if another descriptor has locked it."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, place, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def file_at(path: str | Path) -> tuple[int, int]:
    """Return device and inode of the file at a path, which change when the file is replaced."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


class FileLocks:
    """Locks of files in the folder ``<path>s``. There are few files, so different uploads may wait for each other."""

    def __init__(self, path: str) -> None:
        self._folder = f"{path}s"
        self._held: dict[int, int] = {}
        self._mutex = threading.Lock()
        make_private_folder(self._folder)

    def place(self, number: int, *, is_name: bool = False) -> int:
        """Return the place for a hash; names and uploads never share a place."""
        return number % _FILES + _FILES * is_name

    def try_lock(self, place: int) -> bool:
        """Lock a place; return False if another call or process holds it."""
        make_private_folder(self._folder)
        path = os.path.join(self._folder, f"{place:04}")
        while True:
            descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
            try:
                has_lock = lock(descriptor)
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
        """Block all calls until ``after_fork``."""
        self._mutex.acquire()

    def after_fork(self, *, is_child: bool) -> None:
        """Allow calls again. A child closes its inherited files, because they would keep its parent's locks alive."""
        if is_child:
            for descriptor in self._held.values():
                os.close(descriptor)
            self._held.clear()
        self._mutex.release()
