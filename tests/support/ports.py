"""Free ports of loopback, for servers that cannot choose one, or that need the same port after a restart."""

from __future__ import annotations

import contextlib
import functools
import random
import socket
import sys
from collections.abc import Iterator

#: Below the ports that connections get: until a server listens, and while it is away, no client takes its own, and a
#: connection to it is none to oneself.
PORTS = range(20_000, 32_000)
_BLOCK = 100


def free_port() -> int:
    """Return a port that is free now, and that no other process of the tests gets."""
    for port in _own_ports():
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port of loopback is free")


def listens(url: str) -> bool:
    """Return whether a server accepts connections at a URL."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), 60).close()
    except OSError:
        return False
    return True


def _own_ports() -> Iterator[int]:
    """Yield this process's ports, the least recently used first."""
    ports = _block()
    for _ in range(len(ports)):
        ports.append(ports.pop(0))
        yield ports[-1]


@functools.cache
def _block() -> list[int]:
    """Return ports that other processes do not use: several runs of the tests may share the machine."""
    starts = list(PORTS[::_BLOCK])
    random.shuffle(starts)
    for start in starts:
        if sys.platform != "linux" or _reserve(f"\0oss-wsgi tests, ports from {start}"):
            return list(range(start, start + _BLOCK))
    raise AssertionError("as many processes have ports as there are blocks")


def _reserve(name: str) -> bool:
    """Bind a name, which is in the same network as the ports, until this process ends; False if another has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as reservation:
        with contextlib.suppress(OSError):
            reservation.bind(name)
            reservation.detach()
            return True
    return False
