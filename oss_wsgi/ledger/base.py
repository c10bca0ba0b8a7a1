"""The interface of ledgers, and the algorithm by which our ledgers handle each upload once.

    run_once(identity, handle)
      1 gate      in this process: which call may handle, waits, or is refused
      2 lock      among processes: one lock, which ends when its process dies
      3 find      the stored response, or why the upload is refused
      4 handle    in the store's transaction, if it has one
      5 store     the response, durable before the caller gets it
      6 unlock

A ticket that is valid for one object is locked as a whole. With a ticket for several objects, only ticket and object
together are locked, so the objects of a prefix form never wait for each other. A store does steps 2, 3, 5 and 6
(``Claim``); the order, the decision and the gate are here.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, TypeVar

from ..exceptions import LedgerUnavailableError, SweepRunningError, TicketUsedError
from ..threads import ForkAware
from .place import Place

#: Seconds to wait for another call that handles the same upload; OSS gives up after 5.
DEFAULT_WAIT_TIMEOUT = 4.0

#: A call first waits in this process for at most this part of ``wait_timeout``, then for other processes.
_SHARE_OF_GATE = 0.9


class UploadIdentity(NamedTuple):
    """The identity of an upload: callbacks with the same ticket, object and ETag report the same upload.

    ``ticket`` is the ticket's ID. The fields below are not part of the identity:

    - ``expires``: the Unix seconds after which the ticket is refused, so the upload need not be remembered any longer
      (``SteadyTime`` says how much longer a ledger remembers it).
    - ``forbid_overwrite``: OSS does not replace the object, so another ETag of the object cannot be an upload of the
      ticket. An upload that was found in the bucket always has True.
    - ``max_objects``: how many objects the ticket is valid for, the same for all its uploads: 1 if the form names its
      object, ``Grant.max_objects`` if it names a prefix.
    - ``may_wait``: False for a browser's request, which the browser repeats by itself: instead of waiting for another
      call it is refused at once (``ledger_busy``).
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

    @property
    def is_success(self) -> bool:
        """Whether the upload counts as handled: any 2xx."""
        return self.status[:1] == "2"


#: Handles an upload. Its argument is the ledger's open transaction, or None if the ledger has no transaction.
Handle = Callable[[Any], StoredResponse]


class Ledger(Protocol):
    """Remembers which uploads were handled."""

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        """Return the stored response of an upload, or call ``handle(transaction)`` and return its response.

        ``transaction`` is None, or a transaction that commits the handler's work and the stored response together. A
        ledger rolls its transaction back after an exception and after any response but 2xx. It calls ``handle`` again
        when another transaction has won, so the returned response may differ from that of the last call.

        A 2xx response is stored at least until ``identity.expires``, even if the clock jumps and comes back. After any
        other response, and after an exception, the upload counts as not handled, and the next call handles it again. A
        ledger that cannot store (a full disk, a standby, a read-only database) refuses before it calls ``handle``: it
        first writes something, or checks whether it may write.

        Of concurrent calls for one upload, one calls ``handle`` and the others wait for its response. Calls for other
        objects or ETags wait too if the ticket is valid for one object only. In each process, one call may wait for
        each call that handles; further calls are refused at once, because otherwise the ticket's owner could hold all
        threads.

        A ticket for several objects is checked when a handler begins, so ``max_objects`` may be exceeded by the number
        of uploads that are being handled at that time: it only limits abuse.

        Without ``identity.may_wait`` a call that would wait for another one raises ``ledger_busy`` at once.

        Raises TicketUsedError when the ticket was used for ``max_objects`` other objects, or, with
        ``forbid_overwrite``, for another ETag of the object; LedgerUnavailableError when the ledger cannot be used
        (``ledger_unavailable``), or when another call takes too long or too many calls wait already (``ledger_busy``);
        and any exception of ``handle``, including SystemExit.
        """
        ...

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return which of up to 1,000 pairs of object and ETag have a stored response, with any ticket, or were noted.

        An upload that is being handled is not known yet. Raises LedgerUnavailableError when the ledger cannot be asked.
        """
        ...

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        """Note up to 1,000 pairs of object and mark, durably and in one write, at least until ``expires``.

        ``known`` then returns a pair as if its mark were an ETag. A note is no upload: it uses up no ticket, waits for
        no upload, removes no response, and ``len`` does not count it. Raises LedgerUnavailableError.
        """
        ...

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock among all users of the ledger while the with block runs; the lock ends when its process dies.

        Raises SweepRunningError at once when another thread or process holds it, and LedgerUnavailableError.
        """
        ...

    def load(self, name: str) -> str | None:
        """Return the text that was saved under a name, or None. Raises LedgerUnavailableError."""
        ...

    def save(self, name: str, text: str) -> None:
        """Keep a text of up to 64 KiB under a name, for good and durably. Raises LedgerUnavailableError."""
        ...

    def check(self) -> None:
        """Raise LedgerUnavailableError if no upload could be handled now; store no upload."""
        ...

    def close(self) -> None:
        """Release connections and files; the next call opens them again."""
        ...

    def __len__(self) -> int:
        """Return the number of stored responses, for metrics; expired ones may be included."""
        ...


