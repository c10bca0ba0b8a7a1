"""Functions for files and folders that only their owner can read, with any umask, and for locks of files."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or its process ends; return False if another descriptor has it."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or its process ends; return False if another descriptor has it."""
        # Not lockf: a process loses its lockf locks when it closes any other descriptor of the file.
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


log = logging.getLogger(__name__)


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a file with mode 600 and return its descriptor; usable as ``opener`` of ``open``.

    An existing file with another mode gets mode 600 too; if this user may not change it, the log says so.

    Raises OSError as ``os.open`` does.
    """
    descriptor = os.open(path, flags, 0o600)
    try:
        if sys.platform != "win32":
            _narrow(descriptor, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def file_lock(path: str | os.PathLike[str]) -> Iterator[bool]:
    """Hold the lock of a private file while the with block runs; yield whether it was free."""
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        yield lock(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write an ASCII text into a private file in one step, so that nobody can read half of it.

    :param replace: False keeps an existing file, such as one that another process writes at the same time.
    """
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "x", encoding="ascii", opener=open_private) as file:
            file.write(text)
        if replace:
            os.replace(temporary, path)
        else:
            _link(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def narrow(path: str | os.PathLike[str]) -> None:
    """Give mode 600 to a file without opening it; do nothing if it does not exist."""
    if sys.platform != "win32":
        with contextlib.suppress(FileNotFoundError):
            _narrow(path, path)


def narrow_folder(path: str | os.PathLike[str]) -> None:
    """Give mode 700 to a folder; do nothing if it does not exist."""
    if sys.platform != "win32" and os.path.isdir(path):
        _narrow(path, path, 0o700)


def make_private_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder and its missing parents with mode 700; leave existing folders unchanged."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    # If a file stands in a folder's place, making a folder below it gives the better error: not a directory.
    if not os.path.exists(parent):
        make_private_folder(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", path) from None
    else:
        os.chmod(path, 0o700)  # the umask may have removed even the owner's rights


def _narrow(file: int | str | os.PathLike[str], path: str | os.PathLike[str], mode: int = 0o600) -> None:
    present = stat.S_IMODE(os.stat(file).st_mode)
    if present == mode:
        return
    try:
        os.chmod(file, mode)
    except PermissionError:
        if present & 0o077:
            log.warning(
                "other users can read %r, and this user may not change that: let its owner run chmod %o on it",
                os.fspath(path),
                mode,
            )


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        os.replace(temporary, path)
