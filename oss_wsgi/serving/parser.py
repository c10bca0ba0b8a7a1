"""waitress's parser, with a quicker way for a plain request that came whole."""

from __future__ import annotations

import io
from typing import Any

from waitress.buffers import OverflowableBuffer
from waitress.parser import HTTPRequestParser
from waitress.receiver import FixedStreamReceiver

from .plain_request import PlainRequest, read


class RequestParser(HTTPRequestParser):  # type: ignore[misc]
    """Takes a plain header, and a body that came along with it, in one step; all else as waitress does."""

    completed = False
    whole_body: bytes | None = None

    def received(self, data: bytes) -> int:
        begins = self.body_rcv is None and not self.header_plus and not self.completed
        end = data.find(b"\r\n\r\n") + 4 if begins else 0
        plain = read(data[:end]) if 4 <= end < self.adj.max_request_header_size else None
        if plain is None or not plain.length <= len(data) - end or plain.length >= self.adj.max_request_body_size:
            taken: int = super().received(data)
            if self.completed:  # or waitress would ask for a body that never comes
                self.expect_continue = False
            return taken
        self._take(plain)
        self.header_bytes_received = end
        self.headers_finished = self.completed = True
        self.whole_body = data[end : end + plain.length]
        self.body_bytes_received = plain.length
        return end + plain.length

    def parse_header(self, header_plus: bytes) -> None:
        plain = read(header_plus)
        if plain is None:
            super().parse_header(header_plus)
            return
        self._take(plain)
        if plain.length:
            self.body_rcv = FixedStreamReceiver(plain.length, OverflowableBuffer(self.adj.inbuf_overflow))

    def _take(self, plain: PlainRequest) -> None:
        self.command, self.request_uri, self.path, self.query, self.headers, self.content_length = plain
        self.version, self.url_scheme = "1.1", self.adj.url_scheme
        self.proxy_scheme = self.proxy_netloc = self.fragment = ""
        self.connection_close = self.headers.get("CONNECTION", "").lower() == "close"

    def get_body_stream(self) -> Any:
        return super().get_body_stream() if self.whole_body is None else io.BytesIO(self.whole_body)
