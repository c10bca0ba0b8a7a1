"""The signed request of a callback, the application's reply, and the ways it can fail.

protocol.md 8.1 says how the request looks, protocol.md 8.2 and protocol.md 8.3 how it is signed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

from ..errors import ErrorText
from .parameters import JSON, CallbackParameters, CallbackURL
from .signing_key import CallbackKey
from .variables import Value, substitute_form, substitute_json

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


def callback_body(parameters: CallbackParameters, values: Mapping[str, Value], *, space_as_plus: bool = False) -> bytes:
    """Return the body with the values of its variables."""
    if parameters.body_type == JSON:
        return substitute_json(parameters.body, values).encode()
    return substitute_form(parameters.body, values, space_as_plus=space_as_plus).encode()


def callback_request(
    url: CallbackURL,
    parameters: CallbackParameters,
    body: bytes,
    *,
    key: CallbackKey,
    public_key_url: str,
    bucket: str,
    request_id: str,
    now: float,
) -> CallbackRequest:
    """Return the request to one URL, signed with `key`."""
    headers = [
        ("Host", parameters.host or url.netloc),
        ("Connection", "close"),
        ("Content-Length", str(len(body))),
        ("Authorization", key.sign(url.string_to_sign(body))),
        ("Content-MD5", base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()),
        ("Content-Type", parameters.body_type),
        ("Date", formatdate(now, usegmt=True)),
        ("User-Agent", "aliyun-oss-callback"),
        ("x-oss-additional-headers", ""),
        ("x-oss-bucket", bucket),
        ("x-oss-owner", ACCOUNT_ID),
        ("x-oss-pub-key-url", base64.b64encode(public_key_url.encode()).decode()),
        ("x-oss-request-id", request_id),
        ("x-oss-requester", ACCOUNT_ID),
        ("x-oss-signature-version", "1.0"),
        ("x-oss-tag", "CALLBACK"),
    ]
    return CallbackRequest(url, headers, body, parameters.sni)
