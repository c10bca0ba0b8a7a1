"""Locks of whole files, for systems whose kernel cannot lock single bytes for a descriptor.

The kernel releases a lock when its process ends.
"""

from __future__ import annotations

import os
import threading

from ..private_file import lock, make_own_folder, open_private

_FILES = 1024


class FileLocks:
    """Locks of files in the folder ``<path>s``. There are few files, so different uploads may wait for each other.

    :param path: the ledger's path and ``-lock``.
    """

    def __init__(self, path: str) -> None:
        self._ledger, self._folder = path.removesuffix("-lock"), f"{path}s"
        self._held: dict[int, int] = {}
        #: Each call holds this lock, and so does a fork.
        self.mutex = threading.RLock()
        self._make_folder()

    def place(self, number: int, *, is_name: bool = False) -> int:
        """Return the place for a hash; names and uploads never share a place."""
        return number % _FILES + _FILES * is_name

    def try_lock(self, place: int) -> bool:
        """Lock a place; return False if another call or process holds it."""
        self._make_folder()
        path = os.path.join(self._folder, f"{place:04}")
        with self.mutex:  # a child closes only the files in `_held`
            while True:
                descriptor = open_private(path, os.O_RDWR | os.O_CREAT, like=self._folder)
                try:
                    has_lock = lock(descriptor)
                    is_current = os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
                except FileNotFoundError:
                    is_current = False
                except BaseException:
                    os.close(descriptor)
                    raise
                if is_current and has_lock:
                    self._held[place] = descriptor
                    return True
                os.close(descriptor)
                if is_current:
                    return False

    def _make_folder(self) -> None:
        make_own_folder(self._folder, like=self._ledger)

    def unlock(self, place: int) -> None:
        """Unlock a place."""
        with self.mutex:  # held until the file is closed: a child that inherits the file would keep its lock
            descriptor = self._held.pop(place, -1)
            if descriptor >= 0:
                os.close(descriptor)

    def close(self) -> None:
        """Do nothing: a descriptor is open only while its lock is held."""

    def renew_in_child(self) -> None:
        """Close the files that a child has inherited, because they would keep its parent's locks alive."""
        self.mutex = threading.RLock()
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()
