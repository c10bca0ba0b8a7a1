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

from ..exceptions import LedgerUnavailableError, SettingsError
from .base import (
    DEFAULT_WAIT_TIMEOUT,
    StoredResponse,
    UploadIdentity,
    already_waiting_error,
    ledger_busy_error,
    ticket_used_error,
)
from .process_lock import ProcessLock
from .sqlite_file import LedgerFile, begin

log = logging.getLogger(__name__)

# The tables say "answers" and "owner": files that exist already must keep working.
_SELECT_RESPONSE = "SELECT status, content_type, body FROM answers WHERE ticket = ? AND object = ? AND etag = ?"
# Two ranges, not <>: a ticket may have many ETags of its one object.
_OTHER_OBJECT_EXISTS = """
SELECT EXISTS (SELECT 1 FROM answers WHERE ticket = ? AND object < ?)
    OR EXISTS (SELECT 1 FROM answers WHERE ticket = ? AND object > ?)
"""
_OTHER_ETAG_EXISTS = "SELECT EXISTS (SELECT 1 FROM answers WHERE ticket = ? AND object = ? AND etag <> ?)"
_SELECT_CLAIM = "SELECT owner FROM claims WHERE ticket = ? AND (object <> ? OR etag = ?) LIMIT 1"
_SELECT_CLAIM_OF_TICKET = "SELECT owner FROM claims WHERE ticket = ? LIMIT 1"
_INSERT_CLAIM = "INSERT INTO claims VALUES (?, ?, ?, ?)"
_DELETE_CLAIM = "DELETE FROM claims WHERE ticket = ? AND object = ? AND etag = ? AND owner = ?"
_INSERT_RESPONSE = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)"
# Each claim deletes a few, more than it adds: the table shrinks to what is valid, and no call pays for many.
_DELETE_EXPIRED = """
DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE expires < ? ORDER BY expires LIMIT 4)
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
    :param wait_timeout: seconds for which a call waits for another one, as in MemoryLedger. Each process has one
        waiting call for a ticket at the most.
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
        # Process and ticket -> the call that waits. A fork copies the entry but not the thread, so the process is part
        # of it; and no lock guards it, because a fork could copy that locked.
        self._waiting: dict[tuple[int, str], object] = {}
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

    def run_once(self, identity: UploadIdentity, handle: Callable[[], StoredResponse]) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, as ``Ledger.run_once`` describes.

        When the response cannot be written after ``handle``, that is logged and the response is returned; the next
        call handles the upload again.

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
            response = handle()
        finally:
            is_success = response is not None and response.status[:1] == "2"
            self._finish(_Outcome(identity, claim, response if is_success else None))
        return response

    def _wait_for_claim(self, identity: UploadIdentity) -> StoredResponse | ProcessLock:
        """Return the stored response, or the lock under whose name the upload is now claimed."""
        waited = 0.0
        this_call, place = object(), (os.getpid(), identity.ticket)
        try:
            while True:
                claim = self._claim(identity)
                if isinstance(claim, (StoredResponse, ProcessLock)):
                    return claim
                with self._file.opened() as connection:
                    if self._file.delete_claims_if_dead(connection, claim):
                        continue
                if self._waiting.setdefault(place, this_call) is not this_call:
                    raise already_waiting_error()
                if waited >= self._wait_timeout:
                    raise ledger_busy_error(self._wait_timeout)
                pause = min(_POLL_SECONDS, self._wait_timeout - waited)
                threading.Event().wait(pause)
                waited += pause
        finally:
            if self._waiting.get(place) is this_call:
                del self._waiting[place]

    def _claim(self, identity: UploadIdentity) -> StoredResponse | ProcessLock | str:
        """Return what ``_wait_for_claim`` returns, or the name of the process to wait for."""
        key = identity.ticket, identity.object, identity.etag
        now = self._clock()
        is_ticket_used = False
        claim: StoredResponse | ProcessLock | str | None
        with self._file.opened() as connection:
            claim = _response_or_claimant(connection, identity)
            if claim is None:
                process_lock = self._file.process_lock(connection)
                # A power cut that loses a claim has ended its process too, so the claim need not reach the disk.
                begin(connection, durable=False)
                claim = _response_or_claimant(connection, identity)
                if claim is None:
                    is_ticket_used = _is_ticket_used(connection, identity)
                if claim is None and not is_ticket_used:
                    connection.execute(_INSERT_CLAIM, (*key, process_lock.name))
                    connection.execute(_DELETE_EXPIRED, (now,))
                    claim = process_lock
                connection.execute("COMMIT")
                if claim is process_lock:
                    process_lock.claims += 1
        if claim is None:
            raise ticket_used_error()
        return claim

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
            for entry in batch:
                identity, response = entry.identity, entry.response
                key = identity.ticket, identity.object, identity.etag
                connection.execute(_DELETE_CLAIM, (*key, entry.process_lock.name))
                if response:
                    values = response.status, response.content_type, response.body
                    connection.execute(_INSERT_RESPONSE, (*key, identity.expires, *values))
            connection.execute("COMMIT")
        except Exception as error:
            for entry in batch:
                entry.error = error
            raise
        for entry in batch:
            entry.written = True

    def _unavailable(self, error: Exception) -> LedgerUnavailableError:
        return LedgerUnavailableError("ledger_unavailable", f"the ledger {self._file.path}: {error}")


class _Outcome:
    """How a handling ended, to be written: the response to store, or None."""

    def __init__(self, identity: UploadIdentity, process_lock: ProcessLock, response: StoredResponse | None) -> None:
        self.identity = identity
        self.process_lock = process_lock
        self.response = response
        self.written = False
        self.error: Exception | None = None


def _response_or_claimant(connection: sqlite3.Connection, identity: UploadIdentity) -> StoredResponse | str | None:
    """Return the stored response, the name of the process whose handling decides, or None."""
    key = identity.ticket, identity.object, identity.etag
    row = connection.execute(_SELECT_RESPONSE, key).fetchone()
    if row is not None:
        return StoredResponse(*row)
    if identity.forbid_overwrite:
        row = connection.execute(_SELECT_CLAIM_OF_TICKET, key[:1]).fetchone()
    else:
        row = connection.execute(_SELECT_CLAIM, key).fetchone()
    return None if row is None else str(row[0])


def _is_ticket_used(connection: sqlite3.Connection, identity: UploadIdentity) -> bool:
    """Return whether another upload of the ticket was handled that rules this one out."""
    key = identity.ticket, identity.object, identity.etag
    if connection.execute(_OTHER_OBJECT_EXISTS, key[:2] * 2).fetchone()[0]:
        return True
    return identity.forbid_overwrite and bool(connection.execute(_OTHER_ETAG_EXISTS, key).fetchone()[0])
