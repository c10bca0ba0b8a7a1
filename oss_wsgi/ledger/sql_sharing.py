"""Transactions that an application has begun with SQLAlchemy, as a ledger uses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from ..exceptions import HandlerCommittedError, SettingsError
from .sql_errors import Meaning, meaning_of
from .sql_shared import SharedTransaction
from .sql_text import Dialect
from .transactional import Rows

_REFUSED = (
    "a handler must not commit: the ledger commits its work together with the upload's answer, so that both or none "
    "are stored. Leave out the commit; begin_nested makes a savepoint"
)
_NOT_COMMITTED = (
    "The context manager of begin did not commit, so that neither the handler's work nor the upload's answer is "
    "stored: pass engine.begin or sessionmaker(engine).begin, not engine.connect or the sessionmaker itself."
)
_SHARED = "oss_wsgi.shared"


def connection_of(handed: Any) -> Connection:
    """Return the Connection that ``begin`` yielded, or that of the Session that it yielded."""
    if isinstance(handed, Connection):
        return handed
    connection = getattr(handed, "connection", None)
    # A SessionTransaction, which the begin of a Session yields, knows neither.
    found = connection() if callable(connection) and hasattr(handed, "in_transaction") else None
    if not isinstance(found, Connection):
        raise TypeError(
            f"the context manager of begin must yield SQLAlchemy's Connection or Session, not {type(handed).__name__}: "
            "pass engine.begin or sessionmaker(engine).begin"
        )
    return found


@contextmanager
def shared(handed: Any, dialect: Dialect, wait_timeout: float) -> Iterator[SharedTransaction]:
    """Yield the ledger's view of a transaction that SQLAlchemy has begun."""
    connection = connection_of(handed)
    _listen(connection.engine)

    def execute(statement: str) -> Rows:
        result = connection.exec_driver_sql(statement)
        return Rows(result.rowcount, [tuple(row) for row in result] if result.returns_rows else [])

    @contextmanager
    def guard(transaction: SharedTransaction) -> Iterator[None]:
        transaction.is_handling = True
        try:
            yield
        finally:
            transaction.is_handling = False

    transaction = SharedTransaction(handed, execute, dialect, wait_timeout, guard, getattr(handed, "flush", None))
    transaction.is_committed = False
    connection.info[_SHARED] = transaction
    try:
        yield transaction
    finally:
        if dialect.name == "mysql" and not connection.closed and connection.in_transaction():
            transaction.restore()


def _listen(engine: Engine) -> None:
    """Listen to an engine's transactions, once."""
    if not event.contains(engine, "commit", _note_commit):
        event.listen(engine, "commit", _note_commit)
        event.listen(engine, "commit_twophase", lambda connection, xid, is_prepared: _note_commit(connection))
        event.listen(engine, "rollback", _note_rollback)
        event.listen(engine, "handle_error", _note_conflict)


def check_committed(connection: Connection, transaction: SharedTransaction) -> None:
    """Raise SettingsError for a transaction that has ended without an error, and without a commit.

    One that goes on is a part of another one, as tests have it that roll everything back.
    """
    if not transaction.is_committed and not connection.in_transaction():
        raise SettingsError(_NOT_COMMITTED)


def _note_commit(connection: Connection) -> None:
    """Note that the application commits the ledger's work; refuse it while the handler runs."""
    transaction = _note_end(connection)
    if transaction is None:
        return
    if transaction.is_handling:
        # After an error in commit SQLAlchemy believes that there is nothing to roll back, and the next user of the
        # connection would commit it.
        connection.connection.rollback()
        raise HandlerCommittedError("handler_committed", _REFUSED)
    transaction.is_committed = True


def _note_rollback(connection: Connection) -> None:
    """Note that a handler has rolled back, or closed, what is not its own."""
    _note_end(connection)


def _note_end(connection: Connection) -> SharedTransaction | None:
    """Note who ends the ledger's transaction, and return it; None if the connection has none."""
    transaction: SharedTransaction | None = connection.info.get(_SHARED)
    if transaction is not None and transaction.is_handling:
        transaction.was_ended = True
    elif transaction is not None:
        del connection.info[_SHARED]
    return transaction


def _note_conflict(context: Any) -> None:
    """Note that another transaction has won: a handler's 500 hides the error."""
    if context.connection is None or meaning_of(context.original_exception) is not Meaning.CONFLICT:
        return
    transaction = context.connection.info.get(_SHARED)
    if transaction is not None and transaction.is_handling:
        transaction.has_conflict = True
