"""What connections to SQLite are told: a test sees each statement, and may put something before one."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any, TypeVar

import pytest

from .waiting import TIMEOUT

_T = TypeVar("_T")


class Statements:
    """The connections that are opened from now on, and ``before``, which is called with each of their statements."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.connections: list[sqlite3.Connection] = []
        self.seen: list[str] = []
        #: Those of them that have executed something.
        self.used: set[sqlite3.Connection] = set()
        self.before: Callable[[str], None] = lambda statement: None
        statements = self

        class Connection(sqlite3.Connection):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                statements.connections.append(self)

            def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
                statements.pass_on(self, statement)
                return super().execute(statement, *values)

            def executemany(self, statement: str, *values: Any) -> sqlite3.Cursor:
                statements.pass_on(self, statement)
                return super().executemany(statement, *values)

        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))

    def pass_on(self, connection: sqlite3.Connection, statement: str) -> None:
        self.used.add(connection)
        self.seen.append(statement.strip())
        self.before(statement.strip())

    @contextmanager
    def held(self, beginning: str, start: Callable[[], _T]) -> Iterator[_T]:
        """Call ``start``, which starts a thread, and run the block while its first such statement waits."""
        reached, is_over = Event(), Event()

        def wait(statement: str) -> None:
            if statement.startswith(beginning) and not reached.is_set():
                reached.set()
                assert is_over.wait(TIMEOUT)

        self.before = wait
        try:
            started = start()
            assert reached.wait(TIMEOUT)
            yield started
        finally:
            self.before = lambda statement: None
            is_over.set()
