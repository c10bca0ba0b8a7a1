"""A ledger in the memory of one process, and the steady time by which every ledger forgets."""

from __future__ import annotations

import heapq
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from .base import (
    DEFAULT_WAIT_TIMEOUT,
    Handle,
    StoredResponse,
    UploadIdentity,
    already_waiting_error,
    ledger_busy_error,
    ticket_used_error,
)

#: Seconds by which the steady time moves at the most between two looks at the clock.
MAX_STEP = 600

#: Seconds of steady time for which a response stays after its ticket has expired.
MARGIN = 24 * 3600

log = logging.getLogger(__name__)


class SteadyTime(NamedTuple):
    """The steady time of a ledger in seconds, and the caller's clock (Unix seconds) when it was last looked at.

    A clock that is a day ahead for a moment makes everything look expired. A ledger that forgot by it would handle each
    report again once the clock is right. So a ledger has a steady time. At each look at the clock it moves as far as
    the clock has moved since the last look, forwards or backwards, but by ``MAX_STEP`` at the most. A jump and the way
    back cancel out.

    A ledger forgets a response when both say so: its ticket has expired by the clock, and since the response was stored
    ``MARGIN`` more than the rest of the ticket's life has passed in steady time. The margin also covers a clock that
    was wrong when the response was stored, and one that is set back afterwards.

    The steady time lags in a ledger that looks at the clock more rarely than every ``MAX_STEP``. Its responses stay
    longer, but they do not pile up: at most one is stored between two looks.
    """

    seconds: float
    clock: float

    @classmethod
    def started(cls, clock: float) -> SteadyTime:
        """Return the steady time of a ledger that looks at the clock for the first time."""
        return cls(clock, clock)

    def at(self, clock: float) -> SteadyTime:
        """Return the steady time at the next look."""
        return SteadyTime(self.seconds + max(-MAX_STEP, min(clock - self.clock, MAX_STEP)), clock)

    def forget_after(self, expires: int) -> int:
        """Return until which steady time a response stays that is stored now, for a ticket that ends at ``expires``."""
        return math.ceil(self.seconds + max(0.0, expires - self.clock) + MARGIN)


class _ObjectUse:
    """The responses of one object of a ticket by ETag: None while an upload is being handled."""

    __slots__ = ("responses", "stored_count")

    def __init__(self) -> None:
        self.responses: dict[str, StoredResponse | None] = {}
        self.stored_count = 0


class _TicketUse:
    """The objects that one ticket was used for, how many of them have a response, and how many uploads are handled."""

    __slots__ = ("handling", "objects", "stored_objects")

    def __init__(self) -> None:
        self.objects: dict[str, _ObjectUse] = {}
        self.stored_objects = 0
        self.handling = 0


