"""Transactions that an application has begun with SQLAlchemy, as a ledger uses them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from ..exceptions import HandlerCommittedError
from .sql_errors import Meaning, meaning_of
from .sql_shared import SharedTransaction
from .sql_text import Dialect
from .transactional import Rows

_REFUSED = (
    "a handler must not commit: the ledger commits its work together with the upload's answer, so that both or none "
    "are stored. Leave out the commit; begin_nested makes a savepoint"
)
_HANDLING = "oss_wsgi.handling"


def connection_of(handed: Any) -> Connection:
    """Return the Connection that ``begin`` yielded, or that of the Session that it yielded."""
    if isinstance(handed, Connection):
        return handed
    connection = getattr(handed, "connection", None)
    found = connection() if callable(connection) else None
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

    def execute(statement: str) -> Rows:
        result = connection.exec_driver_sql(statement)
        return Rows(result.rowcount, [tuple(row) for row in result] if result.returns_rows else [])

    @contextmanager
    def guard(transaction: SharedTransaction) -> Iterator[None]:
        _listen(connection.engine)
        info = connection.info
        info[_HANDLING] = transaction
        try:
            yield
        finally:
            info.pop(_HANDLING, None)

    transaction = SharedTransaction(handed, execute, dialect, wait_timeout, guard)
    try:
        yield transaction
    finally:
        if dialect.name == "mysql" and not connection.closed and connection.in_transaction():
            transaction.restore()


def _listen(engine: Engine) -> None:
    """Listen to an engine's transactions, once."""
    if not event.contains(engine, "commit", _refuse_commit):
        event.listen(engine, "commit", _refuse_commit)
        event.listen(engine, "handle_error", _note_conflict)


def _refuse_commit(connection: Connection) -> None:
    if connection.info.get(_HANDLING) is not None:
        # After an error in commit SQLAlchemy believes that there is nothing to roll back, and the next user of the
        # connection would commit it.
        connection.connection.rollback()
        raise HandlerCommittedError("handler_committed", _REFUSED)


def _note_conflict(context: Any) -> None:
    """Note that another transaction has won: a handler's 500 hides the error."""
    if context.connection is None or meaning_of(context.original_exception) is not Meaning.CONFLICT:
        return
    transaction = context.connection.info.get(_HANDLING)
    if transaction is not None:
        transaction.has_conflict = True
