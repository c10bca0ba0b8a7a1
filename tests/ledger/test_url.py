"""The ledger that OSS_LEDGER names, and the parts of its URL that are never shown."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from oss_wsgi import Settings
from oss_wsgi.exceptions import SettingsError
from oss_wsgi.ledger.sql import DEFAULT_THREADS
from oss_wsgi.ledger.url import check_ledger, is_url, ledger_from, passwords_in, shown

from .contract import LedgerClock

URL = "postgresql://app:p%40ss@db.example:5432/shop?sslmode=require"


@pytest.mark.parametrize(
    "text", ["ledger.db", "/lib/ledger.db", "C:\\ledger.db", "C:\\a@b.db", "./a:b@c.db", "what?password=x.db"]
)
def test_a_path_is_no_url(text: str) -> None:
    assert not is_url(text)
    check_ledger(text)
    assert shown(text) == text
    assert passwords_in(text) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("http://app:pass-word@db/shop", "must be a path, or a URL that begins with postgresql://"),
        ("app:pass-word@db/shop", "must be a path, or a URL .* not one without its beginning"),
        ("postgresql://app:pass-word@db", "must name the database"),
        ("mysql://app:pass-word@db/", "must name the database"),
        ("postgresql://app:pass-word@db:port/shop", "must have a host and a port"),
        ("postgresql://app:pass-word@[db/shop", "must have a host and a port"),
        ("postgresql://app:pass-word@x@db/shop", "must have a host and a port"),
        ("redis://app:1/pass-word@db/0", "must have a host and a port"),
        ("redis://app:1?pass-word@db/0", "must have a host and a port"),
        ("redis://app:1#pass-word@db/0", "must have a host and a port"),
    ],
)
def test_a_url_that_names_no_ledger_is_refused_without_its_password(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as raised:
        Settings(ledger=text)
    assert "pass-word" not in str(raised.value)
    assert "pass-word" not in shown(text)
    with pytest.raises(SettingsError, match=problem) as raised:
        ledger_from(text, clock=LedgerClock())
    assert "pass-word" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        *("redis://h", "rediss://:p@ss@h/0", "valkey://h", "valkeys://h", "postgres://h/shop", "POSTGRESQL://h/shop"),
        *("postgresql+psycopg://h/shop", "mysql+pymysql://h/ant", "mariadb://app:p%40ss@h:3306/shop"),
    ],
)
def test_a_url_that_names_a_ledger_is_one(text: str) -> None:
    check_ledger(text)


@pytest.mark.parametrize(
    ("text", "ledger", "more"),
    [
        ("ledger.db", "sqlite.SQLiteLedger", {}),
        ("VALKEY://h", "redis.RedisLedger", {}),
        ("mysql+pymysql://h/shop", "sql.SQLLedger", {"threads": 3}),
    ],
)
def test_a_ledger_is_opened_with_what_its_class_takes(
    monkeypatch: pytest.MonkeyPatch, text: str, ledger: str, more: dict[str, int]
) -> None:
    clock = LedgerClock()
    monkeypatch.setattr(f"oss_wsgi.ledger.{ledger}", lambda *arguments, **options: (arguments, options))
    opened: Any = ledger_from(text, clock=clock, threads=3, wait_timeout=2.0)
    assert opened == ((text,), {"clock": clock, "wait_timeout": 2.0, **more})
    opened = ledger_from(text, clock=clock)
    assert opened[1] == {"clock": clock, **dict.fromkeys(more, DEFAULT_THREADS)}


def test_the_password_is_a_secret_of_the_settings() -> None:
    settings = Settings(ledger=URL)
    assert settings.secrets() == ["p%40ss", "p@ss"]
    assert "p%40ss" not in repr(settings)
    assert shown(URL) == "postgresql://db.example:5432/shop"
    assert passwords_in("redis://:abc@h/0?ssl_password=uvw") == ["abc", "uvw"]
    assert passwords_in("postgresql://h/shop?password=xyz") == ["xyz"]
    assert passwords_in("mysql://app:abc@h/shop?passwd=xyz&init_command=a@b") == ["abc", "xyz"]


@pytest.mark.parametrize(
    ("url", "package", "extra"),
    [
        ("postgres://app:pass-word@db/shop", "sqlalchemy", "postgresql"),
        ("postgresql://app:pass-word@db/shop", "psycopg", "postgresql"),
        ("mariadb://app:pass-word@db/shop", "sqlalchemy", "mysql"),
        ("mysql://app:pass-word@db/shop", "pymysql", "mysql"),
    ],
)
def test_a_missing_package_is_said_with_the_line_to_install(
    monkeypatch: pytest.MonkeyPatch, url: str, package: str, extra: str
) -> None:
    for name in list(sys.modules):
        if name.startswith("oss_wsgi.ledger.sql") and name != "oss_wsgi.ledger.sqlite":
            monkeypatch.delitem(sys.modules, name)
    for name in (package, *(name for name in sys.modules if name.startswith(f"{package}."))):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SettingsError, match=rf"needs {package}: pip install 'oss-wsgi\[{extra}\]'") as raised:
        ledger_from(url, clock=LedgerClock())
    assert "pass-word" not in str(raised.value)