class MemoryLedger:
    """A ledger for one process. It forgets everything when the process ends.

    A response is removed when its ticket has expired, as ``SteadyTime`` describes: a clock that jumps removes nothing.
    When there are more than ``max_uploads`` responses, or their bodies have more than ``max_bytes``, those that expire
    soonest are removed earlier. If a ticket is still valid then, its upload can be handled a second time, so the log
    warns once.

    :param clock: returns Unix seconds.
    :param wait_timeout: seconds for which a call waits for another one that handles the same upload, or the last object
        that the ticket is valid for: its outcome decides whether the ticket counts as used. As many calls may wait for
        a ticket as are handling its uploads; others are refused at once.
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
        # By the steady time until which they stay. A deque for each second would take 0.7 kB, so that a list becomes
        # one only where responses are removed: from a long list that takes its length each time.
        self._by_expiry: dict[int, list[UploadIdentity] | deque[UploadIdentity]] = {}
        self._expiries: list[int] = []  # a heap
        self._time: SteadyTime | None = None
        self._count = 0
        self._bytes = 0
        self._overflow_logged = False
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiting: dict[str, int] = {}  # calls by ticket

    def __len__(self) -> int:
        """Return the number of stored responses."""
        return self._count

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the pairs of object and ETag that were handled, as ``Ledger.known`` describes."""
        asked = set(pairs)
        names = {name for name, _ in asked}
        # A sweep asks once for 1,000 objects, and an upload in parts a few times; an index would cost each callback.
        with self._lock:
            stored = {
                (name, etag)
                for use in self._tickets.values()
                for name, entry in use.objects.items()
                if name in names
                for etag, response in entry.responses.items()
                if response is not None
            }
        return stored & asked

    def check(self) -> None:
        """Do nothing: memory is always available."""

    def close(self) -> None:
        """Do nothing: there is nothing to release, and the responses stay."""

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, as ``Ledger.run_once`` describes.

        Raises TicketUsedError, LedgerUnavailableError (``ledger_busy``), and whatever ``handle`` raises.
        """
        with self._lock:
            self._remove_expired()
            outcome = self._response_or_claim(identity)
            if outcome is None:
                outcome = self._wait(identity)
        if outcome is None:
            raise ledger_busy_error(self._wait_timeout)
        if isinstance(outcome, StoredResponse):
            return outcome
        response: StoredResponse | None = None
        try:
            response = handle(None)
        finally:
            with self._lock:
                self._finish(identity, response if response is not None and response.status[:1] == "2" else None)
                if self._waiting:
                    self._changed.notify_all()
        return response

    def _wait(self, identity: UploadIdentity) -> StoredResponse | bool | None:
        """Return what ``_response_or_claim`` returns as soon as that is not None, or None after ``wait_timeout``."""
        ticket = identity.ticket
        waiting = self._waiting.get(ticket, 0)
        if not identity.may_wait or waiting >= self._tickets[ticket].handling:
            raise already_waiting_error(identity)
        self._waiting[ticket] = waiting + 1
        try:
            return self._changed.wait_for(lambda: self._response_or_claim(identity), self._wait_timeout)
        finally:
            self._waiting[ticket] -= 1
            if not self._waiting[ticket]:
                del self._waiting[ticket]

    def _response_or_claim(self, identity: UploadIdentity) -> StoredResponse | bool | None:
        """Return the stored response, True if the upload is now claimed, or None while other calls decide."""
        use = self._tickets.get(identity.ticket)
        if use is None:
            use = self._tickets[identity.ticket] = _TicketUse()
        entry = use.objects.get(identity.object)
        if entry is None:
            if len(use.objects) >= identity.max_objects:
                if use.stored_objects >= identity.max_objects:
                    raise ticket_used_error(identity.max_objects)
                return None
            entry = use.objects[identity.object] = _ObjectUse()
        elif identity.etag in entry.responses:
            return entry.responses[identity.etag]
        elif identity.forbid_overwrite:
            if entry.stored_count:
                raise ticket_used_error()
            return None
        entry.responses[identity.etag] = None
        use.handling += 1
        return True

    def _finish(self, identity: UploadIdentity, response: StoredResponse | None) -> None:
        """Store the response of a claimed upload, or drop the claim."""
        use = self._tickets[identity.ticket]
        use.handling -= 1
        if response is None or len(response.body) > self._max_bytes:
            self._forget(identity)
            if response is not None:
                self._log_overflow()
            return
        entry = use.objects[identity.object]
        entry.responses[identity.etag] = response
        if not entry.stored_count:
            use.stored_objects += 1
        entry.stored_count += 1
        self._bytes += len(response.body)
        self._count += 1
        expiry = self._look_at_clock().forget_after(identity.expires)
        queue = self._by_expiry.get(expiry)
        if queue is None:
            queue = self._by_expiry[expiry] = []
            heapq.heappush(self._expiries, expiry)
        queue.append(identity)
        while self._count > self._max_uploads or self._bytes > self._max_bytes:
            if not self._overflow_logged and self._soonest().expires >= self._look_at_clock().clock:
                self._log_overflow()
            self._remove_soonest()

    def _look_at_clock(self) -> SteadyTime:
        """Return the steady time; less than a second is left to a later look."""
        now = self._clock()
        time = self._time
        if time is None:
            time = self._time = SteadyTime.started(now)
        elif not -1 < now - time.clock < 1:
            time = self._time = time.at(now)
        return time

    def _remove_expired(self) -> None:
        time = self._look_at_clock()
        while self._expiries and self._expiries[0] < time.seconds and self._soonest().expires < time.clock:
            self._remove_soonest()

    def _soonest(self) -> UploadIdentity:
        return self._by_expiry[self._expiries[0]][0]

    def _remove_soonest(self) -> None:
        expiry = self._expiries[0]
        queue = self._by_expiry[expiry]
        if isinstance(queue, list):
            queue = self._by_expiry[expiry] = deque(queue)
        identity = queue.popleft()
        if not queue:
            heapq.heappop(self._expiries)
            del self._by_expiry[expiry]
        self._count -= 1
        self._forget(identity)

    def _forget(self, identity: UploadIdentity) -> None:
        use = self._tickets[identity.ticket]
        entry = use.objects[identity.object]
        response = entry.responses.pop(identity.etag)
        if response is not None:
            self._bytes -= len(response.body)
            entry.stored_count -= 1
            if not entry.stored_count:
                use.stored_objects -= 1
        if not entry.responses:
            del use.objects[identity.object]
        if not use.objects:
            del self._tickets[identity.ticket]

    def _log_overflow(self) -> None:
        if not self._overflow_logged:
            self._overflow_logged = True
            log.warning(
                "The ledger in memory is full (%d responses, %d bytes): uploads that it forgets can be handled twice. "
                "Use a ledger in a file.",
                self._count,
                self._bytes,
            )
