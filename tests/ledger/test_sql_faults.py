"""SQLLedger when something breaks: connections, COMMIT, processes, servers, clocks; and shared transactions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, sessionmaker

from oss_wsgi.exceptions import (
    HandlerCommittedError,
    LedgerUnavailableError,
    SettingsError,
    TicketUsedError,
)
from oss_wsgi.ledger import transactional
from oss_wsgi.ledger.base import StoredResponse
from oss_wsgi.ledger.sql import SQLLedger
from oss_wsgi.ledger.sql_engine import engine_from
from oss_wsgi.ledger.sql_session import own_transaction
from oss_wsgi.ledger.sql_tables import EXPIRING, TABLES, Statements, answers
from oss_wsgi.ledger.steady_time import MARGIN
from oss_wsgi.ledger.transactional import SharedTransaction

from ..support.databases import Server, running
from ..support.proxy import CuttingProxy
from ..support.waiting import wait_until
from .contract import (
    FAILURE,
    NOW,
    SUCCESS,
    BlockingHandler,
    Call,
    Handler,
    LedgerClock,
    handling,
    identity,
)
from .test_sql import emptied

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DRIVERS = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
BOTH = pytest.mark.parametrize("server", ["postgresql", "mariadb"], indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Server:
    """Return one of the servers, with a table of the application and none of the ledger."""
    server: Server = request.getfixturevalue(getattr(request, "param", "postgresql"))
    emptied(server.url)
    with closing_engine(server) as engine, engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE works (name VARCHAR(40))")
    return server


class closing_engine:  # noqa: N801
    """An engine of the application's, disposed at the end of the with block."""

    def __init__(self, server: Server, **options: Any) -> None:
        url = sqlalchemy.make_url(server.url)
        options = {"pool_size": 20, **options}
        self.engine = sqlalchemy.create_engine(url.set(drivername=DRIVERS[url.drivername]), **options)

    def __enter__(self) -> Engine:
        return self.engine

    def __exit__(self, *error: object) -> None:
        self.engine.dispose()


@pytest.fixture
def engine(server: Server) -> Iterator[Engine]:
    with closing_engine(server) as engine:
        yield engine


@pytest.fixture
def ledger(server: Server) -> Iterator[SQLLedger]:
    with SQLLedger(server.url, clock=LedgerClock(), wait_timeout=10.0) as ledger:
        yield ledger


def works(engine: Engine) -> int:
    with engine.begin() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM works").scalar_one())


def insert(connection: Connection) -> StoredResponse:
    connection.exec_driver_sql("INSERT INTO works VALUES ('one')")
    return SUCCESS


# The application's own transaction.


@BOTH
def test_effect_and_answer_are_committed_together(engine: Engine) -> None:
    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())
    for _ in range(2):
        assert ledger.run_once(identity(), insert) == SUCCESS
    assert (works(engine), len(ledger)) == (1, 1)


@BOTH
@pytest.mark.parametrize("result", [FAILURE, KeyError("its own")], ids=["failure", "exception"])
def test_a_failed_handlers_effect_is_rolled_back(engine: Engine, result: StoredResponse | Exception) -> None:
    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())

    def handle(connection: Connection) -> StoredResponse:
        insert(connection)
        return Handler(result)()

    if isinstance(result, Exception):
        with pytest.raises(KeyError):
            ledger.run_once(identity(), handle)
    else:
        assert ledger.run_once(identity(), handle) == FAILURE
    assert (works(engine), len(ledger)) == (0, 0)


@BOTH
def test_a_connection_that_commits_each_statement_is_refused_before_the_handler(engine: Engine) -> None:
    begin = engine.execution_options(isolation_level="AUTOCOMMIT").begin
    with pytest.raises(SettingsError, match="AUTOCOMMIT"):
        SQLLedger.sharing(begin, clock=LedgerClock()).run_once(identity(), Handler(AssertionError()))


def test_a_session_is_handed_on(engine: Engine) -> None:
    ledger = SQLLedger.sharing(sessionmaker(engine).begin, clock=LedgerClock())

    def handle(session: Session) -> StoredResponse:
        with session.begin_nested():
            session.execute(sqlalchemy.text("INSERT INTO works VALUES ('one')"))
        return SUCCESS

    assert ledger.run_once(identity(), handle) == SUCCESS
    assert works(engine) == 1


@BOTH
@pytest.mark.parametrize("kind", ["connection", "session"])
def test_a_handler_that_commits_is_refused_and_nothing_is_stored(engine: Engine, kind: str) -> None:
    begin: Any = engine.begin if kind == "connection" else sessionmaker(engine).begin
    ledger = SQLLedger.sharing(begin, clock=LedgerClock())

    def handle(transaction: Any) -> StoredResponse:
        transaction.execute(sqlalchemy.text("INSERT INTO works VALUES ('one')"))
        transaction.commit()
        return SUCCESS

    with pytest.raises(HandlerCommittedError, match="handler_committed: a handler must not commit"):
        ledger.run_once(identity(), handle)
    assert (works(engine), len(ledger)) == (0, 0)


@BOTH
@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
def test_a_handler_that_ends_the_transaction_by_a_statement_is_refused(engine: Engine, statement: str) -> None:
    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())

    def handle(connection: Connection) -> StoredResponse:
        connection.exec_driver_sql(statement)
        return SUCCESS

    with pytest.raises(HandlerCommittedError, match="leave out the commit"):
        ledger.run_once(identity(), handle)
    assert (len(ledger), ledger.known([identity()[1:3]])) == (0, set())
    other = identity(object="another", etag="1")
    assert ledger.run_once(other, Handler()) == SUCCESS
    assert ledger.run_once(other, Handler(FAILURE)) == SUCCESS
    assert ledger.known([identity()[1:3], other[1:3]]) == {other[1:3]}


