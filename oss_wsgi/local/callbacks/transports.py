"""Sends a callback over a real connection: one time-out for the whole exchange, no redirect followed."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from collections.abc import Callable

from .callback_tls import secured
from .message import (
    MAX_ANSWER_SIZE,
    CallbackError,
    CallbackReply,
    CallbackRequest,
    cannot_connect,
    timed_out,
)


class HTTPTransport:
    """:param timeout: seconds for connecting, sending and reading together; OSS has 5 (P§8.9)."""

    def __init__(self, timeout: float, *, tls: Callable[[], ssl.SSLContext] = ssl.create_default_context) -> None:
        self._timeout = timeout
        self._tls = tls

    def __call__(self, request: CallbackRequest) -> CallbackReply:
        deadline = time.monotonic() + self._timeout
        address = f"{request.url.host}:{request.url.port}"
        try:
            with self._connect(request, deadline) as connection:
                address = "{}:{}".format(*connection.getpeername()[:2])
                connection.settimeout(_remaining(deadline))
                connection.sendall(_bytes(request))
                return _read_reply(_TimedConnection(connection, deadline))
        except TimeoutError:
            raise timed_out(address, self._timeout) from None
        except (OSError, http.client.HTTPException):
            raise CallbackError("Error status : 502.") from None

    def _connect(self, request: CallbackRequest, deadline: float) -> socket.socket:
        url = request.url
        try:
            connection = socket.create_connection((url.host, url.port), _remaining(deadline))
        except TimeoutError:
            raise
        except (OSError, UnicodeError):
            raise cannot_connect() from None
        if url.scheme == "http":
            return connection
        try:
            connection.settimeout(_remaining(deadline))
            return secured(connection, url.host, self._tls(), sni=request.sni)
        except BaseException:
            connection.close()
            raise


def _bytes(request: CallbackRequest) -> bytes:
    lines = [f"POST {request.url.target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body


def _read_reply(connection: _TimedConnection) -> CallbackReply:
    response = http.client.HTTPResponse(connection, method="POST")  # type: ignore[arg-type]
    with response:
        response.begin()
        headers = {name.lower(): response.getheader(name, "") for name, _ in response.getheaders()}
        if response.chunked:
            headers.pop("content-length", None)
        # A body without a length that OSS accepts is not waited for.
        body = response.read() if response.length and response.length <= MAX_ANSWER_SIZE else b""
        return CallbackReply(response.status, headers, body)


class _TimedConnection(io.RawIOBase):
    """A socket as http.client reads it, every read within the time that is left."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(_remaining(self._deadline))
        return self._connection.recv_into(buffer)


def _remaining(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining
