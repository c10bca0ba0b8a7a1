"""The sessions that wait in a SQL ledger for their next transaction."""

from __future__ import annotations

from typing import Any

from oss_wsgi.ledger.sql_session import IdleSessions
from oss_wsgi.testing.ledger_contract import LedgerClock


class Session:
    """Stands for a session of a database: it only notes whether it went back to the pool."""

    has_left = False
    idle_since = 0.0

    def begin(self) -> None:
        return

    def leave(self) -> None:
        self.has_left = True


def test_a_session_that_waited_for_over_an_hour_goes_back_to_the_pool() -> None:
    """The network may have dropped its connection without a word, and the pool replaces old ones."""
    clock, sessions = LedgerClock(), [Session(), Session()]
    idle: Any = IdleSessions(clock)
    made = iter(sessions)
    for seconds, expected in ((0, 0), (3600, 0), (3601, 1), (-3601, 1)):
        clock.advance(seconds)
        session = idle.take(lambda: next(made, sessions[1]))
        assert session is sessions[expected]
        idle.give(session)
    assert [session.has_left for session in sessions] == [True, True]
