"""Sessions: they run statements on a driver's connection, in as few calls as possible and within a time limit."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from itertools import count
from typing import Any

from .sql_tables import Rows, Statement

#: Seconds after which client and server notice that the other one is gone without closing the connection.
PEER_SECONDS = 25
# libpq's numbers for results and transaction states.
_DONE, _ROWS, _IDLE = 1, 2, 0
_BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED;"
#: Number of a PostgreSQL type -> how its text is read: bool, bytea and integers.
_READERS: dict[int, Callable[[str], Any]] = {
    16: lambda text: text == "t",
    17: lambda text: bytes.fromhex(text[2:]),
    20: int,
    21: int,
    23: int,
}


class Session:
    """Runs statements by the cursor that every driver has."""

    def __init__(self, connection: Any, watch: Watch | None = None) -> None:
        self.connection = connection
        self._watch = watch
        self._cursor = connection.cursor()

    def _within(self, seconds: int) -> AbstractContextManager[None]:
        return nullcontext() if self._watch is None else self._watch.watching(self.connection, seconds)

    def run(self, statement: Statement, values: tuple[Any, ...], seconds: int) -> Rows:
        """Run a statement, for at most ``seconds`` where the driver has no limit of its own."""
        with self._within(seconds):
            self._cursor.execute(statement.text, values)
        return Rows(self._cursor.rowcount, list(self._cursor.fetchall()) if statement.returns_rows else [])

    def finish(self, statement: Statement, values: tuple[Any, ...], seconds: int) -> None:
        """Run the last statement, and commit."""
        self.run(statement, values, seconds)
        self.commit(seconds)

    def commit(self, seconds: int) -> None:
        """Commit, with the time limit of ``run``."""
        with self._within(seconds):
            self.connection.commit()

    def roll_back(self) -> None:
        """Roll back."""
        with self._within(PEER_SECONDS):
            self.connection.rollback()


class PyMySQLSession(Session):
    """Runs statements by PyMySQL, which is slow Python code, in as few messages and calls as possible."""

    def run(self, statement: Statement, values: tuple[Any, ...], seconds: int) -> Rows:
        """Run a statement."""
        if statement.returns_rows:
            return super().run(statement, values, seconds)
        return Rows(self.connection.query(_with_literals(statement.text, values)), [])

    def finish(self, statement: Statement, values: tuple[Any, ...], seconds: int) -> None:
        """Run the last statement and commit, in one message."""
        self.connection.query(f"{_with_literals(statement.text, values)}; COMMIT")
        self.connection.next_result()


def _with_literals(text: str, values: tuple[Any, ...]) -> str:
    return text % tuple([f"x'{each.hex()}'" if isinstance(each, bytes) else int(each) for each in values])


class LibpqSession(Session):
    """Runs statements by libpq itself: psycopg's cursors take twice the CPU time.

    A pooler's session gets no prepared statements: other clients use it too.
    """

    def __init__(self, connection: Any, watch: Watch | None) -> None:
        self.connection = connection
        self._libpq = connection.pgconn
        self._watch = watch
        self._may_prepare = connection.prepare_threshold is not None
        self._names: dict[str, str] = {}

    def run(self, statement: Statement, values: tuple[Any, ...], seconds: int) -> Rows:
        """Run a statement; the first one begins a transaction."""
        libpq = self._libpq
        must_begin = libpq.transaction_status == _IDLE
        with self._within(seconds):
            if statement.is_frequent and self._may_prepare:
                text = self._executing(statement, values)
                return _rows(libpq.exec_(_BEGIN + text if must_begin else text))
            if must_begin:
                _rows(libpq.exec_(_BEGIN))
            sent = [each if isinstance(each, bytes) else str(each).encode() for each in values]
            formats = [isinstance(each, bytes) for each in values]
            return _rows(libpq.exec_params(_numbered(statement.text), sent, None, formats))

    def finish(self, statement: Statement, values: tuple[Any, ...], seconds: int) -> None:
        """Run the last statement and commit, in one message if the statement is prepared."""
        if not self._may_prepare:
            super().finish(statement, values, seconds)
            return
        with self._within(seconds):
            _rows(self._libpq.exec_(self._executing(statement, values) + b"; COMMIT"))

    def commit(self, seconds: int) -> None:
        """Commit, with the time limit of ``run``."""
        with self._within(seconds):
            _rows(self._libpq.exec_(b"COMMIT"))

    def roll_back(self) -> None:
        """Roll back."""
        with self._within(PEER_SECONDS):
            _rows(self._libpq.exec_(b"ROLLBACK"))

    def _executing(self, statement: Statement, values: tuple[Any, ...]) -> bytes:
        """Return the text that executes a prepared statement; prepare the statement if it is not."""
        name = self._names.get(statement.text)
        if name is None:
            name = self._names[statement.text] = f"oss_wsgi_{len(self._names)}"
            _rows(self._libpq.prepare(name.encode(), _numbered(statement.text)))
        literals = [f"'\\x{each.hex()}'" if isinstance(each, bytes) else str(int(each)) for each in values]
        return f"EXECUTE {name} ({', '.join(literals)})".encode()


def _rows(result: Any) -> Rows:
    """Return the rows of a libpq result. Raises psycopg's error for a failed one."""
    if result.status == _DONE:
        return Rows(result.command_tuples or 0, [])
    if result.status == _ROWS:
        readers = [_READERS.get(result.ftype(column), str) for column in range(result.nfields)]
        rows = range(result.ntuples)
        return Rows(len(rows), [tuple([_value(result, row, *each) for each in enumerate(readers)]) for row in rows])
    raise _error(result)


def _value(result: Any, row: int, column: int, reader: Callable[[str], Any]) -> Any:
    raw = result.get_value(row, column)
    return None if raw is None else reader(raw.decode())


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


def session_on(pooled: Any, driver: str, watch: Watch | None) -> Session:
    """Return a session on a pooled connection; ``driver`` is the driver's name if the ledger has set it up."""
    if driver == "psycopg":
        return LibpqSession(pooled.driver_connection, watch)
    if driver == "pymysql":
        return PyMySQLSession(pooled.driver_connection)
    return Session(pooled.driver_connection, watch if hasattr(pooled.driver_connection, "fileno") else None)


class Watch:
    """Cuts the connections on which a statement takes too long.

    libpq waits forever for a stopped server whose kernel still answers. PyMySQL has a limit of its own.
    """

    def __init__(self) -> None:
        self._ticks = 0
        self._running: dict[Any, int] = {}
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, connection: Any, seconds: int) -> Iterator[None]:
        """Cut a driver's connection if the with block has not ended within ``seconds``, exact to a second."""
        self._running[connection] = self._ticks + seconds + 1
        if self._thread is None:
            self._ended = threading.Event()
            self._thread = threading.Thread(target=self._watch, args=(self._ended,), name="oss_wsgi watch", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._running.pop(connection, None)

    def stop(self) -> None:
        """End the thread; the next with block starts another one."""
        self._ended.set()
        self._thread = None

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(1):
            self._ticks += 1
            for connection, last in list(self._running.items()):
                if self._ticks > last and self._running.get(connection) == last:
                    self._running.pop(connection, None)
                    with suppress(Exception), socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
                        duplicate.shutdown(socket.SHUT_RDWR)
