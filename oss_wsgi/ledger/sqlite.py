"""A ledger in a SQLite file, for several threads and processes, which survives restarts and crashes.

Beside the file are SQLite's own ``-wal`` and ``-shm``, and one ``-owner-<name>`` for each process that uses it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from ..exceptions import LedgerUnavailableError, SettingsError, TicketUsedError
from .base import (
    DEFAULT_WAIT_TIMEOUT,
    Handle,
    StoredResponse,
    UploadIdentity,
    already_waiting_error,
    ledger_busy_error,
    ticket_used_error,
)
from .process_lock import ProcessLock
from .sqlite_file import LedgerFile, begin
from .steady_time import SteadyTime

log = logging.getLogger(__name__)

# The tables say "answers" and "owner": files that exist already must keep working.
_SELECT_RESPONSE = "SELECT status, content_type, body FROM answers WHERE ticket = ? AND object = ? AND etag = ?"
# Two ranges, not <>: a ticket may have many ETags of its one object.
_OTHER_OBJECT_EXISTS = """
SELECT EXISTS (SELECT 1 FROM answers WHERE ticket = ? AND object < ?)
    OR EXISTS (SELECT 1 FROM answers WHERE ticket = ? AND object > ?)
"""
_OBJECT_EXISTS = "SELECT EXISTS (SELECT 1 FROM answers WHERE ticket = ? AND object = ?)"
_SELECT_CLAIMS = "SELECT object, etag, owner FROM claims WHERE ticket = ?"
_INSERT_CLAIM = "INSERT INTO claims VALUES (?, ?, ?, ?)"
_DELETE_CLAIM = "DELETE FROM claims WHERE ticket = ? AND object = ? AND etag = ? AND owner = ?"
_INSERT_RESPONSE = """
INSERT OR REPLACE INTO answers (ticket, object, etag, expires, status, content_type, body, forget_after)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_SELECT_OBJECT_COUNT = "SELECT objects FROM tickets WHERE ticket = ?"
_COUNT_OBJECT = """
INSERT INTO tickets (ticket, objects, expires, forget_after) VALUES (?, 1, ?, ?)
ON CONFLICT (ticket) DO UPDATE SET objects = objects + 1, forget_after = max(forget_after, excluded.forget_after)
"""
_SELECT_TIME = "SELECT seconds, clock FROM steady_time"
_STORE_TIME = "REPLACE INTO steady_time VALUES (1, ?, ?)"
# Each claim deletes a few, more than it adds: the table shrinks to what is valid, and no call pays for many. It looks
# at a few only: behind one that is valid by the clock, the others wait.
_DELETE_EXPIRED = """
DELETE FROM answers WHERE rowid IN (SELECT rowid FROM (
    SELECT rowid, expires FROM answers WHERE forget_after < ? ORDER BY forget_after LIMIT 4) WHERE expires < ?)
"""
_DELETE_EXPIRED_TICKETS = """
DELETE FROM tickets WHERE ticket IN (SELECT ticket FROM (
    SELECT ticket, expires FROM tickets WHERE forget_after < ? ORDER BY forget_after LIMIT 4) WHERE expires < ?)
"""
# By the index of object and ETag; SQLite before 3.32 takes 999 values in a statement.
_KNOWN_PAIRS = 400
_SELECT_KNOWN = "SELECT DISTINCT object, etag FROM answers WHERE (object, etag) IN (VALUES {})"
_POLL_SECONDS = 0.05


