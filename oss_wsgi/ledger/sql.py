"""A ledger in PostgreSQL, MySQL or MariaDB for many machines, through SQLAlchemy."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine

from ..exceptions import HandlerCommittedError, LedgerUnavailableError, SettingsError
from ..explanations.text import Text
from ..threads import inherited
from .base import DEFAULT_WAIT_TIMEOUT
from .place import Place, place_of_server
from .sql_engine import check_backend, engine_from, shown_url
from .sql_errors import Meaning, meaning_of
from .sql_session import IdleSessions, OwnTransaction, Watch, own_transaction
from .sql_tables import Statements
from .transactional import AUTOCOMMIT, SharedTransaction, Transaction, TransactionalLedger

#: The number of threads for which a ledger has connections by default.
DEFAULT_THREADS = 8

_REFUSED = (
    "a handler must not commit: the ledger commits its work together with the upload's response, so that both or none "
    "are stored. Leave out the commit; begin_nested makes a savepoint"
)
_NOT_COMMITTED = (
    "The context manager of begin did not commit, so that neither the handler's work nor the upload's response is "
    "stored: pass engine.begin or sessionmaker(engine).begin, not engine.connect or the sessionmaker itself."
)
_SHARED = "oss_wsgi.shared"


class SQLLedger(TransactionalLedger):
    """A ledger in a database that several machines share.

    ``SQLLedger(url_or_engine)`` uses transactions of its own, each open while the handler runs, so the uploads of a
    process that dies are unlocked at once. ``SQLLedger.sharing(begin)`` runs the handler in the application's
    transaction, ``upload.transaction``.

        ledger = SQLLedger.sharing(engine.begin, clock=time.time)
        ledger = SQLLedger.sharing(sessionmaker(engine).begin, clock=time.time)

    docs/how-to/shared-ledger.md says what each promises, on PostgreSQL, MySQL and MariaDB. The tables are made at the
    first use, or from what ``oss-wsgi ledger sql`` prints. ``sharing`` also works with SQLite, with one upload at a
    time; there, two processes may sweep at the same time.

    Raises SettingsError, which shows no password, for a malformed URL, a driver that is not installed, and a database
    that cannot be used.

    :param url_or_engine: ``postgresql://USER:PASSWORD@HOST/DATABASE`` (psycopg 3), ``mysql://...`` (PyMySQL), any other
        URL of SQLAlchemy, as a text or as its URL; or an Engine.
    :param clock: returns Unix seconds.
    :param wait_timeout: seconds for which a call waits for others, as in MemoryLedger. MySQL counts whole seconds.
    :param threads: how many threads have a connection each, beside three for sweeps; more threads wait for one.
    """

    def __init__(
        self,
        url_or_engine: str | URL | Engine,
        *,
        clock: Callable[[], float],
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
        threads: int = DEFAULT_THREADS,
    ) -> None:
        self._is_ours = not isinstance(url_or_engine, Engine)
        self._watch, self._idle = Watch(), IdleSessions(clock)
        weakref.finalize(self, self._watch.stop)
        if isinstance(url_or_engine, Engine):
            check_backend(url_or_engine.dialect.name)
            engine: Engine = url_or_engine.execution_options(isolation_level="READ COMMITTED")
        elif isinstance(url_or_engine, (str, URL)):
            limited = self._watch.limited
            engine = engine_from(url_or_engine, threads=threads, wait_timeout=wait_timeout, limited=limited)
        else:
            raise SettingsError(f"A SQLLedger needs a URL or SQLAlchemy's Engine, not {type(url_or_engine).__name__}.")
        self._engine: Engine | None = engine
        self._share: Callable[[], AbstractContextManager[Any]] | None = None
        self._statements: Statements | None = Statements(engine.dialect.name)
        super().__init__(clock=clock, wait_timeout=wait_timeout)
        try:
            self._prepare()
        except LedgerUnavailableError as error:
            self.close()
            problem = error.hint.removeprefix("the ledger's database cannot be used: ")
            raise SettingsError(Text("The ledger {1} cannot be used: {2}.", shown_url(engine.url), problem)) from None
        except (AttributeError, OSError, TypeError, ValueError) as error:
            self.close()
            if not self._is_ours:
                raise
            # The driver refuses the URL's parameters.
            raise SettingsError(Text("The ledger {1} cannot be used: {2}.", shown_url(engine.url), error)) from None
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

        A handler that commits causes HandlerCommittedError. If another transaction wins, the work of handler and ledger
        is rolled back, and both run again, at the application's isolation level.

        :param begin: called for each upload: begins a transaction and returns a context manager that yields
            SQLAlchemy's Connection or Session, commits at the end, and rolls back after an exception; such as
            ``engine.begin`` and ``sessionmaker(engine).begin``.
        """
        if not callable(begin):
            raise SettingsError(
                "SQLLedger.sharing needs a callable that begins a transaction, engine.begin or "
                "sessionmaker(engine).begin, not "
                f"{type(begin).__name__}."
            )
        ledger = cls.__new__(cls)
        ledger._engine = None
        ledger._share = begin
        ledger._statements = None
        TransactionalLedger.__init__(ledger, clock=clock, wait_timeout=wait_timeout)
        return ledger

    def __repr__(self) -> str:
        return f"<SQLLedger {shown_url(self._engine.url)}>" if self._engine is not None else "<SQLLedger.sharing>"

    @property
    def place(self) -> Place | None:
        """Where the ledger is; None for one that shares the application's transactions."""
        if self._engine is None:
            return None
        url = self._engine.url
        hosts, ports = (url.normalized_query.get(name, ()) for name in ("host", "port"))
        host = url.host or ",".join(sorted(",".join(hosts).split(",")))
        return place_of_server(url.get_backend_name(), host, url.port or ",".join(ports), url.database)

    def close(self) -> None:
        """Close the connections of an engine that the ledger has made; the next call opens them again."""
        if self._engine is not None and self._is_ours:
            self._watch.stop()
            self._dispose()

    def _dispose(self) -> None:
        """Close all connections that no call uses."""
        assert self._engine is not None  # noqa: S101
        idle, self._idle = self._idle, IdleSessions(self._clock)
        idle.close()
        self._engine.dispose()

    def _renew_in_child(self) -> None:
        super()._renew_in_child()
        if self._engine is not None:
            # Dropping the parent's sessions takes their pool's lock, which a thread of the parent may have held.
            inherited.append(self._idle)
            self._idle = IdleSessions(self._clock)
            self._watch.reset()
            if self._is_ours:
                self._engine.dispose(close=False)  # the connections belong to the parent

    def _begin(self) -> Transaction:
        if self._engine is not None and self._statements is not None:
            return self._idle.take(self._connect) if self._is_ours else self._connect()
        assert self._share is not None  # noqa: S101
        begun = self._share()
        handed = begun.__enter__()
        try:
            connection = _connection_of(handed)
            if self._statements is None:
                name = connection.dialect.name
                self._statements = Statements(name, paramstyle="qmark" if name == "sqlite" else "format")
            return _SQLAlchemyTransaction(begun, handed, connection, self._statements)
        except BaseException as error:
            with suppress(type(error)):
                begun.__exit__(type(error), error, error.__traceback__)
            raise

    def _connect(self) -> OwnTransaction:
        engine, statements = self._engine, self._statements
        assert engine is not None  # noqa: S101
        assert statements is not None  # noqa: S101
        try:
            # An application's engine sets up its sessions only through a Connection.
            taken: Any = engine.raw_connection() if self._is_ours else engine.connect()
        except Exception as error:
            # Either a pooled connection was cut, and all others may be cut too, or a new connection was refused.
            was_cut = meaning_of(error) is Meaning.UNAVAILABLE and getattr(error, "connection_invalidated", True)
            if was_cut and not self._is_ours:
                self._dispose()
            raise
        driver = (taken if self._is_ours else taken.connection).driver_connection
        kind = own_transaction(engine.dialect.driver) if self._is_ours else OwnTransaction
        kept: dict[str, Any] = {"watch": self._watch, "idle": self._idle} if self._is_ours else {}
        is_mariadb = bool(getattr(engine.dialect, "is_mariadb", False))
        wait = self._wait_timeout
        made = kind(taken, driver, statements, self._dispose, is_mariadb=is_mariadb, wait_timeout=wait, **kept)
        cut, self._watch.cut = self._watch.cut, []
        if cut:
            try:
                made.run(statements.end_waits(cut), {})
            except BaseException as error:
                self._watch.cut += cut
                made.roll_back(error)
                raise
        return made


