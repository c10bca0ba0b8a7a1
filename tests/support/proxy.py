"""A proxy on loopback that cuts its connections, at once or after a message of the client."""

from __future__ import annotations

import contextlib
import socket
import threading


class CuttingProxy:
    """Passes bytes on to a port of loopback.

    With ``cut_after`` the proxy cuts a connection as soon as the client has sent these bytes: the server gets them, and
    nobody gets its answer. While ``is_silent`` it passes nothing on, and keeps the connections.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self.cut_after: bytes | None = None
        self.is_silent = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._pairs.append((client, server))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, target, client), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.is_silent:
                    continue
                if source is client and self.cut_after is not None and self.cut_after in data:
                    self.cut_after = None
                    # The client loses its connection before the server can answer.
                    client.shutdown(socket.SHUT_RDWR)
                    target.sendall(data)
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Cut all connections, and accept no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # a close alone does not end `accept`, which takes one more
        self._listener.close()
        for pair in self._pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
