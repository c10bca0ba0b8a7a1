"""A ledger whose claim is a lock in a database transaction, which ends by itself when its process dies."""

from __future__ import annotations

import logging
import math
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from ..exceptions import HandlerCommittedError, LedgerUnavailableError, SettingsError, TicketUsedError
from .base import (
    DEFAULT_WAIT_TIMEOUT,
    Handle,
    StoredResponse,
    UploadIdentity,
    ledger_busy_error,
    ticket_used_error,
)
from .sql_errors import Meaning, meaning_of, text_of
from .sql_text import ADDING_SLOTS, PARTITION_SECONDS, VERSION, Dialect, Key, upload_hash
from .ticket_gate import Call, TicketGate

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

#: How often a transaction is run again that lost against another one.
_TRIES = 12
_POLL_SECONDS = 0.05
#: Others hold a ticket's slots for a moment while they look for a free one, so one look does not tell.
_LOOKS = 5
#: Of so many stored answers one call deletes what has expired: twice as many rows as come in.
_SWEEP_EVERY = 128
_EXACT_COUNT = 100_000
#: Days for which partitions are made beyond the day of the newest answer.
_DAYS_AHEAD = 2

_COMMITTED = (
    "the handler ended the ledger's transaction by itself, with COMMIT, ROLLBACK or a statement that commits, so that "
    "its work and the upload's answer could not be stored together: leave out the commit, the ledger commits both"
)
_BROKEN = (
    "a statement of the handler failed in the ledger's transaction, and the handler went on: let the error out, or put "
    "a savepoint (begin_nested, transaction.atomic) around what may fail"
)


#: What is wrong with a shared connection that has no transactions.
AUTOCOMMIT = (
    "The ledger shares a connection that commits each statement by itself (AUTOCOMMIT), so that the handler's work and "
    "the upload's answer cannot be stored together: give it an engine with another isolation level."
)


class Rows(NamedTuple):
    """What a statement returned: how many rows it affected, and those that it selected."""

    affected: int
    rows: list[tuple[Any, ...]]


class Transaction(Protocol):
    """An open transaction of the database."""

    #: What the handler gets as ``upload.transaction``.
    handed: object | None
    #: Whether the handler works in it, and it belongs to the application.
    is_shared: bool
    #: Whether one of the handler's statements lost against another transaction.
    has_conflict: bool
    #: Whether the handler has ended it.
    was_ended: bool

    def run(self, *statements: str) -> Rows:
        """Run statements, and return what the last one returned."""
        ...

    def run_last(self, statement: str) -> None:
        """Run the last statement of the transaction, now or with the COMMIT."""
        ...

    def handling(self) -> AbstractContextManager[None]:
        """Refuse to commit while the with block runs."""
        ...

    def flush(self) -> None:
        """Run the statements that the handler's tools have kept back."""
        ...


