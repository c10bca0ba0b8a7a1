"""A fetcher of small files: one HTTPS GET without redirects, limited in time and size."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from urllib.parse import urlsplit

from ..exceptions import FetchError
from ..threads import TimeLimitError, call_within


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
        sockets: list[socket.socket] = []
        too_late = threading.Event()

        def get() -> bytes:
            try:
                connection.connect()
                sockets.append(connection.sock)
                if too_late.is_set():
                    raise TimeoutError
                return self._get(connection, target)
            finally:
                connection.close()

        try:
            return call_within(self._timeout, get, thread_name="oss_wsgi-fetch")
        except TimeLimitError:
            too_late.set()  # `get` gives up if it connects after this
            _shut_down(sockets)
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


def _shut_down(sockets: list[socket.socket]) -> None:
    """Shut the sockets down, which ends the other thread's read; a socket may be closed already."""
    for sock in sockets:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _reason(error: Exception) -> str:
    """Return in words why there is no response."""
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'no reason given'}"
    if isinstance(error, OSError):
        return error.strerror or "no connection"
    return "the answer is not HTTP"
