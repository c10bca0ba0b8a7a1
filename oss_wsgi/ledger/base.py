"""The interface of a ledger, which runs the handler of each upload once and stores its response."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from ..exceptions import LedgerUnavailableError, TicketUsedError

#: Seconds to wait for another call that handles the same upload: OSS itself gives up after 5.
DEFAULT_WAIT_TIMEOUT = 4.0


class UploadIdentity(NamedTuple):
    """What makes two callbacks reports of one upload: ticket, object and ETag.

    ``ticket`` is the ticket's ID. ``expires`` is not part of the identity: these are the Unix seconds after which the
    ticket is refused, so the upload need not be remembered any longer (``memory.SteadyTime`` says how much longer a
    ledger does). With ``forbid_overwrite`` OSS does not replace the object, so that another ETag of it is not an upload
    of the ticket; an upload that was found in the bucket has it always. ``max_objects``, the same for all uploads of a
    ticket, is how many objects it is valid for: 1 where the form names its object, ``Grant.max_objects`` where it names
    a prefix.

    ``may_wait`` is not part of the identity either. It is False for a request of a browser, which asks again by itself:
    a call that would have to wait for another one raises ``ledger_busy`` at once.
    """

    ticket: str
    object: str
    etag: str
    expires: int
    forbid_overwrite: bool = False
    max_objects: int = 1
    may_wait: bool = True


class StoredResponse(NamedTuple):
    """The response of the application: status line (``200 OK``), Content-Type and body."""

    status: str
    content_type: str
    body: bytes


#: Handles an upload. Its argument is the ledger's open transaction, or None where the ledger has none to give.
Handle = Callable[[Any], StoredResponse]


class Ledger(Protocol):
    """Remembers which uploads were handled. ``oss_wsgi.testing.ledger_contract`` tests an implementation."""

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        """Return the stored response of an upload, or call ``handle(transaction)`` and return its response.

        ``transaction`` is what the handler may work in, so that its effect and the stored response are committed
        together, or None. Such a ledger rolls back after an exception and after any response but 2xx, and it calls
        ``handle`` again when another transaction has won: the response may be another than that of the last call.

        A 2xx response is stored until ``identity.expires`` at least, also by a clock that jumps and comes back. After
        any other response, and after an exception, the upload counts as not handled, and the next call handles it
        again.

        A ledger that cannot store (a full disk, a standby, a read-only database) refuses before it calls ``handle``:
        it writes something first, or looks whether it may write.

        Of concurrent calls for one upload, one calls ``handle`` and the others wait for its response. Other objects of
        the ticket do not wait, unless those that are being handled may use up its ``max_objects``: their outcome then
        decides. In one process no more calls may wait for a ticket than are handling its uploads; further ones are
        refused at once, or the ticket's owner could hold all threads. Without ``identity.may_wait`` a call never waits
        for another one: it raises ``ledger_busy`` at once.

        Raises TicketUsedError when the ticket was used for ``max_objects`` other objects, or for another ETag of one
        with ``forbid_overwrite``; LedgerUnavailableError when the ledger cannot tell, another call takes too long or
        too many wait already (both ``ledger_busy``); and whatever ``handle`` raises, SystemExit and its like included.
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


def ticket_used_error(max_objects: int = 1) -> TicketUsedError:
    """Return the error for a ticket that other objects, or another ETag of the only object, have used up."""
    if max_objects == 1:
        hint = "the ticket was already used for another object, or for another ETag of one that cannot be overwritten"
    else:
        hint = (
            f"the ticket was already used for {max_objects} objects, the grant's max_objects: request another "
            "signature, or grant more"
        )
    return TicketUsedError("ticket_used", hint)


def ledger_busy_error(wait_timeout: float) -> LedgerUnavailableError:
    """Return the error for an upload that waited ``wait_timeout`` seconds for other calls of its ticket."""
    hint = f"other calls still handle uploads of this ticket after {wait_timeout} s, and their outcome decides"
    return LedgerUnavailableError("ledger_busy", hint)


def already_waiting_error(identity: UploadIdentity) -> LedgerUnavailableError:
    """Return the error for a call that may not wait: for none, or because as many calls of its ticket wait already."""
    others = "and as many wait for them already" if identity.may_wait else "and a browser's request does not wait"
    return LedgerUnavailableError("ledger_busy", f"other calls handle uploads of this ticket, {others}")