class TransactionalLedger(ABC):
    """What the ledgers in SQL databases share: the claim, the answer, and what is done again.

    The ticket is locked in a transaction, which stays open while the handler runs, and which stores the answer. The
    database itself ends the lock of a process that dies, and lets the next call claim the upload. Nobody looks at a
    clock for that.

    A response is deleted when two clocks have passed: the caller's clock its ``expires``, and the database's clock the
    moment at which, counted from when it was stored, the rest of the ticket's life and 24 hours more are over. So a
    clock that is off by a day, on either side, deletes nothing too early.
    """

    def __init__(self, dialect: Dialect | None, *, clock: Callable[[], float], wait_timeout: float) -> None:
        self._dialect_or_none = dialect
        self._clock = clock
        self._wait_timeout = wait_timeout
        self._gate = TicketGate(wait_timeout)
        self._is_checked = False
        self._checking = threading.Lock()
        self._stored = 0
        self._days: set[int] = set()

    # What a subclass knows.

    @abstractmethod
    def _begin(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction; the with block's end commits it, an exception rolls it back."""

    def _begin_own(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction for the ledger's own work."""
        return self._begin()

    def _detect(self) -> Dialect:
        """Ask for the dialect, where it is not known from the start."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the connections open: they belong to the application."""
        return

    @property
    def dialect(self) -> Dialect:
        """The statements of this database; asked for when they are first needed."""
        if self._dialect_or_none is None:
            self._dialect_or_none = self._detect()
        return self._dialect_or_none

    # The Protocol.

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, as ``Ledger.run_once`` describes.

        Where another transaction wins, all is rolled back and run again, ``handle`` included. LedgerUnavailableError
        (``ledger_unavailable``) also stands for a COMMIT whose outcome is unknown: the next report finds the truth.

        Raises TicketUsedError, LedgerUnavailableError (``ledger_busy``, ``ledger_unavailable``), HandlerCommittedError
        and whatever ``handle`` raises.
        """
        began = self._clock()
        call = self._gate.enter(identity)
        try:
            self._prepare()
            attempt = _Attempt(self, Key.of(identity, began), identity, handle, call)
            response = self._run_again(attempt, identity, began)
        finally:
            self._gate.leave(identity, call)
        if attempt.has_stored:
            self._stored += 1
            if self._stored % _SWEEP_EVERY == 0:
                self._sweep_quietly()
        return response

    def _run_again(self, attempt: _Attempt, identity: UploadIdentity, began: float) -> StoredResponse:
        waited = 0.0
        looks = conflicts = 0
        while True:
            try:
                return attempt.run()
            except _UndecidedError:
                if not identity.may_wait and looks >= _LOOKS:
                    raise self._busy() from None
                pause = min(_POLL_SECONDS, max(self._wait_timeout, 0.001))
                waited += pause
                looks += 1
            except _ConflictError as error:
                conflicts += 1
                if conflicts >= _TRIES:
                    raise self._busy() from error
                pause = random.uniform(0, min(0.002 * 2**conflicts, 0.2))  # noqa: S311
            has_waited = waited > self._wait_timeout and looks >= _LOOKS
            if has_waited or abs(self._clock() - began) > 2 * self._wait_timeout + 1:
                raise self._busy()
            threading.Event().wait(pause)

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the pairs of object and ETag that were handled, as ``Ledger.known`` describes."""
        asked = {upload_hash(*pair): pair for pair in pairs}
        if not asked:
            return set()
        with self._reported():
            self._prepare()
            with self._begin_own() as transaction:
                rows = transaction.run(self.dialect.select_known(asked)).rows
        return {asked[bytes(row[0])] for row in rows}

    def check(self) -> None:
        """Write an answer and roll back; LedgerUnavailableError when that fails."""
        key = Key.of(UploadIdentity("", "", "", 0), 0)
        with self._reported():
            self._prepare()
            try:
                with self._begin_own() as transaction:
                    transaction.run(self.dialect.lock_ticket(key))
                    if self.dialect.is_partitioned:  # perhaps without a partition for such a row
                        transaction.run("DELETE FROM oss_wsgi_answers WHERE false")
                    else:
                        transaction.run(Dialect.insert(self.dialect, key, None, StoredResponse("", "", b"")))
                    raise _RollBackError
            except _RollBackError:
                pass

    def __len__(self) -> int:
        """Return the number of stored responses; from 100,000 on what the database estimates."""
        with self._reported():
            self._prepare()
            with self._begin_own() as transaction:
                estimate = self.dialect.estimate()
                if estimate is not None:
                    ((rows,),) = transaction.run(estimate).rows or [(0,)]
                    if rows is not None and int(rows) > _EXACT_COUNT:
                        return int(rows)
                return int(transaction.run(self.dialect.count()).rows[0][0])

    # The tables.

    def _prepare(self) -> None:
        """Make the tables at the first use, and compare their version."""
        if self._is_checked:
            return
        with self._checking:
            if self._is_checked:
                return
            try:
                version = self._version()
                if version is None:
                    self._make_tables()
                    version = self._version()
                if version != VERSION:
                    raise SettingsError(
                        f"The ledger's tables have version {version}, and this program uses version {VERSION}: install "
                        f"the release of oss-wsgi that made them, or a newer one."
                    )
                self._look_for_partitions()
            except Exception as error:
                if meaning_of(error) is None:
                    raise
                raise self._unavailable(error) from error
            self._is_checked = True

    def _version(self) -> int | None:
        """Return the version of the tables, or None if there are none."""
        try:
            with self._begin_own() as transaction:
                rows = transaction.run(self.dialect.select_version()).rows
        except Exception as error:
            if meaning_of(error) is Meaning.NO_TABLE:
                return None
            raise
        return int(rows[0][-1]) if rows else None

    def _make_tables(self) -> None:
        with self._begin_own() as transaction:
            for statement in self.dialect.schema():
                transaction.run(statement)

    def _look_for_partitions(self) -> None:
        statement = self.dialect.select_partitions()
        if statement is None:
            return
        with self._begin_own() as transaction:
            rows = transaction.run(statement).rows
        self.dialect.is_partitioned = bool(rows)
        self._days = {int(name.rpartition("_")[2]) for (name,) in rows if name is not None}

    # What has expired.

    def _sweep_quietly(self) -> None:
        """Delete some of what has expired; the upload is handled, so that an error is logged only."""
        try:
            self.delete_expired()
        except Exception as error:
            if meaning_of(error) is None:
                raise
            log.warning("expired rows of the ledger stay: %s", text_of(error))

    def delete_expired(self) -> int:
        """Delete some rows that have expired, or partitions; return how many. A ledger does so by itself."""
        self._prepare()
        now = math.floor(self._clock())
        if self.dialect.is_partitioned:
            return self._move_partitions(now)
        deleted = 0
        for table in self.dialect.expiring:
            with self._begin_own() as transaction:
                rows = transaction.run(self.dialect.select_expired(table, now)).rows
                keys = [
                    tuple(value if isinstance(value, int) else bytes(value) for value in row[:-1])
                    for row in rows
                    if row[-1] < now
                ]
                if keys:
                    transaction.run_last(self.dialect.delete(table, keys))
            deleted += len(keys)
        return deleted

    def _move_partitions(self, now: int) -> int:
        """Make partitions for the days to come, and drop those that both clocks have passed."""
        self._look_for_partitions()
        with self._begin_own() as transaction:
            today = int(transaction.run(f"SELECT {self.dialect.clock}").rows[0][0]) // PARTITION_SECONDS
        if self._days:
            self._make_partitions(range(max(self._days), max(today, *self._days) + 1))
        old = [day for day in self._days if day + 1 <= min(today, now // PARTITION_SECONDS)]
        for day in old:
            with self._begin_own() as transaction:
                for statement in self.dialect.drop_partition(f"oss_wsgi_answers_{day}"):
                    transaction.run(statement)
            self._days.discard(day)
        return len(old)

    def _make_partitions(self, days: Iterable[int]) -> None:
        missing = [day for day in days if day not in self._days]
        if missing:
            with self._begin_own() as transaction:
                for day in missing:
                    for statement in self.dialect.make_partition(day):
                        transaction.run(statement)
            self._days.update(missing)

    def _make_partitions_for(self, key: Key) -> None:
        """Make the partition that an answer needs now, and those of the next days."""
        with self._reported():
            with self._begin_own() as transaction:
                moment = int(transaction.run(f"SELECT {self.dialect.clock}").rows[0][0]) + key.seconds
            day = moment // PARTITION_SECONDS
            self._make_partitions(range(day, day + _DAYS_AHEAD + 1))

    # Errors.

    @contextmanager
    def _reported(self) -> Iterator[None]:
        """Raise the database's errors as LedgerUnavailableError."""
        try:
            yield
        except Exception as error:
            if meaning_of(error) is None:
                raise
            raise self._unavailable(error) from error

    def _busy(self) -> LedgerUnavailableError:
        return ledger_busy_error(self._wait_timeout)

    def _unavailable(self, error: BaseException, doing: str = "cannot be used") -> LedgerUnavailableError:
        if meaning_of(error) is Meaning.BUSY:
            return self._busy()
        return LedgerUnavailableError("ledger_unavailable", f"the ledger's database {doing}: {text_of(error)}")


class _UndecidedError(Exception):
    """Raised to look again later: other transactions may use the ticket up."""


class _ConflictError(Exception):
    """Raised to run everything again: another transaction won."""


class _RollBackError(Exception):
    """Raised to roll back although nothing failed."""


class _Attempt:
    """One upload in one transaction after another, until one of them decides."""

    def __init__(
        self, ledger: TransactionalLedger, key: Key, identity: UploadIdentity, handle: Handle, call: Call
    ) -> None:
        self._ledger = ledger
        self._key = key
        self._identity = identity
        self._handle = handle
        self._call = call
        self._runs = 0
        self._was_cut = False
        self._needs_partition = False
        self._response: StoredResponse | None = None
        self._handler_error: BaseException | None = None
        self._stage = ""
        self.has_stored = False

    def run(self) -> StoredResponse:
        """Run the transaction once.

        Raises _UndecidedError and _ConflictError to be called again, and what ``run_once`` raises.
        """
        ledger = self._ledger
        self._runs += 1
        self._response = self._handler_error = None
        self._stage = "cannot be used"
        has_conflict = False
        transaction: Transaction | None = None
        try:
            with ledger._begin() as transaction:
                if not self._identity.may_wait and ledger.dialect.name == "postgresql":
                    transaction.run(*ledger.dialect.wait_at_most(0))
                stored = self._claim(transaction)
                if isinstance(stored, StoredResponse):
                    return stored
                response = self._handled(transaction)
                if response.status[:1] != "2":
                    raise _RollBackError
                self._store(transaction, stored, response)
                ledger._gate.end(self._identity, self._call)
                self._stage = "did not say whether it has stored the answer"
            self.has_stored = True
            return response
        except _RollBackError:
            has_conflict = transaction is not None and transaction.has_conflict
            if has_conflict or self._response is None:
                raise _ConflictError from None
            return self._response
        except _UndecidedError:
            # In another transaction, and not before this one has let its locks go.
            if self._add_partitions() or self._add_slots():
                raise _ConflictError from None
            raise
        except (_ConflictError, TicketUsedError):
            raise
        except BaseException as error:
            if error is self._handler_error:
                if transaction is not None and transaction.has_conflict:
                    raise _ConflictError from error
                raise
            self._judge(error)
        finally:
            ledger._gate.end(self._identity, self._call)

    def _judge(self, error: BaseException) -> NoReturn:
        """Raise what an error outside the handler means."""
        meaning = meaning_of(error)
        if meaning is None:
            raise error
        if meaning in (Meaning.CONFLICT, Meaning.DUPLICATE):
            raise _ConflictError from error
        if meaning is Meaning.NOT_PREPARED:
            self._ledger.dialect.is_prepared = False
            raise _ConflictError from error
        if meaning is Meaning.NO_PARTITION and self._ledger.dialect.is_partitioned:
            self._ledger._make_partitions_for(self._key)
            raise _ConflictError from error
        # A connection of the pool that the server has closed shows when it is first used. Nothing has happened yet.
        if meaning is Meaning.UNAVAILABLE and self._response is None and not self._was_cut:
            self._was_cut = True
            raise _ConflictError from error
        raise self._ledger._unavailable(error, self._stage) from error

    def _handled(self, transaction: Transaction) -> StoredResponse:
        try:
            with transaction.handling():
                self._response = self._handle(transaction.handed)
                if self._response.status[:1] == "2":
                    transaction.flush()
        except BaseException as error:
            self._handler_error = error
            self._was_cut = True
            raise
        return self._response

    def _store(self, transaction: Transaction, slot: int | None, response: StoredResponse) -> None:
        if transaction.is_shared:
            if transaction.was_ended and not transaction.has_conflict:
                raise HandlerCommittedError("handler_committed", _COMMITTED)
            try:
                transaction.run("RELEASE SAVEPOINT oss_wsgi")
            except Exception as error:
                meaning = meaning_of(error)
                if transaction.has_conflict:
                    raise _ConflictError from error
                if meaning is Meaning.ENDED:
                    raise HandlerCommittedError("handler_committed", _COMMITTED) from error
                if meaning is Meaning.ABORTED:
                    raise HandlerCommittedError("handler_committed", _BROKEN) from error
                raise
        if slot is not None and self._key.max_objects > 1 and self._has_slot_by_now(transaction):
            slot = None
        if slot is not None and self._key.max_objects > 1:
            statements = self._ledger.dialect.take_slot(self._key, slot)
            if statements:
                transaction.run(*statements)
        transaction.run_last(self._ledger.dialect.insert(self._key, slot, response))

    def _has_slot_by_now(self, transaction: Transaction) -> bool:
        """Return whether another ETag of the object was stored meanwhile: one object has one slot."""
        dialect, key = self._ledger.dialect, self._key
        if not dialect.has_row_locks:
            return False
        attempt = dialect.try_to_lock_ticket(key, dialect.part_of_object(key)) if transaction.is_shared else None
        if attempt is None:
            return bool(transaction.run(dialect.lock_object(key), dialect.object_has_slot(key)).rows)
        # How long a statement waits for a lock is the application's affair now: it may be for ever.
        if not transaction.run(attempt).rows[0][0]:
            raise _ConflictError
        return bool(transaction.run(dialect.object_has_slot(key)).rows)

    def _claim(self, transaction: Transaction) -> StoredResponse | int | None:
        """Return the stored answer, or the slot that the upload has now: None if its object has one."""
        claimed = self._claim_ticket if self._key.max_objects == 1 else self._claim_slot
        outcome = claimed(transaction)
        if not isinstance(outcome, StoredResponse):
            if self._ledger.dialect.is_partitioned:
                self._look_for_partition(transaction)
            if transaction.is_shared:
                self._set_savepoint(transaction)
            # A store that cannot be written to must not show itself only when the handler has done its work.
            attempt = self._ledger.dialect.try_to_write(self._key)
            if attempt:
                transaction.run(*attempt)
            if not self._call.is_member:
                self._ledger._gate.hold_lock(self._call)
        return outcome

    def _set_savepoint(self, transaction: Transaction) -> None:
        try:
            transaction.run("SAVEPOINT oss_wsgi")
        except Exception as error:
            if meaning_of(error) is Meaning.ENDED:
                raise SettingsError(AUTOCOMMIT) from error
            raise

    def _claim_ticket(self, transaction: Transaction) -> StoredResponse | int | None:
        """Claim an upload of a ticket that is valid for one object."""
        dialect, key = self._ledger.dialect, self._key
        if self._call.is_member:
            rows = transaction.run(dialect.select_ticket(key)).rows
        elif dialect.name == "mysql":
            is_new = transaction.run(dialect.lock_ticket(key)).affected == 1
            rows = [] if is_new and self._runs == 1 else transaction.run(dialect.select_ticket(key)).rows
        else:
            rows = self._lock(transaction, 0, dialect.select_ticket(key))
        for upload, _, *response in rows:
            if bytes(upload) == key.upload:
                return _stored_response(response)
        if rows and (self._identity.forbid_overwrite or any(bytes(row[1]) != key.object for row in rows)):
            raise ticket_used_error()
        return None if rows or self._call.is_member else 0

    def _claim_slot(self, transaction: Transaction) -> StoredResponse | int | None:
        """Claim an upload of a ticket that is valid for several objects, and one of the ticket's slots."""
        dialect, key = self._ledger.dialect, self._key
        if self._identity.forbid_overwrite:  # no form asks for both: it names one object then
            transaction.run(dialect.lock_ticket(key, -1 << 62))
        if self._isolation(transaction) == "repeatable read":
            # Such a transaction would not see at its end that another ETag of its object was stored meanwhile.
            self._lock(transaction, dialect.part_of_object(key), dialect.select_answer(key))
        rows = self._lock(transaction, dialect.part_of_upload(key), dialect.select_answer(key))
        if rows:
            return _stored_response(rows[0][2:])
        own, highest, taken = transaction.run(dialect.select_slots(key)).rows[0]
        if own is not None:
            if self._identity.forbid_overwrite:
                raise ticket_used_error()
            return None
        if taken >= key.max_objects:
            raise ticket_used_error(key.max_objects)
        first = 0 if highest is None else highest + 1
        slot = self._lock_slot(transaction, first)
        if slot is None:
            raise _UndecidedError
        # Since the slots were counted, another transaction may have stored an answer in this one.
        check = dialect.slot_is_taken(key, slot)
        if check is not None and transaction.run(check).rows:
            raise _ConflictError
        return slot

    def _isolation(self, transaction: Transaction) -> str:
        """Return the isolation level of an application's transaction on PostgreSQL, and READ COMMITTED for others."""
        if not transaction.is_shared or self._ledger.dialect.name != "postgresql":
            return "read committed"
        return str(transaction.run("SHOW transaction_isolation").rows[0][0])

    def _lock_slot(self, transaction: Transaction, first: int) -> int | None:
        """Lock a free slot, from ``first`` on if there is one; return None if others have locked the rest."""
        dialect, key = self._ledger.dialect, self._key
        candidates = dialect.select_free_slots(key)
        if candidates is None:
            slots = transaction.run(dialect.lock_slot(key, first)).rows if first < key.max_objects else []
            slots = slots or transaction.run(dialect.lock_gap(key)).rows
            return int(slots[0][0]) if slots else None
        free = [int(slot) for (slot,) in transaction.run(candidates).rows]
        random.shuffle(free)  # concurrent calls try others
        return next((slot for slot in free if transaction.run(dialect.lock_slot(key, slot)).rows), None)

    def _lock(self, transaction: Transaction, part: int, select: str) -> list[tuple[Any, ...]]:
        """Lock a part of the ticket, and return what is selected then.

        Above READ COMMITTED a transaction sees what was committed before its first statement began. If that one has
        waited, it is run again.
        """
        dialect, key = self._ledger.dialect, self._key
        attempt = dialect.try_to_lock_ticket(key, part) if transaction.is_shared else None
        if attempt is None:
            return transaction.run(dialect.lock_ticket(key, part), select).rows
        if not transaction.run(attempt).rows[0][0]:
            transaction.run(dialect.lock_ticket(key, part))
            if self._isolation(transaction) != "read committed":
                raise _ConflictError
        return transaction.run(select).rows

    def _add_partitions(self) -> bool:
        if self._needs_partition:
            self._needs_partition = False
            self._ledger._make_partitions_for(self._key)
            return True
        return False

    def _look_for_partition(self, transaction: Transaction) -> None:
        """Run again with the partition that the answer needs, before the handler is called in vain."""
        now = int(transaction.run(f"SELECT {self._ledger.dialect.clock}").rows[0][0])
        day = (now + self._key.seconds) // PARTITION_SECONDS
        if not {day, day + 1} <= self._ledger._days:
            self._needs_partition = True
            raise _UndecidedError

    def _add_slots(self) -> bool:
        """Make more slots where the database needs rows for them; return whether there are more now."""
        dialect, key = self._ledger.dialect, self._key
        select = dialect.select_next_slot(key)
        try:
            if select is not None:
                with self._ledger._begin_own() as transaction:
                    first = int(transaction.run(dialect.lock_ticket(key, ADDING_SLOTS), select).rows[0][0])
                    return first < key.max_objects and transaction.run(dialect.add_slots(key, first)).affected > 0
        except Exception as error:
            if meaning_of(error) is not Meaning.CONFLICT:
                raise self._ledger._unavailable(error) from error
        return False


def _stored_response(row: Iterable[Any]) -> StoredResponse:
    status, content_type, body = map(bytes, row)
    return StoredResponse(status.decode("utf-8", "surrogatepass"), content_type.decode("utf-8", "surrogatepass"), body)


__all__ = ["AUTOCOMMIT", "DEFAULT_WAIT_TIMEOUT", "Rows", "Transaction", "TransactionalLedger"]
