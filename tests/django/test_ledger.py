"""DjangoLedger: the contract on both servers, and the ORM in its transactions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.core.management import call_command
from django.db import connections, models, transaction

from oss_wsgi.django.ledger import DjangoLedger
from oss_wsgi.exceptions import HandlerCommittedError, SettingsError
from oss_wsgi.ledger.base import Ledger, StoredResponse
from oss_wsgi.ledger.place import place_of_file

from ..ledger import unwritable
from ..ledger.contract import FAILURE, SUCCESS, Call, Handler, LedgerClock, LedgerContract, identity
from ..ledger.test_sql import cleared, emptied, emptied_server
from ..support.databases import Server
from . import project
from .project import use

pytestmark = pytest.mark.slow

__all__ = ["emptied_server"]  # a fixture


class Work(models.Model):
    """A row that the handlers of these tests store."""

    name: Any = models.CharField(max_length=40)

    class Meta:
        app_label = "oss_wsgi"
        db_table = "works"


@pytest.fixture(autouse=True)
def _closed_connections(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the connection of each thread at its end, as Django does after a request."""
    run = Call.run

    def run_and_close(self: Call) -> None:
        run(self)
        connections.close_all()

    monkeypatch.setattr(Call, "run", run_and_close)
    yield
    connections.close_all()


class Contract(LedgerContract):
    server_name: ClassVar[str]

    @pytest.fixture(autouse=True)
    def database(self, emptied_server: Server) -> None:
        self.url = emptied_server.url
        cleared(self.url)
        use(project.database(self.url))

    def make_ledger(self, *, clock: Callable[[], float], wait_timeout: float) -> Ledger:
        return DjangoLedger(clock=clock, wait_timeout=wait_timeout)

    @contextlib.contextmanager
    def unwritable(self, ledger: Ledger) -> Iterator[None]:
        with unwritable.database(self.url):
            connections.close_all()
            yield
        connections.close_all()

    def failing(self, ledger: Ledger) -> contextlib.AbstractContextManager[None]:
        return unwritable.cut(self.url)

    def elsewhere(self) -> str:
        return f"""
from oss_wsgi.django.ledger import DjangoLedger
from tests.django import project
project.configure()
project.use({project.database(self.url)!r})
ledger = DjangoLedger(clock=lambda: 1733227932.0, wait_timeout=60.0)
"""

    # The database has a clock of its own, as in tests/ledger/test_sql.py.
    test_a_response_is_forgotten_some_time_after_its_ticket = None  # type: ignore[assignment]


Contract.__test__ = False


class TestContractOnPostgreSQL(Contract):
    server_name = "postgresql"


class TestContractOnMariaDB(Contract):
    server_name = "mariadb"


@pytest.fixture(params=["postgresql", "mariadb"])
def ledger(request: pytest.FixtureRequest) -> DjangoLedger:
    """Make a ledger and the model's table, by migrations."""
    server: Server = request.getfixturevalue(request.param)
    emptied(server.url)
    use(project.database(server.url))
    with connections["default"].cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS django_migrations")
    call_command("migrate", "oss_wsgi", verbosity=0)
    with connections["default"].schema_editor() as editor:
        editor.create_model(Work)
    return DjangoLedger(clock=LedgerClock(), wait_timeout=10.0)


def test_the_migration_makes_the_tables_and_drops_them(ledger: DjangoLedger) -> None:
    assert "oss_wsgi_answers" in connections["default"].introspection.table_names()
    assert len(ledger) == 0
    call_command("migrate", "oss_wsgi", "zero", verbosity=0)
    assert not any(name.startswith("oss_wsgi") for name in connections["default"].introspection.table_names())


def test_the_orm_works_in_the_ledgers_transaction(ledger: DjangoLedger) -> None:
    def handle(connection: Any) -> StoredResponse:
        assert connection is connections["default"]
        assert connection.in_atomic_block
        Work.objects.create(name="one")
        return SUCCESS

    assert ledger.run_once(identity(), handle) == SUCCESS
    assert ledger.run_once(identity(), Handler(FAILURE)) == SUCCESS
    assert Work.objects.count() == 1


