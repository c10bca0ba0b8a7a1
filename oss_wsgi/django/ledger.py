"""A ledger in a Django project's database, which commits the handler's work by the ORM together with the response."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from ..exceptions import SettingsError
from ..ledger.base import DEFAULT_WAIT_TIMEOUT
from ..ledger.place import Place, place_of_file, place_of_server
from ..ledger.sql_errors import Meaning, meaning_of
from ..ledger.sql_tables import Statements
from ..ledger.transactional import SharedTransaction, Transaction, TransactionalLedger

_NESTED = (
    "A DjangoLedger commits its transaction itself, so it cannot handle an upload within atomic(): with "
    "ATOMIC_REQUESTS put @transaction.non_atomic_requests before the view that calls it."
)
_MANUAL = (
    "Django's database has 'AUTOCOMMIT': False, so atomic() commits nothing, and neither the handler's work nor the "
    "upload's response would be stored: leave this setting out."
)


class DjangoLedger(TransactionalLedger):
    """A ledger in one of Django's databases: PostgreSQL, MySQL or MariaDB (SQLite with one upload at a time).

    Each upload is handled in ``transaction.atomic()``, so the handler's work with the ORM and the response are
    committed together or not at all: exactly once. ``upload.transaction`` is Django's connection. The handler must not
    commit: Django refuses that in ``atomic()``. A nested ``atomic()`` makes a savepoint.

    Put ``oss_wsgi.django`` into INSTALLED_APPS and run ``manage.py migrate``; otherwise the tables are made at the
    first use. Set CONN_MAX_AGE: each thread keeps its connection for that many seconds.

    Raises SettingsError for a name that is not in DATABASES, and when the ledger is used within ``atomic()``.

    :param using: the name of the database in DATABASES.
    :param clock: returns Unix seconds.
    :param wait_timeout: seconds for which a call waits for others, as in MemoryLedger. MySQL counts whole seconds.
    """

    def __init__(
        self,
        using: str = DEFAULT_DB_ALIAS,
        *,
        clock: Callable[[], float],
        wait_timeout: float = DEFAULT_WAIT_TIMEOUT,
    ) -> None:
        if using not in connections:
            known = ", ".join(map(repr, connections))
            raise SettingsError(f"A DjangoLedger needs a name of Django's DATABASES, one of {known}, not {using!r}.")
        super().__init__(clock=clock, wait_timeout=wait_timeout)
        self._using = using
        try:
            self._statements = Statements(connections[using].vendor)
        except ValueError as error:
            raise SettingsError(f"{error}.") from None

    def __repr__(self) -> str:
        return f"<DjangoLedger {self._using!r}>"

    @property
    def place(self) -> Place | None:
        """Where the ledger is; None for a database of SQLite's in memory."""
        database, vendor = connections[self._using].settings_dict, connections[self._using].vendor
        if vendor == "sqlite":
            return place_of_file(database["NAME"])
        return place_of_server(vendor, database.get("HOST"), database.get("PORT"), database["NAME"])

    def _begin(self) -> Transaction:
        connection = connections[self._using]
        # Outside Django's own requests nobody else closes a connection that the server has cut, or that is too old.
        connection.close_if_unusable_or_obsolete()
        if not connection.in_atomic_block and not connection.get_autocommit():
            raise SettingsError(_MANUAL)
        atomic = transaction.atomic(using=self._using, durable=True)
        try:
            atomic.__enter__()
        except RuntimeError as error:  # within atomic(), the response would be committed later, or never
            raise SettingsError(_NESTED) from error
        return _DjangoTransaction(connection, self._statements, atomic.__exit__)

    def _begin_held(self) -> Transaction:
        """Begin a transaction on a new connection, because uploads use the thread's own."""
        connection: Any = connections.create_connection(self._using)
        connection.inc_thread_sharing()
        connection.set_autocommit(False)
        return _DjangoTransaction(connection, self._statements, lambda *error: connection.close())


class _DjangoTransaction(SharedTransaction):
    """A transaction of Django's; ``leave`` ends it as the ``__exit__`` of ``atomic()`` does."""

    def __init__(self, connection: Any, statements: Statements, leave: Callable[..., object]) -> None:
        self._stack = ExitStack()
        self._stack.push(lambda *error: connection.close_if_unusable_or_obsolete())
        self._stack.push(lambda *error: bool(leave(*error)))
        cursor = self._stack.enter_context(connection.cursor())

        def execute(text: str, parameters: Any = None) -> Any:
            cursor.execute(text, parameters)
            return cursor

        super().__init__(connection, statements, execute, self._finish)
        self._connection = connection
        self.is_mariadb = bool(getattr(connection, "mysql_is_mariadb", False))

    def _finish(self, error: BaseException | None) -> None:
        self._stack.__exit__(None if error is None else type(error), error, None)

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Note that another transaction has won: the handler may turn that error into a 500."""

        def note_conflict(call: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
            try:
                return call(sql, params, many, context)
            except Exception as error:
                if meaning_of(error) is Meaning.CONFLICT:
                    self.has_conflict = True
                raise

        with self._connection.execute_wrapper(note_conflict):
            yield