class _SQLAlchemyTransaction(SharedTransaction):
    """A transaction that an application has begun with SQLAlchemy."""

    def __init__(
        self, begun: AbstractContextManager[Any], handed: Any, connection: Connection, statements: Statements
    ) -> None:
        super().__init__(handed, statements, connection.exec_driver_sql, self._finish)
        self._begun = begun
        self._connection = connection
        self._is_committed = False
        self.is_mariadb = bool(getattr(connection.dialect, "is_mariadb", False))
        _listen(connection.engine)
        self._info = connection.info  # it belongs to the pooled connection, so it outlives this Connection
        self._info[_SHARED] = self

    def before_handler(self) -> None:
        """Do what every shared transaction does. Raises SettingsError if the connection has committed the claim."""
        driver: Any = self._connection.connection.driver_connection
        if self.statements.family == "sqlite" and not driver.in_transaction:
            raise SettingsError(AUTOCOMMIT)  # SQLite alone would begin a transaction with the savepoint
        super().before_handler()

    def flush(self) -> None:
        """Send the statements that a Session keeps back until the commit."""
        flush = getattr(self.handed, "flush", None)
        if flush is not None and not self.was_ended:
            flush()

    def _finish(self, error: BaseException | None) -> None:
        try:
            self._leave(error)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._info.get(_SHARED) is self:  # else the pool has passed the connection on
            self._info.pop(_SHARED, None)

    def _leave(self, error: BaseException | None) -> None:
        if error is None:
            self._begun.__exit__(None, None, None)
            # A transaction that is still open is part of an outer one, as in tests that roll everything back.
            if not self._is_committed and not self._connection.in_transaction():
                raise SettingsError(_NOT_COMMITTED)
        else:
            self._begun.__exit__(type(error), error, error.__traceback__)

    def note_commit(self) -> None:
        """Note that the application commits the ledger's work; refuse it while the handler runs."""
        self.note_end()
        if self.is_handling:
            # After an error in a commit, SQLAlchemy assumes that there is nothing to roll back, so the connection's
            # next user would commit this work.
            self._connection.connection.rollback()
            raise HandlerCommittedError("handler_committed", _REFUSED)
        self._is_committed = True

    def note_end(self) -> None:
        """Note that the transaction ends: a handler must not end it, since it is not the handler's own."""
        if self.is_handling:
            self.was_ended = True
        else:
            self._let_go()


