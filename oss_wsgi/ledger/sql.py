"""A ledger in PostgreSQL, MySQL or MariaDB for many machines, through SQLAlchemy."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

from sqlalchemy.engine import URL, Engine

from ..exceptions import LedgerUnavailableError, SettingsError
from .base import DEFAULT_WAIT_TIMEOUT
from .sql_engine import engine_from, shown_url
from .sql_errors import text_of
from .sql_sessions import OwnConnections
from .sql_sharing import check_committed, connection_of, shared
from .sql_text import Dialect, dialect_of
from .transactional import Transaction, TransactionalLedger

#: Threads for which a ledger has connections, where nobody says how many there are.
DEFAULT_THREADS = 8


class SQLLedger(TransactionalLedger):
    """A ledger in a database that several machines share.

    ``SQLLedger(url_or_engine)`` has transactions of its own. Each lasts as long as the handler runs, so that a
    process that dies lets go of its uploads at once. What the handler does elsewhere and the answer are not stored
    together: a handler that was killed, or whose answer could not be committed, runs again.

    ``SQLLedger.sharing(begin)`` runs the handler in the application's own transaction, ``upload.transaction``. Its
    effect and the answer are committed together or not at all: exactly once.

        ledger = SQLLedger.sharing(engine.begin, clock=time.time)
        ledger = SQLLedger.sharing(sessionmaker(engine).begin, clock=time.time)

    PostgreSQL 13, MySQL 8, MariaDB 10.6 or later, with the extra ``oss-wsgi[postgresql]`` or ``oss-wsgi[mysql]``. The
    tables are made at the first use, or from what ``oss-wsgi ledger sql`` prints. PgBouncer may pool by transaction.
    SQLite works as well, with one upload at a time: ``SQLiteLedger`` is better on one machine.

    Raises SettingsError, without a password, for a URL that is malformed, or whose driver is not installed, and for a
    database that cannot be used.

    :param url_or_engine: ``postgresql://USER:PASSWORD@HOST/DATABASE`` (psycopg 3), ``mysql://...`` (PyMySQL), any other
        URL of SQLAlchemy, as a text or as its URL; or an Engine.
    :param clock: returns Unix seconds.
    :param wait_timeout: seconds for which a call waits for others, as in MemoryLedger. MySQL counts whole seconds.
    :param threads: how many threads use the ledger: the pool has a connection for each, and one more.
    """

    def __init__(
        self,
        url_or_engine: str | URL | Engine,
        *,
        clock: Callable[[], float],
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
        threads: int = DEFAULT_THREADS,
    ) -> None:
        is_ours = not isinstance(url_or_engine, Engine)
        if isinstance(url_or_engine, Engine):
            engine = url_or_engine
        elif isinstance(url_or_engine, (str, URL)):
            engine = engine_from(url_or_engine, threads=threads, wait_timeout=wait_timeout)
        else:
            raise SettingsError(f"A SQLLedger needs a URL or SQLAlchemy's Engine, not {type(url_or_engine).__name__}.")
        super().__init__(_dialect_of(engine), clock=clock, wait_timeout=wait_timeout)
        self._engine: Engine | None = engine
        self._is_ours = is_ours
        self._share: Callable[[], AbstractContextManager[Any]] | None = None
        self._connections = OwnConnections(
            engine, self.dialect, clock=clock, is_ours=is_ours, wait_timeout=wait_timeout
        )
        _ledgers.add(self)
        try:
            self._prepare()
            # The statements of an engine of the application's are its own affair.
            self.dialect.is_prepared = is_ours and bool(self.dialect.prepare())
        except LedgerUnavailableError as error:
            self.close()
            cause = error.__cause__
            problem = error.hint if cause is None or error.reason == "ledger_busy" else text_of(cause)
            raise SettingsError(f"The ledger {shown_url(engine.url)} cannot be used: {problem}.") from None
        except (TypeError, ValueError) as error:
            self.close()
            if isinstance(error, SettingsError) or not is_ours:
                raise
            # What the driver says to the URL's parameters.
            raise SettingsError(f"The ledger {shown_url(engine.url)} cannot be used: {error}.") from None
        except BaseException:
            self.close()
            raise

    @classmethod
    def sharing(
        cls,
        begin: Callable[[], AbstractContextManager[Any]],
        *,
        clock: Callable[[], float],
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
    ) -> SQLLedger:
        """Return a ledger whose uploads are handled in transactions of the application.

        The handler must not commit: HandlerCommittedError. Where another transaction wins, handler and ledger are
        rolled back and run again together, at the isolation level that the application has set. The connection does not
        go back to the pool while the handler runs.

        :param begin: called for each upload: begins a transaction and returns a context manager that yields
            SQLAlchemy's Connection or Session, commits at the end, and rolls back after an exception; such as
            ``engine.begin`` and ``sessionmaker(engine).begin``.
        """
        if not callable(begin):
            raise SettingsError(
                "SQLLedger.sharing needs what begins a transaction, engine.begin or sessionmaker(engine).begin, not "
                f"{type(begin).__name__}."
            )
        ledger = cls.__new__(cls)
        TransactionalLedger.__init__(ledger, None, clock=clock, wait_timeout=wait_timeout)
        ledger._engine = None
        ledger._is_ours = False
        ledger._share = begin
        _ledgers.add(ledger)
        return ledger

    def __enter__(self) -> SQLLedger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SQLLedger {shown_url(self._engine.url)}>" if self._engine is not None else "<SQLLedger.sharing>"

    def close(self) -> None:
        """Close the connections of an engine that the ledger has made; the next call opens them again."""
        if self._engine is not None and self._is_ours:
            self._connections.release()
            self._engine.dispose()

    def _begin(self) -> AbstractContextManager[Transaction]:
        if self._share is None:
            return self._connections.transaction()
        return self._begin_shared(self._share)

    @contextmanager
    def _begin_shared(self, begin: Callable[[], AbstractContextManager[Any]]) -> Iterator[Transaction]:
        with begin() as handed:
            connection = connection_of(handed)
            if self._dialect_or_none is None:  # a second transaction for that might wait for a connection in vain
                self._dialect_or_none = _dialect_of(connection.engine)
            with shared(handed, self._dialect_or_none, self._wait_timeout) as transaction:
                yield transaction
        check_committed(connection, transaction)

    def _detect(self) -> Dialect:
        if self._share is None:
            raise TypeError("the dialect of an engine is known from the start")
        with self._share() as handed:
            return _dialect_of(connection_of(handed).engine)

    def _after_fork(self) -> None:
        """Leave the parent's connections alone, and forget its calls."""
        self._gate.reset()
        if self._engine is not None and self._is_ours:
            self._connections.forget()
            self._engine.dispose(close=False)


def _dialect_of(engine: Engine) -> Dialect:
    try:
        return dialect_of(engine.dialect.name)
    except ValueError as error:
        raise SettingsError(f"{error}.") from None


_ledgers: weakref.WeakSet[SQLLedger] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for ledger in list(_ledgers):
        ledger._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
