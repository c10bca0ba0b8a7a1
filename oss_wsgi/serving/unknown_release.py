"""Serves with an unknown release of waitress as it is, without our parts."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from waitress.server import create_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def make_stock_server(app: WSGIApplication, listeners: Sequence[socket.socket], options: dict[str, Any]) -> Any:
    """Return waitress's own server with a ``drain`` that ends at once, called from any thread or signal's handler."""
    dispatchers: dict[int, Any] = {}
    # select() fails with descriptors above 1,023; poll() does not.
    server = create_server(app, map=dispatchers, sockets=list(listeners), asyncore_use_poll=True, **options)
    run = server.run
    loops: list[int] = []

    def run_until_drained() -> None:
        loops.append(threading.get_ident())
        try:
            run()
        finally:
            loops.clear()

    def drain(seconds: float, delay: float = 0.0) -> None:
        if threading.get_ident() in loops:
            raise SystemExit(0)  # waitress catches this
        sockets = list(dispatchers.values())
        dispatchers.clear()  # the loop ends with its next turn, within a second
        for each in sockets:
            with contextlib.suppress(OSError):
                each.close()

    server.run = run_until_drained
    server.drain = drain
    return server
