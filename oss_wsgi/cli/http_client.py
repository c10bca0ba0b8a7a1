"""One HTTP request by the standard library: no redirects, timed, its answer capped in size."""

from __future__ import annotations

import contextlib
import html
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from .terminal import plain

MAX_BYTES = 1024 * 1024

AGENT = "oss-wsgi"


class UnreachableError(Exception):
    """Raised when there is no answer, in a sentence."""


class TooSlowError(UnreachableError):
    """Raised when somebody is there, and has not answered to the end when the time is over."""


@dataclass(frozen=True)
class Answer:
    """What a server answered, how long that took, and when (Unix seconds) its headers came.

    ``complete`` is False where the server broke off before the end that it announced.
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
) -> Answer:
    """Send one request, and give the answer whatever its status; UnreachableError if there is none.

    ``timeout`` (seconds) bounds each wait, ``deadline`` the whole, however slowly the answer drips in.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UnreachableError("what should be reached is not a URL") from error
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    begun = time.monotonic()
    limit = timeout if deadline is None else min(timeout, deadline)
    connected = False
    cut = threading.Event()
    connection: http.client.HTTPConnection | None = None
    try:
        connection = _connection(parts.scheme, parts.hostname, parts.port, limit)
        connection.connect()
        connected = True
        left = None if deadline is None else deadline - (time.monotonic() - begun)
        with _ended_after(left, connection.sock, cut):
            _send(connection, method, target, body, {"User-Agent": AGENT, **(headers or {})})
            answer = _answer(connection, begun)
        if cut.is_set():  # what was cut looks like an answer that ended
            raise TimeoutError
        return answer
    except (OSError, ValueError, http.client.HTTPException) as error:
        if cut.is_set() or isinstance(error, TimeoutError):
            seconds = f"{deadline if cut.is_set() else limit:g} s"
            if connected:
                raise TooSlowError(f"{shown} did not answer within {seconds}") from error
            raise UnreachableError(f"{shown} cannot be reached: no connection within {seconds}") from error
        if isinstance(error, ssl.SSLError):
            raise UnreachableError(f"{shown}: TLS failed: {error.reason or error}") from error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreachableError(f"{shown} cannot be reached: {reason}") from error
    finally:
        if connection is not None:
            connection.close()


def _connection(scheme: str, host: str | None, port: int | None, timeout: float) -> http.client.HTTPConnection:
    if scheme == "https" and host:
        return http.client.HTTPSConnection(host, port, timeout=timeout)
    if scheme == "http" and host:
        return http.client.HTTPConnection(host, port, timeout=timeout)
    raise ValueError("not an http:// or https:// URL")


def _send(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | Iterable[bytes] | None,
    headers: Mapping[str, str],
) -> None:
    # Who refuses a large body early says why, and hangs up before all of it is sent.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(method, target, body, headers)


def _answer(connection: http.client.HTTPConnection, begun: float) -> Answer:
    with connection.getresponse() as response:
        moment = time.time()
        try:
            content, complete = response.read(MAX_BYTES), True
        except http.client.IncompleteRead as error:  # of chunks
            content, complete = error.partial, False
        if response.length and len(content) < MAX_BYTES:
            complete = False
        return Answer(response.status, response.headers, content, time.monotonic() - begun, moment, complete)


@contextlib.contextmanager
def _ended_after(seconds: float | None, sock: socket.socket, cut: threading.Event) -> Iterator[None]:
    """End what is read or written when the time is over: a socket's own time-out counts from byte to byte."""
    if seconds is None:
        yield
        return

    def end() -> None:
        cut.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of TLS too, which would be unwrapped by its own

    timer = threading.Timer(max(seconds, 0), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def parsed(data: bytes | str) -> Any:
    """Give the value; ValueError for what is no JSON, or is nested so deep that nobody means it."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def is_json(data: bytes) -> bool:
    """Tell whether bytes are JSON as OSS takes it: UTF-8 without a BOM, and no NaN."""
    try:
        json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)


@dataclass(frozen=True)
class OSSRefusal:
    """Code, message and EC number of a refusal; "" for what it did not say."""

    code: str
    message: str
    ec: str
    endpoint: str = ""

    def __str__(self) -> str:
        said = f"{self.code or 'no code'}: {self.message}" if self.message else self.code or "no reason given"
        return said + (f" (EC {self.ec})" if self.ec else "")

    def members(self) -> dict[str, str]:
        """Give what it said, for JSON."""
        return {name: value for name, value in asdict(self).items() if value}


def read_refusal(body: bytes) -> OSSRefusal:
    """Read an error document, as text alone: no parser of XML meets what a stranger sent."""
    text = body[:65536].decode("utf-8", "replace")
    return OSSRefusal(_text(text, "Code"), _text(text, "Message"), _text(text, "EC"), _text(text, "Endpoint"))


def _text(document: str, name: str) -> str:
    found = re.search(rf"<{name}>([^<]{{0,4096}})</{name}>", document)
    return plain(html.unescape(found[1]).strip()) if found else ""
