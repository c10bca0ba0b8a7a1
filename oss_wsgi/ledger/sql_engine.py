"""The engine for a ledger's URL, and how its sessions are set up."""

from __future__ import annotations

import math
from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, make_url

from ..exceptions import SettingsError
from .sql_text import dialect_of

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
POSTGRESQL_DRIVERS = ("psycopg", "psycopg2")
# CLIENT_FOUND_ROWS, which SQLAlchemy relies on, and CLIENT_MULTI_STATEMENTS, in MySQL's protocol.
_PYMYSQL_FLAGS = 2 | 65536


def engine_from(text: str | URL, *, threads: int, wait_timeout: float) -> Engine:
    """Return an engine for a URL, with a connection for each thread and one for the sweeps.

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
    return engine


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
    if driver in POSTGRESQL_DRIVERS:
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
