"""The interface of a ledger, which runs the handler of each upload once and stores its response."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from ..exceptions import LedgerUnavailableError, TicketUsedError

#: Seconds to wait for another call that handles the same upload: OSS itself gives up after 5.
DEFAULT_WAIT_TIMEOUT = 4.0


class UploadIdentity(NamedTuple):
    """What makes two callbacks reports of one upload: ticket, object and ETag.

    ``ticket`` is the ticket's ID. ``expires`` is not part of the identity: these are the Unix seconds after which the
    ticket is refused, so the upload need not be remembered any longer.
    """

    ticket: str
    object: str
    etag: str
    expires: int


class StoredResponse(NamedTuple):
    """The response of the application: status line (``200 OK``), Content-Type and body."""

    status: str
    content_type: str
    body: bytes


class Ledger(Protocol):
    """Remembers which uploads were handled. ``oss_wsgi.testing.ledger_contract`` tests an implementation."""

    def run_once(self, identity: UploadIdentity, handle: Callable[[], StoredResponse]) -> StoredResponse:
        """Return the stored response of an upload, or call ``handle`` and return its response.

        A 2xx response is stored until ``identity.expires``. After any other response, and after an exception, the
        upload counts as not handled, and the next call handles it again. Of concurrent calls for one upload, one calls
        ``handle`` and the others wait for its response.

        Raises TicketUsedError when the ticket was used for another object, LedgerUnavailableError when the ledger
        cannot tell or another call takes too long (``ledger_busy``), and whatever ``handle`` raises.
        """
        ...

    def check(self) -> None:
        """Raise LedgerUnavailableError if no upload could be handled now; store nothing."""
        ...

    def close(self) -> None:
        """Release connections and files; the next call opens them again."""
        ...

    def __len__(self) -> int:
        """Return the number of stored responses, for metrics; expired ones may be included."""
        ...


def ticket_used_error() -> TicketUsedError:
    """Return the error for a ticket that was used for another object."""
    return TicketUsedError("ticket_used", "the ticket was already used for another object")


def ledger_busy_error(wait_timeout: float) -> LedgerUnavailableError:
    """Return the error for an upload that another call still handles after ``wait_timeout`` seconds."""
    hint = f"another call still handles this ticket's upload after {wait_timeout} s"
    return LedgerUnavailableError("ledger_busy", hint)
