"""Ledgers: the interface, and the algorithm by which all of ours handle each upload once.

    run_once(identity, handle)
      1 gate      in this process: who may handle, who waits, who is refused
      2 lock      among processes: one lock, which ends when its process dies
      3 find      the stored response; or why there will be none
      4 handle    where the store has a transaction to give, in it
      5 store     the response, durable before the caller gets it
      6 unlock

What is locked is the ticket where it is valid for one object, and ticket and object where it is valid for several: so
the objects of a prefix form never wait for each other. A store knows how to do steps 2, 3, 5 and 6 (``Claim``); the
order, the decision and the gate are here.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from secrets import token_hex
from typing import Any, NamedTuple, Protocol, TypeVar

from ..exceptions import LedgerUnavailableError, PartsCorruptError, SweepRunningError, TicketUsedError
from ..threads import ForkAware
from .place import Place

#: Seconds to wait for another call that handles the same upload: OSS itself gives up after 5.
DEFAULT_WAIT_TIMEOUT = 4.0

#: The part of ``wait_timeout`` for calls of this process; the rest is for other processes, which come after them.
_SHARE_OF_GATE = 0.9


class UploadIdentity(NamedTuple):
    """What makes two callbacks reports of one upload: ticket, object and ETag.

    ``ticket`` is the ticket's ID. The others are not part of the identity:

    - ``expires``: the Unix seconds after which the ticket is refused, so that the upload need not be remembered any
      longer (``SteadyTime`` says how much longer a ledger does).
    - ``forbid_overwrite``: OSS does not replace the object, so another ETag of it is not an upload of the ticket; an
      upload that was found in the bucket has it always.
    - ``max_objects``: how many objects the ticket is valid for, the same for all its uploads: 1 where the form names
      its object, ``Grant.max_objects`` where it names a prefix.
    - ``checksum``: the CRC-64 of an upload in parts, which must be one of those that the ledger expects.
    - ``may_wait``: False for the request of a browser, which asks again by itself: where it would have to wait for
      another call, it is refused at once (``ledger_busy``).
    """

    ticket: str
    object: str
    etag: str
    expires: int
    forbid_overwrite: bool = False
    max_objects: int = 1
    checksum: int | None = None
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
        again. A ledger that cannot store (a full disk, a standby, a read-only database) refuses before it calls
        ``handle``: it writes something first, or looks whether it may write.

        Of concurrent calls for one upload, one calls ``handle`` and the others wait for its response; so do those for
        other objects or ETags of a ticket that is valid for one object. In one process one call may wait for each that
        handles; further ones are refused at once, or the ticket's owner could hold all threads.

        A ticket for several objects is counted when a handler begins. While uploads of the ticket are being handled,
        ``max_objects`` may be exceeded by as many: it is a bound against abuse.

        Without ``identity.may_wait`` a call never waits for another one: it raises ``ledger_busy`` at once.

        Raises TicketUsedError when the ticket was used for ``max_objects`` other objects, or for another ETag of one
        with ``forbid_overwrite``; PartsCorruptError when another ``checksum`` is expected; LedgerUnavailableError when
        the ledger cannot tell (``ledger_unavailable``), or another call takes too long or too many wait already
        (``ledger_busy``); and whatever ``handle`` raises, SystemExit and its like included.
        """
        ...

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return those of up to 1,000 pairs of object and ETag for which a response is stored, whatever the ticket.

        An upload that is being handled is not known yet. Raises LedgerUnavailableError when the ledger cannot tell.
        """
        ...

    def expect(self, ticket: str, checksum: int, expires: int) -> None:
        """Remember what the parts of a ticket's object are together, their CRC-64, before OSS joins them.

        Several may be expected. From then on ``run_once`` refuses an upload of the ticket that has another checksum,
        until ``expires``, or until an upload of the ticket is handled. Raises LedgerUnavailableError.
        """
        ...

    def hold(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock among all that share the ledger while the with block runs; it ends when its process dies.

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
        """Raise LedgerUnavailableError if no upload could be handled now; store nothing."""
        ...

    def close(self) -> None:
        """Release connections and files; the next call opens them again."""
        ...

    def __len__(self) -> int:
        """Return the number of stored responses, for metrics; expired ones may be included."""
        ...


class Found(NamedTuple):
    """What a store knows of an upload and its ticket.

    ``response`` is the upload's own. ``has_object`` says that another ETag of its object has one; ``objects`` counts
    the objects of the ticket that have one. ``checksums`` are those that are expected.
    """

    response: StoredResponse | None
    has_object: bool = False
    objects: int = 0
    checksums: Collection[int] = ()


NOTHING_FOUND = Found(None)
#: The patience of a server's loop: it waits for no lock at all, not even for those that are held for a moment.
IN_LOOP = -1.0
_NOTED = StoredResponse("200 OK", "", b"")


class Pending(ABC):
    """A response whose storing has begun. Until it is durable, nobody may get it."""

    __slots__ = ()

    @abstractmethod
    def settle(self, wake: Callable[[], None]) -> bool:
        """Return whether it is decided if the response is stored; store it now where that takes no time.

        If not, ``wake`` is called once it is decided, by any thread; it may also be called after True was returned.
        """

    @abstractmethod
    def result(self) -> StoredResponse:
        """Return the response that holds, once it is decided. Raises LedgerUnavailableError."""


class Claim(ABC):
    """One upload between lock and unlock, as a store sees it."""

    __slots__ = ()
    #: What was stored when the lock was taken.
    found: Found

    def handle(self, handle: Handle) -> StoredResponse:
        """Call the handler, with the transaction that the store has to give."""
        return handle(None)

    @abstractmethod
    def store(self, response: StoredResponse) -> StoredResponse:
        """Store a response durably, and return the one that holds. Raises LedgerUnavailableError if that is uncertain.

        What the ledger expects of the ticket is forgotten with it.
        """

    def begin_store(
        self, response: StoredResponse, end: Callable[[BaseException | None], None]
    ) -> StoredResponse | Pending:
        """Begin to store a response where ``store`` would wait for a disk; a pending one calls ``end`` by itself."""
        return self.store(response)

    @abstractmethod
    def end(self, error: BaseException | None) -> None:
        """Unlock, and undo what the store has not stored; ``error`` is what ended the call, if anything."""


_L = TypeVar("_L", bound="OnceLedger")
_R = TypeVar("_R")


class OnceLedger(ForkAware, ABC):
    """A ledger that follows the algorithm of this module; a subclass is the store.

    :param wait_timeout: seconds for which a call waits for others.
    """

    def __init__(self, wait_timeout: float) -> None:
        super().__init__()
        self._wait_timeout = wait_timeout
        self._gate = Gate(wait_timeout)

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
        """Do what ``run_once`` does, waiting ``patience`` seconds at the most."""
        place = self._place(identity)
        try:
            if self._gate.enter(place, patience * _SHARE_OF_GATE):
                patience *= 1 - _SHARE_OF_GATE
        except LedgerUnavailableError:
            response = self._stored_response(identity)  # many may ask at once for what is stored
            if response is None:
                raise
            return response
        try:
            return self._run(identity, handle, patience)
        finally:
            self._gate.leave(place)

    def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
        """Do steps 2 to 6; a store without other processes, which needs no lock, does so by itself."""
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
        """Return what is locked for an upload: equal places are never handled at the same time."""
        return identity.ticket if identity.max_objects == 1 else (identity.ticket, identity.object)

    @abstractmethod
    def _stored_response(self, identity: UploadIdentity) -> StoredResponse | None:
        """Return the stored response of an upload, without a lock. Raises LedgerUnavailableError."""

    def _claim(self, identity: UploadIdentity, patience: float) -> Claim:
        """Lock the place of an upload among processes, waiting ``patience`` seconds at the most, and find its response.

        A store that overrides ``_run`` has no claims. Raises LedgerUnavailableError (``ledger_busy``;
        ``ledger_unavailable``, also where nothing could be stored).
        """
        raise NotImplementedError

    @abstractmethod
    def _hold(self, name: str) -> AbstractContextManager[None]:
        """Hold a lock among processes; SweepRunningError (``held_error``) when another one has it."""


def _respond(
    claim: Claim, identity: UploadIdentity, handle: Handle, store: Callable[[StoredResponse], _R]
) -> StoredResponse | _R:
    """Decide, handle and store; return the response, or what ``store`` returns."""
    response = decide(identity, claim.found)
    if response is None:
        response = claim.handle(handle)
        if response.status[:1] == "2":
            return store(response)
    return response


class LoopLedger(OnceLedger):
    """A ledger that waits for no other host, and for a disk only where a response is stored: a loop may ask it."""

    def begin_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse | Pending | None:
        """Do what ``run_once`` does, but return at once; None if that would have to wait, and nothing was done.

        The upload stays locked until a pending response is settled, which the caller must do.
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
            if _is_busy(error):
                return None
            raise
        if isinstance(outcome, StoredResponse):
            end(None)
        return outcome


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, LedgerUnavailableError) and error.reason == "ledger_busy"


