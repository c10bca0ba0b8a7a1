"""What a database error means for a ledger, whether a driver, SQLAlchemy or Django raised it."""

from __future__ import annotations

import enum
import re

# SQLSTATE of PostgreSQL, error numbers of MySQL and MariaDB. PyMySQL reports HY000 for both 1020 and 1205, so for MySQL
# the number decides.
_CONFLICTS = {"40001", "40P01", 1213, 1020}
_DUPLICATES = {"23505", 1062}
_BUSY = {"55P03", 1205, 3572}
_NO_TABLE = {"42P01", 1146}
_EXISTS = {1061}
_ENDED = {"3B001", "25P01", 1305}
_ABORTED = {"25P02"}
# The names of PEP 249's and SQLAlchemy's base classes; Django's have the same names.
_DATABASE_ERRORS = {"DatabaseError", "InterfaceError", "SQLAlchemyError"}


class Meaning(enum.Enum):
    """What an error means."""

    CONFLICT = "another transaction won: run it again"
    DUPLICATE = "the row exists"
    BUSY = "a lock was not free in time"
    WRITING = "another transaction writes to SQLite's file"
    NO_CONNECTION = "no connection was free in time"
    NO_TABLE = "the table does not exist"
    EXISTS = "another process has made the index"
    ENDED = "the transaction was ended before"
    ABORTED = "an earlier error has broken the transaction"
    UNAVAILABLE = "the database cannot be used now"


def meaning_of(error: BaseException) -> Meaning | None:
    """Return what a database error means, or None for any other error: it is the application's."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return Meaning.UNAVAILABLE
    names = {kind.__name__ for kind in type(error).__mro__}
    if not names & _DATABASE_ERRORS:
        return None
    if "TransactionManagementError" in names:
        return Meaning.ABORTED
    if "TimeoutError" in names:  # SQLAlchemy's pool
        return Meaning.NO_CONNECTION
    code = _code(error)
    text = str(_original(error))
    for codes, meaning in (
        (_CONFLICTS, Meaning.CONFLICT),
        (_DUPLICATES, Meaning.DUPLICATE),
        (_BUSY, Meaning.BUSY),
        (_NO_TABLE, Meaning.NO_TABLE),
        (_EXISTS, Meaning.EXISTS),
        (_ENDED, Meaning.ENDED),
        (_ABORTED, Meaning.ABORTED),
    ):
        if code in codes:
            return meaning
    if isinstance(code, str) and code.startswith("23"):
        return None  # a deferred constraint of the application's
    if "sqlite" in type(_original(error)).__module__:
        return _meaning_for_sqlite(text)
    return Meaning.UNAVAILABLE


def text_of(error: BaseException) -> str:
    """Return the first line of the driver's message, without the statement and without a password."""
    original = _original(error)
    message = str(original.args[1] if len(original.args) > 1 else original).strip().partition("\n")[0]
    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:...@", message) or type(original).__name__


def _meaning_for_sqlite(text: str) -> Meaning:
    if "locked" in text:
        return Meaning.WRITING
    if "UNIQUE" in text:
        return Meaning.DUPLICATE
    if "no such savepoint" in text:
        return Meaning.ENDED
    return Meaning.NO_TABLE if "no such table" in text else Meaning.UNAVAILABLE


def _original(error: BaseException) -> BaseException:
    """Return the driver's own error: it is SQLAlchemy's ``orig``, and the cause of Django's error."""
    original = getattr(error, "orig", None)
    if isinstance(original, BaseException):
        return original
    cause = error.__cause__
    if cause is not None and {kind.__name__ for kind in type(cause).__mro__} & _DATABASE_ERRORS:
        return cause
    return error


def _code(error: BaseException) -> str | int | None:
    original = _original(error)
    if original.args and isinstance(original.args[0], int):
        return original.args[0]
    code = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return code if isinstance(code, str) else None
