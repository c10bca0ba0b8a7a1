"""Refuses new handshakes on a listening socket that is to close, so that the close resets nobody.

The kernel completes handshakes by itself. One that ends between the last accept and the close is reset, although its
client is connected already. So before the close the socket is bound to a network interface that does not exist: the
kernel then refuses what would begin a connection, as on a closed port, and still completes the handshakes under way.

Source: socket(7), SO_BINDTODEVICE; SO_BINDTOIFINDEX is the same by number, takes numbers of no interface, and needs no
privilege since Linux 5.7.
"""

from __future__ import annotations

import socket
import sys

#: How long the handshakes under way have: the round trip of a distant client, or one packet that is sent again.
HANDSHAKE_SECONDS = 0.25

_SO_BINDTOIFINDEX = 62
_NO_INTERFACE = 0x7FFF_FFFF


def refuse_handshakes(listener: socket.socket) -> bool:
    """Refuse new connections to a TCP socket from now on; return False where the system cannot.

    What is in the backlog, or has begun its handshake, can still be accepted. This cannot be undone and holds in all
    processes that share the socket, so it is only for one that this process alone has and is about to close.
    """
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, _NO_INTERFACE)
    except OSError:
        return False
    return True
