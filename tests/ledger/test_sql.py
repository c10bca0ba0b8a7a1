"""SQLLedger on PostgreSQL and MariaDB: the contract, with transactions of its own and of the application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import ClassVar

import pytest
import sqlalchemy
from sqlalchemy.engine import Engine
from sqlalchemy.orm import sessionmaker

from oss_wsgi.ledger import sql_tables
from oss_wsgi.ledger.base import Ledger, StoredResponse, UploadIdentity
from oss_wsgi.ledger.place import place_of_server
from oss_wsgi.ledger.sql import SQLLedger
from oss_wsgi.ledger.sql_engine import engine_from

from ..support.databases import Server
from . import unwritable
from .contract import LedgerClock, LedgerContract

pytestmark = pytest.mark.slow

TABLES = (*(table.name for table in sql_tables.TABLES), "works")


def emptied(url: str) -> None:
    """Remove the tables of an earlier test."""
    engine = engine_from(url, threads=1, wait_timeout=60.0)
    with engine.begin() as connection:
        for table in TABLES:
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
    engine.dispose()


def cleared(url: str) -> None:
    """Delete the rows of an earlier test; the tables stay, which takes half of the time of making them anew."""
    engine = engine_from(url, threads=1, wait_timeout=60.0)
    with engine.begin() as connection:
        for table in sqlalchemy.inspect(connection).get_table_names():
            if table in TABLES:
                connection.exec_driver_sql(f"DELETE FROM {table}")
    engine.dispose()


@pytest.fixture(scope="class")
def emptied_server(request: pytest.FixtureRequest) -> Server:
    """Return the server of a class of tests, without tables."""
    server: Server = request.getfixturevalue(request.cls.server_name)
    emptied(server.url)
    return server


class Contract(LedgerContract):
    """The contract on a real server; the first test of a class makes the tables."""

    server_name: ClassVar[str]
    url: str
    #: Of the database itself, where ``url`` is that of a pooler.
    direct_url: str | None = None

    @pytest.fixture(autouse=True)
    def database(self, emptied_server: Server) -> None:
        self.url = emptied_server.url
        cleared(self.url)

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> Ledger:
        return SQLLedger(self.url, clock=clock, wait_timeout=wait_timeout, threads=16)

    def unwritable(self, ledger: Ledger) -> AbstractContextManager[None]:
        return unwritable.database(self.direct_url or self.url)

    def failing(self, ledger: Ledger) -> AbstractContextManager[None]:
        return unwritable.cut(self.direct_url or self.url)

    def elsewhere(self) -> str:
        return f"""
from oss_wsgi.ledger.sql import SQLLedger
ledger = SQLLedger({self.url!r}, clock=lambda: 1733227932.0, wait_timeout=60.0)
"""

    # The database has a clock of its own: see test_a_response_is_deleted_when_both_clocks_have_passed.
    test_a_response_is_forgotten_some_time_after_its_ticket = None  # type: ignore[assignment]

    def test_ledgers_of_one_database_share_their_place(self, clock: LedgerClock) -> None:
        engine = engine_from(self.url, threads=1, wait_timeout=60.0)
        with SQLLedger(self.url, clock=clock) as one, SQLLedger(engine, clock=clock) as same:
            url = sqlalchemy.make_url(self.url)
            assert one.place == same.place == place_of_server(url.drivername, url.host, url.port, url.database)
            assert url.password is not None
            assert url.password not in f"{one.place} {one!r}"
        engine.dispose()

    def test_texts_that_sql_or_python_would_read_and_a_time_with_a_fraction_are_stored(self, ledger: Ledger) -> None:
        response = StoredResponse("200 OK", "text/plain", b"{0} %s %d \\ ' \0 \xff")
        upload = UploadIdentity("a ticket", "{0}%s'\\\n\ud800.png", "E", 1_900_000_000.5)  # type: ignore[arg-type]
        assert ledger.run_once(upload, lambda _: response) == response
        assert ledger.run_once(upload, lambda _: pytest.fail("it is handled")) == response
        ledger.note([(upload.object, "{0}%s'\ud800")], upload.expires)


Contract.__test__ = False


class SharingContract(Contract):
    """The contract in the application's transactions."""

    engine: Engine

    @pytest.fixture(autouse=True)
    def application(self, database: None) -> Iterator[None]:
        drivers = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
        url = sqlalchemy.make_url(self.url)
        self.engine = sqlalchemy.create_engine(url.set(drivername=drivers[url.drivername]), pool_size=20)
        yield
        self.engine.dispose()

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> Ledger:
        return SQLLedger.sharing(self.begin(), clock=clock, wait_timeout=wait_timeout)

    def begin(self) -> Callable[..., object]:
        return self.engine.begin


SharingContract.__test__ = False


class TestContractOnPostgreSQL(Contract):
    server_name = "postgresql"


class TestContractOnMariaDB(Contract):
    server_name = "mariadb"


class TestContractBehindPgBouncer(Contract):
    server_name = "pgbouncer"

    @pytest.fixture(autouse=True)
    def behind(self, request: pytest.FixtureRequest, database: None) -> None:
        self.direct_url = request.getfixturevalue("postgresql").url


class TestContractSharingPostgreSQL(SharingContract):
    server_name = "postgresql"


class TestContractSharingMariaDB(SharingContract):
    server_name = "mariadb"


class TestContractSharingSessions(SharingContract):
    server_name = "postgresql"

    def begin(self) -> Callable[..., object]:
        return sessionmaker(self.engine).begin


class TestContractSharingSerializable(SharingContract):
    server_name = "postgresql"

    def begin(self) -> Callable[..., object]:
        return self.engine.execution_options(isolation_level="SERIALIZABLE").begin

    # Handlers are rolled back and called again: see test_racing_objects_have_as_many_effects_as_answers.
    test_racing_objects_use_the_ticket_up = None  # type: ignore[assignment]


class TestContractSharingRepeatableRead(SharingContract):
    server_name = "mariadb"

    def begin(self) -> Callable[..., object]:
        return self.engine.execution_options(isolation_level="REPEATABLE READ").begin
