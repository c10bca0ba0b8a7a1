"""A ledger in the memory of one process."""

from __future__ import annotations

import heapq
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

from ..exceptions import LedgerUnavailableError
from ..threads import Locked
from .base import (
    DEFAULT_WAIT_TIMEOUT,
    NOTHING_FOUND,
    Found,
    Handle,
    LoopLedger,
    StoredResponse,
    UploadIdentity,
    decide,
    digest,
)
from .place import Place, place_of_memory
from .steady_time import SteadyTime

log = logging.getLogger(__name__)


class MemoryLedger(LoopLedger, Locked):
    """A ledger for one process. It forgets everything when the process ends.

    A response is removed when its ticket has expired, as ``SteadyTime`` describes: a clock that jumps removes nothing.
    With more than ``max_uploads`` responses, or more than ``max_bytes`` in their bodies, the responses that expire
    soonest are removed earlier. If the ticket of such a response is still valid, its upload can be handled a second
    time, so the log warns once. Notes count separately: with more than ``max_notes``, some are removed earlier.

    :param clock: returns Unix seconds.
    :param wait_timeout: seconds for which a call waits for a call that handles the same upload, or another upload of a
        ticket that is valid for one object.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        max_uploads: int = 10_000,
        max_bytes: int = 16 * 1024 * 1024,
        max_notes: int = 200_000,
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
    ) -> None:
        self._clock = clock
        self._max_uploads = max_uploads
        self._max_bytes = max_bytes
        self._max_notes = max_notes
        # The responses of each ticket, by object and ETag.
        self._tickets: dict[str, dict[str, dict[str, StoredResponse]]] = {}
        # Responses by the steady time until which they are kept. A deque takes 0.7 kB, so each second has a list, which
        # becomes a deque when responses are removed: removing from the front of a long list takes time in proportion to
        # its length.
        self._by_expiry: dict[int, list[UploadIdentity] | deque[UploadIdentity]] = {}
        self._expiries: list[int] = []  # a heap
        self._texts: dict[str, str] = {}
        # The digests of notes, by two hours: ``expires`` passes in one, the steady time of the note in the other.
        self._notes: dict[tuple[int, int], set[bytes]] = {}
        self._time: SteadyTime | None = None
        self._count = 0
        self._bytes = 0
        self._overflow_logged = False
        super().__init__(wait_timeout)

    @property
    def place(self) -> Place:
        """Where the ledger is."""
        return place_of_memory(self)

    def __len__(self) -> int:
        """Return the number of stored responses."""
        return self._count

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the pairs of object and ETag that were handled, as ``Ledger.known`` describes."""
        asked = set(pairs)
        names = {name for name, _ in asked}
        # This scans everything. A sweep calls it once for 1,000 objects, and an upload in parts a few times; an index
        # would slow down each callback.
        with self._lock:
            stored = {
                (name, etag)
                for objects in self._tickets.values()
                for name, responses in objects.items()
                if name in names
                for etag in responses
            }
            self._remove_expired_notes()
            notes = list(self._notes.values())
            marks = {digest(*pair): pair for pair in asked} if notes else {}
            noted = {pair for mark, pair in marks.items() if any(mark in each for each in notes)}
        return stored & asked | noted

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        """Note pairs of object and mark, as ``Ledger.note`` describes."""
        with self._lock:
            self._remove_expired_notes()
            hours = math.ceil(expires / 3600), math.ceil(self._look_at_clock().forget_after(expires) / 3600)
            self._notes.setdefault(hours, set()).update(digest(*pair) for pair in pairs)
            while sum(map(len, self._notes.values())) > self._max_notes:
                soonest = min(self._notes)
                self._notes[soonest].pop()
                if not self._notes[soonest]:
                    del self._notes[soonest]

    def load(self, name: str) -> str | None:
        """Return a saved text, or None."""
        return self._texts.get(name)

    def save(self, name: str, text: str) -> None:
        """Keep a text until the process ends."""
        self._texts[name] = text

    def check(self) -> None:
        """Do nothing: memory is always available."""

    def close(self) -> None:
        """Do nothing: there is nothing to release, and the responses are kept."""

    def begin_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse | None:
        """Do what ``run_once`` does, but return None instead of waiting at the gate."""
        try:
            return self._once(identity, handle, 0.0)
        except LedgerUnavailableError:
            return None

    def _stored_response(self, identity: UploadIdentity) -> StoredResponse | None:
        return self._find(identity).response

    def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
        found = self._find(identity)
        response = None if found is NOTHING_FOUND else decide(identity, found)
        if response is None:
            response = handle(None)
            if response.status[:1] == "2":
                self._store(identity, response)
        return response

    def _hold(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def _find(self, identity: UploadIdentity) -> Found:
        with self._lock:
            self._remove_expired()
            objects = self._tickets.get(identity.ticket)
            if objects is None:
                return NOTHING_FOUND
            responses = objects.get(identity.object, {})
            return Found(responses.get(identity.etag), bool(responses), len(objects))

    def _store(self, identity: UploadIdentity, response: StoredResponse) -> None:
        with self._lock:
            size = len(response.body)
            if size > self._max_bytes:
                self._log_overflow()
                return
            self._tickets.setdefault(identity.ticket, {}).setdefault(identity.object, {})[identity.etag] = response
            self._bytes += size
            self._count += 1
            self._remove_later(identity)
            while self._count > self._max_uploads or self._bytes > self._max_bytes:
                if not self._overflow_logged and self._soonest().expires >= self._look_at_clock().clock:
                    self._log_overflow()
                self._remove_soonest()

    # Forgetting.

    def _look_at_clock(self) -> SteadyTime:
        """Return the steady time, which moves only when the clock has moved by a second or more."""
        now = self._clock()
        time = self._time
        if time is None:
            time = self._time = SteadyTime.started(now)
        elif abs(now - time.clock) >= 1:
            time = self._time = time.at(now)
        return time

    def _remove_later(self, identity: UploadIdentity) -> None:
        expiry = (self._time or self._look_at_clock()).forget_after(identity.expires)
        queue = self._by_expiry.get(expiry)
        if queue is None:
            queue = self._by_expiry[expiry] = []
            heapq.heappush(self._expiries, expiry)
        queue.append(identity)

    def _remove_expired(self) -> None:
        time = self._look_at_clock()
        while self._expiries and self._expiries[0] < time.seconds and self._soonest().expires < time.clock:
            self._remove_soonest()

    def _remove_expired_notes(self) -> None:
        time = self._look_at_clock()
        now = time.clock / 3600, time.seconds / 3600
        for hours in [hours for hours in self._notes if hours[0] < now[0] and hours[1] < now[1]]:
            del self._notes[hours]

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
        objects = self._tickets[identity.ticket]
        responses = objects[identity.object]
        self._bytes -= len(responses.pop(identity.etag).body)
        self._count -= 1
        if not responses:
            del objects[identity.object]
        if not objects:
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
