"""What an application and its handlers may do with a shared transaction, on a SQLite file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import ANY, MagicMock

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

from oss_wsgi.exceptions import HandlerCommittedError, LedgerUnavailableError, SettingsError
from oss_wsgi.ledger import transactional
from oss_wsgi.ledger.base import StoredResponse
from oss_wsgi.ledger.sql import SQLLedger
from oss_wsgi.ledger.sql_tables import answers

from .contract import (
    FAILURE,
    NOW,
    SUCCESS,
    BlockingHandler,
    Call,
    Handler,
    LedgerClock,
    LedgerContract,
    handling,
    identity,
)


class Base(DeclarativeBase):
    pass


class Work(Base):
    __tablename__ = "works"
    name: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'database'}", pool_size=1, max_overflow=0, pool_timeout=1)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.mark.slow
class TestContract(LedgerContract):
    """The contract as far as a file keeps it, which has one writer and takes one upload at a time."""

    @pytest.fixture(autouse=True)
    def database(self, tmp_path: Path) -> Iterator[None]:
        self.engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'database'}", connect_args={"timeout": 60})
        with self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")  # what is stored can be read at any time
        yield
        self.engine.dispose()

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> SQLLedger:
        return SQLLedger.sharing(self.engine.begin, clock=clock, wait_timeout=wait_timeout)

    test_objects_of_one_ticket_do_not_wait_for_each_other = None  # type: ignore[assignment]
    test_each_object_of_a_ticket_may_have_a_waiting_call = None  # type: ignore[assignment]
    test_another_ticket_does_not_wait = None  # type: ignore[assignment]
    test_known_returns_the_pairs_that_were_handled = None  # type: ignore[assignment]
    test_a_response_is_forgotten_some_time_after_its_ticket = None  # type: ignore[assignment]


def begin_of(engine: Engine, kind: str) -> Callable[[], Any]:
    return engine.begin if kind == "connection" else sessionmaker(engine).begin


def count(engine: Engine, table: str) -> int:
    with engine.begin() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def works(engine: Engine) -> int:
    return count(engine, "works")


def insert(transaction: Connection | Session) -> None:
    transaction.execute(sqlalchemy.text("INSERT INTO works VALUES ('one')"))


@pytest.mark.parametrize("kind", ["connection", "session"])
@pytest.mark.parametrize("end", ["rollback", "close"])
def test_a_handler_that_rolls_back_or_closes_is_refused(engine: Engine, kind: str, end: str) -> None:
    ledger = SQLLedger.sharing(begin_of(engine, kind), clock=LedgerClock())

    def handle(transaction: Any) -> StoredResponse:
        insert(transaction)
        getattr(transaction, end)()
        return SUCCESS

    with pytest.raises(HandlerCommittedError, match="leave out the commit"):
        ledger.run_once(identity(), handle)
    assert (works(engine), len(ledger)) == (0, 0)


@pytest.mark.parametrize("kind", ["connection", "session"])
def test_a_handler_that_swallows_the_refusal_of_its_commit_is_refused(engine: Engine, kind: str) -> None:
    ledger = SQLLedger.sharing(begin_of(engine, kind), clock=LedgerClock())

    def handle(transaction: Any) -> StoredResponse:
        insert(transaction)
        with suppress(Exception):
            transaction.commit()
        return SUCCESS

    with pytest.raises(HandlerCommittedError, match="leave out the commit"):
        ledger.run_once(identity(), handle)
    assert (works(engine), len(ledger)) == (0, 0)
    assert ledger.run_once(identity(), Handler()) == SUCCESS


def test_a_handler_that_rolls_back_and_fails_is_answered(engine: Engine) -> None:
    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())

    def handle(connection: Connection) -> StoredResponse:
        connection.rollback()
        return FAILURE

    assert ledger.run_once(identity(), handle) == FAILURE


@pytest.mark.parametrize("kind", ["connect", "sessionmaker"])
def test_a_begin_that_does_not_commit_is_refused(engine: Engine, kind: str) -> None:
    ledger = SQLLedger.sharing(engine.connect if kind == "connect" else sessionmaker(engine), clock=LedgerClock())
    with pytest.raises(SettingsError, match="did not commit"):
        ledger.run_once(identity(), Handler())


def test_a_begin_that_yields_no_session_is_refused_and_ended(engine: Engine) -> None:
    begin = scoped_session(sessionmaker(engine)).begin
    with pytest.raises(TypeError, match="must yield SQLAlchemy's Connection or Session, not SessionTransaction"):
        SQLLedger.sharing(begin, clock=LedgerClock()).run_once(identity(), Handler())
    begun = MagicMock()
    with pytest.raises(TypeError, match="not MagicMock") as raised:
        SQLLedger.sharing(lambda: begun, clock=LedgerClock()).run_once(identity(), Handler())
    begun.__exit__.assert_called_once_with(TypeError, raised.value, ANY)


def test_it_does_not_know_whose_transactions_it_shares(engine: Engine) -> None:
    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())
    assert (repr(ledger), ledger.place) == ("<SQLLedger.sharing>", None)


def test_a_connection_that_commits_each_statement_is_refused_before_the_handler(engine: Engine) -> None:
    """Nothing would keep another process from handling the upload too."""
    begin = engine.execution_options(isolation_level="AUTOCOMMIT").begin
    with pytest.raises(SettingsError, match="AUTOCOMMIT"):
        SQLLedger.sharing(begin, clock=LedgerClock()).run_once(identity(), Handler(AssertionError()))


def test_a_transaction_within_another_one_is_not_ended(engine: Engine) -> None:
    """As tests have it that roll everything back."""
    with engine.connect() as connection, connection.begin() as outer:
        sessions = sessionmaker(connection, join_transaction_mode="create_savepoint")
        ledger = SQLLedger.sharing(sessions.begin, clock=LedgerClock())
        assert ledger.run_once(identity(), Handler()) == SUCCESS
        assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS
        outer.rollback()


def test_a_connection_that_another_call_has_taken_from_the_pool_is_left_to_it(engine: Engine) -> None:
    """It may take the connection before the call that has given it back is over."""
    others: list[Call] = []
    with ExitStack() as stack:

        @contextmanager
        def begin() -> Iterator[Connection]:
            with engine.begin() as connection:
                yield connection
            if is_ready and not others:
                others.append(stack.enter_context(handling(ledger, identity("t2"), BlockingHandler())))

        is_ready = False
        ledger = SQLLedger.sharing(begin, clock=LedgerClock())
        ledger.check()
        is_ready = True
        assert ledger.run_once(identity("t1"), Handler()) == SUCCESS
    assert [call.outcome() for call in others] == [SUCCESS]
    assert len(ledger) == 2


@pytest.mark.parametrize("begin", [None, "postgresql://app:secret@db/app", "engine"])
def test_what_cannot_begin_is_refused_at_once(engine: Engine, begin: Any) -> None:
    with pytest.raises(SettingsError, match="needs a callable that begins a transaction") as raised:
        SQLLedger.sharing(engine if begin == "engine" else begin, clock=LedgerClock())
    assert "secret" not in str(raised.value)


def test_what_a_session_keeps_back_fails_as_the_handlers_own_where_it_is_to_be_stored(engine: Engine) -> None:
    ledger = SQLLedger.sharing(sessionmaker(engine).begin, clock=LedgerClock())
    calls, responses = [], (FAILURE, SUCCESS)

    def handle(session: Session) -> StoredResponse:
        calls.append(1)
        insert(session)
        session.add(Work(name="one"))
        return responses[len(calls) - 1]

    assert ledger.run_once(identity(), handle) == FAILURE
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        ledger.run_once(identity(), handle)
    assert (len(calls), works(engine), len(ledger)) == (2, 0, 0)


def test_what_only_tries_to_store_leaves_no_row(engine: Engine) -> None:
    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())
    ledger.check()
    assert ledger.known([("a", "b")]) == set()
    assert (count(engine, "oss_wsgi_tickets"), len(ledger)) == (0, 0)


@pytest.mark.parametrize("can_delete", [True, False])
def test_calls_that_store_delete_what_has_expired(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, can_delete: bool
) -> None:
    monkeypatch.setattr(transactional, "DELETE_EVERY", 1)
    clock = LedgerClock()
    ledger = SQLLedger.sharing(engine.begin, clock=clock)
    ledger.run_once(identity("old"), Handler())
    with engine.begin() as connection:
        connection.execute(answers.update().values(forget_after=0))
        if not can_delete:
            connection.exec_driver_sql("DROP TABLE oss_wsgi_notes")
    clock.advance(301)
    assert ledger.run_once(identity("new", expires=NOW + 600), Handler()) == SUCCESS
    left = 1 if can_delete else 2
    assert (len(ledger), count(engine, "oss_wsgi_tickets")) == (left, left)
    assert [record.levelname for record in caplog.records] == ([] if can_delete else ["WARNING"])


def test_tables_that_are_there_are_not_made_again(engine: Engine) -> None:
    """The ledger's user may have no right to make tables."""
    SQLLedger.sharing(engine.begin, clock=LedgerClock()).check()
    statements: list[str] = []
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    SQLLedger.sharing(engine.begin, clock=LedgerClock()).check()
    assert "oss_wsgi_schema" in "".join(statements)
    assert "CREATE" not in "".join(statements)


def test_tables_that_were_dropped_are_made_again(engine: Engine) -> None:
    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())
    assert ledger.run_once(identity(), Handler()) == SUCCESS
    answers.metadata.drop_all(engine)
    with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
        ledger.run_once(identity(), Handler(AssertionError()))
    assert ledger.run_once(identity(), Handler()) == SUCCESS


@pytest.mark.parametrize(
    ("error", "seconds", "tries"),
    [
        (psycopg.errors.DeadlockDetected(), 0.0, range(3, 99)),
        (psycopg.errors.DeadlockDetected(), 11.0, range(1, 2)),
        (psycopg.OperationalError("server closed the connection"), 0.0, range(2, 3)),
    ],
    ids=["others win", "others win for too long", "closed connections"],
)
def test_what_has_not_begun_is_tried_again_for_a_limited_time(error: Exception, seconds: float, tries: range) -> None:
    clock, begin = LedgerClock(), Handler(error)
    ledger = SQLLedger.sharing(lambda: clock.advance(seconds) or begin(), clock=clock, wait_timeout=10.0)
    with pytest.raises(LedgerUnavailableError):
        ledger.run_once(identity(), Handler(AssertionError()))
    assert begin.calls in tries
