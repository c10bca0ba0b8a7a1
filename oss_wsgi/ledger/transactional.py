"""A ledger whose claims are rows locked by transactions, which the database ends when their process dies."""

from __future__ import annotations

import logging
import math
import os
import random
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, NoReturn, TypeVar

from ..exceptions import HandlerCommittedError, LedgerUnavailableError, SettingsError
from .base import (
    NOTHING_FOUND,
    Claim,
    Found,
    Handle,
    OnceLedger,
    StoredResponse,
    UploadIdentity,
    busy_error,
    digest,
    held_error,
    ledger_busy_error,
)
from .sql_errors import Meaning, meaning_of, text_of
from .sql_tables import (
    EXPIRING,
    VERSION,
    Rows,
    Statement,
    Statements,
    answers,
    decoded,
    encoded,
    hash_of,
    key_of,
    seconds_until,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

#: How often a transaction that loses against others is run at most.
_TRIES = 12
#: Seconds for which even a call that must not wait is run again.
_LEAST_PATIENCE = 0.5
#: One of this many stored responses also deletes expired rows: twice as many rows as come in.
DELETE_EVERY = 512
EXACT_COUNT = 100_000
#: Seconds between statements in a transaction that only holds a lock, because servers end idle transactions.
PING_SECONDS = 8.0

_COMMITTED = (
    "the handler ended the ledger's transaction by itself, with COMMIT, ROLLBACK or a statement that commits, so its "
    "work and the upload's response could not be stored together: leave out the commit, because the ledger commits both"
)
_BROKEN = (
    "a statement of the handler failed in the ledger's transaction, and the handler went on: let the error out, or put "
    "a savepoint (begin_nested, transaction.atomic) around what may fail"
)
AUTOCOMMIT = (
    "The ledger shares a connection that commits each statement by itself (AUTOCOMMIT), so the handler's work and "
    "the upload's response cannot be stored together: give it an engine with another isolation level."
)
#: The row that a probe stores; PostgreSQL would store a larger one elsewhere.
_PROBE = {"status": b"", "content_type": b"", "body": bytes(1500)}


class Transaction(ABC):
    """An open transaction of the database."""

    is_mariadb = False

    def __init__(self, statements: Statements) -> None:
        self.statements = statements
        self._wait_before: Mapping[str, Any] | None = None

    @abstractmethod
    def run(self, statement: Statement, parameters: Mapping[str, Any]) -> Rows:
        """Run a statement, and return its result."""

    def lock(self, key: Mapping[str, Any]) -> bool:
        """Lock the row of an upload; return whether it is new."""
        locked = self.run(self.statements.claim, key)
        return locked.affected == 1 if self.statements.family == "mysql" else bool(locked.rows[0][0] == 0)

    @abstractmethod
    def store(self, answer: Mapping[str, Any]) -> None:
        """Store the response of an upload, and commit."""

    @abstractmethod
    def commit(self) -> None:
        """Commit; after an error ``roll_back`` is called too."""

    @abstractmethod
    def roll_back(self, error: BaseException | None) -> None:
        """Roll back, and raise nothing; ``error`` is the reason."""

    def limit_wait(self, seconds: float) -> None:
        """Limit the waits for locks until ``restore_wait``."""
        statements = self.statements
        if statements.family == "postgresql":
            milliseconds = max(1, math.ceil(seconds * 1000))
            self._wait_before = {"wait": self.run(statements.limit_wait, {"wait": f"{milliseconds}ms"}).rows[0][0]}
        elif statements.family == "mysql":
            before, autocommit = self.run(statements.show_wait, {}).rows[0]
            if int(autocommit):
                raise SettingsError(AUTOCOMMIT)
            self.run(statements.limit_wait, {"wait": self.whole_seconds(seconds)})
            self._wait_before = {"wait": int(before)}

    def restore_wait(self) -> None:
        """Restore the limit of waits for locks."""
        if self._wait_before is not None:
            before, self._wait_before = self._wait_before, None
            self.run(self.statements.limit_wait, before)

    def whole_seconds(self, seconds: float) -> int:
        """Return the limit for MySQL and MariaDB, which count whole seconds; MySQL's least limit is one second."""
        return max(0 if self.is_mariadb else 1, math.floor(seconds))


class SharedTransaction(Transaction):
    """A transaction of the application, in which the ledger claims an upload and the handler works.

    :param handed: the handler's ``upload.transaction``.
    :param execute: runs a text with parameters, and returns a cursor or a result, which both have ``rowcount`` and
        ``fetchall``.
    :param end: ends the transaction: commits it, or rolls it back because of an error.
    """

    def __init__(
        self,
        handed: object,
        statements: Statements,
        execute: Callable[..., Any],
        end: Callable[[BaseException | None], object],
    ) -> None:
        super().__init__(statements)
        self.handed = handed
        #: Whether one of the handler's statements lost against another transaction.
        self.has_conflict = False
        #: Whether the handler is running.
        self.is_handling = False
        #: Whether the handler has ended the transaction.
        self.was_ended = False
        self._execute = execute
        self._end = end

    def run(self, statement: Statement, parameters: Mapping[str, Any]) -> Rows:
        """Run a statement, and return its result."""
        result = self._execute(statement.text, statement.bound(parameters))
        return Rows(result.rowcount, [tuple(row) for row in result.fetchall()] if statement.returns_rows else [])

    def store(self, answer: Mapping[str, Any]) -> None:
        """Store the response, and commit. Raises HandlerCommittedError if the handler ended the transaction."""
        self._after_handler()
        self.run(self.statements.store, answer)
        self.commit()

    def commit(self) -> None:
        """Commit as the application does."""
        self._end(None)

    def roll_back(self, error: BaseException | None) -> None:
        """Roll back as the application does when something is raised."""
        if self.statements.family == "mysql":
            with suppress(Exception):  # the session, and its setting, may be gone
                self.restore_wait()
        reason = _RollBackError() if error is None else error
        with suppress(Exception, type(reason)):
            self._end(reason)

    def before_handler(self) -> None:
        """Restore the handler's limit of waits, and mark the transaction, to notice afterwards if it was ended."""
        self.restore_wait()
        try:
            self._execute("SAVEPOINT oss_wsgi")
        except Exception as error:
            if meaning_of(error) is Meaning.ENDED:
                raise SettingsError(AUTOCOMMIT) from error
            raise

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Watch what the handler does with the transaction."""
        self.is_handling = True
        try:
            yield
        finally:
            self.is_handling = False

    def flush(self) -> None:
        """Send the statements that the handler's tools have kept back, so that their errors count as the handler's."""
        return

    def _after_handler(self) -> None:
        """Raise HandlerCommittedError if the handler has ended the transaction, or left it broken."""
        if self.was_ended:
            raise HandlerCommittedError("handler_committed", _COMMITTED)
        try:
            self._execute("RELEASE SAVEPOINT oss_wsgi")
        except Exception as error:
            meaning = meaning_of(error)
            if meaning is Meaning.ENDED:
                raise HandlerCommittedError("handler_committed", _COMMITTED) from error
            if meaning is Meaning.ABORTED:
                raise HandlerCommittedError("handler_committed", _BROKEN) from error
            raise


def _commit(transaction: Transaction) -> None:
    transaction.commit()


def _undo(transaction: Transaction) -> None:
    transaction.roll_back(None)


class TransactionalLedger(OnceLedger):
    """The base of the ledgers in SQL databases.

    A claim inserts or updates a row. That locks the row, so that other claims wait, and shows whether the database can
    store at all. A full disk may have room for this row alone, and a server that misses its standby lets only a COMMIT
    wait. So a process stores two probes, and commits one of them, before its first upload and after each failure. The
    transaction stays open while the handler runs, and stores the response. When a process dies, the database itself
    ends its transaction; no clock is needed for that.

    A response is deleted when two conditions are met. The caller's clock is past its ``expires``. The database's clock
    has moved, since the response was stored, by the rest of the ticket's lifetime and 24 hours more. So a clock that is
    off by a day, on either side, deletes nothing too early.
    """

    def __init__(self, *, clock: Callable[[], float], wait_timeout: float) -> None:
        self._clock = clock
        self._is_checked = False
        self._had_tables = False
        #: Whether the last response could be stored, and nothing has failed since.
        self._is_proven = False
        self._checking = threading.Lock()
        self._must_delete = False
        super().__init__(wait_timeout)

    @abstractmethod
    def _begin(self) -> Transaction:
        """Begin a transaction for a claim; if it is the application's, the handler works in it."""

    def _begin_held(self) -> Transaction:
        """Begin a transaction that stays open while this thread begins and ends others."""
        return self._begin()

    def close(self) -> None:
        """Leave the connections open: they belong to the application."""
        return

    def _renew_in_child(self) -> None:
        self._checking = threading.Lock()

    # Uploads.

    def _run(self, identity: UploadIdentity, handle: Handle, patience: float) -> StoredResponse:
        """Handle an upload; if another transaction wins, do everything again, ``handle`` included."""
        response = self._repeat(super()._run, patience, identity, handle, patience)
        if self._must_delete:
            self._must_delete = False
            self._delete_quietly()
        return response

    def _repeat(self, act: Callable[..., T], seconds: float, *arguments: Any) -> T:
        """Call ``act``; for ``seconds``, call it again if another transaction wins or the connection was cut before."""
        began = self._clock()
        for attempt in count(1):
            try:
                return act(*arguments)
            except _AgainError as again:
                is_late = abs(self._clock() - began) > max(seconds, _LEAST_PATIENCE)
                last = again.error if is_late or attempt >= (2 if again.was_cut else _TRIES) else None
                cause = again.__cause__
            if last is not None:
                try:
                    raise last from cause
                finally:
                    del last, cause  # or the frame keeps the connection out of its pool until garbage is collected
            # The other transactions can end meanwhile.
            threading.Event().wait(random.uniform(0, min(0.002 * 2**attempt, 0.2)))  # noqa: S311
        raise AssertionError

    def _stored_response(self, identity: UploadIdentity) -> StoredResponse | None:
        key = key_of(identity, self._clock())
        return self._do(lambda transaction: _response_of(transaction, key))

    def _claim(self, identity: UploadIdentity, patience: float) -> Claim:
        if not self._is_checked:
            self._prepare()
        if not self._is_proven:
            self._try_to_store(patience)  # not in the claim's transaction: its locks last as long as the handler
        key = key_of(identity, self._clock())
        try:
            transaction = self._begin()
            try:
                transaction.limit_wait(patience)
                if patience <= 0 and transaction.statements.family == "mysql" and not transaction.is_mariadb:
                    # MySQL waits at least a second for a lock. This statement fails at once if another transaction has
                    # the row. (At REPEATABLE READ it also locks the gap where new tickets go.)
                    transaction.run(transaction.statements.lock_at_once, key)
                found = _find(transaction, identity, key, is_new=transaction.lock(key))
            except BaseException as error:
                transaction.roll_back(error)
                raise
        except Exception as error:
            # Here BUSY means another call's lock, unlike in `_RowClaim.store`.
            if meaning_of(error) in (Meaning.BUSY, Meaning.WRITING):
                raise (busy_error() if patience <= 0 else ledger_busy_error(self._wait_timeout)) from error
            self._judge(error)
        return _RowClaim(self, transaction, key, found)

    def _judge(self, error: Exception, doing: str = "cannot be used", *, may_repeat: bool = True) -> NoReturn:
        """Raise what a database error means for an upload; raise any other error as it is."""
        meaning = meaning_of(error)
        if meaning is None:
            raise error
        if meaning in (Meaning.CONFLICT, Meaning.DUPLICATE):
            raise _AgainError(ledger_busy_error(self._wait_timeout)) from error
        unavailable = self._unavailable(error, doing)
        # A pooled connection that the server has closed fails only at its first use, when nothing has happened yet.
        if meaning is Meaning.UNAVAILABLE and may_repeat:
            raise _AgainError(unavailable, was_cut=True) from error
        raise unavailable from error

    def _note_stored(self) -> None:
        self._is_proven = True
        # Decide at random, not by a count: a process that ends after a few uploads would never delete anything.
        if random.random() * DELETE_EVERY < 1:  # noqa: S311
            self._must_delete = True

    # The ledger's other methods.

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the pairs of object and ETag that were handled, as ``Ledger.known`` describes.

        Raises LedgerUnavailableError for a database that cannot store: it would refuse what a sweep delivers.
        """
        asked = {(encoded(name), encoded(etag)): (name, etag) for name, etag in pairs}
        if not asked:
            return set()
        marks = {digest(*pair): pair for pair in asked.values()}

        def look(transaction: Transaction) -> set[tuple[str, str]]:
            _store_probe(transaction)
            run, statements = transaction.run, transaction.statements
            rows = run(statements.known([hash_of(*pair) for pair in asked]), {}).rows
            stored = ((bytes(name), bytes(etag)) for name, etag in rows)
            noted = {marks[bytes(mark)] for (mark,) in run(statements.noted(marks), {}).rows}
            return noted.union(asked[pair] for pair in stored if pair in asked)

        return self._do(look, end=_undo)

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        """Note pairs of object and mark, as ``Ledger.note`` describes."""
        marks = sorted({digest(*pair) for pair in pairs})  # in one order, or two calls at once would deadlock
        if not marks:
            return
        seconds = seconds_until(expires, self._clock())
        self._do(lambda transaction: transaction.run(transaction.statements.note(marks, int(expires), seconds), {}))
        if random.random() * DELETE_EVERY < len(marks):  # noqa: S311
            self._delete_quietly()

    def load(self, name: str) -> str | None:
        """Return a saved text, or None."""
        rows = self._do(lambda transaction: transaction.run(transaction.statements.load, {"name": _text_name(name)}))
        return decoded(rows.rows[0][0]) if rows.rows else None

    def save(self, name: str, text: str) -> None:
        """Keep a text for good."""
        parameters = {"name": _text_name(name), "text": encoded(text), "text_now": encoded(text)}
        self._do(lambda transaction: transaction.run(transaction.statements.save, parameters))

    def check(self) -> None:
        """Store a probe and roll back, and commit one that is deleted; LedgerUnavailableError when that fails."""
        self._try_to_store(self._wait_timeout)

    def _try_to_store(self, patience: float) -> None:
        def store(transaction: Transaction) -> None:
            transaction.limit_wait(patience)
            _store_probe(transaction)

        def save(transaction: Transaction) -> None:
            transaction.limit_wait(patience)
            probe = {"name": b"probe " + secrets.token_bytes(8), "text": b"", "text_now": b""}
            transaction.run(transaction.statements.save, probe)
            transaction.run(transaction.statements.forget, probe)
            transaction.restore_wait()

        self._do(store, end=_undo)
        self._do(save)  # a server without its standby may refuse nothing but keep a COMMIT waiting
        self._is_proven = True

    def __len__(self) -> int:
        """Return the number of stored responses; from 100,000 on, the database's estimate."""

        def look(transaction: Transaction) -> int:
            rows = transaction.run(transaction.statements.estimate, {}).rows
            if rows and rows[0][0] is not None and int(rows[0][0]) > EXACT_COUNT:
                return int(rows[0][0])
            return int(transaction.run(transaction.statements.count, {}).rows[0][0])

        return self._do(look)

    @contextmanager
    def _hold(self, name: str) -> Iterator[None]:
        """Hold a lock by a transaction; with SQLite, which has one writer, hold it only within this process."""
        family = self._do(lambda transaction: transaction.statements.family)
        if family == "sqlite":
            yield
            return
        row = b"lock " + encoded(name)
        if family == "mysql" and not self._do(lambda t: t.run(t.statements.load, {"name": row})).rows:
            self._do(lambda t: t.run(t.statements.save, {"name": row, "text": b"", "text_now": b""}))
        parameters = {"number": hash_of(b"oss_wsgi", row), "name": row}

        def lock(transaction: Transaction) -> Transaction:
            rows = transaction.run(transaction.statements.hold, parameters).rows
            if not rows or not rows[0][0]:
                raise held_error()
            return transaction

        held = self._do(lock, begin=self._begin_held, end=lambda transaction: None)
        ended = threading.Event()
        pinging = threading.Thread(target=_ping, args=(held, ended), name="oss_wsgi lock", daemon=True)
        pinging.start()
        try:
            yield
        finally:
            ended.set()
            pinging.join()
            held.roll_back(None)

    def _do(
        self,
        work: Callable[[Transaction], T],
        *,
        begin: Callable[[], Transaction] | None = None,
        end: Callable[[Transaction], None] = _commit,
        is_prepared: bool = True,
    ) -> T:
        """Do ``work`` in a transaction of its own, with repeats as needed. Raises LedgerUnavailableError."""

        def attempt() -> T:
            if is_prepared:
                self._prepare()
            try:
                transaction = (begin or self._begin)()
                try:
                    result = work(transaction)
                    end(transaction)
                    return result
                except BaseException as error:
                    transaction.roll_back(error)
                    raise
            except Exception as error:
                self._judge(error)

        return self._repeat(attempt, self._wait_timeout)

    # The tables.

    def _prepare(self) -> None:
        """Make the tables at the first use, and compare their version. Raises LedgerUnavailableError."""
        if self._is_checked:
            return
        if not self._checking.acquire(timeout=self._wait_timeout):
            raise LedgerUnavailableError("ledger_unavailable", "the ledger's database does not answer another call")
        try:
            if self._is_checked:
                return
            version = self._do(_version, end=_undo, is_prepared=False)
            if version is None:
                if self._had_tables:
                    log.warning("The ledger's tables are gone and are made anew: uploads can be handled twice.")
                self._do(_make_tables, is_prepared=False)
                version = self._do(_version, end=_undo, is_prepared=False)
            if version != VERSION:
                raise LedgerUnavailableError(
                    "ledger_unavailable",
                    f"the ledger's tables have version {version}, and this program uses version {VERSION}: install "
                    "the release of oss-wsgi that made them, or a newer one",
                )
            self._is_checked = self._had_tables = True
        finally:
            self._checking.release()

    # Expired rows.

    def _delete_quietly(self) -> None:
        """Delete some expired rows; only log an error, because the upload is handled."""
        try:
            self.delete_expired()
        except LedgerUnavailableError as error:
            log.warning("The ledger cannot delete its expired rows: %s.", error.hint)

    def delete_expired(self) -> int:
        """Delete some expired rows, and return how many. A ledger also does this by itself."""
        now = math.floor(self._clock())

        def delete(transaction: Transaction) -> int:
            deleted = 0
            for table in EXPIRING:
                rows = transaction.run(transaction.statements.expired[table], {}).rows
                keys = [tuple(row[:-1]) for row in rows if row[-1] < now]
                if keys:
                    transaction.run(transaction.statements.delete(table, keys), {})
                if keys and table is answers:
                    expired = {ticket for ticket, _ in keys}
                    free = transaction.run(transaction.statements.free_locks(expired), {}).rows
                    if free:  # nobody can store a response of these tickets now
                        transaction.run(transaction.statements.delete_locks(free), {})
                deleted += len(keys)
            return deleted

        return self._do(delete)

    # Errors.

    def _unavailable(self, error: BaseException, doing: str = "cannot be used") -> LedgerUnavailableError:
        meaning = meaning_of(error)
        if meaning is Meaning.WRITING:
            return ledger_busy_error(self._wait_timeout)
        if meaning is Meaning.NO_CONNECTION:
            hint = "no connection to the ledger's database was free in time: its pool has too few for these threads"
            return LedgerUnavailableError("ledger_busy", hint)
        self._is_proven = False
        if meaning not in (Meaning.UNAVAILABLE, Meaning.BUSY):
            self._is_checked = False  # the tables may be gone or replaced
        return LedgerUnavailableError("ledger_unavailable", f"the ledger's database {doing}: {text_of(error)}")


class _AgainError(Exception):
    """Raised to run everything again; ``error`` is raised instead after the last try."""

    def __init__(self, error: LedgerUnavailableError, *, was_cut: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.was_cut = was_cut


class _RollBackError(Exception):
    """Raised in the application's transaction to roll it back although nothing failed."""


def _response_of(transaction: Transaction, key: Mapping[str, Any]) -> StoredResponse | None:
    """Return the stored response of an upload."""
    for name, etag, status, content_type, body in transaction.run(transaction.statements.find, key).rows:
        if (bytes(name), bytes(etag)) == (key["object"], key["etag"]):
            return StoredResponse(decoded(status), decoded(content_type), bytes(body))
    return None


def _find(transaction: Transaction, identity: UploadIdentity, key: Mapping[str, Any], *, is_new: bool) -> Found:
    """Return what is stored for an upload whose row is locked; a new row means that the upload has no response."""
    if is_new and identity.max_objects == 1:
        return NOTHING_FOUND
    if not is_new:
        response = _response_of(transaction, key)
        if response is not None:
            return Found(response)
    ((objects, has_object),) = transaction.run(transaction.statements.count_objects, key).rows
    return Found(None, bool(has_object), objects)


class _RowClaim(Claim):
    """A claim by a locked row."""

    __slots__ = ("_answer", "_is_open", "_ledger", "_process", "_shared", "_transaction", "found")

    def __init__(
        self, ledger: TransactionalLedger, transaction: Transaction, key: dict[str, Any], found: Found
    ) -> None:
        self._ledger = ledger
        self._transaction = transaction
        self._answer = key
        self.found = found
        self._shared = transaction if isinstance(transaction, SharedTransaction) else None
        self._is_open = True
        self._process = os.getpid()

    def handle(self, handle: Handle) -> StoredResponse:
        shared = self._shared
        if shared is None:
            return handle(None)
        try:
            shared.before_handler()
        except Exception as error:
            self._ledger._judge(error)
        try:
            with shared.handling():
                response = handle(shared.handed)
                if response.is_success:
                    shared.flush()
        except BaseException as error:
            if shared.has_conflict:
                raise self._again() from error
            raise
        if shared.has_conflict and not response.is_success:
            raise self._again()
        return response

    def store(self, response: StoredResponse) -> StoredResponse:
        transaction, answer = self._transaction, self._answer
        answer |= {"status": encoded(response.status), "content_type": encoded(response.content_type)}
        answer["body"] = response.body
        try:
            transaction.store(answer)
        except Exception as error:
            transaction.roll_back(error)
            self._is_open = False
            if self._shared is not None and self._shared.has_conflict:
                raise self._again() from error
            if meaning_of(error) is Meaning.DUPLICATE:
                stored = self._ledger._do(lambda looking: _response_of(looking, answer))
                if stored is None:
                    raise  # a deferred constraint of the handler's own tables
                return stored  # the row of the lock was deleted by hand
            is_locked = meaning_of(error) is Meaning.BUSY  # somebody else has locked the table
            doing = "did not store the response" if is_locked else "did not say whether it has stored the response"
            self._ledger._judge(error, doing, may_repeat=False)
        self._is_open = False
        self._ledger._note_stored()
        return response

    def end(self, error: BaseException | None) -> None:
        # In a child that the handler forked, the connection is its parent's.
        if self._is_open and self._process == os.getpid():
            self._transaction.roll_back(None if self._shared is None else error)  # else the handler's own error

    def _again(self) -> _AgainError:
        return _AgainError(ledger_busy_error(self._ledger._wait_timeout))


def _store_probe(transaction: Transaction) -> None:
    """Lock and store an upload that no other call uses; the caller rolls that back."""
    key = key_of(UploadIdentity(f"check {secrets.token_hex(8)}", "", "", 0), 0)
    transaction.lock(key)
    transaction.run(transaction.statements.store, {**key, **_PROBE})


def _text_name(name: str) -> bytes:
    return b"text " + encoded(name)


def _version(transaction: Transaction) -> int | None:
    """Return the version of the tables, or None if there are no tables."""
    try:
        rows = transaction.run(transaction.statements.version, {}).rows
    except Exception as error:
        if meaning_of(error) is Meaning.NO_TABLE:
            return None
        raise
    return int(rows[0][0]) if rows else None


def _make_tables(transaction: Transaction) -> None:
    for text in transaction.statements.creation():
        try:
            transaction.run(Statement.fixed(text), {})
        except Exception as error:
            if meaning_of(error) is not Meaning.EXISTS:
                raise


def _ping(transaction: Transaction, ended: threading.Event) -> None:
    """Run a statement now and then, so that the server keeps a transaction open."""
    while not ended.wait(PING_SECONDS):
        try:
            transaction.run(transaction.statements.ping, {})
        except Exception as error:
            log.warning("A lock of the ledger is lost: %s. Another sweep may begin.", text_of(error))
            return