@pytest.mark.parametrize("result", [FAILURE, KeyError("its own")], ids=["failure", "exception"])
def test_a_failed_handler_leaves_no_row(ledger: DjangoLedger, result: StoredResponse | Exception) -> None:
    def handle(connection: Any) -> StoredResponse:
        Work.objects.create(name="one")
        with transaction.atomic():
            Work.objects.create(name="two")
        return Handler(result)()

    if isinstance(result, Exception):
        with pytest.raises(KeyError):
            ledger.run_once(identity(), handle)
    else:
        assert ledger.run_once(identity(), handle) == result
    assert Work.objects.count() == 0
    assert len(ledger) == 0


def test_a_handler_cannot_commit(ledger: DjangoLedger) -> None:
    def handle(connection: Any) -> StoredResponse:
        Work.objects.create(name="one")
        connection.commit()
        return SUCCESS

    with pytest.raises(transaction.TransactionManagementError, match="forbidden"):
        ledger.run_once(identity(), handle)
    assert Work.objects.count() == 0


def test_a_handler_that_commits_past_django_is_refused(ledger: DjangoLedger) -> None:
    def handle(connection: Any) -> StoredResponse:
        with connection.cursor() as cursor:
            cursor.execute("COMMIT")
        return SUCCESS

    with pytest.raises(HandlerCommittedError, match="leave out the commit"):
        ledger.run_once(identity(), handle)
    assert len(ledger) == 0


def test_a_swallowed_error_of_a_statement_is_refused(ledger: DjangoLedger) -> None:
    def handle(connection: Any) -> StoredResponse:
        try:
            with transaction.atomic(savepoint=False):
                Work.objects.create(name="x" * 1000)
        except Exception:
            return SUCCESS
        raise AssertionError

    with pytest.raises(HandlerCommittedError, match="savepoint"):
        ledger.run_once(identity(), handle)
    assert len(ledger) == 0


def test_a_ledger_in_sqlite_handles_one_upload_after_another(tmp_path: Path) -> None:
    use(project.sqlite(tmp_path / "django.db"))
    ledger = DjangoLedger(clock=LedgerClock(), wait_timeout=60.0)
    handlers = [Handler() for _ in range(4)]
    calls = [Call(ledger, identity(f"t{number}"), handler) for number, handler in enumerate(handlers)]
    assert [call.outcome() for call in calls] == [SUCCESS] * 4
    assert len(ledger) == 4


def test_its_place_is_that_of_the_database(tmp_path: Path) -> None:
    use(project.sqlite(tmp_path / "django.db"))
    ledger = DjangoLedger(clock=LedgerClock())
    ledger.check()
    assert ledger.place == place_of_file(tmp_path / "django.db") is not None
    use({"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"})
    assert DjangoLedger(clock=LedgerClock()).place is None


def test_a_connection_that_has_grown_too_old_meanwhile_is_not_used(tmp_path: Path) -> None:
    use({**project.sqlite(tmp_path / "django.db"), "CONN_MAX_AGE": 60})
    ledger = DjangoLedger(clock=LedgerClock())
    ledger.check()
    first = connections["default"].connection
    ledger.load("a")
    assert connections["default"].connection is first is not None
    connections["default"].close_at = 0
    ledger.load("a")
    assert connections["default"].connection not in (first, None)


def test_a_database_that_django_does_not_know_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"one of 'default'.*, not 'nowhere'"):
        DjangoLedger("nowhere", clock=LedgerClock())


def test_a_database_that_commits_nothing_by_itself_is_refused(tmp_path: Path) -> None:
    use({**project.sqlite(tmp_path / "django.db"), "AUTOCOMMIT": False})
    handler = Handler()
    with pytest.raises(SettingsError, match="'AUTOCOMMIT': False"):
        DjangoLedger(clock=LedgerClock()).run_once(identity(), handler)
    assert handler.calls == 0


def test_a_ledger_within_the_applications_transaction_is_refused(tmp_path: Path) -> None:
    use({"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "database")})
    ledger = DjangoLedger(clock=LedgerClock())
    with transaction.atomic(), pytest.raises(SettingsError, match="non_atomic_requests before the view"):
        ledger.run_once(identity(), Handler())
    assert ledger.run_once(identity(), Handler()) == SUCCESS
