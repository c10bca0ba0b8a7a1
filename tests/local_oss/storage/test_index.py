import sqlite3
import threading
from contextlib import closing

import pytest

from local_oss.storage import index
from local_oss.storage.index import IndexDatabase, StoredObject, to_text

from ...support.sqlite_statements import Statements
from ..stored import NOW


@pytest.fixture
def locked_database(tmp_path):
    """A new database in which another process is just creating its tables."""
    with closing(sqlite3.connect(tmp_path / "index", isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE buckets_of_another (name)")
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def test_opening_waits_for_a_process_that_creates_the_tables(locked_database, tmp_path):
    commit = threading.Timer(0.1, locked_database.execute, ["COMMIT"])
    commit.start()
    index = IndexDatabase(str(tmp_path / "index"))
    commit.join()
    assert index.read("PRAGMA journal_mode")[0][0] == "wal"
    assert index.read("SELECT * FROM buckets") == []
    index.close()


def test_a_database_that_stays_locked_is_an_error(locked_database, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "LOCK_TIMEOUT", 0.0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        IndexDatabase(str(tmp_path / "index"))


def test_a_page_does_not_read_the_rest_of_the_bucket(monkeypatch, open_storage):
    statements = Statements(monkeypatch)
    bucket = open_storage().bucket("examplebucket")
    connection = statements.connections[0]
    with connection:
        connection.execute("BEGIN")
        for number in range(5000):
            key = f"a/{number:05}"
            row = ("examplebucket", key.encode(), str(number), to_text(StoredObject(key, 0, "", 0, "", NOW, {})))
            connection.execute("INSERT INTO objects VALUES (?, ?, ?, ?)", row)
    steps = []
    for connection in statements.connections:
        connection.set_progress_handler(lambda: steps.append(1), 100)
    assert len(bucket.page(after="a/02500", limit=10)[0]) == 10
    assert len(bucket.page(delimiter="/")[0]) == 1
    assert 0 < len(steps) < 20
