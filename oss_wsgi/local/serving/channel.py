"""waitress adapted to OSS: bodies go straight into the storage, and headers are written as OSS writes them."""

from __future__ import annotations

import re
import socket
import ssl
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import WSGITask

from ..environ import ARRIVED
from ..forms.form import MAX_BODY_SIZE
from ..forms.policy import MAX_OBJECT_SIZE
from .body import RequestBody, Spool
from .tls import TLSSocket

_HEADER_NAME = re.compile(rb"(?m)^[^:\s]+(?=:)")


def channel_class(spool: Spool, tls: ssl.SSLContext | None = None) -> type[Any]:
    """Return the class of a server's connections.

    :param spool: opens a named file for a body.
    :param tls: the context of HTTPS.
    """

    class SpoolingChannel(Channel):
        tls_context = tls

        @staticmethod
        def parser_class(adjustments: Any) -> Any:
            return Parser(adjustments, spool)

    return SpoolingChannel


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Reads requests: records when each arrived, and does not read a body that is too large."""

    arrived = 0.0
    unread = False
    url_scheme = None

    def __init__(self, adjustments: Any, spool: Spool) -> None:
        super().__init__(adjustments)
        self._spool = spool

    def parse_header(self, header_plus: bytes) -> None:
        self.arrived = time.monotonic()
        try:
            super().parse_header(header_plus)
        except (ParsingError, ValueError) as error:
            # After the scheme waitress reads only the length; the application answers a wrong length as OSS does.
            if self.url_scheme is None:
                raise ParsingError(str(error)) from error
            self._leave_unread()
        media_type = self.headers.get("CONTENT_TYPE", "").lower()
        is_form = self.command == "POST" and media_type.startswith("multipart/form-data")
        has_no_body = self.command in ("GET", "HEAD") and self.body_rcv is not None  # whatever its length says
        if has_no_body or self.content_length > (MAX_BODY_SIZE if is_form else MAX_OBJECT_SIZE):
            self._leave_unread()
        elif self.body_rcv is not None:
            self.body_rcv.buf = RequestBody(self.adj.inbuf_overflow, self._spool, is_form=is_form)

    def _leave_unread(self) -> None:
        """Hand the request on without its body; the application rejects it by its length."""
        self.body_rcv, self.content_length, self.expect_continue = None, 0, False
        self.headers["CONNECTION"] = "close"
        self.unread = True


class Task(WSGITask):  # type: ignore[misc]
    """Runs the application for a request, and writes the headers of its response as OSS does."""

    response_headers: list[tuple[str, str]]

    def start(self) -> None:
        super().start()
        self.channel.unread = self.request.unread

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[ARRIVED] = self.request.arrived
        environ["PATH_INFO"] = self.request.path  # waitress makes one slash of several at the beginning
        return environ

    def set_close_on_finish(self) -> None:
        # waitress closes the connection after a response without a length, even where the status allows no body.
        requested = self.version == "1.0" or self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or requested:
            super().set_close_on_finish()

    def build_response_header(self) -> bytes:
        # waitress adds a Via header when a response has a Server header; its own ident says the same.
        self.response_headers = [pair for pair in self.response_headers if pair[0] != "Server"]
        # waitress writes Etag and X-Oss-Meta-Name, but the SDKs pass on header names as they arrive.
        names = {name.lower().encode(): name.encode() for name, _ in self.response_headers}
        header: bytes = super().build_response_header()
        header = _HEADER_NAME.sub(lambda match: names.get(match[0].lower(), match[0]), header)
        keep_alive = self.version == "1.1" and not self.close_on_finish
        return header[:-2] + b"Connection: keep-alive\r\n\r\n" if keep_alive else header


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection, which closes gently after a body that was not read.

    It closes only its writing half and discards what still arrives. A full close would reset the connection, and a
    client that is still sending would not see the response.
    """

    task_class = Task
    tls_context: ssl.SSLContext | None = None
    unread = False
    _discarding = False

    def __init__(self, server: Any, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(server, TLSSocket(sock, self.tls_context) if self.tls_context else sock, *args, **kwargs)

    def readable(self) -> bool:
        return self._discarding or bool(super().readable())

    def handle_read(self) -> None:
        if isinstance(self.socket, TLSSocket) and not self.socket.fill(self.adj.recv_bytes):
            return
        if self._discarding:
            self.recv(self.adj.recv_bytes)
        else:
            super().handle_read()

    def handle_close(self) -> None:
        if self.unread and not self._discarding:
            self._discarding, self.will_close = True, False
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            else:
                return
        super().handle_close()
        # The client hung up before the whole body arrived.
        if self.request is not None:
            self.request.close()
