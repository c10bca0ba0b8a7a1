"""One HTTP exchange limited in time, and a fetcher of small files: HTTPS, without redirects, limited in size too."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from ..exceptions import FetchError
from ..explanations.text import Text
from ..threads import TimeLimitError, call_within

T = TypeVar("T")


class HTTPSFetcher:
    """Callable that GETs an ``https:`` URL and returns the bytes of the body.

    ``timeout`` (seconds) limits the whole call, including the name look-up and a server that sends byte by byte;
    ``max_bytes`` limits the body. Raises FetchError for anything but a 200 within both limits.
    """

    def __init__(self, *, timeout: float = 1.9, max_bytes: int = 8192, context: ssl.SSLContext | None = None) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._context = context or ssl.create_default_context()

    def __call__(self, url: str) -> bytes:
        connection, target = self._prepare(url)
        try:
            return exchange_within(self._timeout, connection, lambda: self._get(connection, target))
        except TimeLimitError:
            raise FetchError(f"{url} did not answer within {self._timeout} s.") from None
        except FetchError:
            raise
        except Exception as error:
            raise FetchError(f"{url} could not be fetched: {_reason(error)}.") from error

    def _prepare(self, url: str) -> tuple[http.client.HTTPSConnection, str]:
        """Return a connection that is not open yet, and the request target."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            if parts.scheme != "https" or not host:
                raise FetchError("Only https: URLs are fetched.")
            connection = http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._context)
        except (ValueError, http.client.InvalidURL):
            raise FetchError("The key's address is not a URL.") from None
        return connection, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _get(self, connection: http.client.HTTPSConnection, target: str) -> bytes:
        connection.request("GET", target, headers={"Accept": "*/*", "Accept-Encoding": "identity"})
        with connection.getresponse() as response:
            if response.status != 200:
                raise FetchError(
                    f"The key's server answered {response.status}, not 200; redirects are not followed.",
                    response.status,
                )
            body = response.read(self._max_bytes + 1)
            if len(body) > self._max_bytes:
                raise FetchError(f"The key's server sent more than {self._max_bytes} bytes.")
            if response.length:  # http.client raises no error for a short body that is read with a size
                raise FetchError("The key's server sent fewer bytes than it announced.")
            return body


def exchange_within(seconds: float | None, connection: http.client.HTTPConnection, exchange: Callable[[], T]) -> T:
    """Connect, return what ``exchange`` returns, and close the connection.

    Raises TimeLimitError after ``seconds``, None for any number, and whatever connecting and ``exchange`` raise.
    """
    connected: list[socket.socket] = []
    is_over = threading.Event()

    def work() -> T:
        try:
            connection.connect()
            connected.append(connection.sock)
            if is_over.is_set():  # nobody waits any more
                raise TimeoutError
            return exchange()
        finally:
            connection.close()

    if seconds is None:
        return work()
    try:
        return call_within(seconds, work, thread_name="oss_wsgi-request")
    finally:
        is_over.set()
        for sock in connected:  # this ends the thread's read, if it has not closed the socket already
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # the method of a TLS socket would unwrap TLS first


def _reason(error: Exception) -> str:
    """Return in words why there is no response."""
    if isinstance(error, ssl.SSLError):
        return Text("TLS failed: {1}", error.reason or "no reason given")
    if isinstance(error, OSError):
        return error.strerror or "no connection"
    return "the answer is not HTTP"
