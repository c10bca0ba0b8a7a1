"""The application's own transaction, in which a ledger claims an upload and the handler works."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from ..exceptions import SettingsError
from .sql_text import Dialect
from .transactional import AUTOCOMMIT, Rows

_SETTING = re.compile(r"[0-9a-z]+")

#: Runs a statement, and returns how many rows it affected and those that it selected.
Execute = Callable[[str], Rows]


class SharedTransaction:
    """A transaction of the application, with the ledger's statements in it."""

    is_shared = True

    def __init__(
        self,
        handed: object,
        execute: Execute,
        dialect: Dialect,
        wait_timeout: float,
        guard: Callable[[SharedTransaction], AbstractContextManager[None]],
        flush: Callable[[], object] | None = None,
    ) -> None:
        self.handed: object | None = handed
        self.has_conflict = False
        self.was_ended = False
        #: Whether the handler runs.
        self.is_handling = False
        #: Whether the application has committed, where that is not certain.
        self.is_committed = True
        self._flush = flush
        self._execute = execute
        self._guard = guard
        self._undo = ""
        # How long a statement waits for a lock is the application's affair, except for the claim.
        if dialect.name == "postgresql":
            before = str(execute("SHOW lock_timeout").rows[0][0])
            execute(f"SET LOCAL lock_timeout = {max(1, math.ceil(wait_timeout * 1000))}")
            if _SETTING.fullmatch(before):
                self._undo = f"SET LOCAL lock_timeout = '{before}'"
        elif dialect.name == "mysql":
            before, autocommit = execute("SELECT @@SESSION.innodb_lock_wait_timeout, @@SESSION.autocommit").rows[0]
            if int(autocommit):
                raise SettingsError(AUTOCOMMIT)
            execute(dialect.wait_at_most(wait_timeout)[0])
            self._undo = f"SET SESSION innodb_lock_wait_timeout = {int(before)}"

    def run(self, *statements: str) -> Rows:
        """Run statements, and return what the last one returned."""
        rows = Rows(0, [])
        for statement in statements:
            rows = self._execute(statement)
        return rows

    def run_last(self, statement: str) -> None:
        """Run the last statement of the transaction; the application's own code commits."""
        self._execute(statement)

    def restore(self) -> None:
        """Let statements wait for locks as the application wants it."""
        if self._undo:
            undo, self._undo = self._undo, ""
            self._execute(undo)

    def flush(self) -> None:
        """Send the statements that a Session keeps back until the commit: their errors are the handler's."""
        if self._flush is not None and not self.was_ended:
            self._flush()

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Refuse to commit while the with block runs."""
        self.restore()
        with self._guard(self):
            yield
