"""What was handled: a ledger runs the handler of each upload once, and keeps its answer for whoever asks again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..exceptions import LedgerUnavailableError, TicketUsedError

log = logging.getLogger(__name__)

#: Seconds to wait for another call that handles the same upload: OSS itself gives up after 5.
PATIENCE = 4.0


class UploadIdentity(NamedTuple):
    """What makes two callbacks reports of one upload.

    ``ticket`` is the ticket's ID, ``expires`` the Unix seconds after which the ticket is refused, so that
    nothing needs to be known of the upload any more; it is no part of the identity.
    """

    ticket: str
    object: str
    etag: str
    expires: int


class StoredResponse(NamedTuple):
    """What the application answered: status line (``200 OK``), Content-Type and body."""

    status: str
    content_type: str
    body: bytes

    @property
    def good(self) -> bool:
        """Tell whether the upload counts as handled: any 2xx."""
        return self.status.startswith("2")


class Ledger(Protocol):
    """Knows which uploads were handled."""

    def run_once(self, identity: UploadIdentity, handle: Callable[[], StoredResponse]) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, and give its answer, or the one kept.

        Of several calls at once one handles, the others wait for its answer. What raises, or gives an answer that is
        not good, is not marked: the next call handles again.

        Raises TicketUsedError when the ticket was used for another object, LedgerUnavailableError when nothing can
        be said, and what ``handle`` raises.
        """
        ...


def ticket_used_error() -> TicketUsedError:
    """Give the error for a ticket that was used for another object."""
    return TicketUsedError("ticket_used", "the ticket was already used for another object")


def ledger_busy_error(wait_timeout: float) -> LedgerUnavailableError:
    """Give the error for an upload that another call has been handling for too long; ``wait_timeout`` in seconds."""
    hint = f"another call still handles this ticket's upload after {wait_timeout} s"
    return LedgerUnavailableError("ledger_busy", hint)
