"""One request of a callback: how it reaches the application, what comes back, and whether OSS accepts it.

The request goes over HTTP or HTTPS, or as a WSGI call in this process (protocol.md 8.9).
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import ErrorText
from ..faults import Fault
from .parameters import CallbackURL
from .signing_key import CallbackKey

if TYPE_CHECKING:
    import webob
    from _typeshed.wsgi import WSGIApplication

logger = logging.getLogger(__name__)

#: The ID of the account that owns the buckets and the permanent key.
ACCOUNT_ID = "1000000000000001"
#: The ID of every role; requests with a temporary key have it.
ROLE_ID = "300000000000000001"
#: The most bytes of a reply that OSS relays.
MAX_REPLY_SIZE = 1024 * 1024
#: Seconds that OSS waits; a simulated time-out names this number, whatever the transport allows (protocol.md 8.9).
OSS_TIMEOUT = 5.0


@dataclass(frozen=True)
class CallbackRequest:
    """One POST to one URL; `sni` sends the host's name in the TLS handshake."""

    url: CallbackURL
    headers: list[tuple[str, str]]
    body: bytes
    sni: bool = False

    def with_header(self, name: str, value: str) -> CallbackRequest:
        return replace(self, headers=[(each, value if each == name else kept) for each, kept in self.headers])


@dataclass(frozen=True)
class CallbackReply:
    """The application's reply; `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class CallbackCall:
    """One request to one URL, and its result.

    :param failure: why OSS did not accept the reply; None if it did.
    :param seconds: how long the request took.
    :param fault: the fault on demand that struck the request, "" for none.
    """

    request: CallbackRequest
    reply: CallbackReply | None
    failure: ErrorText | None
    seconds: float
    fault: str = ""


class CallbackError(Exception):
    """The application did not accept the callback; protocol.md 10.4 lists `message` and `ec`."""

    def __init__(self, message: str, ec: str = "0007-00000203") -> None:
        super().__init__(message)
        self.message = message
        self.ec = ec


def cannot_connect() -> CallbackError:
    return CallbackError("Error status : -1. OSS can not connect to your callbackUrl, please check it.")


def timed_out(address: str, seconds: float) -> CallbackError:
    limit = round(seconds * 1000)
    return CallbackError(
        f"Error status : -1 {address} reply timeout, cost:{limit}ms, timeout:{limit}ms"
        " (err -4, errno115, Operation now in progress)."
    )


Transport = Callable[[CallbackRequest], CallbackReply]

#: The replies with which faults replace the application's.
FAULT_REPLIES: dict[str, CallbackReply] = {
    "callback_not_json": CallbackReply(200, {"content-length": "2"}, b"OK"),
    "callback_too_long": CallbackReply(200, {"content-length": str(MAX_REPLY_SIZE + 1)}),
    "callback_no_length": CallbackReply(200, {}, b"{}"),
}
CALLBACK_FAULTS = ("callback_timeout", "callback_status", "callback_refused", *FAULT_REPLIES)


class CallbackSender:
    def __init__(self, key: CallbackKey, transport: Transport) -> None:
        self.key = key
        self._transport = transport

    def call(self, request: CallbackRequest, fault: Fault | None = None) -> tuple[CallbackCall, bytes]:
        """Send one request; return its result, and the body that OSS relays if it accepts the reply."""
        started, reply, failure, relayed = time.monotonic(), None, None, b""
        try:
            reply = self._fail(fault, request) if fault else self._transport(request)
            relayed = accepted_body(reply)
        except CallbackError as error:
            failure = ErrorText(error.message, error.ec)
        seconds = time.monotonic() - started
        return CallbackCall(request, reply, failure, seconds, fault.name if fault else ""), relayed

    def _fail(self, fault: Fault, request: CallbackRequest) -> CallbackReply:
        """Return what arrives instead of the application's reply; raise CallbackError if nothing arrives."""
        if fault.details.get("delivered"):
            with contextlib.suppress(CallbackError):
                self._transport(request)
        if fault.name == "callback_refused":
            raise cannot_connect()
        if fault.name == "callback_timeout":
            raise timed_out(f"{request.url.host}:{request.url.port}", OSS_TIMEOUT)
        return FAULT_REPLIES.get(fault.name) or CallbackReply(fault.details["status"])


def accepted_body(reply: CallbackReply) -> bytes:
    """Return the body that OSS relays; raise CallbackError if OSS does not accept the reply."""
    if reply.status != 200:
        raise CallbackError(f"Error status : {reply.status}.")
    length = reply.headers.get("content-length")
    if length is None:
        raise CallbackError("Error Status : 400.User server missing content-length.")
    if not (length.isascii() and length.isdigit()) or not length.strip("0"):
        raise CallbackError("Error Status : 400.User server return invalid conent-length value.")
    if len(length) > 18 or int(length) > MAX_REPLY_SIZE:
        raise CallbackError("Error Status : 400.User server return too long content-length value.")
    if len(reply.body) < int(length):
        raise CallbackError("Error status : 502.")
    body = reply.body[: int(length)]
    try:
        json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise CallbackError("Response body is not valid json format.", "0007-00000205") from None
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


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
        sent = webob_request(request)
        try:
            status, headers, pieces = sent.call_application(self._app, catch_exc_info=True)[:3]
            try:
                body = b"".join(pieces)
            finally:
                if hasattr(pieces, "close"):
                    pieces.close()
        except Exception:
            logger.exception("the application failed on a callback")
            return CallbackReply(500)
        return CallbackReply(int(status[:3]), {name.lower(): value for name, value in headers}, body)


def webob_request(request: CallbackRequest) -> webob.Request:
    import webob  # not at the top: a local OSS without a transport needs no webob

    url = request.url
    own: Any = {
        "REQUEST_URI": url.target,
        "SERVER_NAME": url.host,
        "SERVER_PORT": str(url.port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.multithread": True,
    }
    headers = dict(request.headers)
    return webob.Request.blank(url.target, own, url.origin, headers, method="POST", body=request.body)


def _start_tls(connection: socket.socket, host: str, context: ssl.SSLContext, *, sni: bool) -> ssl.SSLSocket:
    """Return the connection under TLS; raise OSError unless it has a valid certificate of `host`."""
    is_ip_address = not host.strip("0123456789.")
    if sni or is_ip_address:  # Python sends no IP address in the handshake
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