def test_an_error_that_the_handler_swallows_is_refused(engine: Engine) -> None:
    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())

    def handle(connection: Connection) -> StoredResponse:
        with pytest.raises(sqlalchemy.exc.SQLAlchemyError):
            connection.exec_driver_sql("SELECT 1 / 0")
        return SUCCESS

    with pytest.raises(HandlerCommittedError, match="savepoint"):
        ledger.run_once(identity(), handle)


@BOTH
def test_the_applications_lock_timeout_is_as_before(engine: Engine) -> None:
    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock(), wait_timeout=1.0)
    setting = "lock_timeout" if engine.dialect.name == "postgresql" else "@@SESSION.innodb_lock_wait_timeout"
    statement = f"SHOW {setting}" if engine.dialect.name == "postgresql" else f"SELECT {setting}"
    seen = []

    def handle(connection: Connection) -> StoredResponse:
        seen.append(connection.exec_driver_sql(statement).scalar_one())
        return SUCCESS

    with engine.begin() as connection:
        before = connection.exec_driver_sql(statement).scalar_one()
    ledger.run_once(identity(), handle)
    with engine.begin() as connection:
        after = connection.exec_driver_sql(statement).scalar_one()
    assert (seen, after) == ([before], before)


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@BOTH
def test_racing_objects_have_as_many_effects_as_answers(server: Server, level: str) -> None:
    with closing_engine(server, isolation_level=level) as engine:
        ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock(), wait_timeout=60.0)
        calls = [Call(ledger, identity(object=f"o{number}", max_objects=3), insert) for number in range(9)]
        outcomes = [call.outcome() for call in calls]
        assert works(engine) == outcomes.count(SUCCESS) == len(ledger) >= 3
        with pytest.raises(TicketUsedError):
            ledger.run_once(identity(object="one more", max_objects=3), insert)


@BOTH
@pytest.mark.parametrize("raises", [False, True], ids=["answers 500", "raises"])
def test_a_handler_that_loses_a_conflict_is_called_again(server: Server, raises: bool) -> None:
    """It answers 500 as an endpoint does for an exception: the ledger knows of the conflict all the same."""
    with closing_engine(server, isolation_level="SERIALIZABLE") as engine:
        ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock(), wait_timeout=60.0)
        barrier = threading.Barrier(2)
        calls = []

        def handle(connection: Connection) -> StoredResponse:
            calls.append(connection)
            try:
                connection.exec_driver_sql("SELECT count(*) FROM works").scalar_one()
                if len(calls) <= 2:
                    barrier.wait(60)
                return insert(connection)
            except sqlalchemy.exc.SQLAlchemyError:
                if raises:
                    raise
                return FAILURE

        running_calls = [Call(ledger, identity(f"t{number}"), handle) for number in range(2)]
        assert [call.outcome() for call in running_calls] == [SUCCESS] * 2
        assert len(calls) > 2
        assert (works(engine), len(ledger)) == (2, 2)


# Connections, and COMMIT.


@BOTH
def test_a_connection_that_the_server_cuts_in_the_handler_lets_the_next_call_handle(
    server: Server, engine: Engine, ledger: SQLLedger
) -> None:
    sharing = SQLLedger.sharing(engine.begin, clock=LedgerClock())

    def handle(connection: Connection) -> StoredResponse:
        insert(connection)
        if connection.dialect.name == "postgresql":
            number, end = (
                connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one(),
                "SELECT pg_terminate_backend",
            )
        else:
            number, end = connection.exec_driver_sql("SELECT connection_id()").scalar_one(), "KILL "
        with closing_engine(server) as other, other.connect() as another:
            another.exec_driver_sql(f"{end}({number})" if end.startswith("SELECT") else f"{end}{number}")
        return SUCCESS

    with pytest.raises(LedgerUnavailableError, match="ledger_unavailable"):
        sharing.run_once(identity(), handle)
    assert works(engine) == 0
    assert sharing.run_once(identity(), insert) == SUCCESS
    assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS
    assert works(engine) == 1


@BOTH
@pytest.mark.parametrize("kind", ["own", "sharing"])
def test_a_commit_whose_end_is_unknown_is_unavailable_and_the_next_call_finds_the_truth(
    server: Server, engine: Engine, kind: str
) -> None:
    with closing(CuttingProxy(server.port)) as proxy:
        url = server.url.replace(f":{server.port}/", f":{proxy.port}/")
        if url.startswith("mysql"):
            url += "?ssl_disabled=true"  # the proxy reads along
        parsed = sqlalchemy.make_url(url)
        behind = sqlalchemy.create_engine(parsed.set(drivername=DRIVERS[parsed.drivername]))
        ledger = (
            SQLLedger(url, clock=LedgerClock(), wait_timeout=60.0)
            if kind == "own"
            else SQLLedger.sharing(behind.begin, clock=LedgerClock(), wait_timeout=60.0)
        )
        assert len(ledger) == 0

        def handle(connection: Connection | None) -> StoredResponse:
            if connection is not None:
                insert(connection)
            proxy.cut_after = b"COMMIT"
            return SUCCESS

        with pytest.raises(LedgerUnavailableError, match="did not say whether it has stored the response"):
            ledger.run_once(identity(), handle)
        again = Handler()
        assert ledger.run_once(identity(), again if kind == "own" else insert) == SUCCESS
        assert works(engine) == (1 if kind == "sharing" else 0)
        assert len(ledger) == 1
        behind.dispose()
        ledger.close()


