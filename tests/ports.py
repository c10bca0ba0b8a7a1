"""Ports of loopback for servers that cannot choose one themselves."""

from __future__ import annotations

import contextlib
import random
import socket

_RANDOM = random.SystemRandom()  # tests that run at the same time must not draw the same ports


def free_port() -> int:
    """Return a port of loopback that is free now.

    It is below the range from which the kernel gives ports to clients, and to servers that leave the choice to it: none
    of those may take it until the server listens, and a probe may not connect to itself.
    """
    while True:
        port = _RANDOM.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
