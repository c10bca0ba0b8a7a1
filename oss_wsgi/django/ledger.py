"""A ledger in the database of a Django project: what the handler does by the ORM is stored with the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from ..exceptions import SettingsError
from ..ledger.base import DEFAULT_WAIT_TIMEOUT
from ..ledger.sql_errors import Meaning, meaning_of
from ..ledger.sql_shared import SharedTransaction
from ..ledger.sql_text import Dialect, dialect_of
from ..ledger.transactional import Rows, Transaction, TransactionalLedger

_NESTED = (
    "A DjangoLedger commits its transaction itself, so that it cannot handle an upload within atomic(): with "
    "ATOMIC_REQUESTS put @transaction.non_atomic_requests before the view that calls it."
)


class DjangoLedger(TransactionalLedger):
    """A ledger in a database of Django's, PostgreSQL, MySQL or MariaDB (SQLite with one upload at a time).

    Each upload is handled in ``transaction.atomic()``, so that what the handler does with the ORM and the answer are
    committed together or not at all: exactly once. ``upload.transaction`` is Django's connection. The handler must not
    commit, which Django refuses in ``atomic()``; a nested ``atomic()`` makes a savepoint.

    Put ``oss_wsgi.django`` into INSTALLED_APPS and run ``manage.py migrate``; else the tables are made at the first
    use. A connection stays open for CONN_MAX_AGE seconds in each thread, so set that.

    Raises SettingsError for a name that is not there, and, when it is used, within ``atomic()``.

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
        super().__init__(None, clock=clock, wait_timeout=wait_timeout)
        self._using = using

    def __repr__(self) -> str:
        return f"<DjangoLedger {self._using!r}>"

    def _detect(self) -> Dialect:
        try:
            return dialect_of(connections[self._using].vendor)
        except ValueError as error:
            raise SettingsError(f"{error}.") from None

    @contextmanager
    def _begin(self) -> Iterator[Transaction]:
        connection: Any = connections[self._using]
        # Outside Django's own requests nobody else closes what the server has cut, or what is too old.
        connection.close_if_unusable_or_obsolete()
        try:
            with ExitStack() as stack:
                try:
                    stack.enter_context(transaction.atomic(using=self._using, durable=True))
                except RuntimeError as error:  # it would be committed later, or not at all
                    raise SettingsError(_NESTED) from error
                yield self._shared(connection, stack.enter_context(connection.cursor()))
        finally:
            connection.close_if_unusable_or_obsolete()

    def _shared(self, connection: Any, cursor: Any) -> SharedTransaction:
        def execute(statement: str) -> Rows:
            cursor.execute(statement)
            return Rows(cursor.rowcount, cursor.fetchall() if cursor.description else [])

        def guard(shared: SharedTransaction) -> AbstractContextManager[None]:
            def note_conflict(call: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
                try:
                    return call(sql, params, many, context)
                except Exception as error:
                    if meaning_of(error) is Meaning.CONFLICT:
                        shared.has_conflict = True  # a handler's 500 hides the error
                    raise

            wrapper: AbstractContextManager[None] = connection.execute_wrapper(note_conflict)
            return wrapper

        return SharedTransaction(connection, execute, self.dialect, self._wait_timeout, guard)
