"""What the errors of drivers, SQLAlchemy and Django mean."""

from __future__ import annotations

import sqlite3

import psycopg
import pymysql
import pytest
import sqlalchemy
from django.db.transaction import TransactionManagementError
from django.db.utils import OperationalError

from oss_wsgi.ledger.sql_errors import Meaning, meaning_of, text_of


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (psycopg.errors.SerializationFailure("could not serialize access"), Meaning.CONFLICT),
        (psycopg.errors.DeadlockDetected(), Meaning.CONFLICT),
        (psycopg.errors.LockNotAvailable(), Meaning.BUSY),
        (psycopg.errors.UniqueViolation(), Meaning.DUPLICATE),
        (psycopg.errors.UndefinedTable(), Meaning.NO_TABLE),
        (type("DatabaseError", (Exception,), {"pgcode": "40P01"})("of psycopg 2"), Meaning.CONFLICT),
        (psycopg.errors.InvalidSavepointSpecification(), Meaning.ENDED),
        (psycopg.errors.NoActiveSqlTransaction(), Meaning.ENDED),
        (psycopg.errors.InFailedSqlTransaction(), Meaning.ABORTED),
        (psycopg.InterfaceError("the connection is closed"), Meaning.UNAVAILABLE),
        (psycopg.OperationalError("the file is locked"), Meaning.UNAVAILABLE),
        (pymysql.err.OperationalError(1213, "Deadlock found"), Meaning.CONFLICT),
        (pymysql.err.OperationalError(1020, "Record has changed"), Meaning.CONFLICT),
        (pymysql.err.OperationalError(1205, "Lock wait timeout"), Meaning.BUSY),
        (pymysql.err.OperationalError(3572, "NOWAIT is set"), Meaning.BUSY),
        (pymysql.err.ProgrammingError(1146, "Table doesn't exist"), Meaning.NO_TABLE),
        (pymysql.err.OperationalError(1061, "Duplicate key name"), Meaning.EXISTS),
        (pymysql.err.OperationalError(1305, "SAVEPOINT oss_wsgi does not exist"), Meaning.ENDED),
        (pymysql.err.IntegrityError(1062, "Duplicate entry"), Meaning.DUPLICATE),
        (pymysql.err.OperationalError(2013, "Lost connection"), Meaning.UNAVAILABLE),
        (sqlite3.OperationalError("database is locked"), Meaning.WRITING),
        (sqlite3.OperationalError("no such savepoint: oss_wsgi"), Meaning.ENDED),
        (sqlite3.OperationalError("disk I/O error"), Meaning.UNAVAILABLE),
        (sqlite3.OperationalError("no such table: oss_wsgi_answers"), Meaning.NO_TABLE),
        (sqlite3.IntegrityError("UNIQUE constraint failed"), Meaning.DUPLICATE),
        (sqlalchemy.exc.TimeoutError("QueuePool limit"), Meaning.NO_CONNECTION),
        (TransactionManagementError("You can't execute queries until the end"), Meaning.ABORTED),
        (ConnectionResetError(), Meaning.UNAVAILABLE),
        (psycopg.errors.ForeignKeyViolation(), None),
        (KeyError("a handler's own"), None),
        (ValueError(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_means(error: Exception, meaning: Meaning | None) -> None:
    assert meaning_of(error) is meaning


def test_an_error_means_the_same_when_it_is_wrapped() -> None:
    original = pymysql.err.OperationalError(1213, "Deadlock found")
    of_django = OperationalError()
    of_django.__cause__ = original
    for error in (sqlalchemy.exc.OperationalError("SELECT 1", {}, original), of_django):
        assert (meaning_of(error), text_of(error)) == (Meaning.CONFLICT, "Deadlock found")
    of_django.__cause__ = KeyError("its own")
    assert text_of(of_django) == "OperationalError"


@pytest.mark.parametrize(
    ("original", "text"),
    [
        (
            pymysql.err.OperationalError(2003, "no way to mysql://app:pass-word@db\nand more"),
            "no way to mysql://app:...@db",
        ),
        (psycopg.OperationalError("no way to postgresql://app:pass-word@db"), "no way to postgresql://app:...@db"),
        (psycopg.OperationalError(), "OperationalError"),
    ],
)
def test_the_text_has_neither_the_statement_nor_a_password(original: Exception, text: str) -> None:
    assert text_of(sqlalchemy.exc.OperationalError("SELECT secret", {}, original)) == text
