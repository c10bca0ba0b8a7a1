"""One HTTP request without redirects, limited in time and size: all requests of the commands but the SDK's.

`callback/key_fetcher.py`, which the core needs, shares the time limit; it takes small files over HTTPS only.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
import time
from argparse import ArgumentTypeError
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..callback.key_fetcher import exchange_within
from ..explanations.text import Text
from ..http import json_object
from ..threads import TimeLimitError
from .terminal import plain, system_reason

MAX_BYTES = 1024 * 1024

AGENT = "oss-wsgi"


class UnreachableError(Exception):
    """Raised when there is no response from a ``host``, with a sentence that says why."""

    def __init__(self, message: str, host: str = "") -> None:
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
    limit = timeout if deadline is None else min(timeout, deadline)
    try:
        parts = checked_url(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=limit)
    except (ValueError, http.client.InvalidURL) as error:
        raise UnreachableError("the address is not an http:// or https:// URL") from error
    server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    start = time.monotonic()
    is_connected = False

    def exchange() -> Response:
        nonlocal is_connected
        is_connected = True
        # A server that refuses a large body early responds and hangs up before all of it is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, body, {"User-Agent": AGENT, **(headers or {})})
        with connection.getresponse() as response:
            return _read(response, start)

    try:
        return exchange_within(deadline, connection, exchange)
    except (OSError, ValueError, http.client.HTTPException, TimeLimitError) as error:
        if isinstance(error, (TimeoutError, TimeLimitError)):
            seconds = f"{deadline if isinstance(error, TimeLimitError) else limit:g}"
            if is_connected:
                raise TooSlowError(Text("{1} did not answer within {2} s", server, seconds)) from error
            raise UnreachableError(
                Text("{1} cannot be reached: no connection within {2} s", server, seconds)
            ) from error
        if isinstance(error, ssl.SSLError):
            raise UnreachableError(Text("{1}: TLS failed: {2}", server, error.reason or error)) from error
        raise UnreachableError(
            Text("{1} cannot be reached: {2}", server, _reason(error)), parts.hostname or ""
        ) from error


def checked_url(url: str) -> SplitResult:
    """Return the parts of a URL. Raises ValueError for one to which no request can be sent."""
    parts = urlsplit(url)
    is_http = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    if not (is_http and url.isascii() and url.isprintable()) or " " in url or "#" in url:
        raise ValueError("not an http:// or https:// URL")
    return parts


def signature_endpoint(text: str) -> str:
    """Read the URL of a signature endpoint from a command line."""
    try:
        checked_url(text)
    except ValueError:
        raise ArgumentTypeError(f"must be http(s)://HOST[:PORT]/PATH, without a '#', not {plain(text)!r}") from None
    return text


def _reason(error: Exception) -> str:
    """Return in words why there is no response; the texts of http.client are not for people."""
    if isinstance(error, http.client.HTTPException):
        return "the answer is not HTTP"
    if isinstance(error, UnicodeError):
        return "the host name is not valid in DNS"
    return system_reason(error)


def _read(response: http.client.HTTPResponse, start: float) -> Response:
    """Read a response whose headers have arrived; ``start`` is the monotonic time when its request began."""
    moment = time.time()
    try:
        content, complete = response.read(MAX_BYTES), True
    except http.client.IncompleteRead as error:  # in a chunked response
        content, complete = error.partial, False
    if response.length and len(content) < MAX_BYTES:
        complete = False
    return Response(response.status, response.headers, content, time.monotonic() - start, moment, complete)


def json_members(response: Response) -> dict[str, Any]:
    """Return the members of a JSON object; none if the body is anything else."""
    return json_object(response.body) or {}


def is_json(data: bytes) -> bool:
    """Return whether bytes are JSON as OSS accepts it: UTF-8 without a BOM, and no NaN."""
    try:
        json.loads(data.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)
