"""The ledger in this process's memory."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .base import PATIENCE, StoredResponse, UploadIdentity, ledger_busy_error, ticket_used_error

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Uses:
    """What one ticket was used for: an object, and by ETag the answer, None while it is being handled."""

    object: str
    answers: dict[str, StoredResponse | None]
    kept: int = 0


class MemoryLedger:
    """A ledger for one process, which forgets when the process ends.

    ``clock`` gives Unix seconds. Answers leave when their ticket expires, and before that, those that expire soonest
    first, when there are more than ``max_uploads`` of them or their bodies hold more than ``max_bytes``; the log says
    so once, for what has left can be handled a second time. ``wait_timeout`` is in seconds: so long does a call wait
    for another one that handles the same upload, or the same ticket's upload of another object, whose outcome decides
    whether the ticket counts as used.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        max_uploads: int = 10_000,
        max_bytes: int = 16 * 1024 * 1024,
        wait_timeout: float = PATIENCE,
    ) -> None:
        self._clock = clock
        self._max_uploads = max_uploads
        self._max_bytes = max_bytes
        self._patience = wait_timeout
        self._tickets: dict[str, _Uses] = {}
        self._by_expiry: dict[int, list[tuple[str, str]]] = {}  # a deque for each second would hold 0.7 kB
        self._expiries: list[int] = []  # a heap
        self._count = 0
        self._bytes = 0
        self._overflowed = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting = 0

    def __len__(self) -> int:
        """Count the answers kept."""
        return self._count

    def run_once(self, identity: UploadIdentity, handle: Callable[[], StoredResponse]) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, as ``Ledger.once`` says.

        Raises TicketUsedError, LedgerUnavailableError (``ledger_busy``), and what ``handle`` raises.
        """
        with self._lock:
            self._leave_expired()
            known = self._answer_or_claim(identity)
            if known is None:
                self._waiting += 1
                try:
                    known = self._changed.wait_for(lambda: self._answer_or_claim(identity), self._patience)
                finally:
                    self._waiting -= 1
        if known is None:
            raise ledger_busy_error(self._patience)
        if isinstance(known, StoredResponse):
            return known
        answer: StoredResponse | None = None
        try:
            answer = handle()
        finally:
            with self._lock:
                self._finish(identity, answer if answer is not None and answer.good else None)
                if self._waiting:
                    self._changed.notify_all()
        return answer

    def _answer_or_claim(self, identity: UploadIdentity) -> StoredResponse | bool | None:
        """Give the answer kept, True when the upload has been claimed, and None while another call decides."""
        uses = self._tickets.get(identity.ticket)
        if uses is None:
            self._tickets[identity.ticket] = _Uses(identity.object, {identity.etag: None})
            return True
        if uses.object != identity.object:
            if uses.kept:
                raise ticket_used_error()
            return None
        if identity.etag in uses.answers:
            return uses.answers[identity.etag]
        uses.answers[identity.etag] = None
        return True

    def _finish(self, identity: UploadIdentity, answer: StoredResponse | None) -> None:
        if answer is None or len(answer.body) > self._max_bytes:
            self._forget(identity.ticket, identity.etag)
            if answer is not None:
                self._say_overflow()
            return
        uses = self._tickets[identity.ticket]
        uses.answers[identity.etag] = answer
        uses.kept += 1
        self._bytes += len(answer.body)
        self._count += 1
        queue = self._by_expiry.get(identity.expires)
        if queue is None:
            queue = self._by_expiry[identity.expires] = []
            heapq.heappush(self._expiries, identity.expires)
        queue.append((identity.ticket, identity.etag))
        while self._count > self._max_uploads or self._bytes > self._max_bytes:
            self._leave_first()
            self._say_overflow()

    def _leave_expired(self) -> None:
        moment = self._clock()
        while self._expiries and self._expiries[0] < moment:
            self._leave_first()

    def _leave_first(self) -> None:
        expires = self._expiries[0]
        queue = self._by_expiry[expires]
        ticket, etag = queue.pop(0)
        if not queue:
            heapq.heappop(self._expiries)
            del self._by_expiry[expires]
        self._count -= 1
        self._forget(ticket, etag)

    def _forget(self, ticket: str, etag: str) -> None:
        uses = self._tickets[ticket]
        answer = uses.answers.pop(etag)
        if answer is not None:
            uses.kept -= 1
            self._bytes -= len(answer.body)
        if not uses.answers:
            del self._tickets[ticket]

    def _say_overflow(self) -> None:
        if not self._overflowed:
            self._overflowed = True
            log.warning(
                "The ledger in memory is full (%d answers, %d bytes of them): what leaves it can be handled twice. "
                "Keep it in a file.",
                self._count,
                self._bytes,
            )
