"""One HTTP request by the standard library: no redirects, timed, its answer capped in size."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from urllib.parse import urlsplit

MAX_BYTES = 1024 * 1024
AGENT = "oss-wsgi"


class UnreachableError(Exception):
    """Raised when there is no answer, in a sentence."""


@dataclass(frozen=True)
class Answer:
    """What a server answered, and how long that took."""

    status: int
    headers: Message
    body: bytes
    seconds: float


def request(
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | Iterable[bytes] | None = None,
    *,
    timeout: float = 10.0,
) -> Answer:
    """Send one request, and give the answer whatever its status; UnreachableError if there is none."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UnreachableError("what should be reached is not a URL") from error
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    begun = time.monotonic()
    connection: http.client.HTTPConnection | None = None
    try:
        connection = _connection(parts.scheme, parts.hostname, parts.port, timeout)
        connection.request(method, target, body, {"User-Agent": AGENT, **(headers or {})})
        with connection.getresponse() as response:
            content = response.read(MAX_BYTES)
            return Answer(response.status, response.headers, content, time.monotonic() - begun)
    except TimeoutError as error:
        raise UnreachableError(f"{shown} did not answer within {timeout:g} s") from error
    except ssl.SSLError as error:
        raise UnreachableError(f"{shown}: TLS failed: {error.reason or error}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
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
