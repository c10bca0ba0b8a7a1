"""One request of a callback: what is sent, what comes back, and whether OSS accepts it (protocol.md 8.9)."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..errors import ErrorText
from ..faults import Fault
from .parameters import CallbackURL
from .signing_key import CallbackKey

#: The id of the account that owns the buckets and sends the callbacks.
ACCOUNT_ID = "1000000000000001"
#: Bytes of a reply that OSS relays at most.
MAX_REPLY_SIZE = 1024 * 1024
#: Seconds that OSS waits; a simulated time-out names them, whatever time the transport allows (protocol.md 8.9).
OSS_TIMEOUT = 5.0


@dataclass(frozen=True)
class CallbackRequest:
    """One POST to one URL.

    :param sni: send the host's name in the TLS handshake.
    """

    url: CallbackURL
    headers: list[tuple[str, str]]
    body: bytes
    sni: bool = False


@dataclass(frozen=True)
class CallbackReply:
    """What the application replied; `headers` by lower-case name."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class CallbackCall:
    """One request to one URL, and what came of it.

    :param failure: why OSS did not accept the reply; None if it did.
    :param seconds: how long it took.
    :param fault: the fault on demand that struck it, "" for none.
    """

    request: CallbackRequest
    reply: CallbackReply | None
    failure: ErrorText | None
    seconds: float
    fault: str = ""


class CallbackError(Exception):
    """The application did not accept the callback; `message` and `ec` are those of protocol.md 10.4."""

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

#: The replies that faults put in the place of the application's.
FAULT_REPLIES: dict[str, CallbackReply] = {
    "callback_not_json": CallbackReply(200, {"content-length": "2"}, b"OK"),
    "callback_too_long": CallbackReply(200, {"content-length": str(MAX_REPLY_SIZE + 1)}),
    "callback_no_length": CallbackReply(200, {}, b"{}"),
}
CALLBACK_FAULTS = ("callback_timeout", "callback_status", "callback_refused", *FAULT_REPLIES)


class CallbackSender:
    """Sends callbacks over `transport`; `key` signs them."""

    def __init__(self, key: CallbackKey, transport: Transport) -> None:
        self.key = key
        self._transport = transport

    def call(self, request: CallbackRequest, fault: Fault | None = None) -> tuple[CallbackCall, bytes]:
        """Send one request; return what came of it, and the body that OSS relays if it accepts the reply."""
        started, reply, failure, relayed = time.monotonic(), None, None, b""
        try:
            reply = self._fail(fault, request) if fault else self._transport(request)
            relayed = accepted_body(reply)
        except CallbackError as error:
            failure = ErrorText(error.message, error.ec)
        seconds = time.monotonic() - started
        return CallbackCall(request, reply, failure, seconds, fault.name if fault else ""), relayed

    def signed(
        self, request: CallbackRequest, string_to_sign: bytes, key: CallbackKey | None = None
    ) -> CallbackRequest:
        """Return the request with another signature: of another text, or by another key."""
        signature = (key or self.key).sign(string_to_sign)
        return replace(
            request,
            headers=[(name, signature if name == "Authorization" else value) for name, value in request.headers],
        )

    def _fail(self, fault: Fault, request: CallbackRequest) -> CallbackReply:
        """Return what arrives instead of the application's reply; raise CallbackError if nothing does."""
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
