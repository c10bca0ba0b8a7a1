"""The unsent part of responses: bytes in memory or a temporary file, and files of ``wsgi.file_wrapper``."""

from __future__ import annotations

import socket
from typing import Any

from waitress.buffers import OverflowableBuffer, ReadOnlyFileBasedBuffer

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)
_CHUNK = 256 * 1024
# A client that reads much and fast must not hold up the others.
_MAX_CHUNKS_IN_A_TURN = 4
# Memory is freed only with its whole buffer, so buffers stay small.
_BUFFER_BYTES = 256 * 1024


class Output:
    """The unsent part of responses, in order; false when empty."""

    __slots__ = ("_adj", "_appended", "_buffers", "length", "taken")

    def __init__(self, adj: Any) -> None:
        self._adj = adj
        self._buffers: list[Any] = []
        # Bytes appended to the last buffer.
        self._appended = 0
        #: Bytes to send.
        self.length = 0
        #: Bytes that the socket took.
        self.taken = 0

    def __bool__(self) -> bool:
        return self.length > 0

    @property
    def memory(self) -> int:
        return sum(len(buffer) for buffer in self._buffers if not _is_file(buffer))

    @property
    def file_bytes(self) -> int:
        """The bytes that are in temporary files; the application's own files do not count."""
        files = (buffer for buffer in self._buffers if not isinstance(buffer, ReadOnlyFileBasedBuffer))
        return sum(len(buffer) for buffer in files if buffer.overflowed)

    def append(self, data: Any) -> None:
        """Add bytes, or a file of ``wsgi.file_wrapper``."""
        self.length += len(data)
        if isinstance(data, ReadOnlyFileBasedBuffer):
            self._buffers.append(data)
            return
        last = self._buffers[-1] if self._buffers else None
        bound = self._adj.outbuf_high_watermark if last is not None and _is_file(last) else _BUFFER_BYTES
        if last is None or isinstance(last, ReadOnlyFileBasedBuffer) or self._appended >= bound:
            overflow = self._adj.outbuf_overflow
            last = OverflowableBuffer(0 if self.length > overflow else overflow)
            self._buffers.append(last)
            self._appended = 0
        last.append(data)
        self._appended += len(data)

    def flush(self, client: socket.SocketType) -> None:
        """Send until the socket takes no more; OSError when the connection is gone."""
        for _ in range(_MAX_CHUNKS_IN_A_TURN):
            while self._buffers and not len(self._buffers[0]):
                self._buffers.pop(0).close()
            if not self._buffers:
                return
            chunk = self._buffers[0].get(_CHUNK)
            try:
                sent = client.send(chunk, _DONTWAIT)
            except BlockingIOError:
                return
            self._buffers[0].skip(sent, True)
            self.length -= sent
            self.taken += sent
            if sent < len(chunk):
                return

    def close(self) -> None:
        for buffer in self._buffers:
            buffer.close()
        self._buffers.clear()
        self.length = 0


def _is_file(buffer: Any) -> bool:
    return isinstance(buffer, ReadOnlyFileBasedBuffer) or buffer.overflowed
