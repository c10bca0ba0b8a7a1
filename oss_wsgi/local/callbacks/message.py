"""The request of a callback, the application's reply, and the ways it can fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ErrorText
from .parameters import CallbackURL

#: The id of the account that owns the buckets and sends the callbacks.
ACCOUNT_ID = "1000000000000001"
#: Bytes of a reply that OSS relays at most.
MAX_REPLY_SIZE = 1024 * 1024


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
