"""A ledger in PostgreSQL, MySQL or MariaDB for many machines, through SQLAlchemy."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, Engine

from ..exceptions import HandlerCommittedError, LedgerUnavailableError, SettingsError
from .base import DEFAULT_WAIT_TIMEOUT
from .place import Place, place_of_server
from .sql_engine import SESSION_WAIT, check_backend, engine_from, shown_url
from .sql_errors import Meaning, meaning_of
from .sql_session import PEER_SECONDS, Session, Watch, session_on
from .sql_tables import Rows, Statement, Statements
from .transactional import SharedTransaction, Transaction, TransactionalLedger

#: Threads for which a ledger has connections, where nobody says how many there are.
DEFAULT_THREADS = 8

_REFUSED = (
    "a handler must not commit: the ledger commits its work together with the upload's answer, so that both or none "
    "are stored. Leave out the commit; begin_nested makes a savepoint"
)
_NOT_COMMITTED = (
    "The context manager of begin did not commit, so that neither the handler's work nor the upload's answer is "
    "stored: pass engine.begin or sessionmaker(engine).begin, not engine.connect or the sessionmaker itself."
)
_SHARED = "oss_wsgi.shared"
_SESSION = "oss_wsgi.session"


class SQLLedger(TransactionalLedger):
    """A ledger in a database that several machines share.

    ``SQLLedger(url_or_engine)`` has transactions of its own, each as long as the handler runs, so that a process that
    dies lets go of its uploads at once. ``SQLLedger.sharing(begin)`` runs the handler in the application's transaction,
    ``upload.transaction``.

        ledger = SQLLedger.sharing(engine.begin, clock=time.time)
        ledger = SQLLedger.sharing(sessionmaker(engine).begin, clock=time.time)

    docs/how-to/shared-ledger.md says what each promises, on PostgreSQL, MySQL and MariaDB. The tables are made at the
    first use, or from what ``oss-wsgi ledger sql`` prints. ``sharing`` works with SQLite as well, with one upload at a
    time, and a sweep is alone in its process only.

    Raises SettingsError, without a password, for a URL that is malformed, or whose driver is not installed, and for a
    database that cannot be used.

    :param url_or_engine: ``postgresql://USER:PASSWORD@HOST/DATABASE`` (psycopg 3), ``mysql://...`` (PyMySQL), any other
        URL of SQLAlchemy, as a text or as its URL; or an Engine.
    :param clock: returns Unix seconds.
    :param wait_timeout: seconds for which a call waits for others, as in MemoryLedger. MySQL counts whole seconds.
    :param threads: how many threads use the ledger: the pool has a connection for each, and some for sweeps.
    """

    def __init__(
        self,
        url_or_engine: str | URL | Engine,
        *,
        clock: Callable[[], float],
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
        threads: int = DEFAULT_THREADS,
    ) -> None:
        super().__init__(clock=clock, wait_timeout=wait_timeout)
        self._is_ours = not isinstance(url_or_engine, Engine)
        if isinstance(url_or_engine, Engine):
            check_backend(url_or_engine.dialect.name)
            engine: Engine = url_or_engine.execution_options(isolation_level="READ COMMITTED")
        elif isinstance(url_or_engine, (str, URL)):
            engine = engine_from(url_or_engine, threads=threads, wait_timeout=wait_timeout)
        else:
            raise SettingsError(f"A SQLLedger needs a URL or SQLAlchemy's Engine, not {type(url_or_engine).__name__}.")
        self._engine: Engine | None = engine
        self._share: Callable[[], AbstractContextManager[Any]] | None = None
        self._statements: Statements | None = Statements(engine.dialect.name)
        self._watch = Watch()
        weakref.finalize(self, self._watch.stop)
        try:
            self._prepare()
        except LedgerUnavailableError as error:
            self.close()
            problem = error.hint.removeprefix("the ledger's database cannot be used: ")
            raise SettingsError(f"The ledger {shown_url(engine.url)} cannot be used: {problem}.") from None
        except (TypeError, ValueError) as error:
            self.close()
            if isinstance(error, SettingsError) or not self._is_ours:
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
        rolled back and run again together, at the isolation level that the application has set.

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
        TransactionalLedger.__init__(ledger, clock=clock, wait_timeout=wait_timeout)
        ledger._engine = None
        ledger._is_ours = False
        ledger._share = begin
        ledger._statements = None
        return ledger

    def __repr__(self) -> str:
        return f"<SQLLedger {shown_url(self._engine.url)}>" if self._engine is not None else "<SQLLedger.sharing>"

    @property
    def place(self) -> Place | None:
        """Where the ledger is; None for one that shares the application's transactions."""
        if self._engine is None:
            return None
        url = self._engine.url
        host = url.host or url.query.get("host")
        return place_of_server(url.get_backend_name(), host, url.port, url.database)

    def close(self) -> None:
        """Close the connections of an engine that the ledger has made; the next call opens them again."""
        if self._engine is not None:
            self._watch.stop()
            self._dispose()

    def _dispose(self) -> None:
        if self._engine is not None and self._is_ours:
            self._engine.dispose()

    def _after_fork(self, *, is_child: bool) -> None:
        super()._after_fork(is_child=is_child)
        if is_child and self._engine is not None:
            self._watch = Watch()
            if self._is_ours:
                self._engine.dispose(close=False)  # they are the parent's

    def _begin(self) -> Transaction:
        if self._engine is not None and self._statements is not None:
            return _OwnTransaction(self._engine, self._statements, self._watch, self._dispose, is_ours=self._is_ours)
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


