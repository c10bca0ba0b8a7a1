"""The tasks that write responses: in the I/O loop, in a thread, and for errors that waitress finds."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from typing import Any

from waitress.task import ErrorTask as WaitressErrorTask
from waitress.task import WSGITask, hop_by_hop, rename_headers
from waitress.utilities import build_http_date

from ..wsgi.questions import HOLD_KEY
from ..wsgi.responses import AGAIN_KEY, SECURITY_HEADERS, THREADS_KEY
from .parser import Names

Headers = tuple[tuple[str, str], ...]

# Headers that make waitress decide something.
_HEADERS_FOR_WAITRESS = frozenset(
    {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "via"}
)

#: True in the environ of each request once the server is to end, so that readiness can say so.
DRAINING_KEY = "oss_wsgi.draining"

# The keys of the environ that are the same for all requests of a listener.
_LISTENER_KEYS = (
    *("SERVER_PORT", "SERVER_NAME", "SERVER_SOFTWARE", "SCRIPT_NAME", "wsgi.url_scheme", "wsgi.version"),
    *("wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "wsgi.file_wrapper"),
    "wsgi.input_terminated",
)
#: A try that took longer than this is not repeated: it may have waited in vain, and would again.
QUICK_SECONDS = 0.3
_MAX_JOINED_BYTES = 64 * 1024


class _Task(WSGITask):  # type: ignore[misc]
    """waitress's task, with an environ that is made quicker, and with two rules of HTTP that waitress does not keep.

    The response to HEAD has no body, which the client would take for the next response. 204 and 304 keep the
    connection: they have no body whose length must be told, and browsers send many preflights and revalidations.
    """

    _needs_no_length = False

    def get_environment(self) -> dict[str, Any]:
        """Return waitress's environ; what all requests of a listener share is copied from the first."""
        channel, request = self.channel, self.request
        listener, server = channel.listener, channel.server
        if listener.environ is None or server.adj.url_prefix:
            environ: dict[str, Any] = super().get_environment()
            environ["SERVER_PORT"] = str(listener.port)
            listener.environ = {key: environ[key] for key in _LISTENER_KEYS}
        else:
            host, port = channel.addr[:2]
            environ = dict(listener.environ)
            environ["REMOTE_ADDR"] = environ["REMOTE_HOST"] = host
            environ["REMOTE_PORT"] = str(port)
            environ["REQUEST_METHOD"] = request.command
            environ["SERVER_PROTOCOL"] = f"HTTP/{self.version}"
            environ["PATH_INFO"] = request.path
            environ["REQUEST_URI"] = request.request_uri
            environ["QUERY_STRING"] = request.query
            environ["wsgi.input"] = request.get_body_stream()
            environ["waitress.client_disconnected"] = channel.check_client_disconnected
            for name, value in request.headers.items():
                environ[_KEYS[name]] = value
        if server.draining:
            environ[DRAINING_KEY] = True
        return environ

    def build_response_header(self) -> bytes:
        if self.channel.server.is_stopping:
            self.set_close_on_finish()
        is_asked_to_close = self.request.headers.get("CONNECTION", "").lower() == "close"
        has_no_body = self.version == "1.1" and self.status.startswith(("204", "304"))
        self._needs_no_length = has_no_body and not (is_asked_to_close or self.close_on_finish)
        header: bytes = super().build_response_header()
        self._needs_no_length = False
        return header

    def set_close_on_finish(self) -> None:
        if not self._needs_no_length:
            super().set_close_on_finish()

    def write(self, data: bytes) -> None:
        if self.request.command != "HEAD":
            super().write(data)
            return
        super().write(b"")  # RFC 9110 section 9.3.2
        self.chunked_response = False


class PutOffError(Exception):
    """Raised in a thread in place of a response: the application has asked for another try of the request."""


class ThreadTask(_Task):
    """Answers in a thread; sends header and first piece of the body together, and formats the date once a second."""

    wrote_header = False
    start_time: float

    def get_environment(self) -> dict[str, Any]:
        environ = super().get_environment()
        if self.request.command == "HEAD":
            del environ["wsgi.file_wrapper"]  # a file would be sent past `write`
        environ[THREADS_KEY] = self.channel.server.adj.threads
        again = self.channel.again
        if again is not None:
            environ[AGAIN_KEY] = again
            environ["wsgi.input"].seek(0)
        return environ

    def build_response_header(self) -> bytes:
        if not any(name.lower() == "date" for name, _ in self.response_headers):
            self.response_headers.append(("Date", http_date(int(self.start_time))))
        return super().build_response_header()

    def write(self, data: bytes) -> None:
        again = self.channel.again
        if again is not None and again.is_asked and not self.wrote_header:
            if time.time() - self.start_time < QUICK_SECONDS:
                raise PutOffError
            again.is_asked = False
        if self.wrote_header or not 0 < len(data) <= _MAX_JOINED_BYTES or self.request.command == "HEAD":
            super().write(data)
            return
        pieces = self.channel.pieces = []
        try:
            super().write(data)
            joined = b"".join(pieces)
        except BaseException:
            self.wrote_header = False  # nothing has left, so that the error can be answered
            raise
        finally:
            self.channel.pieces = None
        self.channel.write_soon(joined)


