"""waitress for the local OSS: bodies go to where objects are kept, and answers are on the wire as those of OSS are."""

from __future__ import annotations

import re
import socket
import time
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import WSGITask

from ..environ import ARRIVED
from ..forms.form import MAX_BODY_SIZE
from ..forms.policy_check import MAX_OBJECT_SIZE
from .body import RequestBody, Spool

_HEADER_NAME = re.compile(rb"(?m)^[^:\s]+(?=:)")


def channel_class(spool: Spool) -> type[Any]:
    """:param spool: opens a named file for a body; None for an unnamed one in the folder for temporary files."""

    class SpoolingChannel(Channel):
        @staticmethod
        def parser_class(adjustments: Any) -> Any:
            return Parser(adjustments, spool)

    return SpoolingChannel


class Parser(HTTPRequestParser):  # type: ignore[misc]
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
            # After the scheme waitress reads only the length, and of a wrong one the application has words of OSS.
            if self.url_scheme is None:
                raise ParsingError(str(error)) from error
            self._leave_unread()
        kind = self.headers.get("CONTENT_TYPE", "").lower()
        is_form = self.command == "POST" and kind.startswith("multipart/form-data")
        if self.content_length > (MAX_BODY_SIZE if is_form else MAX_OBJECT_SIZE):
            self._leave_unread()
        elif self.body_rcv is not None:
            self.body_rcv.buf = RequestBody(self.adj.inbuf_overflow, self._spool, is_form=is_form)

    def _leave_unread(self) -> None:
        """Hands the request on without its body, which the application refuses by its length."""
        self.body_rcv, self.content_length, self.expect_continue = None, 0, False
        self.headers["CONNECTION"] = "close"
        self.unread = True


class Task(WSGITask):  # type: ignore[misc]
    def start(self) -> None:
        super().start()
        self.channel.unread = self.request.unread

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[ARRIVED] = self.request.arrived
        return environ

    def set_close_on_finish(self) -> None:
        # To waitress an answer without a length ends with its connection, also where there is no body to have one.
        asked = self.version == "1.0" or self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or asked:
            super().set_close_on_finish()

    def build_response_header(self) -> bytes:
        # waitress writes Etag and X-Oss-Meta-Name; the SDKs give an application the name as it came.
        names = {name.lower().encode(): name.encode() for name, _ in self.response_headers}
        header: bytes = super().build_response_header()
        header = _HEADER_NAME.sub(lambda match: names.get(match[0].lower(), match[0]), header)
        kept = self.version == "1.1" and not self.close_on_finish
        return header[:-2] + b"Connection: keep-alive\r\n\r\n" if kept else header


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection. After a body that was left unread it is closed for writing first, and what comes is thrown away:
    closed at once, it would be reset, and a client that is still sending would not see the answer.
    """

    task_class = Task
    unread = False
    _discarding = False

    def readable(self) -> bool:
        return self._discarding or bool(super().readable())

    def handle_read(self) -> None:
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
        # Of a client that hung up before its body was whole.
        if self.request is not None:
            self.request.close()
