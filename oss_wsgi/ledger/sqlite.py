"""A ledger in a SQLite file, for several threads and processes, which survives restarts and crashes.

A claim is a lock of one byte of ``<ledger>-lock``; a hash of the upload is the byte's offset, and the kernel frees the
lock when its process dies. A response is a row. One transaction commits all waiting responses: one of the waiting
threads commits for all, and then passes that task to a thread that began to wait meanwhile. A server's loop commits by
itself, or lets a thread do it if the disk is slow. Beside the file are SQLite's own ``-wal`` and ``-shm``.
"""

from __future__ import annotations

import errno
import logging
import math
import os
import re
import sqlite3
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

from ..exceptions import LedgerUnavailableError, SettingsError
from ..explanations.text import Text, sentences
from ..private_file import UnsafeFileError, open_private, real_path
from ..threads import inherited, no_fork
from .base import (
    DEFAULT_WAIT_TIMEOUT,
    IN_LOOP,
    NOTHING_FOUND,
    Claim,
    Found,
    Handle,
    LoopLedger,
    Pending,
    StoredResponse,
    UploadIdentity,
    busy_error,
    digest,
    held_error,
    ledger_busy_error,
)
from .place import Place, place_of_file
from .process_lock import FileLocks
from .sqlite_file import BUSY_SECONDS, begin, connect, make_file, narrow_files
from .steady_time import SteadyTime

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Selects all that decides on a new upload. Two rows of answers are enough to know that there are several.
_SELECT_TICKET = """
SELECT * FROM (SELECT object, etag, status, content_type, body FROM answers WHERE ticket = ?1 LIMIT 2)
UNION ALL SELECT NULL, NULL, value, NULL, NULL FROM notes WHERE ticket = ?1
"""
_SELECT_RESPONSE = """
SELECT status, content_type, body FROM answers WHERE ticket = ? AND upload = ? AND object = ? AND etag = ?
"""
_OBJECT_EXISTS = "SELECT EXISTS (SELECT 1 FROM answers WHERE ticket = ? AND upload BETWEEN ? AND ? AND object = ?)"
# The lock already keeps anybody from storing an upload twice, unless the lock's file was removed.
_INSERT = """
INSERT INTO answers (ticket, upload, object, etag, expires, forget_after, status, content_type, body)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9
WHERE NOT EXISTS (SELECT 1 FROM answers WHERE ticket = ?1 AND upload = ?2 AND object = ?3 AND etag = ?4)
"""
_COUNT_OBJECT = """
INSERT INTO notes (ticket, name, value, expires, forget_after) VALUES (?, 'objects', 1, ?, ?)
ON CONFLICT (ticket, name) DO UPDATE SET value = value + 1, forget_after = max(forget_after, excluded.forget_after)
"""
# Notes of pairs are in the same table as notes of tickets: their ticket is 0, which is no ticket's ID.
_NOTE = """
INSERT INTO notes (ticket, name, value, expires, forget_after) VALUES (0, ?, NULL, ?, ?)
ON CONFLICT (ticket, name) DO UPDATE SET expires = max(expires, excluded.expires),
    forget_after = max(forget_after, excluded.forget_after)
"""
_SELECT_NOTED = "SELECT name FROM notes WHERE ticket = 0 AND name IN ({})"
_SELECT_TIME = "SELECT seconds, clock FROM steady_time"
_STORE_TIME = "REPLACE INTO steady_time VALUES (1, ?, ?)"
# Only the first rows are examined. If they are still valid by the clock, later rows wait.
_DELETE_EXPIRED = """
DELETE FROM answers WHERE rowid IN (SELECT rowid FROM (
    SELECT rowid, expires FROM answers WHERE forget_after < ? ORDER BY forget_after LIMIT ?) WHERE expires < ?)
"""
_DELETE_EXPIRED_NOTES = """
DELETE FROM notes WHERE (ticket, name) IN (SELECT ticket, name FROM (
    SELECT ticket, name, expires FROM notes WHERE forget_after < ? ORDER BY forget_after LIMIT ?) WHERE expires < ?)
"""
# SQLite before 3.32 takes at most 999 values in a statement.
_KNOWN_PAIRS = 500
_SELECT_KNOWN = "SELECT object, etag FROM answers WHERE upload IN ({})"
_SAVE = "INSERT OR REPLACE INTO texts VALUES (?, ?)"

