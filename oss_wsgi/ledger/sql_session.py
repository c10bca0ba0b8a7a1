"""The ledger's own transactions on a driver's connection, within a time limit; with psycopg they take few calls."""

from __future__ import annotations

import math
import os
import re
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from itertools import count
from typing import Any

from .sql_engine import PEER_SECONDS, RECYCLE_SECONDS, SESSION_WAIT, unlimited
from .sql_errors import Meaning, meaning_of
from .sql_tables import Rows, Statement, Statements
from .transactional import Transaction

# libpq's numbers for results and transaction states.
_DONE, _ROWS, _IDLE = 1, 2, 0
#: Key in ``Connection.info``.
_PREPARED = "oss_wsgi.prepared"
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED;"
_NUMBERS = count()


def _integer(value: bytes) -> int:
    return int.from_bytes(value, "big", signed=True)


#: Number of a PostgreSQL type -> how its binary form is read: bool, bytea and integers. All others are texts.
_READERS: dict[int, Callable[[bytes], Any]] = {16: any, 17: bytes, 20: _integer, 21: _integer, 23: _integer}


class OwnTransaction(Transaction):
    """The transactions of one session, one after the other, by the cursor that every driver has.

    The handler works outside them. ``idle_since`` is for ``IdleSessions``.

    :param taken: SQLAlchemy's connection, which ``close`` gives back to its pool.
    :param driver: the driver's connection in it.
    :param idle: where the session waits for the next transaction; if None, the session goes back to the pool.
    :param on_cut: called when the connection is broken, because other connections may be broken too.
    :param wait_timeout: seconds for which a statement waits for the server at most.
    """

    def __init__(
        self,
        taken: Any,
        driver: Any,
        statements: Statements,
        on_cut: Callable[[], None],
        *,
        is_mariadb: bool,
        wait_timeout: float,
        watch: Watch | None = None,
        idle: IdleSessions | None = None,
    ) -> None:
        super().__init__(statements)
        self.is_mariadb = is_mariadb
        self._patience = min(PEER_SECONDS, math.ceil(wait_timeout))
        self.idle_since = 0.0
        self._taken = taken
        self._idle = idle
        self._on_cut = on_cut
        self._info = taken.info
        self._driver = driver
        self._cursor = self._driver.cursor()
        #: Calls a function of the driver, for at most the given seconds.
        self._limited = partial(unlimited if watch is None else watch.limited, driver)
        self.begin()

    def begin(self) -> None:
        """Begin a transaction."""
        self._is_open = True

    def leave(self) -> None:
        """Give the session back to the pool."""
        self._taken.close()

    def disconnect(self) -> None:
        """Close the connection, which may be broken."""
        for close in (self._taken.invalidate, self._taken.close):
            with suppress(Exception):
                close()

    def limit_wait(self, seconds: float) -> None:
        """Limit the waits for locks, unless the session limits them already."""
        if self._info.get(SESSION_WAIT) != seconds:
            super().limit_wait(seconds)

    def run(self, statement: Statement, parameters: Mapping[str, Any]) -> Rows:
        """Run a statement, and return its result."""
        self._limited(self._patience, self._cursor.execute, statement.text, statement.bound(parameters))
        return Rows(self._cursor.rowcount, list(self._cursor.fetchall()) if statement.returns_rows else [])

    def store(self, answer: Mapping[str, Any]) -> None:
        """Store the response of an upload, and commit."""
        self.run(self.statements.store, answer)
        self.commit()

    def commit(self) -> None:
        """Commit, and give the connection back."""
        self._limited(self._patience, self._driver.commit)
        self._give_back()

    def roll_back(self, error: BaseException | None) -> None:
        """Roll back, and give the connection back; close a broken connection and the pool's others."""
        if not self._is_open:
            return
        try:
            if error is not None and meaning_of(error) is Meaning.UNAVAILABLE:
                raise error
            self._limited(PEER_SECONDS, self._driver.rollback)
            self._give_back()
        except Exception:
            self._is_open = False
            self.disconnect()
            self._on_cut()

    def _give_back(self) -> None:
        if self.statements.family == "mysql":
            self.restore_wait()
        self._is_open = False
        if self._idle is None:
            self.leave()
        else:
            self._idle.give(self)


