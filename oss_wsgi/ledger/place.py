"""The place of a ledger, which two processes compare to find out whether they share the ledger."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import NamedTuple

_KINDS = {"postgres": "postgresql", "mariadb": "mysql", "rediss": "redis", "valkey": "redis", "valkeys": "redis"}
_PORTS = {"postgresql": 5432, "mysql": 3306, "redis": 6379}


class Place(NamedTuple):
    """The place of a ledger.

    :ivar name: the same in all processes that share the ledger; has neither user nor password.
    :ivar is_of_one_machine: whether only processes of one machine can share the ledger.
    """

    name: str
    is_of_one_machine: bool

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that stand for the name."""
        return hashlib.sha256(self.name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def place_of_server(scheme: str, host: object, port: object, name: object) -> Place:
    """Return the place of a database or Redis, the same however its URL spells scheme, host and port."""
    kind = _KINDS.get(scheme, scheme)
    host = str(host or "").lower().rstrip(".")
    is_here = host in ("", "localhost", "::1") or host.startswith(("127.", "/"))
    if is_here:
        host = f"{_kernel()} {platform.node()}"
    return Place(f"{kind} {host} {port or _PORTS.get(kind)} {name}", is_here)


def place_of_file(path: str | os.PathLike[str]) -> Place | None:
    """Return the place of a file, the same in all containers that mount it; None for a missing file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return Place(f"file {_kernel()} {status.st_dev} {status.st_ino}", True)


def place_of_memory(ledger: object) -> Place:
    """Return the place of a ledger in the memory of this process."""
    return Place(f"memory {_kernel()} {platform.node()} {os.getpid()} {id(ledger)}", True)


def _kernel() -> str:
    """Return an ID that differs between machines, but not between containers of one machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()
