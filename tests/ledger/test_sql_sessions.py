"""Sessions of a SQLLedger: used again without the pool, asked after a pause, shared by more threads than there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from oss_wsgi.ledger.sql import SQLLedger
from oss_wsgi.testing.ledger_contract import SUCCESS, Call, Handler, LedgerClock, identity

from ..databases import Server
from .test_sql import emptied

pytestmark = pytest.mark.slow


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> str:
    server: Server = request.getfixturevalue(request.param)
    emptied(server.url)
    return server.url


@pytest.fixture
def clock() -> LedgerClock:
    return LedgerClock()


@pytest.fixture
def ledger(url: str, clock: LedgerClock) -> Iterator[SQLLedger]:
    with SQLLedger(url, clock=clock, threads=1, wait_timeout=10.0) as ledger:
        yield ledger


def counted(ledger: SQLLedger, name: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows by one with each call of a function of the dialect of the ledger's engine."""
    calls: list[Any] = []
    assert ledger._engine is not None
    dialect = ledger._engine.dialect
    function = getattr(dialect, name)

    def call(connection: Any) -> Any:
        calls.append(connection)
        return function(connection)

    monkeypatch.setattr(dialect, name, call)
    return calls


def test_a_session_is_asked_whether_it_lives_after_a_pause_only(
    ledger: SQLLedger, clock: LedgerClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings = counted(ledger, "do_ping", monkeypatch)
    for pause, asked in ((0, 0), (0.5, 0), (2, 1), (0.5, 1), (-5, 2)):
        clock.advance(pause)
        assert ledger.run_once(identity(f"t{clock()}"), Handler()) == SUCCESS
        assert len(pings) == asked


def test_more_threads_than_connections_take_turns(ledger: SQLLedger) -> None:
    for turn in range(5):
        calls = [Call(ledger, identity(f"t{turn}-{number}"), Handler()) for number in range(12)]
        assert [call.outcome() for call in calls] == [SUCCESS] * 12
    assert len(ledger) == 60


def test_close_gives_all_sessions_back(ledger: SQLLedger) -> None:
    assert ledger._engine is not None
    pool: Any = ledger._engine.pool
    ledger.run_once(identity(), Handler())
    assert pool.checkedout() == 1
    ledger.close()
    assert pool.checkedout() == 0
    assert ledger.run_once(identity(), Handler()) == SUCCESS


def test_a_session_serves_statement_after_statement_without_a_begin_of_its_own(ledger: SQLLedger) -> None:
    """On MariaDB a session is not in autocommit mode: what is not committed is not seen."""
    with suppress(KeyError), ledger._begin() as transaction:
        transaction.run("INSERT INTO oss_wsgi_schema (version) VALUES (7)" if is_postgresql(ledger) else _INSERT)
        raise KeyError
    with ledger._begin() as transaction:
        assert len(transaction.run("SELECT version FROM oss_wsgi_schema").rows) == 1


_INSERT = "INSERT INTO oss_wsgi_schema VALUES (2, 7)"


def is_postgresql(ledger: SQLLedger) -> bool:
    return ledger.dialect.name == "postgresql"
