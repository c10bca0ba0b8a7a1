"""Stores that refuse writes for a while or lose their connections, as faults of ``LedgerContract``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from oss_wsgi.ledger.sql_engine import engine_from

from ..support.redis_servers import Server

_READ_ONLY = "default_transaction_read_only"
_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
)
_REFUSE = "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no space left on device'"


@contextmanager
def files() -> Iterator[None]:
    """Prevent this process from writing to files, as a full disk does."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def database(url: str) -> Iterator[None]:
    """Let a database on a PostgreSQL or MariaDB server refuse writes."""
    engine = engine_from(url, threads=1, wait_timeout=60.0)
    try:
        with engine.connect() as connection:
            run = connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql
            if engine.dialect.name == "postgresql":
                # Sessions take it over when they begin; this one has begun, and can end it.
                begin = [f"ALTER DATABASE app SET {_READ_ONLY} = on", _END_OTHERS]
                end = [f"ALTER DATABASE app RESET {_READ_ONLY}", _END_OTHERS]
            else:
                tables = ("oss_wsgi_answers", "oss_wsgi_tickets")
                begin = [
                    f"CREATE TRIGGER {table}_full BEFORE INSERT ON {table} FOR EACH ROW {_REFUSE}" for table in tables
                ]
                end = [f"DROP TRIGGER {table}_full" for table in tables]
            for statement in begin:
                run(statement)
            try:
                yield
            finally:
                for statement in end:
                    run(statement)
    finally:
        engine.dispose()


@contextmanager
def cut(url: str) -> Iterator[None]:
    """Let a database's server end all connections of the tests."""
    engine = engine_from(url, threads=1, wait_timeout=60.0)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(_END_OTHERS)
        else:
            others = "FROM information_schema.processlist WHERE user = substring_index(current_user(), '@', 1)"
            numbers = connection.exec_driver_sql(f"SELECT id {others} AND id <> connection_id()").scalars().all()
            for number in numbers:
                connection.exec_driver_sql(f"KILL {number}")
    engine.dispose()
    yield


@contextmanager
def redis(servers: Sequence[Server]) -> Iterator[None]:
    """Let Redis servers refuse to store; locks can be deleted."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for server in servers]
        try:
            for client in clients:
                client.execute_command("ACL", "SETUSER", "default", "-set", "-hset")
            yield
        finally:
            for client in clients:
                with suppress(OSError):
                    client.execute_command("ACL", "SETUSER", "default", "+set", "+hset")