#: How many places there are for claims, and again for names.
_PLACES = 1 << 62
_HALF = 1 << 32
_TICKET_ID = re.compile("[0-9a-f]{32}")
#: Seconds between two tries to lock a place that another process holds.
_LOCK_PAUSE = 0.005
#: Seconds for which even a call that must not wait for others waits for the file, because each commit locks it briefly.
_LEAST_PATIENCE = 0.2
#: Seconds after which a commit looks at the clock again; if nothing is stored, a call looks before its handler.
_LOOK_SECONDS = 10
#: How many expired rows a commit deletes, and how many more for each response, while some are left.
_DELETE_AT_LEAST, _DELETE_FOR_EACH = 8, 4
#: Bytes that a probe writes. While the disk has fewer free bytes than the second number, each call writes a probe
#: before its handler, and a commit then cuts a log that is longer than the third number.
_PROBE_BYTES, _PLENTY_BYTES, _LONG_LOG_BYTES = 16_384, 16 * 1024 * 1024, 1024 * 1024
#: Bytes that a response, beside its body, or a note writes to the log, rounded up: pages of its table and its indexes.
_ROW_BYTES = 32_768
#: A loop commits by itself while a commit takes at most the first number of seconds; it waits for other processes for
#: at most the second.
_LOOP_SECONDS, _LOOP_WAIT = 0.005, 0.002
#: After this many responses a thread writes the log to the tables, so that no loop has to.
_CHECKPOINT_EVERY = 3_000

_ERRORS = (OSError, ValueError, sqlite3.Error)