class Found(NamedTuple):
    """The records of a store for an upload and its ticket.

    ``response`` is the upload's stored response. ``has_object`` says that another ETag of the object has a response;
    ``objects`` counts the ticket's objects with a response.
    """

    response: StoredResponse | None
    has_object: bool = False
    objects: int = 0


NOTHING_FOUND = Found(None)
#: The patience of a server's loop: it waits for no lock at all, not even for locks that are held for a moment.
IN_LOOP = -1.0


class Pending(ABC):
    """A response that is being stored. Nobody may get the response until it is durable."""

    __slots__ = ()

    @abstractmethod
    def settle(self, wake: Callable[[], None]) -> bool:
        """Return True if storing has succeeded or failed by now; store the response now if that takes no time.

        After False, any thread calls ``wake`` once storing has succeeded or failed; this may happen after True too.
        """

    @abstractmethod
    def result(self) -> StoredResponse:
        """Return the stored response, after ``settle``. Raises LedgerUnavailableError if it was not stored."""


class Claim(ABC):
    """One upload between lock and unlock, in a store."""

    __slots__ = ()
    #: What was stored when the lock was taken.
    found: Found

    def handle(self, handle: Handle) -> StoredResponse:
        """Call the handler with the store's transaction, or with None."""
        return handle(None)

    @abstractmethod
    def store(self, response: StoredResponse) -> StoredResponse:
        """Store a response durably, and return the stored one. Raises LedgerUnavailableError if it may be missing."""

    def begin_store(self, response: StoredResponse, end: Callable[[BaseException | None], None]) -> Pending:
        """Begin to store a response; the store itself calls ``end``. Only ``LoopLedger.begin_once`` needs this."""
        raise NotImplementedError

    @abstractmethod
    def end(self, error: BaseException | None) -> None:
        """Unlock, and undo what was not stored; ``error`` is the exception that ended the call, if any."""


_L = TypeVar("_L", bound="OnceLedger")
_R = TypeVar("_R")


class OnceLedger(ForkAware, ABC):
    """A ledger that follows this module's algorithm; a subclass implements the store.

    :param wait_timeout: seconds for which a call waits for others.
    """

    def __init__(self, wait_timeout: float) -> None:
        self._wait_timeout = wait_timeout
        self._gate = Gate(wait_timeout)
        super().__init__()

    @property
    def place(self) -> Place | None:
        """Where the ledger is, which `doctor` compares between machines; None if it is unknown."""
        return None

    def __enter__(self: _L) -> _L:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Release connections and files, as ``Ledger.close`` describes."""

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, as ``Ledger.run_once`` describes."""
        return self._once(identity, handle, self._wait_timeout if identity.may_wait else 0.0)

    def _once(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
        """Do what ``run_once`` does, waiting at most ``patience`` seconds."""
        place = self._place(identity)
        try:
            if self._gate.enter(place, patience * _SHARE_OF_GATE):
                patience *= 1 - _SHARE_OF_GATE
        except LedgerUnavailableError:
            response = self._stored_response(identity)  # many calls may read a stored response at once
            if response is None:
                raise
            return response
        try:
            return self._run(identity, handle, patience)
        finally:
            self._gate.leave(place)

    def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
        """Do steps 2 to 6; a store for one process needs no lock, and overrides this."""
        claim = self._claim(identity, patience)
        error: BaseException | None = None
        try:
            return _respond(claim, identity, handle, claim.store)
        except BaseException as raised:
            error = raised
            raise
        finally:
            claim.end(error)

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Hold a lock while the with block runs, as ``Ledger.hold`` describes."""
        place = "held", name
        try:
            self._gate.enter(place, 0.0)
        except LedgerUnavailableError:
            raise held_error() from None
        try:
            with self._hold(name):
                yield
        finally:
            self._gate.leave(place)

    def _place(self, identity: UploadIdentity) -> Hashable:
        """Return the place to lock for an upload; two uploads with equal places are never handled at the same time."""
        return identity.ticket if identity.max_objects == 1 else (identity.ticket, identity.object)

    @abstractmethod
    def _stored_response(self, identity: UploadIdentity) -> StoredResponse | None:
        """Return the stored response of an upload, without a lock. Raises LedgerUnavailableError."""

    def _claim(self, identity: UploadIdentity, patience: float) -> Claim:
        """Lock an upload's place among processes, waiting at most ``patience`` seconds, and find its response.

        A store that overrides ``_run`` has no claims. Raises LedgerUnavailableError (``ledger_busy``;
        ``ledger_unavailable``, also if nothing can be stored).
        """
        raise NotImplementedError

    @abstractmethod
    def _hold(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock among processes; SweepRunningError (``held_error``) if another process has it."""


def _respond(
    claim: Claim, identity: UploadIdentity, handle: Handle, store: Callable[[StoredResponse], _R]
) -> StoredResponse | _R:
    """Return the stored response, or the handler's; pass a 2xx response of the handler through ``store``."""
    response = decide(identity, claim.found)
    if response is None:
        response = claim.handle(handle)
        if response.status[:1] == "2":
            return store(response)
    return response


class LoopLedger(OnceLedger):
    """A ledger that a server's loop may call: it waits for no other host, and for a disk only to store a response."""

    def begin_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse | Pending | None:
        """Do what ``run_once`` does, but without waiting; return None, with nothing done, if it would have to wait.

        If the response is pending, the caller must settle it; the upload stays locked until then.
        """
        place = self._place(identity)
        try:
            self._gate.enter(place, 0.0)
        except LedgerUnavailableError:
            return None
        try:
            claim = self._claim(identity, IN_LOOP)
        except BaseException as error:
            self._gate.leave(place)
            if _is_busy(error):
                return None
            raise

        def end(error: BaseException | None) -> None:
            try:
                claim.end(error)
            finally:
                self._gate.leave(place)

        outcome: StoredResponse | Pending | None = None
        try:
            outcome = _respond(claim, identity, handle, lambda response: claim.begin_store(response, end))
        except BaseException as error:
            end(error)
            raise
        if isinstance(outcome, StoredResponse):
            end(None)
        return outcome


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, LedgerUnavailableError) and error.reason == "ledger_busy"


