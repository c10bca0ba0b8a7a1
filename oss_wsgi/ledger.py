"""What was handled: a ledger runs the handler of each upload once, and keeps its answer for whoever asks again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class UploadIdentity:
    """What makes two callbacks reports of one upload.

    ``ticket`` is the ticket's ID, ``expires`` the Unix seconds after which the ticket is refused, so that
    nothing needs to be known of the upload any more; it is no part of the identity.
    """

    ticket: str
    object: str
    etag: str
    expires: int


@dataclass(frozen=True)
class Answer:
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

    def once(self, identity: UploadIdentity, handle: Callable[[], Answer]) -> Answer:
        """Call ``handle`` unless this upload was handled before, and give its answer, or the one kept.

        Of several calls at once one handles, the others wait for its answer. What raises, or gives an answer that is
        not good, is not marked: the next call handles again.

        Raises TicketUsedError when the ticket was used for another object, LedgerUnavailableError when nothing can
        be said, and what ``handle`` raises.
        """
        ...
