"""What the errors of drivers, SQLAlchemy and Django mean."""

from __future__ import annotations

import sqlite3

import psycopg
import pymysql
import pytest
import sqlalchemy

from oss_wsgi.ledger.sql_errors import Meaning, meaning_of, text_of


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (psycopg.errors.SerializationFailure(), Meaning.CONFLICT),
        (psycopg.errors.DeadlockDetected(), Meaning.CONFLICT),
        (psycopg.errors.LockNotAvailable(), Meaning.BUSY),
        (psycopg.errors.UniqueViolation(), Meaning.DUPLICATE),
        (psycopg.errors.UndefinedTable(), Meaning.NO_TABLE),
        (psycopg.OperationalError("the connection is lost"), Meaning.UNAVAILABLE),
        (pymysql.err.OperationalError(1213, "Deadlock found"), Meaning.CONFLICT),
        (pymysql.err.OperationalError(1020, "Record has changed"), Meaning.CONFLICT),
        (pymysql.err.OperationalError(1205, "Lock wait timeout"), Meaning.BUSY),
        (pymysql.err.IntegrityError(1062, "Duplicate entry"), Meaning.DUPLICATE),
        (pymysql.err.OperationalError(2013, "Lost connection"), Meaning.UNAVAILABLE),
        (sqlite3.OperationalError("database is locked"), Meaning.BUSY),
        (sqlite3.OperationalError("no such table: oss_wsgi_answers"), Meaning.NO_TABLE),
        (sqlite3.IntegrityError("UNIQUE constraint failed"), Meaning.DUPLICATE),
        (sqlalchemy.exc.TimeoutError("QueuePool limit"), Meaning.BUSY),
        (ConnectionResetError(), Meaning.UNAVAILABLE),
        (KeyError("a handler's own"), None),
        (ValueError(), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_means(error: Exception, meaning: Meaning | None) -> None:
    assert meaning_of(error) is meaning


def test_an_error_means_the_same_when_it_is_wrapped() -> None:
    original = pymysql.err.OperationalError(1213, "Deadlock found")
    assert meaning_of(sqlalchemy.exc.OperationalError("SELECT 1", {}, original)) is Meaning.CONFLICT


def test_the_text_has_neither_the_statement_nor_a_password() -> None:
    original = pymysql.err.OperationalError(2003, "cannot connect to mysql://app:pass-word@db\nand more")
    assert (
        text_of(sqlalchemy.exc.OperationalError("SELECT secret", {}, original))
        == "cannot connect to mysql://app:...@db"
    )
