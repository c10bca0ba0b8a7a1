"""The sessions that wait in a SQL ledger for their next transaction."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from oss_wsgi.ledger.sql_session import IdleSessions, Watch

from ..support.waiting import TIMEOUT, wait_until
from .contract import LedgerClock


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


@pytest.mark.slow
def test_only_a_statement_that_runs_for_too_long_is_cut() -> None:
    """A handler may take longer than a statement."""
    threads = threading.active_count()
    with ExitStack() as stack:
        (ended, its_server), (patient, other_server), (hasty, _) = (
            [stack.enter_context(each) for each in socket.socketpair()] for _ in range(3)
        )
        for each in (ended, patient, hasty):
            each.settimeout(TIMEOUT)
        watch = Watch()
        for _ in range(2):
            watch.stop()  # the next call starts it again
            assert watch.limited(ended, 0, lambda text: text, "its result") == "its result"
        executor = stack.enter_context(ThreadPoolExecutor(1))
        running = executor.submit(watch.limited, patient, 60, patient.recv, 1)
        wait_until(running.running)
        assert watch.limited(hasty, 0, hasty.recv, 1) == b""
        other_server.sendall(b"a")
        assert running.result() == b"a"
        its_server.sendall(b"b")
        assert ended.recv(1) == b"b"
        watch.stop()
        executor.shutdown()
        wait_until(lambda: threading.active_count() <= threads)