class LibpqTransaction(OwnTransaction):
    """Transactions by libpq itself: psycopg's cursors take twice its CPU time for a call, SQLAlchemy three times.

    PyMySQL's cursors take a sixth more than the calls below them, so it has no class of its own.
    A pooler's session gets no prepared statements: other clients use it too.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._libpq = self._driver.pgconn
        self._may_prepare = self._driver.prepare_threshold is not None
        #: The prepared statements' names; they live as long as the connection.
        self._names: dict[str, str] = self._info.setdefault(_PREPARED, {})

    def run(self, statement: Statement, parameters: Mapping[str, Any]) -> Rows:
        """Run a statement; the first one begins a transaction."""
        if self._libpq.transaction_status == _IDLE:
            self._send(_BEGIN)
        values = statement.bound(parameters)
        sent = [each if isinstance(each, bytes) else str(each).encode() for each in values]
        formats = [isinstance(each, bytes) for each in values]
        arguments = _numbered(statement.text), sent, None, formats, 1
        return _rows(self._limited(self._patience, self._libpq.exec_params, *arguments))

    def lock(self, key: Mapping[str, Any]) -> bool:
        """Lock the row of an upload; return whether it is new. A prepared statement is sent together with BEGIN."""
        if not self._may_prepare:
            return super().lock(key)
        text = self._executing(self.statements.claim, key)
        if self._libpq.transaction_status == _IDLE:
            text = _BEGIN + text
        return bool(self._send(text).get_value(0, 0) == b"0")

    def store(self, answer: Mapping[str, Any]) -> None:
        """Store the response of an upload and commit, in one message if the statement is prepared."""
        if not self._may_prepare:
            super().store(answer)
            return
        self._send(self._executing(self.statements.store, answer) + "; COMMIT")
        self._give_back()

    def commit(self) -> None:
        """Commit, and give the connection back."""
        self._send("COMMIT")
        self._give_back()

    def _send(self, text: str) -> Any:
        """Send a text, and return libpq's result."""
        return _checked(self._limited(self._patience, self._libpq.exec_, text.encode()))

    def _executing(self, statement: Statement, parameters: Mapping[str, Any]) -> str:
        """Return the text that executes a prepared statement; prepare the statement before its first use."""
        name = self._names.get(statement.text)
        if name is None:
            name = f"oss_wsgi_{next(_NUMBERS)}"  # never used before, not even by a call that was interrupted here
            arguments = name.encode(), _numbered(statement.text)
            _checked(self._limited(self._patience, self._libpq.prepare, *arguments))
            self._names[statement.text] = name
        return f"EXECUTE {name} {statement.filled(parameters)}"


def _checked(result: Any) -> Any:
    """Return a libpq result. Raises psycopg's error for a failed one."""
    if result.status not in (_DONE, _ROWS):
        raise _error(result)
    return result


def _rows(result: Any) -> Rows:
    """Return the rows of a libpq result. Raises psycopg's error for a failed one."""
    if _checked(result).status == _DONE:
        return Rows(result.command_tuples or 0, [])
    readers = [(column, _READERS.get(result.ftype(column), bytes.decode)) for column in range(result.nfields)]
    raw = result.get_value
    rows = [
        tuple([None if (value := raw(row, column)) is None else read(value) for column, read in readers])
        for row in range(result.ntuples)
    ]
    return Rows(len(rows), rows)