@BOTH
def test_a_handler_that_reaches_no_server_of_its_own_costs_the_ledger_no_connection(ledger: SQLLedger) -> None:
    connected: list[object] = []

    def note(*connection: object) -> None:
        connected.append(connection)

    ledger.run_once(identity("t1"), Handler())
    sqlalchemy.event.listen(sqlalchemy.Pool, "connect", note)
    try:
        with pytest.raises(ConnectionRefusedError):
            ledger.run_once(identity("t2"), Handler(ConnectionRefusedError()))
        assert ledger.run_once(identity("t2"), Handler()) == SUCCESS
    finally:
        sqlalchemy.event.remove(sqlalchemy.Pool, "connect", note)
    assert not connected


@pytest.mark.parametrize(
    ("server", "used"), [("postgresql", True), ("postgresql", False), ("mariadb", True)], indirect=["server"]
)
def test_a_server_that_falls_silent_holds_a_call_for_a_limited_time(server: Server, used: bool) -> None:
    """As one does that is stopped, while its kernel still answers."""
    with closing(CuttingProxy(server.port)) as proxy:
        url = server.url.replace(f":{server.port}/", f":{proxy.port}/")
        with SQLLedger(url, clock=LedgerClock(), wait_timeout=1.0) as ledger:
            if used:
                assert ledger.run_once(identity("t1"), Handler()) == SUCCESS
            proxy.is_silent = True
            handler = Handler()
            error = Call(ledger, identity("t2"), handler).outcome()
            assert isinstance(error, LedgerUnavailableError)
            assert (error.reason, handler.calls) == ("ledger_unavailable", 0)
            proxy.is_silent = False
            assert ledger.run_once(identity("t2"), handler) == SUCCESS


def test_a_statement_that_a_lock_kept_from_being_prepared_is_prepared_later(server: Server, engine: Engine) -> None:
    with SQLLedger(server.url, clock=LedgerClock(), wait_timeout=1.0) as ledger, engine.connect() as other:

        def handle(_: object) -> StoredResponse:
            other.exec_driver_sql("LOCK TABLE oss_wsgi_answers IN EXCLUSIVE MODE")
            return SUCCESS

        with pytest.raises(LedgerUnavailableError, match=r"did not store the response: .* lock timeout"):
            ledger.run_once(identity(), handle)
        handler = Handler()
        with pytest.raises(LedgerUnavailableError, match=r"cannot be used: .* due to lock timeout"):
            ledger.run_once(identity(), handler)
        assert handler.calls == 0, "after a failure a probe comes first"
        other.rollback()
        assert ledger.run_once(identity(), Handler()) == SUCCESS


@BOTH
def test_a_server_that_restarts_is_used_again(server: Server) -> None:
    with running(server.kind) as own, SQLLedger(own.url, clock=LedgerClock(), wait_timeout=60.0) as ledger:
        with handling(ledger, identity("t1"), BlockingHandler()):  # so that there are two connections
            ledger.check()
        own.restart()
        assert ledger.run_once(identity("t1"), Handler(FAILURE)) == SUCCESS
        assert ledger.run_once(identity("t2"), Handler()) == SUCCESS


# A database that cannot store.

