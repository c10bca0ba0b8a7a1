"""Listening sockets: opened, taken over from the service manager, named in a URL, and refused before they close."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping

from ..explanations.text import Text
from .until_stopped import CannotStartError

#: The first descriptor that systemd passes on (sd_listen_fds(3)).
FIRST_DESCRIPTOR = 3

#: How long handshakes under way may take: the round trip of a distant client, or one packet that is sent again.
HANDSHAKE_SECONDS = 0.25

_SO_BINDTOIFINDEX = 62
_NO_INTERFACE = 0x7FFF_FFFF


def listening_socket(address: tuple[str, int], option: str) -> socket.socket:
    """Return a listening socket. Raises CannotStartError, which names the ``option`` that chose the address."""
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=4096)
    except OSError as error:
        raise cannot_listen_error(option, host, port, error) from error


def cannot_listen_error(option: str, host: str, port: int, error: OSError) -> CannotStartError:
    """Return the error for an address that is not available, with the option that chooses another."""
    # socket.create_server adds the address to the system's own words.
    reason = (error.strerror or str(error)).partition(" (while")[0]
    place = f"{host}:{port}: {reason}"
    return CannotStartError(Text("cannot listen on {1}. Choose another with {2} HOST:PORT.", place, option))


def local_url(listener: socket.socket) -> str:
    """Return the URL at which this machine reaches a listening socket; for a Unix socket ``unix:`` and its path."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def inherited_sockets(environ: Mapping[str, str], pid: int) -> list[tuple[str, socket.socket]]:
    """Return the sockets that the environment hands to this process, each with its name in LISTEN_FDNAMES or ``""``.

    They are listening already, and the service manager (systemd's socket activation) keeps them open after this process
    has ended. Variables for another process (LISTEN_PID) are ignored. Raises ValueError for invalid variables, and for
    descriptors that do not listen.
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


def refuse_handshakes(listener: socket.socket) -> bool:
    """Refuse new connections to a TCP socket from now on; return False where the system cannot.

    The kernel completes handshakes by itself. A connection whose handshake ends between the last accept and the close
    is reset, although its client is connected already. So before the close the socket is bound to a network interface
    that does not exist: the kernel then refuses new handshakes, as on a closed port. Connections in the backlog, and
    those that have begun their handshake, can still be accepted. This cannot be undone and holds in all processes that
    share the socket. So use it only for a socket that no other process has, right before it is closed.

    Source: socket(7), SO_BINDTODEVICE; SO_BINDTOIFINDEX is the same by number, takes numbers of no interface, and needs
    no privilege since Linux 5.7.
    """
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, _NO_INTERFACE)
    except OSError:
        return False
    return True