class SQLiteLedger(LoopLedger):
    """A ledger in the SQLite file ``path``, created if it does not exist, and readable only by this user.

    An instance may be made before a fork and used after it, and by many threads: each process has three connections,
    opened at their first use; one is for counting and for sweeps. The folder must be on a local disk and allow new
    files.

    If a response cannot be written after the handler has succeeded, the ledger logs that and raises
    LedgerUnavailableError, and the next call handles the upload again. To make this rare, the ledger writes a probe
    before the first upload and after each failure.

    Raises SettingsError when the file cannot be used.

    :param clock: returns Unix seconds.
    :param wait_timeout: seconds for which a call waits for others, as in MemoryLedger.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], float],
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
    ) -> None:
        self._clock = clock
        try:
            self._path = Path(real_path(path))  # another name of the file would have another file of locks
            make_file(self._path)
            self._writer = _Connection(self._path, 0.0)
            self._reader = _Connection(self._path, BUSY_SECONDS)
            self._long_reader = _Connection(self._path, BUSY_SECONDS)
            with no_fork():
                begin(self._writer.opened(), BUSY_SECONDS)  # connecting alone would accept a read-only file
                narrow_files(self._path)  # others may have been able to read it
                self._writer.close()
            self._locks = _locks_beside(self._path)
            self._locks.close()
        except UnsafeFileError as error:
            raise SettingsError(Text("The ledger {1} cannot be used: {2}.", repr(os.fspath(path)), error)) from error
        except _ERRORS as error:
            problem = getattr(error, "strerror", None) or error
            unusable = Text("The ledger {1} cannot be used: {2}.", repr(os.fspath(path)), problem)
            fix = "The user of this process must be able to write this file and to make files in its folder."
            raise SettingsError(sentences(unusable, fix)) from error
        self._forget()
        super().__init__(wait_timeout)

    def _forget(self) -> None:
        """Reset what other threads have done, at the start of a process and in a forked child."""
        self._queue: list[_SQLiteClaim] = []
        self._turn = threading.RLock()
        self._probing = threading.Lock()
        self._is_committing = False
        self._executor: ThreadPoolExecutor | None = None
        self._is_proven = False
        # The free bytes at the last look at the disk, less the bytes written since; and the time of that look.
        self._free, self._looked_at = 0.0, 0.0
        self._is_behind = False
        self._commit_seconds = 0.0
        self._since_checkpoint = 0
        # The steady time at the last look at the clock, and until when a response is kept whose ticket ended then.
        self._time: SteadyTime | None = None
        self._now = self._stays = 0

    def __len__(self) -> int:
        """Return the number of stored responses, expired ones included; LedgerUnavailableError if it is unknown."""
        count = "SELECT count(*) FROM answers"
        return int(self._read_by(self._long_reader, lambda connection: connection.execute(count).fetchall())[0][0])

    @property
    def place(self) -> Place | None:
        """Where the ledger is."""
        return place_of_file(self._path)

    @property
    def path(self) -> str:
        """The absolute path of the file."""
        return str(self._path)

    def known(self, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return the pairs of object and ETag that were handled, as ``Ledger.known`` describes."""
        asked = list(set(pairs))
        known: set[tuple[str, str]] = set()
        for first in range(0, len(asked), _KNOWN_PAIRS):
            some = asked[first : first + _KNOWN_PAIRS]
            places = ",".join("?" * len(some))
            stored = self._fetch(_SELECT_KNOWN.format(places), [_upload(*pair) for pair in some])
            known.update({*stored} & {*some})  # another upload may have the same hash
            noted = {digest(*pair): pair for pair in some}
            marks = self._fetch(_SELECT_NOTED.format(places), [*noted])
            known.update(noted[mark] for (mark,) in marks)
        return known

    def note(self, pairs: Iterable[tuple[str, str]], expires: int) -> None:
        """Note pairs of object and mark, as ``Ledger.note`` describes."""
        with self._writing() as connection:
            until = self._forget_after(expires)
            noted = connection.executemany(_NOTE, [(digest(*pair), expires, until) for pair in pairs]).rowcount
            self._free -= _ROW_BYTES * noted
            if self._is_behind and self._time is not None:
                self._delete_expired(connection, self._time, noted)

    def load(self, name: str) -> str | None:
        """Return a saved text, or None."""
        select = "SELECT text FROM texts WHERE name = ?"
        rows = self._read(self._writer, lambda connection: connection.execute(select, (name,)).fetchall())
        return rows[0][0] if rows else None

    def save(self, name: str, text: str) -> None:
        """Keep a text under a name."""
        with self._writing() as connection:
            connection.execute(_SAVE, (name, text))

    def check(self) -> None:
        """Write a probe; LedgerUnavailableError when that fails."""
        self._is_proven = False
        with self._writing():
            pass

    def close(self) -> None:
        """Close this process's connections; the next call opens them. Uploads that are being handled stay locked."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()
        for connection in (self._writer, self._reader, self._long_reader):
            with connection.paused():
                pass
        self._locks.close()

    def begin_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse | Pending | None:
        """Do what ``run_once`` does, but return at once, as ``LoopLedger.begin_once`` describes."""
        if not self._is_proven:
            return None  # then a thread opens the file and writes the probe
        return super().begin_once(identity, handle)

    # Locks.

    def _claim(self, identity: UploadIdentity, patience: float) -> Claim:
        locked = identity.ticket if identity.max_objects == 1 else f"{identity.ticket}\0{identity.object}"
        place = self._locks.place(_hash(locked, 8) % _PLACES)
        try:
            if not self._locks.try_lock(place):
                self._wait_for(place, patience)
        except OSError as error:
            raise self._unavailable(error) from error
        try:
            found = self._find(identity, in_loop=patience == IN_LOOP)
            if found.response is None:
                self._prepare(patience)
        except BaseException:
            self._locks.unlock(place)
            raise
        return _SQLiteClaim(self, identity, place, found)

    def _wait_for(self, place: int, patience: float) -> None:
        """Lock a place after another call; LedgerUnavailableError (``ledger_busy``) when that takes too long."""
        if patience <= 0:
            raise busy_error()
        for _ in range(math.ceil(patience / _LOCK_PAUSE)):
            threading.Event().wait(_LOCK_PAUSE)
            if self._locks.try_lock(place):
                return
        raise ledger_busy_error(self._wait_timeout)

    @contextmanager
    def _hold(self, name: str) -> Iterator[None]:
        place = self._locks.place(_hash(name, 8) % _PLACES, is_name=True)
        try:
            has_lock = self._locks.try_lock(place)
        except OSError as error:
            raise self._unavailable(error) from error
        if not has_lock:
            raise held_error()
        try:
            yield
        finally:
            self._locks.unlock(place)

    @contextmanager
    def _paused(self) -> Iterator[None]:
        # A commit takes these locks in the same order: first the writer, then the turn.
        with self._writer.paused(), self._reader.paused(), self._long_reader.paused(), self._turn, self._locks.mutex:
            yield

    def _renew_in_child(self) -> None:
        for connection in (self._writer, self._reader, self._long_reader):
            connection.renew_in_child()
        self._locks.renew_in_child()
        self._forget()

    # Reading.

    def _read(self, first: _Connection, work: Callable[[sqlite3.Connection], T], *, in_loop: bool = False) -> T:
        """Return what ``work`` reads; it must read all rows, because an open snapshot keeps the log out of the tables.

        Use the connection ``first`` if nobody else does. In a server's loop raises LedgerUnavailableError
        (``ledger_busy``) if both connections are in use.
        """
        if first.acquire(blocking=False):
            try:
                return work(first.opened())
            except _ERRORS:
                first.close()  # the other connection then waits for the locked file, or raises the error again
            finally:
                first.release()
        return self._read_by(self._reader, work, in_loop=in_loop)

    def _read_by(self, connection: _Connection, work: Callable[[sqlite3.Connection], T], *, in_loop: bool = False) -> T:
        """Return what ``work`` reads by one connection, as ``_read`` does."""
        if not connection.acquire(blocking=not in_loop):
            raise busy_error()
        try:
            return work(connection.opened())
        except _ERRORS as error:
            connection.close()
            raise self._unavailable(error) from error
        finally:
            connection.release()

    def _fetch(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return all rows, without waiting for a count."""
        return self._read(self._long_reader, lambda connection: connection.execute(statement, values).fetchall())

    def _stored_response(self, identity: UploadIdentity) -> StoredResponse | None:
        return self._find(identity).response

    def _find(self, identity: UploadIdentity, *, in_loop: bool = False) -> Found:
        # The writer has the pages in memory.
        return self._read(self._writer, lambda connection: _find(connection, identity), in_loop=in_loop)

    # Writing.

    def _prepare(self, patience: float) -> None:
        """Write a probe if the last write failed or the disk is nearly full; look at the clock now and then.

        In a server's loop raises LedgerUnavailableError (``ledger_busy``) instead of writing a probe.
        """
        in_loop = patience == IN_LOOP
        if not in_loop and self._is_short_of_space():
            self._is_proven = False
        if self._is_proven and (in_loop or not self._is_due()):
            return
        if in_loop:
            raise busy_error()  # a write failed since `begin_once` looked
        seconds = min(BUSY_SECONDS, max(patience, _LEAST_PATIENCE))
        if not self._probing.acquire(timeout=seconds):
            raise self._unavailable(TimeoutError("other threads write to it for too long"))
        try:
            if not self._is_proven or self._is_due():  # one probe is enough for all waiting calls
                with self._writing(seconds):
                    pass
        finally:
            self._probing.release()

    @contextmanager
    def _writing(self, seconds: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
        """Commit what the with block does; LedgerUnavailableError if that fails, or others write for ``seconds``."""
        # Limit this wait too: otherwise the threads would wait for another process one after the other, in vain.
        if not self._writer.acquire(timeout=seconds):
            raise self._unavailable(TimeoutError("other threads write to it for too long"))
        try:
            connection = self._begin(seconds)
            yield connection
            self._commit(connection)
            self._cut_log(connection)
        except _ERRORS as error:
            self._is_proven = False
            self._writer.close()  # a connection to a read-only file stays read-only
            raise self._unavailable(error) from error
        finally:
            self._writer.roll_back()
            self._writer.release()

    def _begin(self, seconds: float) -> sqlite3.Connection:
        connection = self._writer.opened()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            begin(connection, seconds)
        if self._is_due():
            self._look(connection)
        if not self._is_proven:
            connection.execute(_SAVE, ("", bytes(_PROBE_BYTES)))
            connection.execute("DELETE FROM texts WHERE name = ''")
        return connection

    def _commit(self, connection: sqlite3.Connection) -> None:
        began = self._clock()
        connection.execute("COMMIT")
        seconds, before = abs(self._clock() - began), self._commit_seconds
        # One slow commit may come from a busy processor, not from a slow disk, so it counts for a quarter.
        self._commit_seconds = seconds if seconds < before else (seconds + 3 * before) / 4
        self._is_proven = True

    def _is_short_of_space(self) -> bool:
        """Return whether the disk is nearly full.

        Ask the disk once a second, and at each call after a failure or while few bytes are left: those of the last
        look, less the bytes written since.
        """
        now = self._clock()
        if not self._is_proven or self._free < _PLENTY_BYTES or not -1 < now - self._looked_at < 1:
            self._free, self._looked_at = _free_bytes(self._path), now
        return self._free < _PLENTY_BYTES

    def _must_cut_log(self) -> bool:
        """Return whether the log is long and the disk so full that the log may soon not fit into the tables."""
        with suppress(OSError):
            return self._is_short_of_space() and os.path.getsize(f"{self._path}-wal") > _LONG_LOG_BYTES
        return False

    def _cut_log(self, connection: sqlite3.Connection) -> None:
        """Write the log to the tables and free its space, if it must be cut."""
        if self._must_cut_log():
            with suppress(*_ERRORS):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _is_due(self) -> bool:
        time = self._time
        return time is None or not -_LOOK_SECONDS < self._clock() - time.clock < _LOOK_SECONDS

    def _look(self, connection: sqlite3.Connection) -> None:
        """Move the steady time of the file, which all its processes share."""
        now = self._clock()
        row = connection.execute(_SELECT_TIME).fetchone()
        time = SteadyTime.started(now) if row is None else SteadyTime(*row).at(now)
        connection.execute(_STORE_TIME, time)
        self._time, self._now, self._stays = time, int(now), time.forget_after(int(now))
        self._delete_expired(connection, time, 0)

    def _forget_after(self, expires: int) -> int:
        """Return what ``SteadyTime.forget_after`` does, without a call for each response."""
        return self._stays + max(0, expires - self._now)

    def _delete_expired(self, connection: sqlite3.Connection, time: SteadyTime, responses: int) -> None:
        limit = _DELETE_AT_LEAST + _DELETE_FOR_EACH * responses
        values = time.seconds, limit, time.clock
        deleted = [connection.execute(each, values).rowcount for each in (_DELETE_EXPIRED, _DELETE_EXPIRED_NOTES)]
        self._is_behind = max(deleted) == limit

    def _unavailable(self, error: BaseException) -> LedgerUnavailableError:
        return LedgerUnavailableError("ledger_unavailable", f"the ledger {self._path}: {error}")

    # Shared commits.

    def _submit(self, claim: _SQLiteClaim) -> None:
        """Queue a response. A thread returns once another thread has committed it, or commits all that wait."""
        turn = claim.turn
        with self._turn:
            self._queue.append(claim)
            must_wait = turn is None or self._is_committing
            self._is_committing |= turn is not None
        if turn is None:
            return
        if must_wait:
            try:
                turn.acquire()
            except BaseException:  # raised by a signal's handler
                self._withdraw(claim)
                raise
        if not claim.is_done:
            self._commit_waiting()

    def _commit_waiting(self, seconds: float | None = None) -> None:
        """Commit all queued responses, and let a thread that has queued one meanwhile commit next.

        If committing would have to wait for more than ``seconds``, leave it to a thread.
        """
        has_lock, batch = False, list[_SQLiteClaim]()
        try:
            has_lock = self._writer.acquire(timeout=-1 if seconds is None else seconds)
            if has_lock:
                connection = self._begin(BUSY_SECONDS if seconds is None else seconds)
                batch = self._take()
                self._store(connection, batch)
                if seconds is None:  # cutting the log would hold up a loop
                    self._cut_log(connection)
            elif seconds is None:  # without a time-out, only a call of this very thread can be in the way
                batch = self._take()
                self._fail(batch, RuntimeError("the handler of a signal has interrupted this thread's own commit"))
        except _ERRORS as error:
            if seconds is None:
                self._writer.close()
                batch = self._take()
                self._fail(batch, error)
        except BaseException as error:  # raised by a signal's handler
            batch = batch or self._take()
            self._fail([claim for claim in batch if claim.error is None], error)
            raise
        finally:
            if has_lock:
                self._writer.roll_back()
                self._writer.release()
            for claim in batch:
                claim.finish()
            self._hand_over()

    def _take(self) -> list[_SQLiteClaim]:
        with self._turn:
            batch, self._queue = self._queue, []
        return batch

    def _store(self, connection: sqlite3.Connection, batch: list[_SQLiteClaim]) -> None:
        """Store responses in the open transaction; if one cannot be written, the others are still stored."""
        try:
            self._insert(connection, batch)
            self._commit(connection)
            return
        except _ERRORS as error:
            self._writer.roll_back()
            if len(batch) == 1:
                self._fail(batch, error)
                return
        for number, claim in enumerate(batch):
            try:
                connection = self._begin(BUSY_SECONDS)
            except _ERRORS as error:
                self._fail(batch[number:], error)
                return
            self._store(connection, [claim])

    def _insert(self, connection: sqlite3.Connection, batch: list[_SQLiteClaim]) -> None:
        keys = [_key(claim.identity) for claim in batch]
        lives = [(claim.identity.expires, self._forget_after(claim.identity.expires)) for claim in batch]
        rows = [(*key, *life, *claim.response) for claim, key, life in zip(batch, keys, lives, strict=True)]
        stored = connection.executemany(_INSERT, rows).rowcount
        if stored != len(batch):  # another process held a lock unknown here, and stored the response first
            for claim, key in zip(batch, keys, strict=True):
                claim.response = StoredResponse(*connection.execute(_SELECT_RESPONSE, key).fetchone())
        for claim, key, life in zip(batch, keys, lives, strict=True):
            self._free -= _ROW_BYTES + len(claim.response.body)
            if claim.identity.max_objects > 1 and not claim.found.has_object:
                connection.execute(_COUNT_OBJECT, (key[0], *life))
        if self._is_behind and self._time is not None:
            self._delete_expired(connection, self._time, len(batch))
        self._since_checkpoint += len(batch)

    def _fail(self, batch: list[_SQLiteClaim], error: BaseException) -> None:
        self._is_proven = False
        for claim in batch:
            claim.error = self._unavailable(error)
            log.error("%r was handled, but the ledger cannot store that: %s", claim.identity.object, error)

    def _hand_over(self) -> None:
        """Let the first waiting claim commit, if there is one."""
        with self._turn:
            first = self._queue[0] if self._queue else None
            self._is_committing = first is not None
            if first is not None:
                first.must_commit = True
        if first is not None:
            if first.turn is None:
                self._in_thread(self._commit_waiting)
            else:
                first.turn.release()

    def _withdraw(self, claim: _SQLiteClaim) -> None:
        """Remove the claim of an interrupted thread from the queue; if it had to commit, let another one commit."""
        with self._turn:
            is_queued = claim in self._queue
            if is_queued:
                self._queue.remove(claim)
        if is_queued and claim.must_commit:
            self._hand_over()

    def _settle(self) -> None:
        """Commit what a loop waits for: in the loop while commits are fast, else in a thread."""
        with self._turn:
            if self._is_committing or not self._queue:
                return
            self._is_committing = True
        if self._commit_seconds > _LOOP_SECONDS:
            self._in_thread(self._commit_waiting)
            return
        self._commit_waiting(_LOOP_WAIT)
        if self._since_checkpoint > _CHECKPOINT_EVERY or self._must_cut_log():
            self._since_checkpoint = 0
            self._in_thread(self._checkpoint)

    def _in_thread(self, work: Callable[[], object]) -> None:
        executor = self._executor
        if executor is None:
            executor = self._executor = ThreadPoolExecutor(1, "ledger")
        try:
            executor.submit(work)
        except RuntimeError:  # the ledger was closed just now, or the interpreter is shutting down
            work()

    def _checkpoint(self) -> None:
        """Write the log to the tables; threads that commit wait meanwhile, but no loop does."""
        if not self._writer.acquire():
            return
        try:
            with suppress(*_ERRORS):
                connection = self._writer.opened()
                connection.execute("PRAGMA wal_checkpoint").fetchall()
                self._cut_log(connection)
        finally:
            self._writer.release()


class _Connection:
    """A connection to the file, opened at its first use and after the file was replaced. Callers acquire it."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._lock = threading.RLock()
        self._is_acquired = False
        self._path = path
        self._busy_seconds = busy_seconds
        self._connection: sqlite3.Connection | None = None
        self._file = 0, 0
        self._has_inherited = False

    def __del__(self) -> None:
        self.close()  # from Python 3.13 on, a connection that is not closed causes a warning

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Wait as ``threading.Lock.acquire`` does; return False if another call has the connection.

        Return False at once if the caller is a signal's handler that has interrupted that very call.
        """
        if not self._lock.acquire(blocking, timeout):
            return False
        if self._is_acquired:
            self._lock.release()
            return False
        self._is_acquired = True
        return True

    def release(self) -> None:
        """Let the next call use the connection."""
        self._is_acquired = False
        self._lock.release()

    def opened(self) -> sqlite3.Connection:
        """Return the connection. Raises OSError, ValueError and sqlite3.Error."""
        if self._has_inherited:
            raise OSError("this process was forked while the file was in use: start it anew")
        if self._connection is not None:
            try:
                if _file_at(self._path) == self._file:
                    return self._connection
            except FileNotFoundError:
                pass
            self.close()  # nobody would find what is written to the old file
        connection = connect(self._path, self._busy_seconds)
        self._connection, self._file = connection, _file_at(self._path)
        return connection

    def roll_back(self) -> None:
        """Close the connection if a transaction is open."""
        if self._connection is not None and self._connection.in_transaction:
            self.close()

    def close(self) -> None:
        """Close the connection; the next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Block the calls of other threads, and close the connection: SQLite forbids a child even to close it."""
        with self._lock:
            if not self._is_acquired:  # else the handler of a signal forks in the middle of a call of this thread
                self.close()
            yield

    def renew_in_child(self) -> None:
        """Make a new lock. Do not use the file if a connection was inherited: SQLite would share the parent's locks."""
        self._lock, self._is_acquired = threading.RLock(), False
        if self._connection is not None:
            inherited.append(self._connection)
            self._connection, self._has_inherited = None, True


class _SQLiteClaim(Claim, Pending):
    """A locked place, what was found for its upload, and the response that waits for a commit."""

    __slots__ = (
        *("_end", "_ledger", "_place", "_wake", "error", "found", "identity", "is_done", "must_commit", "response"),
        "turn",
    )
    response: StoredResponse

    def __init__(self, ledger: SQLiteLedger, identity: UploadIdentity, place: int, found: Found) -> None:
        self._ledger = ledger
        self.identity = identity
        self._place = place
        self.found = found
        self.error: LedgerUnavailableError | None = None
        self.is_done = False
        self.must_commit = False
        #: The lock on which a thread waits for the commit, or for its turn to commit; None if a loop waits.
        self.turn: threading.Lock | None = None
        self._end: Callable[[BaseException | None], None] | None = None
        self._wake: Callable[[], None] | None = None

    def store(self, response: StoredResponse) -> StoredResponse:
        """Wait until another thread commits the response, or commit it here with all others that wait."""
        self.response = response
        self.turn = threading.Lock()
        self.turn.acquire()
        self._ledger._submit(self)
        return self.result()

    def begin_store(self, response: StoredResponse, end: Callable[[BaseException | None], None]) -> Pending:
        self.response, self._end = response, end
        self._ledger._submit(self)
        return self

    def settle(self, wake: Callable[[], None]) -> bool:
        if not self.is_done:
            self._ledger._settle()
            if not self.is_done:
                self._wake = wake
        return self.is_done

    def finish(self) -> None:
        """Wake the thread or the loop that waits for this commit."""
        end, self._end = self._end, None
        try:
            if end is not None:
                end(self.error)
        finally:
            self.is_done = True
            if self.turn is not None:
                self.turn.release()
            wake = self._wake
            if wake is not None:
                wake()

    def result(self) -> StoredResponse:
        if self.error is not None:
            raise self.error
        return self.response

    def end(self, error: BaseException | None) -> None:
        self._ledger._locks.unlock(self._place)


class ByteLocks:
    """Locks of bytes in the file ``path``: open file description locks, which all threads of a process share.

    ``lockf`` is no alternative: two ledgers of one process would share their locks, and lose all of them whenever any
    descriptor of the file is closed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = -1
        self._file = 0, 0
        self._held: set[int] = set()
        #: Each call holds this lock, and so does a fork.
        self.mutex = threading.RLock()

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def place(self, number: int, *, is_name: bool = False) -> int:
        """Return the offset for a hash; names and uploads never share an offset."""
        return number + _PLACES * is_name

    def try_lock(self, place: int) -> bool:
        """Lock a byte; return False if another call or process holds it."""
        with self.mutex:
            if place in self._held:  # two hashes are equal; the kernel would lock the byte twice and unlock it once
                return False
            while True:
                if self._descriptor < 0:
                    self._open()
                has_lock = _set_lock(self._descriptor, fcntl.F_WRLCK, place)
                try:
                    if _file_at(self._path) == self._file:
                        break
                except FileNotFoundError:
                    pass
                self._open()  # other processes do not see locks of a removed file
            if has_lock:
                self._held.add(place)
            return has_lock

    def unlock(self, place: int) -> None:
        """Unlock a byte."""
        with self.mutex:
            self._held.discard(place)
            if self._descriptor >= 0:
                _set_lock(self._descriptor, fcntl.F_UNLCK, place)

    def close(self) -> None:
        """Close the file, unless locks are held."""
        with self.mutex:
            if not self._held:
                self._close()

    def renew_in_child(self) -> None:
        """Close the file that a child has inherited, because it would keep its parent's locks alive."""
        self.mutex = threading.RLock()
        self._close()
        self._held.clear()

    def _open(self) -> None:
        """Open the file that is there now, and lock all held places in it that nobody else has locked meanwhile."""
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT, like=self._path.removesuffix("-lock"))
        try:
            for place in self._held:
                _set_lock(descriptor, fcntl.F_WRLCK, place)
            status = os.fstat(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._close()
        self._descriptor, self._file = descriptor, (status.st_dev, status.st_ino)

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _set_lock(descriptor: int, kind: int, place: int) -> bool:
    """Lock or unlock a byte; return False if another descriptor has locked it."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, place, 1, 0))
    except (BlockingIOError, PermissionError):
        return False
    return True


def _locks_beside(path: Path) -> ByteLocks | FileLocks:
    """Return the kind of locks that this system has."""
    name, place = f"{path}-lock", 2 * _PLACES - 1
    if sys.platform != "linux" or not hasattr(fcntl, "F_OFD_SETLK"):
        return FileLocks(name)
    locks = ByteLocks(name)
    try:
        locks.try_lock(place)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return FileLocks(name)  # a kernel that imitates Linux, without these locks
    locks.unlock(place)
    return locks


def _free_bytes(path: Path) -> float:
    """Return how many bytes are free on a file's disk; infinity if that is unknown."""
    try:
        disk = os.statvfs(path)
    except (AttributeError, OSError):  # Windows; or the file is gone
        return math.inf
    return disk.f_bavail * disk.f_frsize


def _file_at(path: str | Path) -> tuple[int, int]:
    """Return device and inode of the file at a path, which change when the file is replaced, by a link too."""
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _find(connection: sqlite3.Connection, identity: UploadIdentity) -> Found:
    """Return what is stored for an upload and its ticket."""
    rows = connection.execute(_SELECT_TICKET, (_ticket(identity.ticket),)).fetchall()
    if not rows:
        return NOTHING_FOUND
    answers = [row for row in rows if row[0] is not None]
    for row in answers:
        if row[0] == identity.object and row[1] == identity.etag:
            return Found(StoredResponse(*row[2:]))
    objects = next((row[2] for row in rows if row[0] is None), len(answers))
    has_object = any(row[0] == identity.object for row in answers)
    if len(answers) == 2:
        ticket, upload, name, _ = key = _key(identity)
        found = connection.execute(_SELECT_RESPONSE, key).fetchall()
        if found:
            return Found(StoredResponse(*found[0]))
        if not has_object:
            values = ticket, upload & -_HALF, upload | (_HALF - 1), name
            has_object = bool(connection.execute(_OBJECT_EXISTS, values).fetchall()[0][0])
    return Found(None, has_object, objects)


def _key(identity: UploadIdentity) -> tuple[str | bytes, int, str, str]:
    """Return ticket, hash, object and ETag of an upload as the file stores them."""
    name, etag = identity.object, identity.etag
    return _ticket(identity.ticket), _upload(name, etag), name, etag


def _ticket(ticket: str) -> str | bytes:
    """Return a ticket as the file stores it."""
    return bytes.fromhex(ticket) if _TICKET_ID.fullmatch(ticket) else ticket


def _upload(name: str, etag: str) -> int:
    """Return a 64-bit hash of object and ETag; its upper half is the object's."""
    upload = _hash(name, 4) << 32 | _hash(etag, 4)
    return upload - (1 << 64) if upload >> 63 else upload


def _hash(text: str, size: int) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest(), "big")
