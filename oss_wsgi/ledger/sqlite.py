"""A ledger in a SQLite file: for several threads and processes, and for what comes after a crash.

Beside the file are SQLite's own ``-wal`` and ``-shm``, and for each process that uses it ``-owner-`` and a name.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from ..exceptions import LedgerUnavailableError, SettingsError
from .base import PATIENCE, StoredResponse, UploadIdentity, ledger_busy_error, ticket_used_error
from .process_lock import Owner
from .sqlite_file import LedgerFile, begin

log = logging.getLogger(__name__)

_ANSWER = "SELECT status, content_type, body FROM answers WHERE ticket = ? AND object = ? AND etag = ?"
# Two ranges, not <>: a ticket may have many ETags of its one object.
_OTHER_OBJECT = """
SELECT EXISTS (SELECT 1 FROM answers WHERE ticket = ? AND object < ?)
    OR EXISTS (SELECT 1 FROM answers WHERE ticket = ? AND object > ?)
"""
_BLOCKER = "SELECT owner FROM claims WHERE ticket = ? AND (object <> ? OR etag = ?) LIMIT 1"
_CLAIM = "INSERT INTO claims VALUES (?, ?, ?, ?)"
_UNCLAIM = "DELETE FROM claims WHERE ticket = ? AND object = ? AND etag = ? AND owner = ?"
_KEEP = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)"
# A few with each claim, more than a claim adds: the table shrinks to what is valid, and no call pays for many.
_EXPIRE = """
DELETE FROM answers WHERE rowid IN (SELECT rowid FROM answers WHERE expires < ? ORDER BY expires LIMIT 4)
"""
_POLL_SECONDS = 0.05


class _End:
    """The end of a handling, to be written: the answer to keep, or None."""

    def __init__(self, identity: UploadIdentity, owner: Owner, answer: StoredResponse | None) -> None:
        self.identity = identity
        self.owner = owner
        self.answer = answer
        self.written = False
        self.error: Exception | None = None


class SQLiteLedger:
    """A ledger in the SQLite file ``path``, made if it does not exist, readable by this user alone.

    ``clock`` gives Unix seconds, ``wait_timeout`` is in seconds, as for MemoryLedger. An instance may be made before a
    fork and used after it, and by many threads: one connection a process, opened at the first call, behind a lock.
    The folder must be on a local disk and allow new files.

    A claim is written before the handler runs, naming its owner: a process, whose death the others see at once. They
    then take the claim over. No transaction is open while the handler runs.

    Raises SettingsError when the file cannot be used.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float], wait_timeout: float = PATIENCE
    ) -> None:
        self._clock = clock
        self._patience = wait_timeout
        self._ends: deque[_End] = deque()
        try:
            self._file = LedgerFile(path)
        except (OSError, ValueError, sqlite3.Error) as error:
            said = getattr(error, "strerror", None) or error
            raise SettingsError(f"The ledger {os.fspath(path)!r} cannot be used: {said}.") from error

    def __enter__(self) -> SQLiteLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Count the answers kept, those whose tickets have expired since included; LedgerUnavailableError."""
        try:
            with self._file.opened() as connection:
                return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])
        except (OSError, ValueError, sqlite3.Error) as error:
            raise LedgerUnavailableError("ledger_unavailable", f"the ledger {self._file.path}: {error}") from error

    def check(self) -> None:
        """Write, and take it back; LedgerUnavailableError when that cannot be done now."""
        try:
            with self._file.opened() as connection:
                begin(connection, durable=False)
                connection.execute(_CLAIM, ("", "", "", ""))
                connection.execute(_UNCLAIM, ("", "", "", ""))
                connection.execute("COMMIT")
        except (OSError, ValueError, sqlite3.Error) as error:
            raise LedgerUnavailableError("ledger_unavailable", f"the ledger {self._file.path}: {error}") from error

    def close(self) -> None:
        """End this process's connection; the next call would open it anew."""
        self._file.close()

    def run_once(self, identity: UploadIdentity, handle: Callable[[], StoredResponse]) -> StoredResponse:
        """Call ``handle`` unless this upload was handled before, as ``Ledger.once`` says.

        What cannot be written after ``handle`` is logged: the answer is given, and the next call handles again.

        Raises TicketUsedError, LedgerUnavailableError (``ledger_busy``, ``ledger_unavailable``), and what ``handle``
        raises.
        """
        try:
            claimed = self._wait(identity)
        except (OSError, ValueError, sqlite3.Error) as error:
            raise LedgerUnavailableError("ledger_unavailable", f"the ledger {self._file.path}: {error}") from error
        if isinstance(claimed, StoredResponse):
            return claimed
        answer: StoredResponse | None = None
        try:
            answer = handle()
        finally:
            self._end(_End(identity, claimed, answer if answer is not None and answer.good else None))
        return answer

    def _wait(self, identity: UploadIdentity) -> StoredResponse | Owner:
        """Give the answer kept, or the owner in whose name the upload has been claimed."""
        waited = 0.0
        while True:
            found = self._claim(identity)
            if isinstance(found, (StoredResponse, Owner)):
                return found
            with self._file.opened() as connection:
                if self._file.bury(connection, found):
                    continue
            if waited >= self._patience:
                raise ledger_busy_error(self._patience)
            pause = min(_POLL_SECONDS, self._patience - waited)
            threading.Event().wait(pause)
            waited += pause

    def _claim(self, identity: UploadIdentity) -> StoredResponse | Owner | str:
        """Do as ``_wait``, or name the owner who is to be waited for."""
        key = identity.ticket, identity.object, identity.etag
        moment = self._clock()
        used = False
        found: StoredResponse | Owner | str | None
        with self._file.opened() as connection:
            found = _look(connection, key)
            if found is None:
                owner = self._file.owner(connection)
                # A power cut that loses a claim has ended its owner too, so it need not reach the disk.
                begin(connection, durable=False)
                found = _look(connection, key)
                if found is None:
                    used = bool(connection.execute(_OTHER_OBJECT, key[:2] * 2).fetchone()[0])
                if found is None and not used:
                    connection.execute(_CLAIM, (*key, owner.name))
                    connection.execute(_EXPIRE, (moment,))
                    found = owner
                connection.execute("COMMIT")
                if found is owner:
                    owner.claims += 1
        if found is None:
            raise ticket_used_error()
        return found

    def _end(self, end: _End) -> None:
        self._ends.append(end)
        try:
            with self._file.opened() as connection:
                if not end.written and end.error is None:
                    self._write_ends(connection, end)
        except (OSError, ValueError, sqlite3.Error) as error:
            end.error = error
            with suppress(ValueError):
                self._ends.remove(end)
        if end.error is not None:
            outcome = "was handled" if end.answer else "was not handled"
            log.error("%r %s, which the ledger could not write: %s", end.identity.object, outcome, end.error)
        self._file.settle(end.owner)

    def _write_ends(self, connection: sqlite3.Connection, end: _End) -> None:
        """Write an end, and with it those that wait for the lock: one sync of the disk serves them all."""
        batch = {end}
        with suppress(IndexError):
            while True:
                batch.add(self._ends.popleft())
        try:
            # An answer must outlast a power cut: the upload would be handled again, though OSS was told that it was.
            begin(connection, durable=any(each.answer for each in batch))
            for each in batch:
                key = each.identity.ticket, each.identity.object, each.identity.etag
                connection.execute(_UNCLAIM, (*key, each.owner.name))
                if each.answer:
                    kept = each.answer.status, each.answer.content_type, each.answer.body
                    connection.execute(_KEEP, (*key, each.identity.expires, *kept))
            connection.execute("COMMIT")
        except Exception as error:
            for each in batch:
                each.error = error
            raise
        for each in batch:
            each.written = True


def _look(connection: sqlite3.Connection, key: tuple[str, str, str]) -> StoredResponse | str | None:
    """Give the answer kept, or the name of the owner whose handling decides, or None."""
    row = connection.execute(_ANSWER, key).fetchone()
    if row is not None:
        return StoredResponse(*row)
    row = connection.execute(_BLOCKER, key).fetchone()
    return None if row is None else str(row[0])