class Gate(ForkAware):
    """Decides which calls of one process go on: one for each place, with one that waits for it."""

    def __init__(self, wait_timeout: float) -> None:
        super().__init__()
        self._wait_timeout = wait_timeout
        self._forget()

    def _after_fork(self, *, is_child: bool) -> None:
        if is_child:  # the threads of the calls do not run here
            self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        #: Places that are taken, each with the lock on which a call waits for it.
        self._taken: dict[Hashable, threading.Lock | None] = {}

    def enter(self, place: Hashable, patience: float) -> bool:
        """Take a place, and return whether that meant waiting.

        Raises LedgerUnavailableError (``ledger_busy``) after ``patience`` seconds, and at once where a call waits.
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
            has_turn = turn.acquire(timeout=patience)
        except BaseException:  # of a signal's handler
            if not self._stop_waiting(place, turn):
                self.leave(place)
            raise
        if not has_turn and self._stop_waiting(place, turn):
            raise ledger_busy_error(self._wait_timeout)
        return True

    def _stop_waiting(self, place: Hashable, turn: threading.Lock) -> bool:
        """Wait no longer; return False if the turn has come meanwhile."""
        with self._lock:
            is_waiting = self._taken.get(place) is turn
            if is_waiting:
                self._taken[place] = None
            return is_waiting

    def leave(self, place: Hashable) -> None:
        """Free a place, or pass it on to the call that waits for it."""
        with self._lock:
            turn = self._taken.get(place)
            if turn is None:
                self._taken.pop(place, None)  # a child that was forked by a handler has forgotten it
            else:
                self._taken[place] = None
                turn.release()


def note(ledger: Ledger, name: str, mark: str, expires: int, *, may_wait: bool = True) -> None:
    """Note something of an object, which ``known`` then finds by ``mark`` in the place of an ETag.

    It has a ticket of its own, so that it waits for no upload and uses no ticket up. Raises LedgerUnavailableError.
    """
    identity = UploadIdentity(f"{expires:08x}{token_hex(12)}", name, mark, expires, may_wait=may_wait)
    ledger.run_once(identity, lambda transaction: _NOTED)


def decide(identity: UploadIdentity, found: Found) -> StoredResponse | None:
    """Return the stored response of an upload, or None if it is to be handled.

    Raises TicketUsedError and PartsCorruptError if there will be none.
    """
    if found.response is not None:
        return found.response
    if found.has_object:
        if identity.forbid_overwrite:
            raise ticket_used_error()
    elif found.objects >= identity.max_objects:
        raise ticket_used_error(identity.max_objects)
    if identity.checksum is not None and found.checksums and identity.checksum not in found.checksums:
        raise PartsCorruptError("crc64_mismatch", "the CRC-64 of the object is not that of its parts")
    return None


def ticket_used_error(max_objects: int = 1) -> TicketUsedError:
    """Return the error for a ticket that other objects, or another ETag of the only object, have used up."""
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
    """Return the error for an upload that may not wait for the call that handles its ticket."""
    return LedgerUnavailableError("ledger_busy", "another call handles an upload of this ticket: ask again")


def held_error() -> SweepRunningError:
    """Return the error for a lock that another thread or process holds."""
    return SweepRunningError("sweep_running", "another sweep is running: wait until it ends; nothing is lost")
