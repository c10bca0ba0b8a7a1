"""The bounds of a server (times, numbers, bytes), and what this machine allows."""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol, TypeVar

# Descriptors that the application, its ledger and its logs need.
_RESERVED_DESCRIPTORS = 64

# The most memory that a connection takes, with the kernel's buffers of its socket.
_CONNECTION_BYTES = 32 * 1024
_MAX_CONNECTIONS = 100_000

#: A longer body goes to a temporary file, as does a response that its client does not read.
MEMORY_BODY_BYTES = 1024 * 1024

#: A peer earns one more second each time it has sent or taken this many bytes.
BYTES_FOR_A_SECOND = 500
# A body earns at most this many seconds, plus the time that the longest allowed body takes at this speed.
_MOST_SECONDS = 10.0
_BODY_BYTES_IN_A_SECOND = 50_000

#: About how much memory a request takes beside its header and its body.
OBJECTS_BYTES = 2048

# A search finds a 50th of the holders of memory; `make_room` stops once a 50th of the limit is free.
SHARE_OF_A_SEARCH = 50

#: How far the limit of descriptors is raised where the system sets no bound.
MAX_DESCRIPTORS = 1 << 17

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """The bounds of a server; times in seconds.

    :param header_timeout: for a whole header, from its first byte; for a connection's first header, from the accept.
    :param body_timeout: for a body; a second longer for every 500 bytes received, but at most 10 seconds and a second
        for every 50,000 bytes that the body may have.
    :param idle_timeout: between two requests.
    :param write_timeout: for a peer that does not read; a second longer for every 500 bytes taken.
    :param connections_per_address: None for any number; networks of 64 bits count as one address of IPv6.
    :param buffered_bytes: memory for requests that are not complete or wait for a thread, and for responses that are
        not read, of all connections together.
    :param file_bytes: the same in temporary files, where bodies of more than 1 MiB go. None means half of the space
        that is free there when the server starts.
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

    def body_seconds(self, received: int, longest: int) -> float:
        """Return how long a body of at most ``longest`` bytes may take after ``received`` bytes have come."""
        most = _MOST_SECONDS + longest / _BODY_BYTES_IN_A_SECOND
        return self.body_timeout + min(received / BYTES_FOR_A_SECOND, most)


class Holder(Protocol):
    """A holder of memory for a peer: a connection, or a body."""

    address: Any


H = TypeVar("H", bound=Holder)


def first_to_go(holders: Iterable[H], counts: Mapping[Any, int], number: int, order: Callable[[H], Any]) -> list[H]:
    """Return up to ``number`` holders. The last one goes first: of the address that has most, the lowest in order."""
    return heapq.nsmallest(number, holders, key=lambda each: (-counts[each.address], order(each)))[::-1]


def make_room(
    held: Callable[[], int], limit: int, number: int, find: Callable[[int], list[H]], give_up: Callable[[H], object]
) -> None:
    """Give up holders, the first to go first, until a little less than the limit is held.

    :param number: how many holders there are.
    :param find: returns up to a number of holders that may go; the last of the list goes first.
    """
    goal = limit * (SHARE_OF_A_SEARCH - 1) // SHARE_OF_A_SEARCH
    some = max(1, number // SHARE_OF_A_SEARCH)
    while held() > goal:
        found = find(some)
        if not found:
            return
        while found and held() > goal:
            give_up(found.pop())


def network_of(host: str) -> Any:
    """Return the first 64 bits of an IPv6 address, which one peer has to itself; all of a mapped IPv4 address."""
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return packed if packed.startswith(b"\0" * 10 + b"\xff\xff") else packed[:8]


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
