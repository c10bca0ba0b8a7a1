"""Which calls of one process may go on to a ledger's database, and which wait in the process for another's outcome."""

from __future__ import annotations

import threading

from .base import UploadIdentity, already_waiting_error, ledger_busy_error


class Call:
    """A call that the gate has let in.

    A ticket for one object is locked as a whole in the database. So that uploads of other ETags need not wait for the
    lock, they are handled under that of the first call, the leader, which keeps it until their ends.
    """

    __slots__ = ("etag", "holds_lock", "is_ending", "is_member", "object")

    def __init__(self, identity: UploadIdentity, *, is_member: bool) -> None:
        self.object = identity.object
        self.etag = identity.etag
        self.is_member = is_member
        self.holds_lock = False
        self.is_ending = False


class TicketGate:
    """Lets the calls of one process run together where their outcomes do not depend on each other.

    A ticket may have as many waiting calls as running ones. More are refused at once: otherwise the owner of one ticket
    could occupy all threads and all connections.
    """

    def __init__(self, wait_timeout: float) -> None:
        self._wait_timeout = wait_timeout
        self.reset()

    def reset(self) -> None:
        """Forget all calls, as a forked child must, where their threads do not run."""
        self._lock = threading.RLock()  # cheaper to enter than the Condition
        self._changed = threading.Condition(self._lock)
        self._calls: dict[str, list[Call]] = {}
        self._waiting: dict[str, int] = {}

    def enter(self, identity: UploadIdentity) -> Call:
        """Let a call in until ``leave``; LedgerUnavailableError (``ledger_busy``) if it cannot be."""
        with self._lock:
            if not self._is_free(identity):
                self._wait(identity)
            calls = self._calls.setdefault(identity.ticket, [])
            call = Call(identity, is_member=identity.max_objects == 1 and bool(calls))
            calls.append(call)
        return call

    def leave(self, identity: UploadIdentity, call: Call) -> None:
        """Let in those that have waited for this call."""
        with self._lock:
            calls = self._calls[identity.ticket]
            calls.remove(call)
            if not calls:
                del self._calls[identity.ticket]
            if self._waiting or call.is_member:  # whose leader may wait for its end
                self._changed.notify_all()

    def _wait(self, identity: UploadIdentity) -> None:
        ticket = identity.ticket
        waiting = self._waiting.get(ticket, 0)
        if not identity.may_wait or waiting >= len(self._calls[ticket]):
            raise already_waiting_error(identity)
        self._waiting[ticket] = waiting + 1
        try:
            if not self._changed.wait_for(lambda: self._is_free(identity), self._wait_timeout):
                raise ledger_busy_error(self._wait_timeout)
        finally:
            self._waiting[ticket] -= 1
            if not self._waiting[ticket]:
                del self._waiting[ticket]

    def _is_free(self, identity: UploadIdentity) -> bool:
        calls = self._calls.get(identity.ticket)
        if not calls:
            return True
        same = [call for call in calls if call.object == identity.object]
        if any(call.etag == identity.etag or identity.forbid_overwrite for call in same):
            return False
        if identity.max_objects == 1:
            return len(same) == len(calls) and any(call.holds_lock and not call.is_ending for call in calls)
        return bool(same) or len({call.object for call in calls}) < identity.max_objects

    def hold_lock(self, call: Call) -> None:
        """Note that the ticket is locked for a call: from now on it may have members."""
        with self._lock:
            call.holds_lock = True
            if self._waiting:
                self._changed.notify_all()

    def end(self, identity: UploadIdentity, call: Call) -> None:
        """Wait for the members of a call, which must come before the end of its transaction; others come too late."""
        if not call.holds_lock or call.is_member:
            return
        with self._lock:
            call.is_ending = True
            calls = self._calls[identity.ticket]
            if len(calls) > 1:
                self._changed.wait_for(lambda: not any(other.is_member for other in calls))
            call.holds_lock = call.is_ending = False