class _OwnTransaction(Transaction):
    """A transaction of the ledger, by the driver's own cursor; the handler works outside it.

    :param is_ours: whether ``engine_from`` has made the engine, or its sessions are set up by a Connection.
    :param on_cut: called when the connection is broken: those beside it may be as well.
    """

    def __init__(
        self, engine: Engine, statements: Statements, watch: Watch, on_cut: Callable[[], None], *, is_ours: bool
    ) -> None:
        super().__init__(statements)
        opened: Any = engine.raw_connection() if is_ours else engine.connect()
        self._connection = opened
        driver: Any = opened if is_ours else opened.connection
        self._info = driver.info
        self._on_cut = on_cut
        self._patience = PEER_SECONDS
        self.is_mariadb = bool(getattr(engine.dialect, "is_mariadb", False))
        session: Session | None = self._info.get(_SESSION)
        if session is None:
            kind, own_watch = (engine.dialect.driver, watch) if is_ours else ("", None)
            session = self._info[_SESSION] = session_on(driver, kind, own_watch)
        self._session = session

    def run(self, statement: Statement, parameters: Mapping[str, Any]) -> Rows:
        """Run a statement, and return what it returned."""
        return self._session.run(statement, statement.bound(parameters), self._patience)

    def limit_wait(self, seconds: float) -> None:
        """Limit the waits for locks, unless the session is set up for that; and those for the server."""
        self._patience = min(PEER_SECONDS, math.ceil(seconds))
        if self._info.get(SESSION_WAIT) != seconds:
            super().limit_wait(seconds)

    def finish(self, statement: Statement, parameters: Mapping[str, Any]) -> None:
        """Run the last statement, and commit."""
        self._session.finish(statement, statement.bound(parameters), self._patience)
        self._give_back()

    def commit(self) -> None:
        """Commit, and give the connection back to the pool."""
        self._session.commit(self._patience)
        self._give_back()

    def roll_back(self, error: BaseException | None) -> None:
        """Roll back, and give the connection back to the pool; a broken one is closed, and those beside it."""
        try:
            if error is not None and meaning_of(error) is Meaning.UNAVAILABLE:
                raise error
            self._session.roll_back()
            self._give_back()
        except Exception:
            with suppress(Exception):
                self._connection.invalidate()
            with suppress(Exception):
                self._connection.close()
            self._on_cut()

    def _give_back(self) -> None:
        if self.statements.family == "mysql":
            self.restore_wait()
        self._connection.close()


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
        self._info = connection.info  # the pool's connection has it, also after this one is closed
        self._info[_SHARED] = self

    def flush(self) -> None:
        """Send what a Session keeps back until the commit."""
        flush = getattr(self.handed, "flush", None)
        if flush is not None and not self.was_ended:
            flush()

    def _finish(self, error: BaseException | None) -> None:
        try:
            self._leave(error)
        finally:
            self._info.pop(_SHARED, None)

    def _leave(self, error: BaseException | None) -> None:
        if error is None:
            self._begun.__exit__(None, None, None)
            # One that goes on is a part of another one, as tests have it that roll everything back.
            if not self._is_committed and not self._connection.in_transaction():
                raise SettingsError(_NOT_COMMITTED)
        else:
            self._begun.__exit__(type(error), error, error.__traceback__)

    def note_commit(self) -> None:
        """Note that the application commits the ledger's work; refuse it while the handler runs."""
        self.note_end()
        if self.is_handling:
            # After an error in commit SQLAlchemy believes that there is nothing to roll back, and the next user of the
            # connection would commit it.
            self._connection.connection.rollback()
            raise HandlerCommittedError("handler_committed", _REFUSED)
        self._is_committed = True

    def note_end(self) -> None:
        """Note who ends the transaction: a handler ends what is not its own."""
        if self.is_handling:
            self.was_ended = True
        else:
            self._info.pop(_SHARED, None)


def _connection_of(handed: Any) -> Connection:
    """Return the Connection that ``begin`` yielded, or that of the Session that it yielded."""
    if isinstance(handed, Connection):
        return handed
    connection = getattr(handed, "connection", None)
    # A SessionTransaction, which the begin of a Session yields, knows neither.
    found = connection() if callable(connection) and hasattr(handed, "in_transaction") else None
    if not isinstance(found, Connection):
        raise TypeError(
            f"the context manager of begin must yield SQLAlchemy's Connection or Session, not {type(handed).__name__}: "
            "pass engine.begin or sessionmaker(engine).begin"
        )
    return found


def _listen(engine: Engine) -> None:
    """Listen to an engine's transactions, once."""
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
    """Note that another transaction has won: a handler's 500 hides the error."""
    if context.connection is None or meaning_of(context.original_exception) is not Meaning.CONFLICT:
        return
    transaction: _SQLAlchemyTransaction | None = context.connection.info.get(_SHARED)
    if transaction is not None and transaction.is_handling:
        transaction.has_conflict = True
