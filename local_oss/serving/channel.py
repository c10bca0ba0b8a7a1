"""waitress adapted to OSS: bodies go straight into the storage, and headers are written as OSS writes them."""

from __future__ import annotations

import io
import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import WSGITask

from oss_wsgi.serving.connection import BODY, CLOSED, HANDLING, HEADER, IDLE, LINGERING, NEW, WRITING, Phase

from ..bodies import Readable
from ..environ import ARRIVED
from ..forms.form import MAX_BODY_SIZE, FormInput, content_start
from ..forms.policy import MAX_OBJECT_SIZE
from .tls import TLSSocket

_HOST = re.compile(rb"(?mi)^host:")
#: The headers that OSS sends before Connection.
_BEFORE_CONNECTION = ("Server", "Date", "Content-Type", "Content-Length")

#: Opens a named file for a body.
Spool = Callable[[], BinaryIO]


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
            # With a scheme set, only the length is wrong; the application answers a wrong length as OSS does.
            if self.url_scheme is None:
                raise ParsingError(str(error)) from error
            self._leave_unread()
        hosts = len(_HOST.findall(header_plus))
        if hosts > 1 or (not hosts and self.version == "1.1"):  # RFC 9112 section 3.2
            raise ParsingError("a request has one Host header")
        if "close" in re.split(r"[\s,]+", self.headers.get("CONNECTION", "").lower()):
            self.headers["CONNECTION"] = "close"  # waitress recognizes only a lone `close`
        media_type = self.headers.get("CONTENT_TYPE", "").lower()
        is_form = self.command == "POST" and media_type.startswith("multipart/form-data")
        has_no_body = self.command in ("GET", "HEAD") and self.body_rcv is not None  # whatever its length says
        if has_no_body or self.content_length > (MAX_BODY_SIZE if is_form else MAX_OBJECT_SIZE):
            self._leave_unread()
        elif self.body_rcv is not None:
            self.body_rcv.buf = RequestBody(self.adj.inbuf_overflow, self._spool, is_form=is_form)
        if self.body_rcv is None:  # waitress would ask for a body that never comes
            self.expect_continue = False

    def _leave_unread(self) -> None:
        """Hand the request on without its body; the application rejects the request by its length."""
        self.body_rcv, self.content_length = None, 0
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
        environ["PATH_INFO"] = self.request.path  # waitress merges slashes at the beginning
        return environ

    def set_close_on_finish(self) -> None:
        # waitress closes the connection after a response without a length, even where the status allows no body.
        requested = self.version == "1.0" or self.request.headers.get("CONNECTION", "").lower() == "close"
        if self.has_body or requested:
            super().set_close_on_finish()

    def build_response_header(self) -> bytes:
        """Return the headers with the names and in the order of the application, as OSS sends them.

        waitress sorts them, writes Etag and X-Oss-Meta-Name, and drops the length of a 204.
        """
        own = self.response_headers
        # waitress adds a Via header to a response with a Server header; waitress's own ident says the same.
        self.response_headers = [pair for pair in own if pair[0] != "Server"]
        super().build_response_header()  # decides how the body is sent, and whether the connection stays open
        names = {name.lower() for name, _ in own}
        added = [pair for pair in self.response_headers if pair[0].lower() not in names]
        if self.version == "1.1" and not self.close_on_finish:
            added.append(("Connection", "keep-alive"))
        first = [pair for pair in own if pair[0] in _BEFORE_CONNECTION]
        others = [pair for pair in own if pair[0] not in _BEFORE_CONNECTION]
        lines = [f"HTTP/{self.version} {self.status}", *(f"{name}: {value}" for name, value in first + added + others)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection, which closes gently after a body that was not read.

    The channel closes only its writing half and discards what still arrives. A full close would reset the connection,
    and a client that is still sending would not see the response.

    The channel's server has two attributes more than waitress's: `spool`, and `tls_context`, which is None without
    HTTPS. `fd`, `address`, `phase` and `since` mean the same as in a connection of oss_wsgi's own server.
    """

    task_class = Task
    unread = False
    _discarding = False

    def __init__(self, server: Any, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(server, TLSSocket(sock, server.tls_context) if server.tls_context else sock, *args, **kwargs)

    @property
    def fd(self) -> int:
        return int(self._fileno)

    @property
    def address(self) -> str:
        return str(self.addr[0])

    @property
    def since(self) -> float:
        """When the client last sent or received something: an upload that goes on is not silent."""
        return float(self.last_activity)

    @property
    def phase(self) -> Phase:
        """The phase of the connection; threads may change the phase at any moment."""
        if not self.connected:
            return CLOSED
        if self._discarding:
            return LINGERING
        if self.total_outbufs_len:
            return WRITING
        if self.requests:
            return HANDLING
        if self.request is not None:
            return BODY if self.request.headers_finished else HEADER
        return IDLE if self.last_activity > self.creation_time else NEW

    def give_up(self) -> None:
        """Close at once."""
        self.unread = False
        self.handle_close()

    def parser_class(self, adjustments: Any) -> Parser:
        return Parser(adjustments, self.server.spool)

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


class RequestBody:
    """A buffer that waitress fills and then reads.

    :param limit: a body of so many bytes or more goes into a file.
    :param is_form: keep the fields in memory, so that the file begins with what the form uploads.
    """

    def __init__(self, limit: int, spool: Spool, *, is_form: bool) -> None:
        self._limit = limit
        self._spool = spool
        self._is_form = is_form
        self._memory = io.BytesIO()
        self._file: BinaryIO | None = None
        self._error: OSError | None = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, data: bytes) -> None:
        self._size += len(data)
        if self._error is not None:
            return  # the rest is only counted
        try:
            (self._file or self._memory).write(data)
            if self._file is None and self._size >= self._limit:
                self._move_to_file()
        except OSError as error:
            self._fail(error)

    def getfile(self) -> Readable:
        """Return the whole body, to be read from its start; reading raises the error of a full disk."""
        if self._file is not None and self._error is None:
            try:
                self._file.seek(0)  # writes what is still in its buffer
            except OSError as error:
                self._fail(error)
        if self._error is not None:
            return self
        if self._file is None:
            self._memory.seek(0)
            return self._memory
        head = self._memory.getvalue()
        return FormInput(head, self._file) if head else self._file

    def read(self, size: int = -1) -> bytes:
        """Raise the error of a body that could not be stored."""
        raise self._error or OSError

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            with suppress(FileNotFoundError):  # the file became an object
                os.unlink(self._file.name)

    def _fail(self, error: OSError) -> None:
        """Drop a body that does not fit on the disk: free its space now, and raise the error when the body is read."""
        self._error = error
        self._memory = io.BytesIO()
        self.close()

    def _move_to_file(self) -> None:
        beginning = self._memory.getvalue()
        start = content_start(beginning) if self._is_form else 0
        self._memory = io.BytesIO(beginning[:start])
        self._file = self._spool()
        self._file.write(beginning[start:])
