"""Which files a process has open, on Linux and on macOS."""

from __future__ import annotations

import contextlib
import os


def has_open(path: str | os.PathLike[str]) -> bool:
    """Return whether this process has a file open."""
    for descriptor in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # the listing's own descriptor is closed; or there is no such file
            if os.path.samestat(os.fstat(int(descriptor)), os.stat(path)):
                return True
    return False
