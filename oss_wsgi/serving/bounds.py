"""The bounds of a server (times, numbers, bytes), and what this machine allows."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from math import inf

# Descriptors that the application, its ledger and its logs need.
_RESERVED_DESCRIPTORS = 64

# The most memory that a connection takes, with the kernel's buffers of its socket.
_CONNECTION_BYTES = 32 * 1024
_MAX_CONNECTIONS = 100_000

#: A longer body goes to a temporary file, as does a response that its client does not read.
MEMORY_BODY_BYTES = 1024 * 1024

#: How far the limit of descriptors is raised where the system sets no bound.
MAX_DESCRIPTORS = 1 << 17

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """The bounds of a server; times in seconds.

    :param header_timeout: for a whole header, from its first byte; the first one of a connection, from the accept.
    :param body_timeout: for a body; a second longer for every 500 bytes received, but at most 10 seconds and a second
        for every 50,000 bytes that the body may have.
    :param idle_timeout: between two requests.
    :param write_timeout: for a peer that does not read; a second longer for every 500 bytes taken.
    :param connections_per_address: None for any number; networks of 64 bits count as one address of IPv6.
    :param buffered_bytes: memory for requests that are not complete or wait for a thread, and for responses that are
        not read, of all connections together.
    :param file_bytes: the same in temporary files, where bodies of more than 1 MiB go. None: half of what is free there
        when the server starts.
    """

    header_timeout: float = 10.0
    body_timeout: float = 20.0
    idle_timeout: float = 60.0
    write_timeout: float = 20.0
    connections_per_address: int | None = None
    buffered_bytes: int = 48 * 1024 * 1024
    file_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("header_timeout", "body_timeout", "idle_timeout", "write_timeout", "buffered_bytes"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and value > 0):
                raise ValueError(f"{name} must be a number, more than 0, not {value!r}.")
        for name in ("connections_per_address", "file_bytes"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value > 0):
                raise ValueError(f"{name} must be a whole number, at least 1, not {value!r}.")


def default_connection_limit(descriptors_each: int = 1) -> int:
    """Return how many connections the descriptors and the memory of this process allow."""
    by_memory = _memory() // 4 // _CONNECTION_BYTES
    return max(16, int(min(most_connections(descriptors_each), by_memory, _MAX_CONNECTIONS)))


def most_connections(descriptors_each: int = 1) -> float:
    """Return how many connections the descriptors of this process allow; infinity where nothing bounds them."""
    free = _descriptors() - _RESERVED_DESCRIPTORS
    return free if free == inf else max(16, free // descriptors_each)  # inf // 1 is not a number


def allowed_connection_limit(wanted: int, descriptors_each: int = 1) -> int:
    """Return ``wanted``; if the descriptors of this process allow fewer, log it and return what they allow."""
    allowed = most_connections(descriptors_each)
    if wanted <= allowed:
        return wanted
    log.warning(
        "%d connections were asked for, and %d are used: the process may have %d descriptors, and keeps the rest of "
        "them for the application%s. Raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=), or ask for fewer",
        *(wanted, allowed, _descriptors(), " and for files of large bodies" if descriptors_each > 1 else ""),
    )
    return int(allowed)


def default_file_bytes(processes: int = 1) -> int:
    """Return half of what is free in the folder of temporary files, for each of several processes."""
    import shutil  # both are imported here because they take memory, and few servers write files
    from tempfile import gettempdir

    try:
        free = shutil.disk_usage(gettempdir()).free
    except OSError:  # no such folder can be written
        free = 0
    return max(free // 2 // processes, MEMORY_BODY_BYTES)


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
