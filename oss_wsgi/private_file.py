"""Files and folders that their owner alone can read, whatever the umask."""

from __future__ import annotations

import logging
import os
import stat
import sys

log = logging.getLogger(__name__)


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file with mode 600 and return its descriptor; usable as ``opener`` of ``open``.

    A file that exists with another mode gets this one too; the log says so where this user may not change it.

    Raises OSError as ``os.open`` does.
    """
    descriptor = os.open(path, flags, 0o600)
    try:
        if sys.platform != "win32" and stat.S_IMODE(os.fstat(descriptor).st_mode) != 0o600:
            _narrow(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def narrow(path: str | os.PathLike[str]) -> None:
    """Give mode 600 to a file that is not to be opened here; do nothing if there is none."""
    if sys.platform != "win32":
        try:
            if stat.S_IMODE(os.stat(path).st_mode) != 0o600:
                _narrow(path, path)
        except FileNotFoundError:
            pass


def make_private_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, and those above it that are missing, with mode 700; one that exists stays as it is."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    make_private_folder(os.path.dirname(path))
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    else:
        os.chmod(path, 0o700)  # the umask may have taken even the owner's rights


def _narrow(file: int | str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    mode = stat.S_IMODE(os.stat(file).st_mode)
    try:
        os.chmod(file, 0o600)
    except PermissionError:
        if mode & 0o077:
            log.warning("others may read %r, and this user may not change that: chmod 600 it", os.fspath(path))
