"""One HTTP request without redirects, limited in time and size."""

from __future__ import annotations

import contextlib
import errno
import functools
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from ..threads import TimeLimitError, call_within
from .terminal import system_reason

MAX_BYTES = 1024 * 1024

AGENT = "oss-wsgi"


class UnreachableError(Exception):
    """Raised when there is no response, with a sentence that says why."""


class NoNetworkError(UnreachableError):
    """Raised when this machine has no network or no DNS, so that nothing is known about the server."""


class UnknownHostError(UnreachableError):
    """Raised when the DNS has no address for the ``host``."""

    def __init__(self, message: str, host: str) -> None:
        super().__init__(message)
        self.host = host


class TooSlowError(UnreachableError):
    """Raised when the server accepted the connection, but did not finish its response in time."""


@dataclass(frozen=True)
class Response:
    """The response of a server.

    :ivar seconds: how long the whole request took.
    :ivar moment: Unix seconds at which the headers arrived.
    :ivar complete: False if the server broke off before the announced end.
    """

    status: int
    headers: Message
    body: bytes
    seconds: float
    moment: float = 0.0
    complete: bool = True


def request(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
    *,
    timeout: float = 10.0,
    deadline: float | None = None,
) -> Response:
    """Send one request, and return the response whatever its status. Raises UnreachableError without one.

    :param timeout: seconds for each wait.
    :param deadline: seconds for the whole request, however slowly the response arrives.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UnreachableError("the address is not a URL") from error
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    limit = timeout if deadline is None else min(timeout, deadline)
    connected: list[socket.socket] = []
    is_over = threading.Event()
    connection: http.client.HTTPConnection | None = None
    try:
        connection = _connection(parts.scheme, parts.hostname, parts.port, limit)
        all_headers = {"User-Agent": AGENT, **(headers or {})}
        exchange = functools.partial(_exchange, connection, method, target, all_headers, body, connected, is_over)
        return exchange() if deadline is None else call_within(deadline, exchange, thread_name="oss_wsgi-request")
    except (OSError, ValueError, http.client.HTTPException, TimeLimitError) as error:
        if isinstance(error, (TimeoutError, TimeLimitError)):
            seconds = f"{deadline if isinstance(error, TimeLimitError) else limit:g} s"
            if connected:
                raise TooSlowError(f"{server} did not answer within {seconds}") from error
            raise UnreachableError(f"{server} cannot be reached: no connection within {seconds}") from error
        if isinstance(error, ssl.SSLError):
            raise UnreachableError(f"{server}: TLS failed: {error.reason or error}") from error
        reason = _reason(error)
        if isinstance(error, OSError) and _is_offline(error):
            raise NoNetworkError(f"{server} cannot be reached: {reason}") from error
        if isinstance(error, socket.gaierror):
            raise UnknownHostError(f"{server} cannot be reached: {reason}", parts.hostname or "") from error
        raise UnreachableError(f"{server} cannot be reached: {reason}") from error
    finally:
        is_over.set()
        for sock in connected:  # the thread of `call_within` may still use it
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # the method of a TLS socket would unwrap TLS first
        if connection is not None:
            connection.close()


def _reason(error: Exception) -> str:
    """Return in words why there is no response; the texts of http.client are not for people."""
    if isinstance(error, http.client.HTTPException):
        return "the answer is not HTTP"
    if isinstance(error, UnicodeError):
        return "the host name is not valid in DNS"
    return system_reason(error)


def _is_offline(error: OSError) -> bool:
    """Return whether an error says that there is no way to any server: no route, or no answer of the DNS."""
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return error.errno in (errno.ENETUNREACH, errno.ENETDOWN)


def _connection(scheme: str, host: str | None, port: int | None, timeout: float) -> http.client.HTTPConnection:
    if scheme == "https" and host:
        return http.client.HTTPSConnection(host, port, timeout=timeout)
    if scheme == "http" and host:
        return http.client.HTTPConnection(host, port, timeout=timeout)
    raise ValueError("not an http:// or https:// URL")


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | Iterable[bytes] | None,
    connected: list[socket.socket],
    is_over: threading.Event,
) -> Response:
    """Connect, send the request and return the response; the socket is appended to ``connected``."""
    start = time.monotonic()
    connection.connect()
    connected.append(connection.sock)
    if is_over.is_set():  # nobody waits any more
        raise TimeoutError
    # A server that refuses a large body early responds and hangs up before all of it is sent.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, target, body, headers)
    with connection.getresponse() as response:
        moment = time.time()
        try:
            content, complete = response.read(MAX_BYTES), True
        except http.client.IncompleteRead as error:  # in a chunked response
            content, complete = error.partial, False
        if response.length and len(content) < MAX_BYTES:
            complete = False
        return Response(response.status, response.headers, content, time.monotonic() - start, moment, complete)


def parsed(data: bytes | str) -> Any:
    """Return the value of a JSON text. Raises ValueError if it is malformed or nested too deep."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def json_members(response: Response) -> dict[str, Any]:
    """Return the members of a JSON object; none if the body is anything else."""
    try:
        members = parsed(response.body)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def is_json(data: bytes) -> bool:
    """Return whether bytes are JSON as OSS accepts it: UTF-8 without a BOM, and no NaN."""
    try:
        json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)
