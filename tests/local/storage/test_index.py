"""An index that several processes open at the same moment."""

import sqlite3
import threading
from contextlib import closing

import pytest

from oss_wsgi.local.storage import index
from oss_wsgi.local.storage.index import ObjectIndex


@pytest.fixture
def held(tmp_path):
    """A new database that another process is just making its tables in."""
    with closing(sqlite3.connect(tmp_path / "index", isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE buckets_of_another (name)")
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_who_opens_it_waits_for_whoever_is_making_it(held, tmp_path):
    letting_go = threading.Timer(0.1, held.execute, ["COMMIT"])
    letting_go.start()
    index = ObjectIndex(str(tmp_path / "index"))
    letting_go.join()
    assert index.read("PRAGMA journal_mode")[0][0] == "wal"
    assert index.read("SELECT * FROM buckets") == []
    index.close()


def test_who_is_kept_waiting_too_long_hears_why(held, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "PATIENCE", 0.0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        ObjectIndex(str(tmp_path / "index"))