class SQLiteLedger:
    """A ledger in the SQLite file ``path``, created if it does not exist, readable by this user alone.

    An instance may be made before a fork and used after it, and by many threads: each process has one connection,
    opened at the first call, behind a lock. The folder must be on a local disk and allow new files.

    Before the handler runs, a claim is written that names this process, so that the others see at once when it dies,
    and take the claim over. No transaction is open while the handler runs.

    Raises SettingsError when the file cannot be used.

    :param clock: returns Unix seconds.
    :param wait_timeout: seconds for which a call waits for others, as in MemoryLedger. Each process has at the most as
        many waiting calls for a ticket as all processes are handling uploads of it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], float],
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
    ) -> None:
        self._clock = clock
        self._wait_timeout = wait_timeout
        self._outcomes: deque[_Outcome] = deque()
        # Each waiting call, with its process, because a fork copies the entry but not the thread, and its ticket.
        self._waiting: dict[object, tuple[int, str]] = {}
        try:
            self._file = LedgerFile(path)
        except (OSError, ValueError, sqlite3.Error) as error:
            problem = getattr(error, "strerror", None) or error
            raise SettingsError(f"The ledger {os.fspath(path)!r} cannot be used: {problem}.") from error

    def __enter__(self) -> SQLiteLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Return the number of stored responses, expired ones included; LedgerUnavailableError if it is unknown."""
        try:
            with self._file.opened() as connection:
                return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])
        except (OSError, ValueError, sqlite3.Error) as error:
            raise self._unavailable(error) from error

    @property
    def path(self) -> str:
        """The absolute path of the file."""
        return str(self._file.path)

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the pairs of object and ETag that were handled, as ``Ledger.known`` describes."""
        asked = list(dict.fromkeys(pairs))
        stored: set[tuple[str, str]] = set()
        try:
            with self._file.opened() as connection:
                for first in range(0, len(asked), _KNOWN_PAIRS):
                    some = asked[first : first + _KNOWN_PAIRS]
                    statement = _SELECT_KNOWN.format(",".join(["(?, ?)"] * len(some)))
                    stored.update(connection.execute(statement, [text for pair in some for text in pair]))
        except (OSError, ValueError, sqlite3.Error) as error:
            raise self._unavailable(error) from error
        return stored

    def check(self) -> None:
        """Write a claim and delete it again; LedgerUnavailableError when that fails."""
        try:
            with self._file.opened() as connection:
                begin(connection, durable=False)
                connection.execute(_INSERT_CLAIM, ("", "", "", ""))
                connection.execute(_DELETE_CLAIM, ("", "", "", ""))
                connection.execute("COMMIT")
        except (OSError, ValueError, sqlite3.Error) as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Close this process's connection; the next call opens it again."""
        self._file.close()

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, as ``Ledger.run_once`` describes.

        When the response cannot be written after ``handle``, that is logged and a success becomes a
        LedgerUnavailableError: the next call handles the upload again.

        Raises TicketUsedError, LedgerUnavailableError (``ledger_busy``, ``ledger_unavailable``), and whatever
        ``handle`` raises.
        """
        try:
            claim = self._wait_for_claim(identity)
        except (OSError, ValueError, sqlite3.Error) as error:
            raise self._unavailable(error) from error
        if isinstance(claim, StoredResponse):
            return claim
        response: StoredResponse | None = None
        try:
            response = handle(None)
        finally:
            is_success = response is not None and response.status[:1] == "2"
            outcome = _Outcome(identity, claim, response if is_success else None)
            self._finish(outcome)
        if outcome.response is not None and outcome.error is not None:
            raise self._unavailable(outcome.error) from outcome.error
        return response

    def _wait_for_claim(self, identity: UploadIdentity) -> StoredResponse | ProcessLock:
        """Return the stored response, or the lock under whose name the upload is now claimed."""
        waited = 0.0
        this_call = object()
        try:
            while True:
                outcome = self._claim(identity)
                if isinstance(outcome, TicketUsedError):
                    raise outcome
                if not isinstance(outcome, _Undecided):
                    return outcome
                with self._file.opened() as connection:  # its lock is one that a fork does not copy locked
                    dead = [name for name in outcome.owners if self._file.delete_claims_if_dead(connection, name)]
                    may_wait = dead or self._may_wait(this_call, identity, outcome.handling)
                if dead:
                    continue
                if not may_wait:
                    raise already_waiting_error(identity)
                if waited >= self._wait_timeout:
                    raise ledger_busy_error(self._wait_timeout)
                pause = min(_POLL_SECONDS, self._wait_timeout - waited)
                threading.Event().wait(pause)
                waited += pause
        finally:
            self._waiting.pop(this_call, None)

    def _may_wait(self, call: object, identity: UploadIdentity, handling: int) -> bool:
        """Count a call as waiting, unless as many wait already as uploads of the ticket are being handled."""
        place = os.getpid(), identity.ticket
        if not identity.may_wait:
            return False
        if call not in self._waiting and list(self._waiting.values()).count(place) < handling:
            self._waiting[call] = place
        return call in self._waiting

    def _claim(self, identity: UploadIdentity) -> StoredResponse | ProcessLock | TicketUsedError | _Undecided:
        """Return what ``_wait_for_claim`` returns or raises, or whom to wait for."""
        now = self._clock()
        with self._file.opened() as connection:
            outcome = _decide(connection, identity)
            if isinstance(outcome, TicketUsedError):
                # Between two statements another process may have stored the very response: one moment decides.
                connection.execute("BEGIN")
                outcome = _decide(connection, identity)
                connection.execute("COMMIT")
            if outcome is not None:
                return outcome
            process_lock = self._file.process_lock(connection)
            # A power cut that loses a claim has ended its process too, so the claim need not reach the disk.
            begin(connection, durable=False)
            outcome = _decide(connection, identity)
            if outcome is None:
                claim = identity.ticket, identity.object, identity.etag, process_lock.name
                connection.execute(_INSERT_CLAIM, claim)
                time = _look_at_clock(connection, now)
                connection.execute(_DELETE_EXPIRED, time)
                connection.execute(_DELETE_EXPIRED_TICKETS, time)
            connection.execute("COMMIT")
            if outcome is None:
                process_lock.claims += 1
                return process_lock
        return outcome

    def _finish(self, outcome: _Outcome) -> None:
        """Write an outcome, unless another thread does it; log what cannot be written."""
        self._outcomes.append(outcome)
        try:
            with self._file.opened() as connection:
                if not outcome.written and outcome.error is None:
                    self._write_outcomes(connection, outcome)
        except (OSError, ValueError, sqlite3.Error) as error:
            outcome.error = error
            with suppress(ValueError):
                self._outcomes.remove(outcome)
        if outcome.error is not None:
            result = "was handled" if outcome.response else "was not handled"
            log.error("%r %s, but the ledger cannot store that: %s", outcome.identity.object, result, outcome.error)
        self._file.finish_claim(outcome.process_lock)

    def _write_outcomes(self, connection: sqlite3.Connection, outcome: _Outcome) -> None:
        """Write an outcome, and with it those of threads that wait for the lock: one sync of the disk serves all."""
        batch = {outcome}
        with suppress(IndexError):
            while True:
                batch.add(self._outcomes.popleft())
        try:
            # A response must outlast a power cut: OSS was told that the upload was handled.
            begin(connection, durable=any(entry.response for entry in batch))
            time: SteadyTime | None = None
            for entry in batch:
                identity, response = entry.identity, entry.response
                key = identity.ticket, identity.object, identity.etag
                connection.execute(_DELETE_CLAIM, (*key, entry.process_lock.name))
                if response:
                    time = time or _look_at_clock(connection, self._clock())
                    _store(connection, identity, response, time.forget_after(identity.expires))
            connection.execute("COMMIT")
        except Exception as error:
            for entry in batch:
                entry.error = error
            raise
        for entry in batch:
            entry.written = True

    def _unavailable(self, error: Exception) -> LedgerUnavailableError:
        return LedgerUnavailableError("ledger_unavailable", f"the ledger {self._file.path}: {error}")


class _Undecided(NamedTuple):
    """The names of the processes whose handling decides, and how many uploads of the ticket are being handled."""

    owners: set[str]
    handling: int


class _Outcome:
    """How a handling ended, to be written: the response to store, or None."""

    def __init__(self, identity: UploadIdentity, process_lock: ProcessLock, response: StoredResponse | None) -> None:
        self.identity = identity
        self.process_lock = process_lock
        self.response = response
        self.written = False
        self.error: Exception | None = None


def _decide(
    connection: sqlite3.Connection, identity: UploadIdentity
) -> StoredResponse | TicketUsedError | _Undecided | None:
    """Return the stored response, why there is none, whom to wait for, or None for a new upload."""
    ticket, key = identity.ticket, (identity.ticket, identity.object, identity.etag)
    row = connection.execute(_SELECT_RESPONSE, key).fetchone()
    if row is not None:
        return StoredResponse(*row)
    claims = connection.execute(_SELECT_CLAIMS, (ticket,)).fetchall()
    is_stored = bool(connection.execute(_OBJECT_EXISTS, key[:2]).fetchone()[0])
    if is_stored and identity.forbid_overwrite:
        return ticket_used_error()
    owners = {
        owner
        for name, etag, owner in claims
        if name == identity.object and (etag == identity.etag or identity.forbid_overwrite)
    }
    if owners:
        return _Undecided(owners, len(claims))
    if is_stored or any(name == identity.object for name, _, _ in claims):
        return None  # it is one of the ticket's objects
    stored = _other_objects(connection, identity)
    if stored >= identity.max_objects:
        return ticket_used_error(identity.max_objects)
    if not claims:
        return None
    new = {name for name, _, _ in claims if not connection.execute(_OBJECT_EXISTS, (ticket, name)).fetchone()[0]}
    if stored + len(new) < identity.max_objects:
        return None
    return _Undecided({owner for name, _, owner in claims if name in new}, len(claims))


def _other_objects(connection: sqlite3.Connection, identity: UploadIdentity) -> int:
    """Return how many objects of the ticket have a response; this one has none."""
    if identity.max_objects == 1:
        return int(connection.execute(_OTHER_OBJECT_EXISTS, (identity.ticket, identity.object) * 2).fetchone()[0])
    row = connection.execute(_SELECT_OBJECT_COUNT, (identity.ticket,)).fetchone()
    return 0 if row is None else int(row[0])


def _store(
    connection: sqlite3.Connection, identity: UploadIdentity, response: StoredResponse, forget_after: int
) -> None:
    key = identity.ticket, identity.object, identity.etag
    if identity.max_objects > 1 and not connection.execute(_OBJECT_EXISTS, key[:2]).fetchone()[0]:
        connection.execute(_COUNT_OBJECT, (identity.ticket, identity.expires, forget_after))
    connection.execute(_INSERT_RESPONSE, (*key, identity.expires, *response, forget_after))


def _look_at_clock(connection: sqlite3.Connection, now: float) -> SteadyTime:
    """Return the steady time of the file, which all its processes share, and store this look at the clock."""
    row = connection.execute(_SELECT_TIME).fetchone()
    time = SteadyTime.started(now) if row is None else SteadyTime(*row).at(now)
    connection.execute(_STORE_TIME, time)
    return time
