"""waitress for the local OSS: bodies go to where objects are kept, and headers are spelled as OSS spells them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from waitress.buffers import FileBasedBuffer, OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import WSGITask

Spool = Callable[[], "BinaryIO | None"]

_OSS_HEADER = re.compile(rb"(?m)^X-Oss-[^:\r\n]*")


def channel_class(spool: Spool) -> type[Any]:
    """:param spool: opens a named file for a body; None for an unnamed one in the folder for temporary files."""

    class Channel(HTTPChannel):  # type: ignore[misc]
        task_class = Task

        @staticmethod
        def parser_class(adjustments: Any) -> Any:
            return Parser(adjustments, spool)

        def handle_close(self) -> None:
            super().handle_close()
            # Of a client that hung up before its body was whole.
            if self.request is not None:
                self.request.close()

    return Channel


class Task(WSGITask):  # type: ignore[misc]
    def build_response_header(self) -> bytes:
        # waitress writes X-Oss-Meta-Name; the SDKs give an application the name as it came.
        header: bytes = super().build_response_header()
        return _OSS_HEADER.sub(lambda match: match[0].lower(), header)


class Parser(HTTPRequestParser):  # type: ignore[misc]
    def __init__(self, adjustments: Any, spool: Spool) -> None:
        super().__init__(adjustments)
        self._spool = spool

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if self.body_rcv is not None:
            self.body_rcv.buf = Buffer(self.adj.inbuf_overflow, self._spool)


class Buffer(OverflowableBuffer):  # type: ignore[misc]
    """What does not fit into memory goes into a file that may become an object by a rename."""

    def __init__(self, overflow: int, spool: Spool) -> None:
        super().__init__(overflow)
        self.buf: Any = None
        self._spool = spool
        self._path = ""

    def _set_large_buffer(self) -> None:
        file = self._spool()
        if file is None:
            super()._set_large_buffer()
            return
        self._path = file.name
        small, self.buf = self.buf, FileBasedBuffer(file, self.buf)
        if small is not None:
            small.close()
        self.overflowed = True

    def close(self) -> None:
        if self.buf is not None:
            self.buf.close()
        if self._path:
            with suppress(FileNotFoundError):  # an object by now
                os.unlink(self._path)
