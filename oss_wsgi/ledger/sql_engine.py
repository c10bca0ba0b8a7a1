"""The engine for a ledger's URL, and how its sessions are set up."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, make_url

from ..exceptions import SettingsError
from ..threads import awaited

#: Scheme of a URL -> its driver, the driver's module, and the extra that installs it.
DRIVERS = {
    "postgresql": ("postgresql+psycopg", "psycopg", "postgresql"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgresql"),
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "mariadb": ("mariadb+pymysql", "pymysql", "mysql"),
}
_MALFORMED = (
    "The ledger's URL is malformed: write postgresql://USER:PASSWORD@HOST/DATABASE, and percent-encode each "
    "character of the password that is not a letter or digit."
)
#: Seconds after which client and server notice that the other one is gone without closing the connection.
PEER_SECONDS = 25
_IDLE_SECONDS, _INTERVAL_SECONDS, _PROBES = 10, 5, 3
#: Seconds after which a connection that nobody uses is replaced.
RECYCLE_SECONDS = 3600
#: Connections in addition to the threads': for sweeps, which hold locks while they deliver uploads.
_MORE_CONNECTIONS = 3
#: Key in ``Connection.info`` for the session's limit of waits for locks; it is missing behind a pooler.
SESSION_WAIT = "oss_wsgi.wait"
# The driver prepares a statement when it runs for the second time.
_PREPARE_AFTER = 1


def unlimited(connection: Any, seconds: int, act: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``act``, as ``Watch.limited`` does, without a limit."""
    return act(*arguments)


