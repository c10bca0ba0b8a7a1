"""How long, how many and how much: the bounds of a server, and what this machine allows."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from math import inf

# Descriptors that the application, its ledger and its logs need.
_RESERVED_DESCRIPTORS = 64

# What a connection costs at most with the buffers of its socket in the kernel, which memory must hold.
_CONNECTION_BYTES = 32 * 1024
_MAX_CONNECTIONS = 100_000

#: How far the limit of descriptors is raised where the system sets no bound.
MAX_DESCRIPTORS = 1 << 17


@dataclass(frozen=True)
class Limits:
    """The bounds of a server; times in seconds.

    :param header_timeout: for a whole header, from its first byte; the first one of a connection, from the accept.
    :param body_timeout: for a body; a second longer for every 500 bytes received.
    :param idle_timeout: between two requests.
    :param write_timeout: for a peer that does not read; a second longer for every 500 bytes taken.
    :param connections_per_address: None for any number; networks of 64 bits count as one address of IPv6.
    :param buffered_bytes: memory for requests that are not complete or wait for a thread, and for responses that are
        not read, of all connections together.
    """

    header_timeout: float = 10.0
    body_timeout: float = 20.0
    idle_timeout: float = 60.0
    write_timeout: float = 20.0
    connections_per_address: int | None = None
    buffered_bytes: int = 48 * 1024 * 1024

    def __post_init__(self) -> None:
        for name in ("header_timeout", "body_timeout", "idle_timeout", "write_timeout", "buffered_bytes"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and value > 0):
                raise ValueError(f"{name} must be a number, more than 0, not {value!r}.")
        bound = self.connections_per_address
        if bound is not None and not (isinstance(bound, int) and bound > 0):
            raise ValueError(f"connections_per_address must be a whole number, at least 1, not {bound!r}.")


def default_connection_limit(descriptors_each: int = 1) -> int:
    """Return how many connections the descriptors and the memory of this process allow."""
    by_descriptors = (_descriptors() - _RESERVED_DESCRIPTORS) // descriptors_each
    by_memory = _memory() // 4 // _CONNECTION_BYTES
    return max(16, int(min(by_descriptors, by_memory, _MAX_CONNECTIONS)))


def raise_descriptor_limit() -> None:
    """Raise RLIMIT_NOFILE to its hard limit, where the system allows it."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _descriptors() -> float:
    try:
        import resource
    except ImportError:
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return inf if soft == resource.RLIM_INFINITY else soft


def _memory() -> int:
    """Return the bytes of memory that this machine, or its container, has."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        total = 1 << 30
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
        total = min(total, int(file.read()))
    return total
