"""URLs of a SQLLedger: which are refused, with what sentence, and that none shows a password."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from oss_wsgi.exceptions import SettingsError
from oss_wsgi.ledger.sql import SQLLedger
from oss_wsgi.ledger.sql_engine import engine_from
from oss_wsgi.ledger.url import check_ledger

from .contract import Handler, LedgerClock

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "The ledger's URL is malformed"),
        (
            "postgresql://u:p@swordfish@127.0.0.1:1/app",
            "percent-encode each character of the password that is not a letter or digit",
        ),
        (
            "mysql://u:p@swordfish@127.0.0.1:1/app",
            "percent-encode each character of the password that is not a letter or digit",
        ),
        *(
            (url, "percent-encode each character of the password that is not a letter or digit")
            for url in ("postgresql://u:p@a/swordfish@127.0.0.1:1/app", "mysql://u:p@a?swordfish@127.0.0.1:1/app")
        ),
        ("mysql://u@127.0.0.1:1/app?connect_timeout=swordfish", "ValueError for mysql+pymysql"),
        ("mysql://u@127.0.0.1:1/app?charset=swordfish", "//127.0.0.1:1/app cannot be used"),
        ("mysql://u@127.0.0.1:1/app?ssl_ca=/swordfish", "//127.0.0.1:1/app cannot be used"),
        ("postgresql://u@127.0.0.1:1/app?password=swordfish", "//127.0.0.1:1/app cannot be used"),
        ("mysql://u@127.0.0.1:1/app?password=swordfish", "//127.0.0.1:1/app cannot be used"),
        ("mysql://u@127.0.0.1:1/app?nonsense=swordfish", "unexpected keyword argument 'nonsense'"),
        ("postgresql://u@127.0.0.1:1/app?nonsense=swordfish", "invalid connection option"),
        ("oracle://u:swordfish@127.0.0.1/app", "A ledger needs PostgreSQL, MySQL or MariaDB, not oracle."),
        ("postgresql+asyncpg://u:swordfish@127.0.0.1/app", "which is for asyncio"),
        ("postgresql+pg8000://u:swordfish@127.0.0.1/app", "or write postgresql:// for psycopg, which pip install"),
        ("sqlite:///ledger", "for a SQLite file use SQLiteLedger"),
        ("POSTGRESQL://u:swordfish@127.0.0.1:1/app", "postgresql+psycopg://127.0.0.1:1/app cannot be used"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_a_password(url: str, sentence: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(sentence)) as raised:
        SQLLedger(url, clock=LedgerClock())
    assert "swordfish" not in str(raised.value)
    assert str(raised.value).count("cannot be used") <= 1


@pytest.mark.parametrize("wrong", [None, 5, object()])
def test_what_is_neither_url_nor_engine_is_refused(wrong: Any) -> None:
    with pytest.raises(SettingsError, match="needs a URL or SQLAlchemy's Engine, not"):
        SQLLedger(wrong, clock=LedgerClock())


@pytest.mark.parametrize("error", [TypeError("its own"), ValueError("its own"), KeyboardInterrupt("its own")])
def test_an_error_of_the_applications_engine_is_left_as_it_is(error: BaseException) -> None:
    engine = sqlalchemy.create_engine("mysql+pymysql://u@127.0.0.1:1/app")
    connect = Handler(error)
    sqlalchemy.event.listen(engine, "do_connect", lambda *arguments: connect())
    with pytest.raises(type(error), match="its own"):
        SQLLedger(engine, clock=LedgerClock())


@pytest.mark.parametrize(
    ("scheme", "name"),
    [("postgresql", "connect_timeout"), ("postgresql", "application_name"), ("mysql", "read_timeout")],
)
def test_a_parameter_in_the_url_holds(scheme: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engine_from(f"{scheme}://u@127.0.0.1:1/app?{name}=77", threads=1, wait_timeout=4.0)
    connect = Handler(ConnectionRefusedError())
    seen: list[Any] = []

    def note(*arguments: object, **options: object) -> None:
        seen.append(options)
        connect()

    monkeypatch.setattr(engine.dialect, "connect", note)
    with pytest.raises(ConnectionRefusedError):
        engine.connect()
    assert str(seen[0][name]) == "77"


def test_an_engine_of_sqlite_is_refused(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'ledger'}")
    with pytest.raises(SettingsError, match="use SQLiteLedger"):
        SQLLedger(engine, clock=LedgerClock())


@pytest.mark.parametrize("url", ["postgresql://u:p@swordfish@h/app", "mysql://u:12/swordfish@h/app"])
def test_a_setting_whose_password_is_not_encoded_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="percent-encode") as raised:
        check_ledger(url)
    assert "swordfish" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h/db?sslrootcert=/etc/ssl/me@corp.pem",
        "mysql://u:p@h/db?ssl_ca=/home/a@b/ca.pem&charset=utf8mb4",
        "postgresql://u:p@/db?host=/run/pg@14",
    ],
)
def test_a_parameter_of_a_url_may_have_any_character(url: str) -> None:
    engine_from(url, threads=1, wait_timeout=4.0).dispose()
