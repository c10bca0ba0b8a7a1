"""Slots: a limit of browsers' requests that hold a thread at a time, so that OSS's callbacks always find one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..exceptions import SlotsTakenError
from ..threads import ForkAware
from ..wsgi.responses import THREADS_KEY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: How many slots one ticket, one user and one address may hold.
SLOTS_PER_CALLER = 2

#: The number of threads that is assumed where the server does not say it: waitress's default.
ASSUMED_THREADS = 4


class Slots(ForkAware):
    """Counts the requests of browsers that may wait: for OSS, for a ledger or for the application's own code.

    Together they hold at most half of the server's threads, but at least one; each caller holds at most
    ``SLOTS_PER_CALLER``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: list[Slot] = []
        super().__init__()

    def _renew_in_child(self) -> None:
        self._lock, self._held = threading.Lock(), []  # the threads that hold slots do not run here

    @contextmanager
    def hold(self, environ: WSGIEnvironment) -> Iterator[Slot]:
        """Hold a slot for the request's address, as the rate limit sees it, while the with block runs.

        Raises SlotsTakenError.
        """
        slot = Slot(self)
        threads = environ.get(THREADS_KEY)
        most = max(1, (threads if isinstance(threads, int) else ASSUMED_THREADS) // 2)
        with self._lock:
            if len(self._held) >= most:
                hint = (
                    f"requests of browsers hold {most} threads already, half of all: the other half is kept for "
                    "callbacks"
                )
                raise SlotsTakenError("slots_taken", hint)
            self._held.append(slot)
        try:
            slot.share(f"address:{environ.get('REMOTE_ADDR') or ''}")
            yield slot
        finally:
            with self._lock:
                self._held.remove(slot)

    def add(self, slot: Slot, caller: str) -> None:
        """Count a slot for a caller. Raises SlotsTakenError if the caller holds as many as it may."""
        with self._lock:
            if sum(caller in other.callers for other in self._held) >= SLOTS_PER_CALLER:
                kind = caller.partition(":")[0]
                hint = (
                    f"{SLOTS_PER_CALLER} requests of this {kind} are being handled already, and no more may be at a "
                    "time"
                )
                raise SlotsTakenError("slots_taken", hint)
            slot.callers.add(caller)


class Slot:
    """A slot that a request holds, and the callers for which it counts."""

    __slots__ = ("_slots", "callers")

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.callers: set[str] = set()

    def share(self, caller: str) -> None:
        """Count this slot for one more caller, such as ``user:eric``. Raises SlotsTakenError."""
        self._slots.add(self, caller)


#: The slots of this process: all its applications share the server's threads.
SLOTS = Slots()
