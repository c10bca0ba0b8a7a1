"""Files and folders that their owner alone can read, whatever the umask."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
import sys
from pathlib import Path

log = logging.getLogger(__name__)


def open_private(path: str | Path, flags: int) -> int:
    """Open a file and return its descriptor; the file gets mode 600, also one that exists."""
    descriptor = os.open(path, flags, 0o600)
    try:
        if sys.platform != "win32":
            _narrow(descriptor, path, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: Path, text: str, *, replace: bool) -> None:
    """Write an ASCII text into a private file in one step, so that nobody reads half of it.

    :param replace: False to leave the file of another process that writes one at the same time.
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


def _link(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        os.replace(temporary, path)


def narrow(path: str | Path) -> None:
    """Give mode 600 to a file that must not be opened here; do nothing if there is none."""
    if sys.platform != "win32":
        with contextlib.suppress(FileNotFoundError):
            _narrow(path, path, 0o600)


def private_folder(path: Path) -> None:
    """Make a folder with mode 700; one that exists gets it too."""
    outer_folder(path)
    if sys.platform != "win32":
        _narrow(path, path, 0o700)


def outer_folder(path: Path) -> None:
    """Make a folder and those above it with mode 700; one that exists belongs to somebody, and stays as it is."""
    if path.is_dir():
        return
    parent = path.absolute().parent
    # What exists and is no folder holds none: making one in it says so, where making it again says that it exists.
    if not parent.exists():
        outer_folder(parent)
    try:
        path.mkdir(0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
    else:
        path.chmod(0o700)  # the umask may have taken even the owner's rights


def _narrow(file: int | str | Path, path: str | Path, mode: int) -> None:
    present = stat.S_IMODE(os.stat(file).st_mode)
    if present == mode:
        return
    try:
        os.chmod(file, mode)
    except PermissionError:
        if present & 0o077:
            log.warning("others may read %r, and this user may not change that", os.fspath(path))
