"""A ledger in the memory of one process."""

from __future__ import annotations

import heapq
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .base import (
    DEFAULT_WAIT_TIMEOUT,
    StoredResponse,
    UploadIdentity,
    already_waiting_error,
    ledger_busy_error,
    ticket_used_error,
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _TicketUse:
    """The object that one ticket was used for, and its responses by ETag: None while the upload is being handled."""

    object: str
    responses: dict[str, StoredResponse | None]
    stored_count: int = 0


class MemoryLedger:
    """A ledger for one process. It forgets everything when the process ends.

    A response is removed when its ticket expires. When there are more than ``max_uploads`` responses, or their bodies
    have more than ``max_bytes``, those that expire soonest are removed earlier. The uploads can then be handled a
    second time, so the log warns once.

    :param clock: returns Unix seconds.
    :param wait_timeout: seconds for which a call waits for another one that handles the same upload, or another object
        of the same ticket: its outcome decides whether the ticket counts as used. One call waits for a ticket; others
        are refused at once.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        max_uploads: int = 10_000,
        max_bytes: int = 16 * 1024 * 1024,
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
    ) -> None:
        self._clock = clock
        self._max_uploads = max_uploads
        self._max_bytes = max_bytes
        self._wait_timeout = wait_timeout
        self._tickets: dict[str, _TicketUse] = {}
        self._by_expiry: dict[int, list[tuple[str, str]]] = {}  # a deque for each second would take 0.7 kB
        self._expiries: list[int] = []  # a heap
        self._count = 0
        self._bytes = 0
        self._overflow_logged = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: set[str] = set()  # tickets

    def __len__(self) -> int:
        """Return the number of stored responses."""
        return self._count

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the pairs of object and ETag that were handled, as ``Ledger.known`` describes."""
        # A sweep asks once for 1,000 objects; an index would cost each callback.
        with self._lock:
            stored = {
                (use.object, etag)
                for use in self._tickets.values()
                for etag, response in use.responses.items()
                if response is not None
            }
        return stored.intersection(pairs)

    def check(self) -> None:
        """Do nothing: memory is always available."""

    def close(self) -> None:
        """Do nothing: there is nothing to release, and the responses stay."""

    def run_once(self, identity: UploadIdentity, handle: Callable[[], StoredResponse]) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, as ``Ledger.run_once`` describes.

        Raises TicketUsedError, LedgerUnavailableError (``ledger_busy``), and whatever ``handle`` raises.
        """
        with self._lock:
            self._remove_expired()
            outcome = self._response_or_claim(identity)
            if outcome is None:
                if identity.ticket in self._waiting:
                    raise already_waiting_error()
                self._waiting.add(identity.ticket)
                try:
                    outcome = self._changed.wait_for(lambda: self._response_or_claim(identity), self._wait_timeout)
                finally:
                    self._waiting.remove(identity.ticket)
        if outcome is None:
            raise ledger_busy_error(self._wait_timeout)
        if isinstance(outcome, StoredResponse):
            return outcome
        response: StoredResponse | None = None
        try:
            response = handle()
        finally:
            with self._lock:
                self._finish(identity, response if response is not None and response.status[:1] == "2" else None)
                if self._waiting:
                    self._changed.notify_all()
        return response

    def _response_or_claim(self, identity: UploadIdentity) -> StoredResponse | bool | None:
        """Return the stored response, True if the upload is now claimed, or None while another call decides."""
        use = self._tickets.get(identity.ticket)
        if use is None:
            self._tickets[identity.ticket] = _TicketUse(identity.object, {identity.etag: None})
            return True
        if use.object != identity.object:
            if use.stored_count:
                raise ticket_used_error()
            return None
        if identity.etag in use.responses:
            return use.responses[identity.etag]
        if identity.forbid_overwrite:
            if use.stored_count:
                raise ticket_used_error()
            return None
        use.responses[identity.etag] = None
        return True

    def _finish(self, identity: UploadIdentity, response: StoredResponse | None) -> None:
        """Store the response of a claimed upload, or drop the claim."""
        if response is None or len(response.body) > self._max_bytes:
            self._forget(identity.ticket, identity.etag)
            if response is not None:
                self._log_overflow()
            return
        use = self._tickets[identity.ticket]
        use.responses[identity.etag] = response
        use.stored_count += 1
        self._bytes += len(response.body)
        self._count += 1
        queue = self._by_expiry.get(identity.expires)
        if queue is None:
            queue = self._by_expiry[identity.expires] = []
            heapq.heappush(self._expiries, identity.expires)
        queue.append((identity.ticket, identity.etag))
        while self._count > self._max_uploads or self._bytes > self._max_bytes:
            self._remove_soonest()
            self._log_overflow()

    def _remove_expired(self) -> None:
        now = self._clock()
        while self._expiries and self._expiries[0] < now:
            self._remove_soonest()

    def _remove_soonest(self) -> None:
        expires = self._expiries[0]
        queue = self._by_expiry[expires]
        ticket, etag = queue.pop(0)
        if not queue:
            heapq.heappop(self._expiries)
            del self._by_expiry[expires]
        self._count -= 1
        self._forget(ticket, etag)

    def _forget(self, ticket: str, etag: str) -> None:
        use = self._tickets[ticket]
        response = use.responses.pop(etag)
        if response is not None:
            use.stored_count -= 1
            self._bytes -= len(response.body)
        if not use.responses:
            del self._tickets[ticket]

    def _log_overflow(self) -> None:
        if not self._overflow_logged:
            self._overflow_logged = True
            log.warning(
                "The ledger in memory is full (%d responses, %d bytes): uploads that it forgets can be handled twice. "
                "Use a ledger in a file.",
                self._count,
                self._bytes,
            )
