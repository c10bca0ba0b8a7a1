"""One HTTPS GET of a small file: no redirects, timed as a whole, capped in size."""

from __future__ import annotations

import contextlib
import http.client
import queue
import socket
import ssl
import threading
from urllib.parse import urlsplit

from .exceptions import FetchError


class HTTPSFetcher:
    """Callable that GETs an ``https:`` URL and gives the body's bytes.

    ``timeout`` (seconds) bounds everything, name look-up and a server that drips its answer included;
    ``max_bytes`` the body. Raises FetchError for anything but a 200 within both.
    """

    def __init__(self, *, timeout: float = 1.9, max_bytes: int = 8192, context: ssl.SSLContext | None = None) -> None:
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._context = context or ssl.create_default_context()

    def __call__(self, url: str) -> bytes:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise FetchError("Only https: URLs are fetched.")
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=self._timeout, context=self._context
        )
        result: queue.Queue[bytes | Exception] = queue.Queue()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

        def work() -> None:
            try:
                result.put(self._get(connection, target))
            except Exception as error:
                result.put(error)
            finally:
                connection.close()

        # A socket's time-out counts from byte to byte; a thread that is not waited for bounds the whole.
        threading.Thread(target=work, daemon=True, name="oss_wsgi-fetch").start()
        try:
            answer = result.get(timeout=self._timeout)
        except queue.Empty:
            _cut(connection)
            raise FetchError(f"{url} did not answer within {self._timeout} s.") from None
        if isinstance(answer, FetchError):
            raise answer
        if isinstance(answer, Exception):
            raise FetchError(f"{url} could not be fetched: {type(answer).__name__}.") from answer
        return answer

    def _get(self, connection: http.client.HTTPSConnection, target: str) -> bytes:
        connection.request("GET", target, headers={"Accept": "*/*", "Accept-Encoding": "identity"})
        response = connection.getresponse()
        if response.status != 200:
            raise FetchError(f"The key's server answered {response.status}, not 200; redirects are not followed.")
        body = response.read(self._max_bytes + 1)
        if len(body) > self._max_bytes:
            raise FetchError(f"The key's server sent more than {self._max_bytes} bytes.")
        return body


def _cut(connection: http.client.HTTPSConnection) -> None:
    """End a read that is under way in the other thread."""
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
