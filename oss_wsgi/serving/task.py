"""A waitress task for the I/O loop: an application that does not wait answers in one piece, sent by one call."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from waitress.task import WSGITask, rename_headers
from waitress.utilities import build_http_date

Headers = tuple[tuple[str, str], ...]

# Headers about which waitress has something to decide.
_DECIDED = frozenset({"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding", "via"})

_OF_THE_CONNECTION = (
    *("REMOTE_ADDR", "REMOTE_HOST", "REMOTE_PORT", "SERVER_PORT", "SERVER_NAME", "SERVER_SOFTWARE", "SCRIPT_NAME"),
    *("wsgi.url_scheme", "wsgi.version", "wsgi.errors", "wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"),
    *("wsgi.file_wrapper", "wsgi.input_terminated", "waitress.client_disconnected"),
)
_MOST_KEYS = 256
_LONGEST_KEY = 64


@functools.lru_cache(maxsize=2)
def date(second: int) -> str:
    """Write the value of the Date header, once a second."""
    text: str = build_http_date(second)
    return text


@functools.lru_cache(maxsize=64)
def _constant_part(status: str, headers: Headers, ident: str | None) -> bytes | None:
    """Write what one answer of ours after another begins with; None where waitress must decide about something."""
    _check(headers)
    if status.startswith(("1", "204", "304")) or any(name.lower() in _DECIDED for name, _ in headers):
        return None
    named = (("Server", ident),) if ident else ()
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in (*headers, *named))]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def _check(headers: Iterable[tuple[str, str]]) -> None:
    for name, value in headers:
        if "\n" in value or "\r" in value:
            raise ValueError(f"a line break in the header {name}")


class _Keys(dict[str, str]):
    """The environ's key for a header's name; a few hundred short ones are kept, for anybody may send new ones."""

    def __missing__(self, name: str) -> str:
        key: str = rename_headers.get(name) or f"HTTP_{name}"
        if len(self) < _MOST_KEYS and len(name) <= _LONGEST_KEY:
            self[name] = key
        return key


_KEYS = _Keys()


class LoopTask(WSGITask):  # type: ignore[misc]
    """Gathers the answer; what is not the usual answer of ours, to a connection that stays open, waitress writes."""

    def execute(self) -> None:
        answer = self.channel.server.application(self.get_environment(), self._start_response)
        try:
            body = b"".join(answer)
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()
        length = "Content-Length", str(len(body))
        constant = None
        if length in self.response_headers and self._stays_open():
            headers = tuple([pair for pair in self.response_headers if pair != length])
            constant = _constant_part(self.status, headers, self.channel.server.adj.ident)
        if constant is None:
            self._leave_to_waitress(body)
            return
        moment = date(int(self.start_time)).encode()
        self.wrote_header = True
        self.channel.keep_answer(b"%sContent-Length: %d\r\nDate: %s\r\n\r\n%s" % (constant, len(body), moment, body))

    def _leave_to_waitress(self, body: bytes) -> None:
        _check(self.response_headers)
        for name, value in self.response_headers:
            if name.lower() == "content-length":
                self.content_length = int(value)
        self.write(body)
        if self.content_length not in (None, len(body)) and self.request.command != "HEAD":
            self.close_on_finish = True  # or the next answer would be taken for the rest of this one

    def get_environment(self) -> dict[str, Any]:
        """Give waitress's environ; what is the same for all requests of a connection is copied from the first."""
        channel, request = self.channel, self.request
        if channel.plain_environ is None or channel.server.adj.url_prefix:
            environ: dict[str, Any] = super().get_environment()
            channel.plain_environ = {name: environ[name] for name in _OF_THE_CONNECTION}
            return environ
        path = request.path
        environ = {
            **channel.plain_environ,
            "REQUEST_METHOD": request.command,
            "SERVER_PROTOCOL": f"HTTP/{self.version}",
            "PATH_INFO": "/" + path.lstrip("/") if path.startswith("//") else path,
            "REQUEST_URI": request.request_uri,
            "QUERY_STRING": request.query,
            "wsgi.input": request.get_body_stream(),
        }
        for name, value in request.headers.items():
            environ[_KEYS[name]] = value
        return environ

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.complete, self.status, self.response_headers = True, status, list(headers)
        return self.write

    def _stays_open(self) -> bool:
        closes: bool = self.request.headers.get("CONNECTION", "").lower() == "close"
        return self.version == "1.1" and not closes
