"""Transactions of a ledger's own, and the sessions of its database in which they run."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from types import TracebackType
from typing import Any

from sqlalchemy.engine import Connection, Engine

from .sql_engine import POSTGRESQL_DRIVERS
from .sql_errors import Meaning, meaning_of
from .sql_text import Dialect
from .transactional import Rows

#: Seconds for which a session is believed to live after it was used.
_BELIEVED_SECONDS = 1.0


class _Session:
    """A connection that was taken out of the pool, with one cursor."""

    __slots__ = ("connection", "cursor", "driver_connection", "is_prepared", "is_valid", "used")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        raw = connection.connection if isinstance(connection, Connection) else connection
        self.driver_connection: Any = raw.driver_connection
        self.cursor = raw.cursor()
        self.is_prepared = False
        self.is_valid = True
        self.used = 0.0

    def invalidate(self) -> None:
        """Close the connection: it is broken."""
        self.is_valid = False
        self.connection.invalidate()

    def close(self) -> None:
        """Give the connection back to the pool."""
        if self.is_valid:
            with suppress(Exception):
                self.cursor.close()
        self.connection.close()


class OwnTransaction:
    """A transaction of the ledger on a connection in autocommit mode; the handler works outside it.

    Where the driver can, BEGIN goes out with the first statements and COMMIT with the last one.
    """

    handed: object | None = None
    is_shared = False
    has_conflict = False
    was_ended = False

    def __init__(
        self, session: _Session, end: Callable[[OwnTransaction, bool], None], begin: Sequence[str], *, joins: bool
    ) -> None:
        self.session = session
        self._end = end
        self._begin = begin
        self._joins = joins
        self._has_begun = False
        self._last: list[str] = []

    def __enter__(self) -> OwnTransaction:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(self, error is not None)

    def run(self, *statements: str) -> Rows:
        """Run statements, and return what the last one returned."""
        if not self._has_begun:
            self._has_begun = True
            statements = (*self._begin, *statements)
        cursor = self.session.cursor
        if self._joins:
            cursor.execute("; ".join(statements))
            if hasattr(cursor, "nextset"):
                with suppress(NotImplementedError):  # psycopg2 has the last result only
                    while cursor.nextset():
                        pass
        else:
            for statement in statements:
                cursor.execute(statement)
        rows = [tuple(row) for row in cursor.fetchall()] if cursor.description else []
        return Rows(cursor.rowcount, rows)

    def run_last(self, statement: str) -> None:
        """Keep the last statement for the COMMIT."""
        self._last.append(statement)

    def handling(self) -> AbstractContextManager[None]:
        """Return nothing special: the handler does not know this connection."""
        return nullcontext()

    def flush(self) -> None:
        """Do nothing: the handler works elsewhere."""

    def commit(self) -> None:
        """Commit what was run, if anything was."""
        if self._has_begun:
            self.run(*self._last, "COMMIT")

    def roll_back(self) -> None:
        """Undo what was run, if anything was."""
        if self._has_begun:
            self.run("ROLLBACK")


class PyMySQLTransaction(OwnTransaction):
    """The same in a session of PyMySQL's that is not in autocommit mode: its first statement begins it.

    PyMySQL is Python: each result costs as much as the server's work for it.
    """

    def __init__(self, session: _Session, end: Callable[[OwnTransaction, bool], None]) -> None:
        self._connection = session.driver_connection
        # What the server has said last: a new session is in autocommit mode.
        begin = ("SET SESSION autocommit = 0",) if self._connection.get_autocommit() else ()
        super().__init__(session, end, begin, joins=True)

    def run(self, *statements: str) -> Rows:
        """Run statements, and return what the last one returned."""
        if statements[-1].startswith("SELECT"):
            return super().run(*statements)
        if not self._has_begun:
            self._has_begun = True
            statements = (*self._begin, *statements)
        affected = self._connection.query("; ".join(statements))
        for _ in statements[1:]:
            affected = self._connection.next_result()
        return Rows(affected, [])

    def commit(self) -> None:
        """Commit what was run, if anything was."""
        if self._last and "MariaDB" in self._connection.get_server_info():
            self.run(f"BEGIN NOT ATOMIC {'; '.join(self._last)}; COMMIT; END")  # one result, and one wait for it
        else:
            super().commit()


class OwnConnections:
    """Opens transactions of the ledger on an engine.

    What was used a moment ago is used again without the pool, which would ask it whether it lives.

    :param is_ours: whether ``engine_from`` made the engine. In the sessions of another one nothing may stay changed,
        and none stays out of its pool.
    """

    def __init__(
        self, engine: Engine, dialect: Dialect, *, clock: Callable[[], float], is_ours: bool, wait_timeout: float
    ) -> None:
        self._engine = engine if is_ours else engine.execution_options(isolation_level="AUTOCOMMIT")
        self._is_ours = is_ours
        self._clock = clock
        driver = engine.dialect.driver
        self._is_pymysql = is_ours and driver == "pymysql"
        self._joins = driver in POSTGRESQL_DRIVERS
        begin = list(dialect.begin)
        self._undo: list[str] = []
        if dialect.name == "postgresql":
            begin += dialect.wait_at_most(wait_timeout)
        elif dialect.name == "mysql" and not is_ours:
            seconds = max(1, math.ceil(wait_timeout))
            begin = [
                "SET @oss_wsgi_wait = @@SESSION.innodb_lock_wait_timeout, "
                f"SESSION innodb_lock_wait_timeout = {seconds}",
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
                *begin,
            ]
            self._undo = ["SET SESSION innodb_lock_wait_timeout = @oss_wsgi_wait"]
        self._begin = begin
        self._dialect = dialect
        self._prepared: weakref.WeakSet[Any] = weakref.WeakSet()
        self.forget()

    def forget(self) -> None:
        """Forget the sessions, as a forked child must: they are its parent's."""
        self._lock = threading.Lock()
        self._idle: list[_Session] = []
        self._waiting = 0

    def release(self) -> None:
        """Give the sessions that nobody uses back to the pool."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def transaction(self) -> OwnTransaction:
        """Begin a transaction; the with block's end commits it, an exception rolls it back."""
        session = self._open()
        try:
            if self._dialect.is_prepared and not session.is_prepared:
                self._prepare(session)
            if self._is_pymysql:
                return PyMySQLTransaction(session, self._end)
            return OwnTransaction(session, self._end, self._begin, joins=self._joins)
        except BaseException:
            self._leave(session)
            raise

    def _end(self, transaction: OwnTransaction, has_failed: bool) -> None:
        """Commit a transaction, or roll it back; its session is free then."""
        session = transaction.session
        try:
            try:
                if not has_failed:
                    transaction.commit()
            except BaseException:
                self._roll_back(transaction)
                raise
            else:
                if has_failed:
                    self._roll_back(transaction)
            finally:
                if session.is_valid:
                    for statement in self._undo:
                        session.cursor.execute(statement)
        finally:
            self._leave(session)

    def _roll_back(self, transaction: OwnTransaction) -> None:
        try:
            transaction.roll_back()
        except Exception:  # the first error counts
            transaction.session.invalidate()
            self.release()  # to be asked: the others may be cut as well

    def _open(self) -> _Session:
        if not self._is_ours:
            return _Session(self._engine.connect())
        now = self._clock()
        with self._lock:
            session = self._idle.pop() if self._idle else None
            if session is not None and 0 <= now - session.used < _BELIEVED_SECONDS:
                return session
            self._waiting += 1
        try:
            if session is not None:
                session.close()
            return _Session(self._engine.raw_connection())
        finally:
            with self._lock:
                self._waiting -= 1

    def _leave(self, session: _Session) -> None:
        if self._is_ours and session.is_valid:
            session.used = self._clock()
            with self._lock:
                if not self._waiting:  # for what the pool has
                    self._idle.append(session)
                    return
        session.close()

    def _prepare(self, session: _Session) -> None:
        """Prepare the statements in a session, unless a pooler has given it one that has them."""
        session.is_prepared = True
        if session.driver_connection in self._prepared:
            return
        try:
            session.cursor.execute("; ".join(self._dialect.prepare()))
            self._prepared.add(session.driver_connection)
        except Exception as error:
            if meaning_of(error) is not Meaning.NOT_PREPARED:
                raise
            self._dialect.is_prepared = False