REFUSALS = {
    "postgresql": (
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = 'disk_full'; END$$",
        "CREATE TRIGGER refuse BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ),
    "mysql": (
        "CREATE TRIGGER refuse BEFORE INSERT ON {} FOR EACH ROW "
        "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'No space left on device'",
    ),
}


def fill_disk(engine: Engine, table: str) -> None:
    """Let the server refuse new rows of a table, as it does where its disk has no room for more of them."""
    with engine.begin() as connection:
        for statement in REFUSALS[engine.dialect.name]:
            connection.exec_driver_sql(statement.format(table))


def assert_cannot_store(ledger: SQLLedger, reason: str) -> None:
    handler = Handler()
    for act in (lambda: ledger.run_once(identity("new"), handler), ledger.check, lambda: ledger.known([("a", "b")])):
        with pytest.raises(LedgerUnavailableError, match=reason):
            act()
    assert handler.calls == 0


@BOTH
@pytest.mark.parametrize("table", ["oss_wsgi_tickets", "oss_wsgi_answers"])
@pytest.mark.parametrize("kind", ["own", "sharing"])
def test_a_full_disk_refuses_before_the_handler(engine: Engine, ledger: SQLLedger, kind: str, table: str) -> None:
    """It may have room for locks, which are smaller than responses."""
    fill_disk(engine, table)
    ledger = ledger if kind == "own" else SQLLedger.sharing(engine.begin, clock=LedgerClock())
    assert_cannot_store(ledger, "No space left on device")


@BOTH
@pytest.mark.parametrize("kind", ["own", "sharing"])
def test_a_disk_that_becomes_full_costs_one_handler(engine: Engine, ledger: SQLLedger, kind: str) -> None:
    ledger = ledger if kind == "own" else SQLLedger.sharing(engine.begin, clock=LedgerClock())
    ledger.run_once(identity(), Handler())
    fill_disk(engine, "oss_wsgi_answers")
    handler = Handler()
    for _ in range(2):
        with pytest.raises(LedgerUnavailableError, match="No space left on device"):
            ledger.run_once(identity("new"), handler)
    assert handler.calls == 1
    assert_cannot_store(ledger, "No space left on device")
    with engine.begin() as connection:
        on_table = " ON oss_wsgi_answers" if engine.dialect.name == "postgresql" else ""
        connection.exec_driver_sql(f"DROP TRIGGER refuse{on_table}")
    assert ledger.run_once(identity("new"), handler) == SUCCESS
    assert (handler.calls, len(ledger)) == (2, 2)


@pytest.mark.parametrize("kind", ["own", "sharing"])
def test_a_probe_waits_no_longer_than_its_call(engine: Engine, ledger: SQLLedger, kind: str) -> None:
    ledger = ledger if kind == "own" else SQLLedger.sharing(engine.begin, clock=LedgerClock())
    ledger.load("")  # makes the tables
    with engine.connect() as other:
        # A probe without a limit would succeed after this.
        other.exec_driver_sql("SET idle_in_transaction_session_timeout = '30s'")
        other.exec_driver_sql("LOCK TABLE oss_wsgi_tickets IN EXCLUSIVE MODE")
        with pytest.raises(LedgerUnavailableError, match="due to lock timeout"):
            ledger.run_once(identity(may_wait=False), Handler(FAILURE))


def test_a_commit_that_waits_for_a_standby_leaves_no_session_and_the_next_handler_is_refused() -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    options = "-csynchronous_standby_names=away", "-csynchronous_commit=local"
    with running("postgresql", *options) as own, closing_engine(own, isolation_level="AUTOCOMMIT") as engine:
        with SQLLedger(own.url, clock=LedgerClock(), wait_timeout=1.0) as ledger, engine.connect() as other:
            handler = Handler()
            ledger.check()
            other.exec_driver_sql("ALTER DATABASE app SET synchronous_commit = on")
            ledger.close()  # new sessions take it over
            for doing in ("did not say whether it has stored", "cannot be used"):
                with pytest.raises(LedgerUnavailableError, match=doing):
                    ledger.run_once(identity(), handler)
            assert handler.calls == 1
            wait_until(lambda: other.exec_driver_sql(waiting).scalar_one() == 1)
            other.exec_driver_sql("ALTER DATABASE app RESET synchronous_commit")
            ledger.close()
            assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS, "it was stored"
            wait_until(lambda: other.exec_driver_sql(waiting).scalar_one() == 0)


@BOTH
def test_a_probe_that_is_being_committed_holds_up_no_call(server: Server, engine: Engine, ledger: SQLLedger) -> None:
    ledger.load("")  # makes the tables
    is_stored, may_commit = threading.Event(), threading.Event()

    @contextmanager
    def begin() -> Iterator[Connection]:
        with engine.begin() as connection:
            yield connection
            is_stored.set()
            may_commit.wait(60)

    checking = threading.Thread(target=SQLLedger.sharing(begin, clock=LedgerClock()).check)
    checking.start()
    assert is_stored.wait(60)
    with SQLLedger(server.url, clock=LedgerClock()) as fresh:
        assert fresh.run_once(identity(may_wait=False), Handler()) == SUCCESS
    may_commit.set()
    checking.join()


@BOTH
def test_tables_that_were_dropped_are_made_anew_with_a_warning(
    engine: Engine, ledger: SQLLedger, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.run_once(identity(), Handler())
    assert caplog.records == []
    with engine.begin() as connection:
        for table in TABLES:
            table.drop(connection)
    with pytest.raises(LedgerUnavailableError):
        ledger.run_once(identity(), Handler())
    assert ledger.run_once(identity(), Handler()) == SUCCESS
    assert [record.getMessage() for record in caplog.records if "made anew" in record.getMessage()]


def test_several_hosts_are_one_place_in_any_order(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oss_wsgi.ledger.sql.place_of_server", lambda *parts: parts)
    url = sqlalchemy.make_url(server.url)
    places = []
    for ports in (url.port, 1), (1, url.port):
        hosts = [f"127.0.0.1:{port}" for port in ports]
        several = url._replace(host=None, port=None).update_query_dict({"host": hosts})
        with SQLLedger(several, clock=LedgerClock()) as ledger:
            places.append(ledger.place)
    assert places[0] == places[1]


# Locks of sweeps.


@BOTH
def test_locks_leave_connections_for_uploads_and_keep_their_own_busy(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactional, "PING_SECONDS", 0.01)
    pings = []
    with SQLLedger(server.url, clock=LedgerClock(), threads=1, wait_timeout=10.0) as ledger:
        kind = own_transaction("psycopg" if "postgresql" in server.url else "pymysql")
        run = kind.run

        def counted(self: Any, statement: Any, parameters: Any) -> Any:
            if statement is self.statements.ping:
                pings.append(1)
            return run(self, statement, parameters)

        monkeypatch.setattr(kind, "run", counted)
        with ledger.hold("a"), ledger.hold("b"):
            assert ledger.run_once(identity(), Handler()) == SUCCESS
            ledger.save("a", "text")
            wait_until(lambda: len(pings) >= 4)


@BOTH
def test_more_threads_than_connections_take_turns(server: Server) -> None:
    with SQLLedger(server.url, clock=LedgerClock(), threads=1, wait_timeout=30.0) as ledger:
        connections = threading.Barrier(4, timeout=30.0)

        def handle(transaction: object) -> StoredResponse:
            connections.wait()
            return SUCCESS

        with ThreadPoolExecutor(12) as threads:
            calls = [threads.submit(ledger.run_once, identity(f"t{number}"), handle) for number in range(12)]
            assert [call.result() for call in calls] == [SUCCESS] * 12


@BOTH
def test_each_thread_has_a_connection(server: Server) -> None:
    handlers = [BlockingHandler() for _ in range(24)]
    with SQLLedger(server.url, clock=LedgerClock(), threads=24, wait_timeout=60.0) as ledger:
        calls = [Call(ledger, identity(f"t{number}"), handler) for number, handler in enumerate(handlers)]
        assert all(handler.started.wait(60) for handler in handlers)
        for handler in handlers:
            handler.release.set()
        assert [call.outcome() for call in calls] == [SUCCESS] * 24


@BOTH
@pytest.mark.parametrize("kind", ["engine", "sharing"])
def test_a_pool_without_a_free_connection_is_named(server: Server, kind: str) -> None:
    with closing_engine(server, pool_size=1, max_overflow=0, pool_timeout=0.01) as engine:
        is_shared = kind == "sharing"
        clock = LedgerClock()
        ledger = SQLLedger.sharing(engine.begin, clock=clock) if is_shared else SQLLedger(engine, clock=clock)
        with handling(ledger, identity("t1"), BlockingHandler()) as call:
            with pytest.raises(LedgerUnavailableError, match="ledger_busy: no connection to the ledger's database"):
                ledger.run_once(identity("t2"), Handler(FAILURE))
        assert (call.outcome(), ledger.run_once(identity("t2"), Handler())) == (SUCCESS, SUCCESS)


@BOTH
def test_close_closes_all_connections_in_the_end(server: Server, engine: Engine) -> None:
    def connections() -> set[int]:
        query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        if "postgresql" not in server.url:
            query = "SELECT id FROM information_schema.processlist WHERE db = database()"
        with engine.connect() as connection:
            return set(connection.exec_driver_sql(query).scalars())

    before = connections()
    ledger = SQLLedger(server.url, clock=LedgerClock())

    def close(transaction: object) -> StoredResponse:
        ledger.close()
        return SUCCESS

    assert ledger.run_once(identity("t1"), close) == SUCCESS
    wait_until(lambda: connections() <= before)  # until the server has noticed; it may also notice earlier tests' ends
    assert ledger.run_once(identity("t1"), Handler(FAILURE)) == SUCCESS
    ledger.close()


# Processes.

PROGRAM = """
import sys
from oss_wsgi.ledger.sql import SQLLedger
from tests.ledger.contract import SUCCESS, identity
ledger = SQLLedger(sys.argv[1], clock=lambda: 1733227932.0, wait_timeout=60.0)
def handle(transaction):
    print("handling", flush=True)
    sys.stdin.readline()
    return SUCCESS
print(ledger.run_once(identity(), handle).status, flush=True)
"""


def start_handling(server: Server) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, server.url]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "handling\n"
    return process


@BOTH
def test_a_stopped_process_keeps_its_upload_and_the_others_are_refused(server: Server) -> None:
    """Statements of the application's own may wait longer than the test."""
    process = start_handling(server)
    os.kill(process.pid, signal.SIGSTOP)
    command = "SET innodb_lock_wait_timeout = 3000"
    options = {} if "postgresql" in server.url else {"connect_args": {"init_command": command}}
    with (
        closing_engine(server, **options) as engine,
        SQLLedger(server.url, clock=LedgerClock(), wait_timeout=1.0) as ledger,
    ):
        refused = Handler(FAILURE)
        sharing = SQLLedger.sharing(engine.begin, clock=LedgerClock(), wait_timeout=1.0)
        for each in (ledger, sharing):
            with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
                each.run_once(identity(), refused)
        os.kill(process.pid, signal.SIGCONT)
        assert process.communicate("\n")[0] == "200 OK\n"
        assert ledger.run_once(identity(), refused) == SUCCESS
        assert refused.calls == 0


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_a_call_that_may_not_wait_does_not_wait_a_servers_least_time(
    server: Server, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MySQL's is a second; here it is longer than the test."""
    process = start_handling(server)
    for kind in (own_transaction("pymysql"), SharedTransaction):
        monkeypatch.setattr(kind, "is_mariadb", property(lambda self: False, lambda self, value: None), raising=False)
    monkeypatch.setattr(transactional.Transaction, "whole_seconds", lambda self, seconds: 300)
    sharing = SQLLedger.sharing(engine.begin, clock=LedgerClock())
    with SQLLedger(server.url, clock=LedgerClock()) as ledger:
        for each in (ledger, sharing):
            with pytest.raises(LedgerUnavailableError, match="ledger_busy"):
                each.run_once(identity()._replace(may_wait=False), Handler(FAILURE))
    process.communicate("\n")


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_a_browsers_request_holds_up_no_other_ticket(server: Server) -> None:
    """The server's default isolation level, REPEATABLE READ, has locks of the gaps between rows."""
    with closing_engine(server) as engine:
        ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())
        ledger.run_once(identity("a"), Handler())
        with handling(ledger, identity("b", may_wait=False), BlockingHandler()):
            for may_wait in (True, False):
                assert ledger.run_once(identity(f"c {may_wait}", may_wait=may_wait), Handler()) == SUCCESS


FORKING = """
import os, sys
from sqlalchemy import Pool, event
from oss_wsgi.ledger.sql import SQLLedger
from tests.ledger.contract import FAILURE, SUCCESS, Handler, identity
connected = []
event.listen(Pool, "connect", lambda *connection: connected.append(connection))
ledger = SQLLedger(sys.argv[1], clock=lambda: 1733227932.0)
ledger.run_once(identity("parent"), Handler())
connected.clear()
child = os.fork()
ledger.run_once(identity("child"), Handler()) if not child else os.waitpid(child, 0)
assert ledger.run_once(identity("parent"), Handler(FAILURE)) == SUCCESS
assert ledger.run_once(identity("child"), Handler(FAILURE)) == SUCCESS
ledger.close()
print("parent" if child else "child", len(connected), flush=True)
"""


@BOTH
def test_a_child_has_connections_of_its_own_and_leaves_its_parents_open(server: Server) -> None:
    command = [sys.executable, "-W", "error", "-c", FORKING, server.url]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    assert done.stdout == "child 1\nparent 0\n"


@BOTH
def test_two_ledgers_count_the_objects_of_a_ticket_together(server: Server) -> None:
    with (
        SQLLedger(server.url, clock=LedgerClock(), wait_timeout=60.0) as one,
        SQLLedger(server.url, clock=LedgerClock(), wait_timeout=60.0) as two,
    ):
        handlers = [BlockingHandler() for _ in range(4)]
        uploads = [identity(object=f"o{number}", max_objects=4) for number in range(4)]
        calls = [
            Call((one, two)[number % 2], upload, handler)
            for number, (upload, handler) in enumerate(zip(uploads, handlers, strict=True))
        ]
        assert all(handler.started.wait(60) for handler in handlers), "none waits for another process"
        for handler in handlers:
            handler.release.set()
        assert [call.outcome() for call in calls] == [SUCCESS] * 4
        for ledger in (one, two):
            with pytest.raises(TicketUsedError):
                ledger.run_once(identity(object="one more", max_objects=4), Handler())


# Clocks, and what has expired.


def move(engine: Engine, seconds: int) -> None:
    """Let time pass for the rows, as if the database's clock were later."""
    with engine.begin() as connection:
        for table in EXPIRING:
            connection.execute(table.update().values(forget_after=table.c.forget_after - seconds))


@BOTH
def test_a_response_is_deleted_when_both_clocks_have_passed(server: Server, engine: Engine) -> None:
    clock = LedgerClock()
    with SQLLedger(server.url, clock=clock) as ledger:
        ledger.run_once(identity("old"), Handler())
        ledger.run_once(identity("valid", expires=NOW + 10 * 86_400), Handler())
        assert ledger.delete_expired() == 0
        move(engine, 300 + MARGIN + 60)
        assert ledger.delete_expired() == 0, "by the caller's clock it is valid"
        clock.advance(301)
        assert ledger.delete_expired() > 0
        assert len(ledger) == 1
        assert ledger.run_once(identity("valid", expires=NOW + 10 * 86_400), Handler(FAILURE)) == SUCCESS


@BOTH
def test_a_note_is_deleted_when_both_clocks_have_passed(server: Server, engine: Engine) -> None:
    clock = LedgerClock()
    with SQLLedger(server.url, clock=clock) as ledger:
        ledger.note([("a", "mark"), ("b", "mark")], NOW + 300)
        ledger.note([("b", "mark")], NOW + 10 * 86_400)
        move(engine, 300 + MARGIN + 60)
        assert ledger.delete_expired() == 0, "by the caller's clock they are valid"
        clock.advance(301)
        assert ledger.delete_expired() == 2
        assert ledger.known([("a", "mark"), ("b", "mark")]) == {("b", "mark")}


@BOTH
def test_many_notes_delete_what_has_expired(server: Server, engine: Engine) -> None:
    clock = LedgerClock()
    with SQLLedger(server.url, clock=clock) as ledger:
        ledger.note([(f"{number}", "old") for number in range(1000)], NOW + 300)
        move(engine, 300 + MARGIN + 60)
        clock.advance(301)
        ledger.note([(f"{number}", "new") for number in range(1000)], NOW + 3000)
        assert not ledger.known((f"{number}", "old") for number in range(1000))
        assert len(ledger.known((f"{number}", "new") for number in range(1000))) == 1000


@BOTH
def test_a_response_that_is_still_valid_keeps_the_lock_of_its_ticket(server: Server, engine: Engine) -> None:
    """A response that recovery stores is valid for longer than the ticket's other ones."""
    clock, longer = LedgerClock(), identity(etag="2", expires=NOW + 36_000)
    with SQLLedger(server.url, clock=clock, wait_timeout=60.0) as ledger:
        ledger.run_once(identity(etag="1"), Handler())
        ledger.run_once(longer, Handler())
        move(engine, MARGIN + 3600)
        clock.advance(3600)
        assert (ledger.delete_expired(), len(ledger)) == (1, 1)
        assert ledger.run_once(longer, Handler(FAILURE)) == SUCCESS


@BOTH
@pytest.mark.parametrize("kind", ["own", "sharing"])
def test_a_stored_response_is_found_where_the_lock_was_deleted(engine: Engine, ledger: SQLLedger, kind: str) -> None:
    ledger = ledger if kind == "own" else SQLLedger.sharing(engine.begin, clock=LedgerClock())
    ledger.run_once(identity(), Handler())
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM oss_wsgi_tickets")
    handler = Handler(StoredResponse("200 OK", "", b"another"))
    assert (ledger.run_once(identity(), handler), handler.calls) == (SUCCESS, 1)


@BOTH
@pytest.mark.parametrize("wrong", [86_400, -86_400], ids="{:+}".format)
def test_a_callers_clock_that_is_off_by_a_day_forgets_nothing(server: Server, engine: Engine, wrong: int) -> None:
    right, wrong_clock = LedgerClock(), LedgerClock(NOW + wrong)
    life = 3 * 86_400
    upload = identity(expires=NOW + life)
    with SQLLedger(server.url, clock=right) as ledger, SQLLedger(server.url, clock=wrong_clock) as other:
        other.run_once(upload, Handler())
        other.note([("noted", "mark")], upload.expires)
        for seconds in (86_400, 86_400, 86_400 - 60):
            move(engine, seconds)
            right.advance(seconds)
            wrong_clock.advance(seconds)
            other.delete_expired()
            ledger.delete_expired()
            assert ledger.run_once(upload, Handler(FAILURE)) == SUCCESS
            assert ledger.known([("noted", "mark")])


@BOTH
@pytest.mark.parametrize("wrong", [86_400, -86_400], ids="{:+}".format)
def test_a_databases_clock_that_is_off_by_a_day_forgets_nothing(server: Server, engine: Engine, wrong: int) -> None:
    with SQLLedger(server.url, clock=LedgerClock(NOW + 299)) as ledger:
        ledger.run_once(identity(), Handler())
        move(engine, wrong)
        ledger.delete_expired()
        assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS


def test_the_search_for_expired_rows_reads_no_others(engine: Engine, ledger: SQLLedger) -> None:
    ledger.run_once(identity(), Handler())
    select = Statements(engine.dialect.name).expired[answers].text
    with engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN {select}").scalars())
    assert "Index Cond: (forget_after <" in plan


@BOTH
def test_expired_rows_that_another_call_deletes_are_skipped(server: Server, engine: Engine) -> None:
    clock = LedgerClock()
    with SQLLedger(server.url, clock=clock, wait_timeout=60.0) as ledger:
        for number in range(10):
            ledger.run_once(identity(f"t{number}"), Handler())
        move(engine, 300 + MARGIN + 60)
        clock.advance(301)
        with engine.begin() as connection:
            connection.exec_driver_sql(Statements(engine.dialect.name).expired[answers].text).fetchall()
            assert ledger.delete_expired() == 0
        ledger.delete_expired()
        assert len(ledger) == 0


# Tables.


def test_many_answers_are_counted_by_the_databases_estimate(
    engine: Engine, ledger: SQLLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counting them would read them all."""
    for ticket in ("t1", "t2"):
        ledger.run_once(identity(ticket), Handler())
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE oss_wsgi_answers")
    ledger.run_once(identity("t3"), Handler())
    assert len(ledger) == 3
    monkeypatch.setattr(transactional, "EXACT_COUNT", 1)
    assert len(ledger) == 2


@BOTH
def test_eight_processes_may_make_the_tables_at_once(server: Server) -> None:
    code = (
        "import sys; from oss_wsgi.ledger.sql import SQLLedger; print('ready', flush=True); sys.stdin.readline(); "
        "print(len(SQLLedger(sys.argv[1], clock=lambda: 1.0, wait_timeout=60.0)))"
    )
    command = [sys.executable, "-c", code, server.url]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in processes] == ["0\n"] * 8


@BOTH
def test_tables_of_another_version_are_refused(server: Server, engine: Engine) -> None:
    SQLLedger(server.url, clock=LedgerClock()).close()
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE oss_wsgi_schema SET version = 7")
    with pytest.raises(SettingsError, match="tables have version 7, and this program uses version 1"):
        SQLLedger(server.url, clock=LedgerClock())
    with pytest.raises(LedgerUnavailableError, match="tables have version 7, and this program uses version 1"):
        SQLLedger.sharing(engine.begin, clock=LedgerClock()).run_once(identity(), Handler())


def test_a_poolers_session_gets_no_limit_and_no_prepared_statements(server: Server, pgbouncer: Server) -> None:
    found = []
    for url in (server.url, pgbouncer.url):
        engine = engine_from(url, threads=1, wait_timeout=7.0)
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            found.append((driver.prepare_threshold, connection.exec_driver_sql("SHOW lock_timeout").scalar_one()))
        engine.dispose()
    assert found == [(1, "7s"), (None, "0")]


@pytest.mark.parametrize(
    ("server", "seconds"),
    [
        ("postgresql", "current_setting('tcp_user_timeout')::int / 1000"),
        (
            "postgresql",
            "current_setting('tcp_keepalives_idle')::int"
            " + current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int",
        ),
        ("mariadb", "@@SESSION.idle_transaction_timeout"),
    ],
    ids=["sending", "idle", "mariadb"],
    indirect=["server"],
)
def test_a_server_gives_up_a_machine_that_is_gone_when_the_documentation_says(server: Server, seconds: str) -> None:
    """Its uploads are locked until then."""
    engine = engine_from(server.url, threads=1, wait_timeout=7.0)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SELECT {seconds}").scalar_one() == 25
    engine.dispose()


@BOTH
def test_an_engine_of_the_applications_own_may_be_used(engine: Engine) -> None:
    ledger = SQLLedger(engine, clock=LedgerClock())
    handler = Handler()
    for _ in range(2):
        assert ledger.run_once(identity(), handler) == SUCCESS
    assert handler.calls == 1
    pool = engine.pool
    ledger.close()
    assert engine.pool is pool, "the application still uses it"
    with engine.connect() as connection:
        level = connection.get_isolation_level()
    assert level == engine.dialect.default_isolation_level


@pytest.mark.parametrize(
    ("server", "query"),
    [
        # Further keywords, and blocks of another form.
        ("mariadb", {"init_command": "SET sql_mode = 'ORACLE'"}),
        # A backslash is none.
        ("mariadb", {"init_command": "SET sql_mode = 'NO_BACKSLASH_ESCAPES'"}),
        # A backslash is an escape.
        ("postgresql", {"options": "-c standard_conforming_strings=off"}),
    ],
    indirect=["server"],
)
def test_a_server_that_reads_another_language_may_be_used(server: Server, query: dict[str, str]) -> None:
    url = sqlalchemy.make_url(server.url).set(query=query)
    engine = sqlalchemy.create_engine(url.set(drivername=DRIVERS[url.drivername]))
    with SQLLedger(url, clock=LedgerClock()) as own:
        theirs = SQLLedger(engine, clock=LedgerClock())
        sharing = SQLLedger.sharing(engine.begin, clock=LedgerClock())
        for ticket, ledger in (("t1", own), ("t2", theirs), ("t3", sharing)):
            upload = identity(ticket, object="it's a \\' .png")
            assert ledger.run_once(upload, Handler()) == SUCCESS
            assert ledger.run_once(upload, Handler(FAILURE)) == SUCCESS
            assert own.known([upload[1:3]]) == {upload[1:3]}
        assert len(own) == 3
    engine.dispose()


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_mysqls_statements_store_too(server: Server, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """MariaDB understands them, and MySQL has no package to test with."""
    kind = own_transaction("pymysql")
    monkeypatch.setattr(kind, "is_mariadb", property(lambda self: False, lambda self, value: None), raising=False)

    def stop_commits(transaction: object) -> StoredResponse:
        for stage in ("START", "BLOCK_COMMIT"):
            other.exec_driver_sql(f"BACKUP STAGE {stage}")
        return SUCCESS

    with SQLLedger(server.url, clock=LedgerClock(), wait_timeout=1.0) as ledger, engine.connect() as other:
        for ticket in ("t1", "t2"):
            assert ledger.run_once(identity(ticket), Handler()) == SUCCESS
            assert ledger.run_once(identity(ticket), Handler(FAILURE)) == SUCCESS
        assert len(ledger) == 2
        with pytest.raises(LedgerUnavailableError, match="did not say whether it has stored the response"):
            ledger.run_once(identity("t3"), stop_commits)
        other.exec_driver_sql("BACKUP STAGE END")


@pytest.mark.parametrize("server", ["mariadb"], indirect=True)
def test_the_tables_have_transactions_where_the_servers_default_has_none(server: Server) -> None:
    url = sqlalchemy.make_url(server.url).set(query={"init_command": "SET default_storage_engine = 'MyISAM'"})
    with SQLLedger(url, clock=LedgerClock()) as ledger, SQLLedger(url, clock=LedgerClock()) as other:
        with handling(ledger, identity(), BlockingHandler()), pytest.raises(LedgerUnavailableError, match="busy"):
            other.run_once(identity()._replace(may_wait=False), Handler(AssertionError()))


@BOTH
def test_names_that_differ_in_case_are_two_objects(ledger: SQLLedger) -> None:
    ledger.run_once(identity("t", object="a.png", max_objects=2), Handler())
    handler = Handler()
    ledger.run_once(identity("t", object="A.PNG", max_objects=2), handler)
    ledger.run_once(identity("T", object="a.png", max_objects=2), handler)
    assert handler.calls == 2


def test_bytes_are_read_however_the_server_writes_them_as_text(server: Server) -> None:
    url = sqlalchemy.make_url(server.url).set(query={"options": "-c bytea_output=escape"})
    with SQLLedger(url, clock=LedgerClock()) as ledger:
        for handler in (Handler(), Handler(FAILURE)):
            assert ledger.run_once(identity(), handler) == SUCCESS
        ledger.save("a", "\\x猫")
        assert ledger.load("a") == "\\x猫"
        assert ledger.known([("user/猫 1.png", "5B3C")])


@pytest.mark.parametrize("constraint", ["UNIQUE (name)", "FOREIGN KEY (other) REFERENCES others (name)"])
def test_a_deferred_constraint_of_the_handlers_is_its_own_error(engine: Engine, constraint: str) -> None:
    with engine.begin() as connection:
        for text in ("others (name text PRIMARY KEY)", f"own (name text, other text, {constraint} INITIALLY DEFERRED)"):
            connection.exec_driver_sql(f"DROP TABLE IF EXISTS {text.partition(' ')[0]} CASCADE")
            connection.exec_driver_sql(f"CREATE TABLE {text}".replace(") INITIALLY", ") DEFERRABLE INITIALLY"))
        connection.exec_driver_sql("INSERT INTO own (name) VALUES ('one')")
    calls = []

    def handle(connection: Connection) -> StoredResponse:
        calls.append(connection.exec_driver_sql("INSERT INTO own VALUES ('one', 'none')"))
        return SUCCESS

    ledger = SQLLedger.sharing(engine.begin, clock=LedgerClock())
    with pytest.raises(sqlalchemy.exc.IntegrityError):
        ledger.run_once(identity(), handle)
    assert (len(calls), len(ledger)) == (1, 0)


@BOTH
def test_a_server_that_refuses_one_connection_more_keeps_those_that_work(server: Server) -> None:
    limit = {"postgresql": "-cmax_connections=14", "mariadb": "--max-connections=10"}[server.kind]
    with running(server.kind, limit) as own:
        with closing_engine(own, pool_size=30) as engine, ThreadPoolExecutor(30) as threads:
            disposed = []
            sqlalchemy.event.listen(engine, "engine_disposed", disposed.append)
            ledger = SQLLedger(engine, clock=LedgerClock())

            def report(number: int) -> object:
                try:
                    return ledger.run_once(identity(f"t{number}"), lambda transaction: SUCCESS)
                except LedgerUnavailableError as error:
                    return error.reason

            outcomes = set(threads.map(report, range(300)))
            assert SUCCESS in outcomes <= {SUCCESS, "ledger_unavailable"}
            assert disposed == []


@BOTH
def test_a_new_session_is_set_up_within_a_limit(server: Server) -> None:
    """A pooler accepts a connection, and may keep its first statement waiting for two minutes."""
    limits = []

    def limited(connection: object, seconds: int, act: Callable[..., object], *arguments: object) -> None:
        limits.append(seconds)
        act(*arguments)

    engine = engine_from(server.url, threads=1, wait_timeout=7.0, limited=limited)
    engine.connect().close()
    engine.dispose()
    assert limits == [7]


@BOTH
def test_an_applications_engine_is_used_again_after_a_restart(server: Server) -> None:
    with running(server.kind) as own, closing_engine(own) as engine:
        ledger = SQLLedger(engine, clock=LedgerClock())
        with ExitStack() as stack:  # so that there are six connections
            for number in range(6):
                stack.enter_context(handling(ledger, identity(f"before {number}"), BlockingHandler()))
        own.restart()
        for number in range(4):
            assert ledger.run_once(identity(f"after {number}"), Handler()) == SUCCESS


def test_a_server_that_cannot_be_reached_is_a_setting_error_without_the_password(server: Server) -> None:
    url = server.url.replace(f":{server.port}/", ":1/")
    with pytest.raises(SettingsError, match="cannot be used") as raised:
        SQLLedger(url, clock=LedgerClock())
    assert "pass-word" not in str(raised.value)
    assert "pass-word" not in repr(raised.value.__cause__)
