"""Endpoint where a page reports its upload, or asks for one whose report was lost."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..exceptions import MalformedRecoveryError
from ..http import json_object
from ..recovery.recovery import Recovery
from ..wsgi.environ import read_body
from ..wsgi.facts import RequestFacts, ask_again, facts_of
from ..wsgi.uploads import respond
from .gate import Gate
from .slots import SLOTS

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ..wsgi.uploads import Deliver

MAX_BODY_BYTES = 16 * 1024
_ALLOWED = "POST, OPTIONS"

_MESSAGES = {"not_stored": "The file is not stored: it may be sent again."}

log = logging.getLogger(__name__)


class RecoverEndpoint:
    """Application: ``POST {"ticket": TEXT, "object": KEY}`` returns the response to the upload.

    The page sends a proof: its ticket, or the form's whole ``callback`` field. The endpoint asks OSS for the object, by
    one HEAD. If the object's receipt is the ticket's, the upload goes through the ledger to the application, as its
    callback would. An upload that was handled gets the stored response. The endpoint does not wait for an upload that
    is being handled: the page asks again.

    The ticket says which way is the usual one. With a ticket for pages this request is the upload's report, so
    ``Upload.recovered`` is False; otherwise the upload's callback was lost.

    Refusals: 400 malformed, 403 for the ticket, 404 ``not_stored`` (the file may be sent again), 409 when the object is
    not of this ticket, 411 no length, 413 over 16 KiB, 503 with Retry-After when OSS or the ledger cannot be asked now,
    the upload is being handled, or no slot is free.

    The endpoint waits for OSS and for the application's handler, so it never runs in a server's loop, and it holds a
    slot.

    :param deliver: passes the upload through the ledger to the application.
    :param allowed_origins: as of ``SignatureEndpoint``.
    :param rate_limit: as of ``SignatureEndpoint``, with the user of the ticket; it counts only requests with a ticket.
    """

    def __init__(
        self,
        recovery: Recovery,
        deliver: Deliver,
        *,
        allowed_origins: Sequence[str] = (),
        rate_limit: Callable[[str], float | None] | None = None,
    ) -> None:
        self._recovery = recovery
        self._deliver = deliver
        self._gate = Gate(allowed_origins=allowed_origins, rate_limit=rate_limit)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            return self._gate.answer(log, environ, start_response, _ALLOWED, self._recover, _MESSAGES)
        finally:
            ask_again(environ)

    def reads_body(self, environ: WSGIEnvironment) -> bool:
        """Return whether a request's body is read, in which the proof is."""
        return self._gate.takes_body(environ, MAX_BODY_BYTES)

    def _recover(self, facts: RequestFacts, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with SLOTS.hold(environ) as slot:
            proof, key = _proof_and_key(environ)
            ticket = self._recovery.open(proof, key)
            facts.user, facts.object = ticket.user, key
            self._gate.count(ticket.user, environ, slot, ticket.id)
            upload, oss_request_id = self._recovery.find(ticket, key, recovered=not ticket.by_page)
            response, is_repeated, headers = self._deliver(upload, environ)
        if response.is_success:
            level, line = logging.INFO, "recovered: outcome=%s request_id=%s oss_request_id=%s"
            if ticket.by_page:  # as every upload is
                level, line = logging.DEBUG, "reported by its page: outcome=%s request_id=%s oss_request_id=%s"
            extra = {**facts.fields(), "oss_request_id": oss_request_id, "status": int(response.status[:3])}
            outcome = "repeated" if is_repeated else "handled"
            log.log(level, line, outcome, facts.id, oss_request_id or "-", extra=extra)
        return respond(response, start_response, headers)


def recovery_is_off(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Refuse with 404 instead of a ``RecoverEndpoint``; the log names the setting that turns it on."""
    hint = "OSS_RECOVER is off: pages cannot ask for an upload whose report was lost; set OSS_RECOVER=on"
    return facts_of(environ).not_found(log, start_response, hint)


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
