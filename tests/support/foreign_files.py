"""Files that another user may have put in the place of one of ours, and the users whom root tests with."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

import pytest

from .absent import skip_off_linux

#: A user who owns nothing.
NOBODY = 65534
AS_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes files of other users"
)
#: What may stand in the place of a file, and a word for it in the error.
KINDS = {
    "link": "a symbolic link",
    "dangling link": "a symbolic link",
    "hard link": "2 names",
    "pipe": "a pipe",
    "folder": "a folder",
    "socket": "a socket",
}


class Victim(NamedTuple):
    """A file beside the folder that is attacked."""

    path: Path

    def state(self) -> tuple[int, int, int, bytes]:
        """Return what no attack may change: owner, group, mode and content."""
        status = self.path.stat()
        return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), self.path.read_bytes()


def victim_of(folder: Path) -> Victim:
    """Make a file that everybody may read, as root's are in /etc."""
    path = folder / "victim"
    path.write_bytes(b"root:x:0:0\n")
    path.chmod(0o644)
    return Victim(path)


def plant(kind: str, path: Path, victim: Victim) -> None:
    """Put something of a kind in the place of a file, so that it leads to the victim where it leads anywhere."""
    if kind == "link":
        path.symlink_to(victim.path)
    elif kind == "dangling link":
        path.symlink_to(victim.path.with_name("missing"))
    elif kind == "hard link":
        os.link(victim.path, path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir(mode=0o755)
    else:
        skip_off_linux("a socket that nobody binds")
        os.mknod(path, 0o600 | stat.S_IFSOCK)
