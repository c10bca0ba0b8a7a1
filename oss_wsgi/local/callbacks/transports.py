"""Sends a callback over a real connection: one time-out for the whole exchange, no redirect followed."""

from __future__ import annotations

import http.client
import io
import ipaddress
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from .message import (
    MAX_ANSWER_SIZE,
    CallbackError,
    CallbackReply,
    CallbackRequest,
    cannot_connect,
    timed_out,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication


def secured(connection: socket.socket, host: str, context: ssl.SSLContext, *, sni: bool) -> ssl.SSLSocket:
    """Raises OSError unless the certificate is `host`'s and somebody vouches for it."""
    if sni or _is_address(host):  # of an address Python sends nothing
        return context.wrap_socket(connection, server_hostname=host)
    # Python compares names only with the one that it sends.
    context.check_hostname = False
    wrapped = context.wrap_socket(connection)
    if not is_certificate_of(host, wrapped.getpeercert() or {}):
        wrapped.close()
        raise ssl.SSLCertVerificationError(f"the certificate is not of {host}")
    return wrapped


def is_certificate_of(host: str, certificate: Mapping[str, Any]) -> bool:
    """A `*` stands for the whole first label, and for nothing else."""
    host = host.lower()
    names = {value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    return host in names or f"*.{host.partition('.')[2]}" in names


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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


logger = logging.getLogger(__name__)


class WSGITransport:
    """The application sees what a server would make of the request; what it raises counts as its answer 500."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, request: CallbackRequest) -> CallbackReply:
        started: list[tuple[int, dict[str, str]]] = []
        written = io.BytesIO()

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [(int(status[:3]), {name.lower(): value for name, value in headers})]
            return written.write

        try:
            _collect(self._app, callback_environ(request), start_response, written)
        except Exception:
            logger.exception("the application failed on a callback")
            return CallbackReply(500)
        if not started:
            logger.error("the application did not call start_response on a callback")
            return CallbackReply(500)
        status, answer_headers = started[0]
        return CallbackReply(status, answer_headers, written.getvalue())


def callback_environ(request: CallbackRequest) -> dict[str, Any]:
    url = request.url
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": url.target,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.host,
        "SERVER_PORT": str(url.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers:
        variable = name.upper().replace("-", "_")
        environ[variable if variable in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{variable}"] = value
    return environ


def _collect(app: WSGIApplication, environ: dict[str, Any], start_response: StartResponse, written: io.BytesIO) -> None:
    parts: Iterable[bytes] = app(environ, start_response)
    try:
        for part in parts:
            written.write(part)
    finally:
        if hasattr(parts, "close"):
            parts.close()
