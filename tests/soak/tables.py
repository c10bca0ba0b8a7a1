"""The tables of the soak's application, and the settings in its environment."""

from __future__ import annotations

import sqlite3

DATABASE = "SOAK_DATABASE"
#: How long a slow call of the handler takes.
SLOW_SECONDS = "SOAK_SLOW_SECONDS"
#: When set, recover and reconcile go past the ledger: the soak must then fail.
BREAK = "SOAK_BREAK"

SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS uploads (object TEXT, etag TEXT, size INTEGER, PRIMARY KEY (object, etag));
CREATE TABLE IF NOT EXISTS calls (object TEXT, etag TEXT, process INTEGER);
"""


def connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=60)