def _connection_of(handed: Any) -> Connection:
    """Return the Connection that ``begin`` yielded, or that of the Session that it yielded."""
    if isinstance(handed, Connection):
        return handed
    connection = getattr(handed, "connection", None)
    # A SessionTransaction, which Session.begin yields, has neither attribute.
    found = connection() if callable(connection) and hasattr(handed, "in_transaction") else None
    if not isinstance(found, Connection):
        raise TypeError(
            f"the context manager of begin must yield SQLAlchemy's Connection or Session, not {type(handed).__name__}: "
            "pass engine.begin or sessionmaker(engine).begin"
        )
    return found


def _listen(engine: Engine) -> None:
    """Listen to an engine's commits, rollbacks and errors, if that is not done yet."""
    if not event.contains(engine, "commit", _note_commit):
        event.listen(engine, "commit", _note_commit)
        event.listen(engine, "commit_twophase", lambda connection, xid, is_prepared: _note_commit(connection))
        event.listen(engine, "rollback", _note_rollback)
        event.listen(engine, "handle_error", _note_conflict)


def _note_commit(connection: Connection) -> None:
    transaction: _SQLAlchemyTransaction | None = connection.info.get(_SHARED)
    if transaction is not None:
        transaction.note_commit()


def _note_rollback(connection: Connection) -> None:
    transaction: _SQLAlchemyTransaction | None = connection.info.get(_SHARED)
    if transaction is not None:
        transaction.note_end()


def _note_conflict(context: Any) -> None:
    """Note that another transaction has won: the handler may turn that error into a 500."""
    if context.connection is None or meaning_of(context.original_exception) is not Meaning.CONFLICT:
        return
    transaction: _SQLAlchemyTransaction | None = context.connection.info.get(_SHARED)
    if transaction is not None and transaction.is_handling:
        transaction.has_conflict = True
