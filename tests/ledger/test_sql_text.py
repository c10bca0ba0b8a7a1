"""The statements of the SQL ledgers: keys, limits of the databases, and what goes into a statement."""

from __future__ import annotations

import re

import pytest

from oss_wsgi.ledger.base import StoredResponse
from oss_wsgi.ledger.memory import MARGIN
from oss_wsgi.ledger.sql_text import Key, dialect_of, upload_hash
from oss_wsgi.testing.ledger_contract import NOW, identity

NAMES = ["postgresql", "mysql", "mariadb", "sqlite"]


def test_an_upload_is_known_by_object_and_etag() -> None:
    hashes = {upload_hash(*pair) for pair in (("a", "b"), ("ab", ""), ("", "ab"), ("A", "b"), ("a", "B"))}
    assert len(hashes) == 5
    assert {len(one) for one in hashes} == {16}


@pytest.mark.parametrize(("now", "seconds"), [(NOW, 300), (NOW + 400, 0), (NOW - 0.5, 301)])
def test_an_answer_stays_for_the_rest_of_its_tickets_life_and_a_day(now: float, seconds: int) -> None:
    assert Key.of(identity(), now).seconds == seconds + MARGIN


@pytest.mark.parametrize("name", NAMES)
def test_what_users_choose_is_in_no_statement_as_it_is(name: str) -> None:
    dialect = dialect_of(name)
    evil = "x'; DROP TABLE oss_wsgi_answers; -- %s \\ \0"
    key = Key.of(identity(evil, object=evil, etag=evil, max_objects=9), NOW)
    statements = [
        dialect.lock_ticket(key),
        dialect.select_ticket(key),
        dialect.select_answer(key),
        dialect.select_slots(key),
        dialect.lock_slot(key, 0),
        dialect.insert(key, 0, StoredResponse(evil, evil, evil.encode())),
        dialect.select_known([key.upload]),
    ]
    if dialect.select_next_slot(key) is not None:
        statements += [str(dialect.select_next_slot(key)), dialect.add_slots(key, 0)]
    for statement in statements:
        assert "DROP" not in statement
        assert re.search(r"[%:;\\\0]", statement.replace("::bigint", "")) is None


@pytest.mark.parametrize("name", ["mysql", "sqlite"])
def test_only_postgresql_is_partitioned(name: str) -> None:
    with pytest.raises(ValueError, match="only PostgreSQL"):
        dialect_of(name).schema(partitioned=True)


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="needs PostgreSQL, MySQL, MariaDB or SQLite, not oracle"):
        dialect_of("oracle")