def _error(result: Any) -> Exception:
    from psycopg import errors, pq

    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message
    kind: type[Exception] = errors.OperationalError  # without a code the connection is broken
    if state:
        kind = errors.DatabaseError
        with suppress(KeyError):
            kind = errors.lookup(state.decode())
    return kind(message.decode(errors="replace").strip())


@lru_cache(64)
def _numbered(text: str) -> bytes:
    """Return a statement with libpq's parameters, $1 and so on."""
    numbers = count(1)
    return re.sub("%s", lambda match: f"${next(numbers)}", text).encode()


def own_transaction(driver: str) -> type[OwnTransaction]:
    """Return the class for the connections of a driver that the ledger has set up."""
    return LibpqTransaction if driver == "psycopg" else OwnTransaction


class IdleSessions:
    """The sessions that wait for their next transaction, the last used first.

    SQLAlchemy's pool makes them and limits their number. Taking a session from the pool for each call costs a fifth of
    the call's CPU time, and 32 threads wait for each other there.

    :param clock: returns seconds. A session that has waited for an hour leaves, and the pool replaces its connection:
        a device on the way may have dropped the connection silently.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sessions: deque[OwnTransaction] = deque()
        self._lock = threading.Lock()
        #: How many calls wait for the pool, which may have no connection until a session leaves.
        self._asking = 0
        self._is_closed = False

    def take(self, connect: Callable[[], OwnTransaction]) -> OwnTransaction:
        """Return a session that has begun a transaction; ``connect`` makes a session if none is idle."""
        while (session := self._popped()) is not None and abs(self._clock() - session.idle_since) > RECYCLE_SECONDS:
            session.leave()
        if session is None:
            session = self._asked(connect)
        session.begin()
        return session

    def _asked(self, connect: Callable[[], OwnTransaction]) -> OwnTransaction:
        with self._lock:
            self._asking += 1
        try:
            return self._popped() or connect()
        finally:
            with self._lock:
                self._asking -= 1

    def give(self, session: OwnTransaction) -> None:
        """Keep a session, or give one to the pool if a call waits there."""
        session.idle_since = self._clock()
        self._sessions.append(session)
        if self._is_closed:
            self.close()
        elif self._asking and (other := self._popped()):
            other.leave()

    def close(self) -> None:
        """Close the connections of all sessions, also of those that come back later."""
        self._is_closed = True
        while session := self._popped():
            session.disconnect()

    def _popped(self) -> OwnTransaction | None:
        try:
            return self._sessions.pop()
        except IndexError:
            return None


class Watch:
    """Cuts the connections on which a statement takes too long.

    libpq waits forever for a stopped server whose kernel still answers. PyMySQL has a limit of its own.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all statements and the thread, in a forked child: they belong to the parent."""
        self._ticks = 0
        self._running: dict[Any, int] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        #: The sessions that were cut, by their numbers.
        self.cut: list[int] = []

    def limited(self, connection: Any, seconds: int, act: Callable[..., Any], *arguments: Any) -> Any:
        """Call ``act``, and cut the driver's connection if that takes longer than ``seconds``, exact to a second."""
        if not hasattr(connection, "fileno"):  # a connection of PyMySQL
            return act(*arguments)
        self._running[connection] = self._ticks + seconds + 1
        if self._thread is None:
            self._ended = threading.Event()
            self._thread = threading.Thread(target=self._watch, args=(self._ended,), name="oss_wsgi watch", daemon=True)
            self._thread.start()
        try:
            return act(*arguments)
        finally:
            self._running.pop(connection, None)

    def stop(self) -> None:
        """End the thread; the next call starts another one."""
        self._ended.set()
        self._thread = None

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(1):
            self._ticks += 1
            for connection, last in list(self._running.items()):
                if self._ticks > last and self._running.get(connection) == last:
                    self._running.pop(connection, None)
                    with suppress(Exception):
                        self.cut.append(connection.info.backend_pid)  # the call's end will end the session too
                    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
                        duplicate.shutdown(socket.SHUT_RDWR)
