"""How a callback reaches the application: over HTTP and TLS, or by a WSGI call in this process."""

from __future__ import annotations

import http.client
import io
import ipaddress
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from .sender import MAX_REPLY_SIZE, CallbackError, CallbackReply, CallbackRequest, cannot_connect, timed_out

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

logger = logging.getLogger(__name__)


class HTTPTransport:
    """Sends a callback over a connection of its own and follows no redirect.

    :param timeout: seconds for connecting, sending and reading together; OSS allows 5 (protocol.md 8.9).
    :param tls: returns the context for https URLs.
    """

    def __init__(self, timeout: float, *, tls: Callable[[], ssl.SSLContext] = ssl.create_default_context) -> None:
        self._timeout = timeout
        self._tls = tls

    def __call__(self, request: CallbackRequest) -> CallbackReply:
        deadline = time.monotonic() + self._timeout
        address = f"{request.url.host}:{request.url.port}"
        try:
            with self._connect(request, deadline) as connection:
                address = "{}:{}".format(*connection.getpeername()[:2])
                connection.settimeout(_seconds_left(deadline))
                connection.sendall(_http_message(request))
                return _read_reply(_TimedConnection(connection, deadline))
        except TimeoutError:
            raise timed_out(address, self._timeout) from None
        except (OSError, http.client.HTTPException):
            raise CallbackError("Error status : 502.") from None

    def _connect(self, request: CallbackRequest, deadline: float) -> socket.socket:
        url = request.url
        try:
            connection = socket.create_connection((url.host, url.port), _seconds_left(deadline))
        except TimeoutError:
            raise
        except (OSError, UnicodeError):
            raise cannot_connect() from None
        if url.scheme == "http":
            return connection
        try:
            connection.settimeout(_seconds_left(deadline))
            return _start_tls(connection, url.host, self._tls(), sni=request.sni)
        except BaseException:
            connection.close()
            raise


class WSGITransport:
    """Calls an application with the environ that a server would make; an exception counts as a 500."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, request: CallbackRequest) -> CallbackReply:
        started: list[tuple[int, dict[str, str]]] = []
        body = io.BytesIO()

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            started[:] = [(int(status[:3]), {name.lower(): value for name, value in headers})]
            return body.write

        try:
            pieces = self._app(callback_environ(request), start_response)
            try:
                body.writelines(pieces)
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        except Exception:
            logger.exception("the application failed on a callback")
            return CallbackReply(500)
        if not started:
            logger.error("the application did not call start_response on a callback")
            return CallbackReply(500)
        status, reply_headers = started[0]
        return CallbackReply(status, reply_headers, body.getvalue())


def callback_environ(request: CallbackRequest) -> dict[str, Any]:
    """Return the environ that a server makes of the request."""
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


def _start_tls(connection: socket.socket, host: str, context: ssl.SSLContext, *, sni: bool) -> ssl.SSLSocket:
    """Return the connection under TLS; raise OSError unless it has a valid certificate of `host`.

    :param sni: send the host's name in the handshake.
    """
    if sni or _is_ip_address(host):  # Python sends no IP address in the handshake
        return context.wrap_socket(connection, server_hostname=host)
    # Python compares the certificate only with a name that it sends.
    context.check_hostname = False
    secured = context.wrap_socket(connection)
    if not is_certificate_of(host, secured.getpeercert() or {}):
        secured.close()
        raise ssl.SSLCertVerificationError(f"the certificate is not valid for {host}")
    return secured


def is_certificate_of(host: str, certificate: Mapping[str, Any]) -> bool:
    """Return whether the certificate names the host; a `*` stands for exactly the first label."""
    host = host.lower()
    names = {value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}
    return host in names or f"*.{host.partition('.')[2]}" in names


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _http_message(request: CallbackRequest) -> bytes:
    lines = [f"POST {request.url.target} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body


def _read_reply(connection: _TimedConnection) -> CallbackReply:
    response = http.client.HTTPResponse(connection, method="POST")  # type: ignore[arg-type]
    with response:
        response.begin()
        headers = {name.lower(): response.getheader(name, "") for name, _ in response.getheaders()}
        if response.chunked:
            headers.pop("content-length", None)
        # Do not wait for a body that OSS refuses for its length anyway.
        body = response.read() if response.length and response.length <= MAX_REPLY_SIZE else b""
        return CallbackReply(response.status, headers, body)


class _TimedConnection(io.RawIOBase):
    """A socket as http.client reads it; every read may take only the time that is left."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._connection.settimeout(_seconds_left(self._deadline))
        return self._connection.recv_into(buffer)


def _seconds_left(deadline: float) -> float:
    """Return the seconds until `deadline`; raise TimeoutError if none are left."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
