"""Callbacks that fail on demand, with what OSS makes of such a failure (P§10.4)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ..faults import Fault
from .message import (
    MAX_ANSWER_SIZE,
    CallbackError,
    CallbackReply,
    CallbackRequest,
    cannot_connect,
    timed_out,
)

Transport = Callable[[CallbackRequest], CallbackReply]

# The time that OSS allows, whatever ours is (P§8.9).
TIMEOUT = 5.0

REPLIES: dict[str, CallbackReply] = {
    "callback_not_json": CallbackReply(200, {"content-length": "2"}, b"OK"),
    "callback_too_long": CallbackReply(200, {"content-length": str(MAX_ANSWER_SIZE + 1)}),
    "callback_no_length": CallbackReply(200, {}, b"{}"),
}
NAMES = ("callback_timeout", "callback_status", "callback_refused", *REPLIES)


def failing(fault: Fault, transport: Transport, request: CallbackRequest) -> CallbackReply:
    """What comes back instead of the application's answer; raises CallbackError where nothing does."""
    if fault.details.get("delivered"):
        with contextlib.suppress(CallbackError):
            transport(request)
    if fault.name == "callback_refused":
        raise cannot_connect()
    if fault.name == "callback_timeout":
        raise timed_out(f"{request.url.host}:{request.url.port}", TIMEOUT)
    return REPLIES.get(fault.name) or CallbackReply(fault.details["status"])