class ErrorTask(WaitressErrorTask):  # type: ignore[misc]
    """Answers what the server refuses, with the security headers of our own refusals."""

    def execute(self) -> None:
        self.response_headers.extend(SECURITY_HEADERS)
        if self.request.error.code == 503:
            self.response_headers.append(("Retry-After", "1"))
        super().execute()


class LoopTask(_Task):
    """Answers in the loop: makes the response in one piece; anything unusual is left to waitress.

    If the application has given the connection something to wait for, `resume` makes the response after that wait.
    """

    #: Whether the application has returned, so that there is something to resume.
    has_returned = False
    complete = False
    wrote_header = False
    status: str
    response_headers: list[tuple[str, str]]
    content_length: int | None
    content_bytes_written: int

    def service(self) -> None:
        self.start_time = time.time()
        environ = self.get_environment()
        environ[HOLD_KEY] = self.channel.hold
        self._body = self.channel.server.application(environ, self._start_response)
        self.has_returned = True
        if self.channel.awaited is None:
            self.resume()

    def resume(self) -> None:
        """Make the response: at once, or after it was held back."""
        channel, response = self.channel, self._body
        try:
            body = b"".join(response)
        finally:
            close = getattr(response, "close", None)
            if close is not None:
                close()
        head = None
        if self.version == "1.1" and not self.wrote_header:
            asked = self.request.headers
            closes = channel.server.is_stopping or ("CONNECTION" in asked and asked["CONNECTION"].lower() == "close")
            head = _head(self.status, tuple(self.response_headers), len(body), channel.server.adj.ident, closes)
        if head is None:
            self._leave_to_waitress(body)
            return
        self.close_on_finish = closes
        self.wrote_header = True
        sent = b"" if self.request.command == "HEAD" else body
        channel.pieces.append(b"%sDate: %s\r\n\r\n%s" % (head, http_date(int(self.start_time)).encode(), sent))

    def _leave_to_waitress(self, body: bytes) -> None:
        self.write(body)
        if self.content_length not in (None, self.content_bytes_written) and self.request.command != "HEAD":
            self.close_on_finish = True  # or the client would take the next response for the rest of this one
        self.finish()

    def build_response_header(self) -> bytes:
        _check_head(self.status, self.response_headers)
        for name, value in self.response_headers:
            if name.lower() == "content-length":
                self.content_length = int(value)
        return super().build_response_header()

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if self.complete:
            if not exc_info:
                raise AssertionError("start_response was called a second time without exc_info.")
            if self.wrote_header:
                raise exc_info[1]
        self.complete, self.status, self.response_headers = True, status, list(headers)
        return self.write


@functools.lru_cache(maxsize=2)
def http_date(second: int) -> str:
    """Return the value of the Date header for a Unix second."""
    text: str = build_http_date(second)
    return text


@functools.lru_cache(maxsize=256)
def _head(status: str, headers: Headers, length: int, ident: str | None, closes: bool) -> bytes | None:
    """Return the header of a response, up to the date; None if waitress must decide about a line."""
    _check_head(status, headers)
    own = ("Content-Length", str(length))
    others = [pair for pair in headers if pair != own]
    is_usual = len(others) < len(headers) and not status.startswith(("1", "204", "304"))
    if not is_usual or any(name.lower() in _HEADERS_FOR_WAITRESS for name, _ in others):
        return None
    if closes:
        others.append(("Connection", "close"))
    if ident:
        others.append(("Server", ident))
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in (*others, own))]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _check_head(status: str, headers: Iterable[tuple[str, str]]) -> None:
    """Raise what waitress's own tasks raise for a status or a header that an application must not give."""
    if "\n" in status or "\r" in status:
        raise ValueError("a line break in the status")
    for name, value in headers:
        if "\n" in value or "\r" in value or "\n" in name or "\r" in name:
            raise ValueError(f"a line break in the header {name!r}")
        if name.lower() in hop_by_hop:
            raise AssertionError(f"{name} is a hop-by-hop header, which an application must not set (PEP 3333)")


#: The environ's key for a header name.
_KEYS = Names(lambda name: rename_headers.get(name) or f"HTTP_{name}")
