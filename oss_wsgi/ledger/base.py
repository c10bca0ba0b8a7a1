"""The interface of a ledger, which runs the handler of each upload once and stores its response."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from ..exceptions import LedgerUnavailableError, TicketUsedError

#: Seconds to wait for another call that handles the same upload: OSS itself gives up after 5.
DEFAULT_WAIT_TIMEOUT = 4.0


class UploadIdentity(NamedTuple):
    """What makes two callbacks reports of one upload: ticket, object and ETag.

    ``ticket`` is the ticket's ID. ``expires`` is not part of the identity: these are the Unix seconds after which the
    ticket is refused, so the upload need not be remembered any longer. With ``forbid_overwrite``, which all uploads of
    a ticket have or none, OSS does not replace the object, so that another ETag of it is not an upload of the ticket.
    """

    ticket: str
    object: str
    etag: str
    expires: int
    forbid_overwrite: bool = False


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
        ``handle`` and one other waits for its response. A third is refused at once: a ticket may hold one waiting
        thread of a process at the most, or its owner could hold them all.

        Raises TicketUsedError when the ticket was used for another object, or for another ETag of one with
        ``forbid_overwrite``; LedgerUnavailableError when the ledger cannot tell, another call takes too long or one
        waits already (both ``ledger_busy``); and whatever ``handle`` raises, SystemExit and its like included.
        """
        ...

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return those of up to 1,000 pairs of object and ETag for which a response is stored, whatever the ticket.

        An upload that is being handled is not known yet. Raises LedgerUnavailableError when the ledger cannot tell.
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
    """Return the error for a ticket that was used for another object, or for another ETag of the only possible one."""
    hint = "the ticket was already used for another object, or for another ETag of one that cannot be overwritten"
    return TicketUsedError("ticket_used", hint)


def ledger_busy_error(wait_timeout: float) -> LedgerUnavailableError:
    """Return the error for an upload that another call still handles after ``wait_timeout`` seconds."""
    hint = f"another call still handles this ticket's upload after {wait_timeout} s"
    return LedgerUnavailableError("ledger_busy", hint)


def already_waiting_error() -> LedgerUnavailableError:
    """Return the error for an upload that another call handles while one more call waits for its ticket already."""
    hint = "another call handles this ticket's upload, and one more waits for it already"
    return LedgerUnavailableError("ledger_busy", hint)
