"""`oss-wsgi ledger sql` prints the tables for administrators."""

from __future__ import annotations

import os

import pytest

from oss_wsgi.cli.main import command_parser, main
from oss_wsgi.cli.options import environ_of
from oss_wsgi.ledger.sql_tables import Statements


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://app:pass-word@db/shop", "postgresql"),
        ("postgresql+psycopg:", "postgresql"),
        ("mysql:", "mysql"),
        ("mariadb://db/shop", "mysql"),
    ],
)
def test_the_statements_are_those_that_the_ledger_runs(capsys: pytest.CaptureFixture[str], url: str, name: str) -> None:
    assert main(["ledger", "sql", "--url", url]) == 0
    output = capsys.readouterr().out
    assert "pass-word" not in output
    for statement in Statements(name).creation():
        assert f"{statement};\n" in output


def test_the_setting_names_the_database(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_LEDGER", "mysql://app:pass-word@db/shop")
    assert main(["ledger", "sql"]) == 0
    assert "ENGINE=InnoDB" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which database?"),
        (["--url", "redis://:pass-word@h/0"], "not in 'redis://h/0'"),
        (["--url", "ledger.db"], "not in 'ledger.db'"),
        (["--url", "sqlite:"], "not in 'sqlite:'"),
    ],
)
def test_what_has_no_tables_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.delenv("OSS_LEDGER", raising=False)
    assert main(["ledger", "sql", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "pass-word" not in error


def test_a_password_on_the_command_line_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--ledger", "postgresql://app:pass-word@db/shop"]) == 2
    error = capsys.readouterr().err
    assert "set OSS_LEDGER in the environment" in error
    assert "pass-word" not in error


@pytest.mark.parametrize(
    ("named", "both"),
    [
        ("postgresql://app:pass-word@db/shop", "OSS_LEDGER is postgresql://db/shop and --ledger is ledger.db:"),
        ("postgresql://app:1/pass-word@db/shop", "OSS_LEDGER is postgresql://... and --ledger is ledger.db:"),
        ("redis://db?password=pass@-word/", "OSS_LEDGER is redis://db and --ledger is ledger.db:"),
    ],
)
def test_a_ledger_beside_another_one_is_refused_by_both_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], named: str, both: str
) -> None:
    monkeypatch.setenv("OSS_LEDGER", named)
    assert main(["serve", "--ledger", "ledger.db"]) == 2
    error = capsys.readouterr().err
    assert both in error
    assert "-word" not in error


def test_a_ledger_that_differs_in_what_is_not_shown_is_told_from_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OSS_LEDGER", "postgresql://app@db/shop")
    assert main(["serve", "--ledger", "postgresql://admin@db/shop"]) == 2
    assert "--ledger is postgresql://db/shop with another user or query:" in capsys.readouterr().err


def test_the_same_ledger_twice_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSS_LEDGER", " ledger.sqlite3 ")
    arguments = command_parser().parse_args(["serve", "--ledger", "ledger.sqlite3"])
    arguments.environ = dict(os.environ)
    assert environ_of(arguments)["OSS_LEDGER"] == "ledger.sqlite3"
