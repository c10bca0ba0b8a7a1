"""Endpoint where a page asks for an upload whose report was lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..exceptions import CallbackError, MalformedRecoveryError, NotStoredError, RecoveryError, SlotsTakenError
from ..http import json_object
from ..recovery.delivery import Delivery
from ..recovery.recovery import Recovery
from ..wsgi.environ import read_body
from ..wsgi.observers import facts_of
from ..wsgi.responses import ask_again, not_found, refuse_error
from .gate import Gate
from .slots import SLOTS, Slot

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MAX_BODY_BYTES = 16 * 1024
_ALLOWED = "POST, OPTIONS"

log = logging.getLogger(__name__)


class RecoverEndpoint:
    """Application: ``POST {"ticket": TEXT, "object": KEY}`` returns the response to the upload's callback.

    The page sends a proof: its ticket, or the form's whole ``callback`` field. The endpoint asks OSS for the object. If
    the object's receipt is the ticket's, the upload goes through the ledger to the application, as its callback would.
    An upload that was handled gets the stored response. The endpoint does not wait for an upload that is being handled:
    the page asks again.

    Refusals: 400 malformed, 403 for the ticket, 404 ``not_stored`` (the file may be sent again), 409 when the object is
    not of this ticket, 411 no length, 413 over 16 KiB, 503 with Retry-After when OSS or the ledger cannot be asked now,
    the upload is being handled, or no slot is free.

    The endpoint waits for OSS and for the application's handler, so it never runs in a server's loop, and it holds a
    slot.

    :param allowed_origins: as of ``SignatureEndpoint``.
    :param rate_limit: as of ``SignatureEndpoint``, with the user of the ticket; it counts only requests with a ticket.
    """

    def __init__(
        self,
        recovery: Recovery,
        delivery: Delivery,
        *,
        allowed_origins: Sequence[str] = (),
        rate_limit: Callable[[str], float | None] | None = None,
    ) -> None:
        self._recovery = recovery
        self._delivery = delivery
        self._gate = Gate(allowed_origins=allowed_origins, rate_limit=rate_limit)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response, response = self._gate.admit(log, environ, start_response, _ALLOWED)
        if response is not None:
            return response
        try:
            with SLOTS.hold(environ) as slot:
                return self._recover(slot, environ, start_response)
        except SlotsTakenError as error:
            return refuse_error(log, environ, start_response, error)
        finally:
            ask_again(environ)

    def _recover(self, slot: Slot, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            proof, key = _proof_and_key(environ)
            ticket = self._recovery.open(proof, key)
            facts = facts_of(environ)
            facts.user, facts.object = ticket.user, key
            refusal = self._gate.rate_refusal(ticket.user, environ, slot, ticket.id)
            if refusal is not None:
                return refusal(environ, start_response)
            upload, oss_request_id = self._recovery.find(ticket, key)
        except NotStoredError as error:
            message = "The file is not stored: it may be sent again."
            return refuse_error(log, environ, start_response, error, message=message)
        except (CallbackError, RecoveryError) as error:
            return refuse_error(log, environ, start_response, error)
        delivered = self._delivery(upload, environ)
        if delivered.is_success:
            line = "recovered: outcome=%s request_id=%s head_request_id=%s"
            status = int(delivered.status[:3])
            extra = {**facts.fields(environ), "oss_request_id": oss_request_id, "status": status}
            outcome = "repeated" if delivered.reason == "repeated" else "handled"
            log.info(line, outcome, facts.id(environ), oss_request_id or "-", extra=extra)
        start_response(delivered.status, delivered.headers)
        return [delivered.body]


def recovery_is_off(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Refuse with 404 instead of a ``RecoverEndpoint``; the log names the setting that turns it on."""
    hint = "OSS_RECOVER is off: pages cannot ask for an upload whose report was lost; set OSS_RECOVER=on"
    return not_found(log, environ, start_response, hint)


def _proof_and_key(environ: WSGIEnvironment) -> tuple[str, str]:
    """Return the proof and the key in the body.

    Raises MalformedRecoveryError; LengthRequiredError, BodyTooLargeError, MalformedCallbackError for the body itself.
    """
    members = json_object(read_body(environ, MAX_BODY_BYTES))
    if members is None:
        hint = 'the body must be a JSON object: {"ticket": the ticket or the callback field, "object": the key}'
        raise MalformedRecoveryError("recover_malformed", hint)
    proof, key = members.get("ticket"), members.get("object")
    if not (isinstance(proof, str) and isinstance(key, str) and proof and key):
        hint = "both ticket and object must be there, as texts that are not empty"
        raise MalformedRecoveryError("recover_malformed", hint)
    return proof, key
