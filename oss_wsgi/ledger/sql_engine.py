"""Connections of a ledger to its database: an engine from a URL, and transactions on it."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, make_url

from ..exceptions import SettingsError
from .sql_errors import Meaning, meaning_of
from .sql_text import Dialect, dialect_of
from .transactional import Rows

#: The driver that a scheme means, and the extra that brings it.
DRIVERS = {
    "postgresql": ("postgresql+psycopg", "psycopg", "postgresql"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgresql"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "pymysql", "mysql"),
}
_MALFORMED = (
    "The ledger's URL is malformed: write postgresql://USER:PASSWORD@HOST/DATABASE, and percent-encode what is no "
    "letter or digit in the password."
)
#: Seconds after which a peer that is gone without a word is noticed, on both sides.
PEER_SECONDS = 25
_IDLE_SECONDS, _INTERVAL_SECONDS, _PROBES = 10, 5, 3
_CONNECT_SECONDS = 5
#: Seconds for which a connection is believed to live after it was asked.
_PING_SECONDS = 1.0
_POSTGRESQL_DRIVERS = ("psycopg", "psycopg2")
# CLIENT_FOUND_ROWS, which SQLAlchemy relies on, and CLIENT_MULTI_STATEMENTS, in MySQL's protocol.
_PYMYSQL_FLAGS = 2 | 65536


def engine_from(
    text: str | URL, *, threads: int, wait_timeout: float, clock: Callable[[], float] | None = None
) -> Engine:
    """Return an engine for a URL, with a connection for each thread and one for the sweeps.

    A connection is asked whether it lives when it leaves the pool, by ``clock`` once a second at the most.

    Raises SettingsError, without the password, for a URL that is malformed, or whose driver is not installed.
    """
    url = _checked_url(text)
    try:
        if url.get_dialect().is_async:
            raise SettingsError(f"A ledger cannot use the driver {url.drivername}, which is one of asyncio's.")
        engine = sqlalchemy.create_engine(
            url,
            isolation_level="AUTOCOMMIT",  # the ledger writes BEGIN and COMMIT itself
            pool_size=threads,
            max_overflow=1,
            pool_timeout=wait_timeout,
            pool_pre_ping=True,
            pool_recycle=3600,
            pool_reset_on_return=None,  # a transaction ends before its connection comes back
            connect_args=_connect_arguments(url, wait_timeout),
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        _, module, extra = DRIVERS.get(url.get_backend_name(), ("", "", ""))
        cure = f"pip install 'oss-wsgi[{extra}]'"
        if module and module != error.name:
            cure = f"install it, or write {url.get_backend_name()}:// for {module}, which {cure} brings"
        raise SettingsError(f"The ledger {url.drivername}:// needs {error.name}: {cure}.") from None
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise SettingsError(f"The ledger's URL cannot be used: {type(error).__name__} for {url.drivername}.") from None
    event.listen(engine, "connect", lambda connection, record: _set_up(engine, connection, wait_timeout))
    if clock is not None and url.get_backend_name() != "sqlite":  # whose connections are not lost
        dialect: Any = engine.dialect
        dialect.do_ping = _Pings(dialect.do_ping, clock)
    return engine


class _Pings:
    """Asks a connection whether it lives, unless it was asked just now."""

    def __init__(self, ping: Callable[[Any], bool], clock: Callable[[], float]) -> None:
        self._ping = ping
        self._clock = clock
        self._asked: weakref.WeakKeyDictionary[Any, float] = weakref.WeakKeyDictionary()

    def __call__(self, connection: Any) -> bool:
        now = self._clock()
        asked = self._asked.get(connection)
        if asked is not None and 0 <= now - asked < _PING_SECONDS:
            return True
        lives = self._ping(connection)
        if lives:
            self._asked[connection] = now
        return lives

    def clear(self) -> None:
        """Ask all connections again: one of them was cut."""
        self._asked.clear()


def shown_url(url: URL) -> str:
    """Return a URL without user, password and parameters, which may hold passwords too."""
    return URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()


def _checked_url(text: str | URL) -> URL:
    """Return the URL with the driver that it means. Raises SettingsError."""
    try:
        url = make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise SettingsError(_MALFORMED) from None
    url = url.set(drivername=url.drivername.lower())
    url = url.set(drivername=DRIVERS.get(url.drivername, (url.drivername,))[0])
    try:
        dialect_of(url.get_backend_name())
    except ValueError as error:
        raise SettingsError(f"{error}.") from None
    if "@" in (url.host or ""):  # SQLAlchemy reads a password up to the first one
        raise SettingsError(_MALFORMED)
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise SettingsError("A SQLLedger needs a file of SQLite's, sqlite:///PATH: in memory there is MemoryLedger.")
    return url


def _connect_arguments(url: URL, wait_timeout: float) -> dict[str, Any]:
    driver = url.get_driver_name()
    if driver in _POSTGRESQL_DRIVERS:
        arguments: dict[str, Any] = {
            "connect_timeout": _CONNECT_SECONDS,
            "keepalives_idle": _IDLE_SECONDS,
            "keepalives_interval": _INTERVAL_SECONDS,
            "keepalives_count": _PROBES,
            "tcp_user_timeout": PEER_SECONDS * 1000,
            "application_name": "oss_wsgi",
        }
        if driver == "psycopg":
            arguments["prepare_threshold"] = None  # each statement comes once, and PgBouncer may not know it
        return {name: value for name, value in arguments.items() if name not in url.query}
    if driver == "pymysql":
        timeouts = {"connect_timeout": _CONNECT_SECONDS}
        # A statement waits for a lock at the most; what takes longer is a peer that is gone.
        timeouts["client_flag"] = _PYMYSQL_FLAGS
        timeouts |= dict.fromkeys(("read_timeout", "write_timeout"), max(PEER_SECONDS, math.ceil(wait_timeout) + 5))
        return {name: value for name, value in timeouts.items() if name not in url.query}
    return {"timeout": wait_timeout} if url.get_backend_name() == "sqlite" else {}


def _set_up(engine: Engine, connection: Any, wait_timeout: float) -> None:
    """Set, in a new session, when the server gives up a client that is gone, and how long locks are waited for."""
    name = engine.dialect.name
    statements: list[str] = []
    if name == "postgresql":
        seconds = zip(("idle", "interval", "count"), (_IDLE_SECONDS, _INTERVAL_SECONDS, _PROBES), strict=True)
        statements = [f"SET tcp_keepalives_{part} = {value}" for part, value in seconds]
        statements.append(f"SET tcp_user_timeout = {PEER_SECONDS * 1000}")
    elif name in ("mysql", "mariadb"):
        is_mariadb = bool(getattr(engine.dialect, "is_mariadb", False)) or "MariaDB" in connection.get_server_info()
        idle = "idle_transaction_timeout" if is_mariadb else "wait_timeout"
        statements = [
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            f"SET SESSION innodb_lock_wait_timeout = {max(1, math.ceil(wait_timeout))}",
            f"SET SESSION {idle} = {PEER_SECONDS}",
        ]
    if statements:
        cursor = connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()


class OwnTransaction:
    """A transaction of the ledger on a connection in autocommit mode; the handler works outside it.

    Where the driver can, BEGIN goes out with the first statements and COMMIT with the last one.
    """

    handed = None
    is_shared = False
    has_conflict = False
    was_ended = False

    def __init__(self, cursor: Any, begin: list[str], *, joins: bool) -> None:
        self._cursor = cursor
        self._waiting = begin
        self._joins = joins
        self._last: list[str] = []

    def run(self, *statements: str) -> Rows:
        """Run statements, and return what the last one returned."""
        statements = (*self._waiting, *statements)
        self._waiting = []
        return self._execute(statements)

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
        if not self._waiting:
            self._execute((*self._last, "COMMIT"))

    def roll_back(self) -> None:
        """Undo what was run, if anything was."""
        if not self._waiting:
            self._execute(("ROLLBACK",))

    def _execute(self, statements: tuple[str, ...]) -> Rows:
        cursor = self._cursor
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


class OwnConnections:
    """Opens transactions of the ledger on an engine.

    :param is_ours: whether ``engine_from`` made the engine. In the sessions of another one nothing may stay changed.
    """

    def __init__(self, engine: Engine, dialect: Dialect, *, is_ours: bool, wait_timeout: float) -> None:
        self._engine = engine if is_ours else engine.execution_options(isolation_level="AUTOCOMMIT")
        self._is_ours = is_ours
        driver = engine.dialect.driver
        self._joins = driver in _POSTGRESQL_DRIVERS or (is_ours and driver == "pymysql")
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

    def _prepare(self, connection: Any, cursor: Any) -> None:
        """Prepare the statements in a session, unless a pooler has given it one that has them."""
        try:
            cursor.execute("; ".join(self._dialect.prepare()))
            self._prepared.add(connection)
        except Exception as error:
            if meaning_of(error) is not Meaning.NOT_PREPARED:
                raise
            self._dialect.is_prepared = False

    @contextmanager
    def transaction(self) -> Iterator[OwnTransaction]:
        """Begin a transaction; the with block's end commits it, an exception rolls it back."""
        connection: Any = self._engine.raw_connection() if self._is_ours else self._engine.connect()
        try:
            raw = connection if self._is_ours else connection.connection
            cursor = raw.cursor()
            if self._dialect.is_prepared and raw.driver_connection not in self._prepared:
                self._prepare(raw.driver_connection, cursor)
            transaction = OwnTransaction(cursor, list(self._begin), joins=self._joins)
            try:
                yield transaction
                transaction.commit()
            except BaseException:
                try:
                    transaction.roll_back()
                except Exception:  # the first error counts
                    connection.invalidate()
                    ping = self._engine.dialect.do_ping
                    if isinstance(ping, _Pings):
                        ping.clear()
                raise
            finally:
                if self._undo and raw.is_valid:
                    for statement in self._undo:
                        cursor.execute(statement)
                with suppress(Exception):
                    cursor.close()
        finally:
            connection.close()