class Gate(ForkAware):
    """Decides which calls of one process continue: for each place, one call enters and one may wait for it."""

    def __init__(self, wait_timeout: float) -> None:
        self._wait_timeout = wait_timeout
        self._forget()
        super().__init__()

    def _renew_in_child(self) -> None:
        self._forget()  # the threads of the calls do not run here

    def _forget(self) -> None:
        self._lock = threading.Lock()
        #: The taken places, each with the lock on which a call waits for it, or None.
        self._taken: dict[Hashable, threading.Lock | None] = {}

    def enter(self, place: Hashable, patience: float) -> bool:
        """Take a place, and return whether the call had to wait for it.

        Raises LedgerUnavailableError (``ledger_busy``) after ``patience`` seconds, and at once if another call waits
        already.
        """
        with self._lock:
            if place not in self._taken:
                self._taken[place] = None
                return False
            if patience <= 0:
                raise busy_error()
            if self._taken[place] is not None:
                hint = "other calls handle uploads of this ticket, and as many calls as may wait do so already"
                raise LedgerUnavailableError("ledger_busy", hint)
            turn = self._taken[place] = threading.Lock()
            turn.acquire()
        try:
            turn.acquire(timeout=patience)
        except BaseException:  # from a signal handler
            self.leave(place)  # if the turn has not come, this ends only the wait
            raise
        if self._stop_waiting(place, turn):
            raise ledger_busy_error(self._wait_timeout)
        return True

    def _stop_waiting(self, place: Hashable, turn: threading.Lock) -> bool:
        """Stop waiting; return False if the call's turn has come meanwhile."""
        with self._lock:
            is_waiting = self._taken.get(place) is turn
            if is_waiting:
                self._taken[place] = None
            return is_waiting

    def leave(self, place: Hashable) -> None:
        """Free a place, or pass it to the call that waits for it."""
        with self._lock:
            turn = self._taken.pop(place, None)  # a child that a handler forked has forgotten the place
            if turn is not None:
                self._taken[place] = None
                turn.release()


def digest(*texts: str) -> bytes:
    """Return a digest of texts, 16 bytes."""
    hashed = blake2b(digest_size=16)
    for text in texts:
        raw = text.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(raw) + raw)
    return hashed.digest()


def decide(identity: UploadIdentity, found: Found) -> StoredResponse | None:
    """Return the stored response of an upload, or None if the upload must be handled.

    Raises TicketUsedError if the upload must not be handled.
    """
    if found.response is not None:
        return found.response
    if found.has_object:
        if identity.forbid_overwrite:
            raise ticket_used_error()
    elif found.objects >= identity.max_objects:
        raise ticket_used_error(identity.max_objects)
    return None


def ticket_used_error(max_objects: int = 1) -> TicketUsedError:
    """Return the error for a ticket that is used up: by other objects, or by another ETag of its only object."""
    if max_objects == 1:
        hint = (
            "the ticket was already used for another object, or for another ETag of an object that cannot be "
            "overwritten"
        )
    else:
        hint = (
            f"the ticket was already used for {max_objects} objects, the grant's max_objects: request another "
            "signature, or grant more"
        )
    return TicketUsedError("ticket_used", hint)


def ledger_busy_error(wait_timeout: float) -> LedgerUnavailableError:
    """Return the error for an upload that waited ``wait_timeout`` seconds for other calls of its ticket."""
    hint = (
        f"after {wait_timeout} s, other calls still handle uploads of this ticket, and this one depends on their result"
    )
    return LedgerUnavailableError("ledger_busy", hint)


def busy_error() -> LedgerUnavailableError:
    """Return the error for an upload that may not wait for another call of its ticket."""
    return LedgerUnavailableError("ledger_busy", "another call handles an upload of this ticket: ask again")


def held_error() -> SweepRunningError:
    """Return the error for a lock that another thread or process holds."""
    return SweepRunningError("sweep_running", "another sweep is running: wait until it ends; nothing is lost")
