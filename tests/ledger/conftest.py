"""Databases for the ledgers that have a server: started once for all tests that ask for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..support.databases import Server, running


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    with running("postgresql", "-cfsync=off", "-cautovacuum=off") as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Server]:
    unsynced = ("--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--debug-no-sync")
    with running("mariadb", *unsynced) as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer(postgresql: Server) -> Iterator[Server]:
    with running("pgbouncer", str(postgresql.port)) as server:
        yield server
