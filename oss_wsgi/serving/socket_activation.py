"""Takes over listening sockets from the service manager (systemd's socket activation, sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

#: The first descriptor that systemd passes on (sd_listen_fds(3)).
FIRST_DESCRIPTOR = 3


def inherited_sockets(environ: Mapping[str, str], pid: int) -> list[tuple[str, socket.socket]]:
    """Return the sockets that the environment hands to this process, each with its name in LISTEN_FDNAMES or ``""``.

    They are listening already, and the service manager keeps them open after this process has ended. Variables for
    another process (LISTEN_PID) are ignored. Raises ValueError for invalid variables, and for descriptors that do not
    listen.
    """
    text = environ.get("LISTEN_FDS")
    if text is None or environ.get("LISTEN_PID", "").strip() != str(pid):
        return []
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"LISTEN_FDS must be the number of sockets, not {text!r}.")
    count = int(text[:4])
    names = environ.get("LISTEN_FDNAMES", "").split(":") if environ.get("LISTEN_FDNAMES") else []
    return [
        (names[number] if number < len(names) else "", _listening(FIRST_DESCRIPTOR + number)) for number in range(count)
    ]


def _listening(fd: int) -> socket.socket:
    try:
        os.set_inheritable(fd, False)
        listener = socket.socket(fileno=fd)
    except OSError as error:
        raise ValueError(f"LISTEN_FDS: descriptor {fd} is not a socket: {error.strerror}.") from error
    if listener.type != socket.SOCK_STREAM or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.detach()
        raise ValueError(f"LISTEN_FDS: descriptor {fd} is not a listening stream socket (ListenStream=, Accept=no).")
    return listener