def engine_from(
    text: str | URL, *, threads: int, wait_timeout: float, limited: Callable[..., object] = unlimited
) -> Engine:
    """Return an engine for a URL, with a connection for each thread and some for sweeps.

    ``limited`` calls a function that uses a driver's connection, for a number of seconds at most: a pooler may keep the
    first statement of a session waiting.

    Raises SettingsError, which shows no password, for a malformed URL and for a driver that is not installed.
    """
    url = _checked_url(text)
    try:
        if url.get_dialect().is_async:
            raise SettingsError(f"A ledger cannot use the driver {url.drivername}, which is for asyncio.")
        engine = sqlalchemy.create_engine(
            url,
            isolation_level="READ COMMITTED",
            # No overflow: a waiting call gets each connection that is returned.
            pool_size=threads + _MORE_CONNECTIONS,
            max_overflow=0,
            pool_timeout=wait_timeout,
            pool_recycle=RECYCLE_SECONDS,
            pool_reset_on_return=None,  # a transaction ends before its connection comes back
            pool_use_lifo=True,  # the last used is likely alive; a dead one fails at the claim, which runs again
            connect_args=_connect_arguments(url, wait_timeout),
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        _, module, extra = DRIVERS.get(url.get_backend_name(), ("", "", ""))
        fix = f"pip install 'oss-wsgi[{extra}]'"
        if module and module != error.name:
            fix = f"install it, or write {url.get_backend_name()}:// for {module}, which {fix} brings"
        raise SettingsError(f"The ledger {url.drivername}:// needs {error.name}: {fix}.") from None
    except SettingsError:
        raise
    except (sqlalchemy.exc.SQLAlchemyError, TypeError, ValueError) as error:
        raise SettingsError(f"The ledger's URL cannot be used: {type(error).__name__} for {url.drivername}.") from None
    set_up = _set_up_postgresql if url.get_backend_name() == "postgresql" else _set_up_mysql

    def connected(connection: Any, record: Any) -> None:
        limited(connection, math.ceil(wait_timeout), set_up, connection, record.info, wait_timeout)

    def connect(dialect: Any, record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        # libpq takes locks of OpenSSL for a password and for TLS, and a child would inherit them taken.
        with awaited():
            return dialect.connect(*arguments, **options)

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", connected)
    return engine


def shown_url(url: URL) -> str:
    """Return a URL without user, password and parameters, which may hold passwords too."""
    return URL.create(url.drivername, host=url.host, port=url.port, database=url.database).render_as_string()


def _checked_url(text: str | URL) -> URL:
    """Return the URL with its driver filled in. Raises SettingsError."""
    try:
        url = make_url(text)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise SettingsError(_MALFORMED) from None
    url = url.set(drivername=url.drivername.lower())
    url = url.set(drivername=DRIVERS.get(url.drivername, (url.drivername,))[0])
    # SQLAlchemy ends a password at the first @, and the host at a /, ? or # in it.
    is_cut = isinstance(text, str) and re.search(r"//[^@]*[/?#][^=]*@|[?&][^=&]*@", text)
    if is_cut or "@" in f"{url.host}{url.database}":
        raise SettingsError(_MALFORMED)
    check_backend(url.get_backend_name())
    return url


def check_backend(name: str) -> None:
    """Raise SettingsError for a database in which a ledger has no transactions of its own."""
    if name == "sqlite":
        raise SettingsError("A SQLLedger needs PostgreSQL, MySQL or MariaDB: for a SQLite file use SQLiteLedger.")
    if name not in DRIVERS:
        raise SettingsError(f"A ledger needs PostgreSQL, MySQL or MariaDB, not {name}.")


def _connect_arguments(url: URL, wait_timeout: float) -> dict[str, Any]:
    driver = url.get_driver_name()
    seconds = max(2, math.floor(wait_timeout))  # libpq takes no less
    arguments: dict[str, Any] = {}
    if driver in ("psycopg", "psycopg2"):
        arguments = {
            "connect_timeout": seconds,
            "keepalives_idle": _IDLE_SECONDS,
            "keepalives_interval": _INTERVAL_SECONDS,
            "keepalives_count": _PROBES,
            "tcp_user_timeout": seconds * 1000,
            "application_name": "oss_wsgi",
        }
        if driver == "psycopg":
            arguments["prepare_threshold"] = None  # until the session has proved not to be a pooler's
    elif driver == "pymysql":
        # A statement may take as long as it may wait for a lock; after that the server counts as gone.
        timeouts = dict.fromkeys(("read_timeout", "write_timeout"), math.ceil(wait_timeout) + 1)
        arguments = {"connect_timeout": seconds, **timeouts}
    return {name: value for name, value in arguments.items() if name not in url.query}


def _set_up_postgresql(connection: Any, info: dict[str, Any], wait_timeout: float) -> None:
    """Set up a new session: when the server gives up a lost client, and how long a statement waits for locks.

    Other clients use a pooler's session too, so it gets no limit that they would notice, and no prepared statements. A
    pooler is recognized by the session's number, which the pooler has made up.
    """
    settings = {"tcp_user_timeout": PEER_SECONDS * 1000, "tcp_keepalives_idle": _IDLE_SECONDS}
    settings |= {"tcp_keepalives_interval": _INTERVAL_SECONDS, "tcp_keepalives_count": _PROBES}
    is_psycopg = hasattr(connection, "prepare_threshold")
    number = connection.info.backend_pid
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        if cursor.fetchone()[0] == number:
            info[SESSION_WAIT] = wait_timeout
            settings["lock_timeout"] = max(1, math.ceil(wait_timeout * 1000))
            settings["standard_conforming_strings"] = 1
            settings["idle_in_transaction_session_timeout"] = 0  # a transaction is idle while a handler or sweep works
            if is_psycopg:
                connection.prepare_threshold = _PREPARE_AFTER
        for name, value in settings.items():
            cursor.execute(f"SET {name} = {value}")
    connection.commit()


def _set_up_mysql(connection: Any, info: dict[str, Any], wait_timeout: float) -> None:
    """Set up a new session: when the server gives up a lost client, and how long a statement waits for locks."""
    is_mariadb = "MariaDB" in connection.get_server_info()
    seconds = max(0 if is_mariadb else 1, math.floor(wait_timeout))
    info[SESSION_WAIT] = wait_timeout
    limits = {"innodb_lock_wait_timeout": seconds}
    kinds = ("", "readonly_", "write_")
    idle = [f"idle_{kind}transaction_timeout" for kind in kinds] if is_mariadb else ["wait_timeout"]
    limits |= dict.fromkeys(idle, PEER_SECONDS)
    with connection.cursor() as cursor:
        cursor.execute("SET " + ", ".join(f"SESSION {name} = {limit}" for name, limit in limits.items()))
