"""How long a process that ended waits before it starts again; `test_serve_processes.py` runs the processes."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from oss_wsgi.cli.inheritance import Inheritance
from oss_wsgi.cli.supervisor import Processes, pause_before_restart
from oss_wsgi.testing import FrozenClock


def test_pauses_grow_up_to_half_a_minute() -> None:
    pauses = [pause_before_restart(lives) for lives in (0, 1, 2, 3, 4, 5, 6, 7, 8, 900)]
    assert pauses == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def processes(clock: FrozenClock) -> Iterator[Any]:
    inherited = Inheritance([], [], [], None, processes=1)
    processes = Processes(inherited, {}, owns_listeners=False, clock=clock)
    yield processes
    for part in (processes._selector, processes._wake_reader, processes._wake_writer):
        part.close()


@pytest.mark.parametrize(("serves", "pauses"), [(True, [0, 0]), (False, [0.5, 1])])
def test_a_start_that_takes_long_is_no_long_life(
    processes: Any, clock: FrozenClock, serves: bool, pauses: list[float]
) -> None:
    """Or a process that fails at the end of it would start again and again without a pause."""
    (child,) = processes._children
    for pause in pauses:
        child.process = SimpleNamespace(pid=7, returncode=7)
        clock.advance(60)
        if serves:
            child.serving_since = clock() - 10
        processes._bury(child, child.process)
        assert child.start_at - clock() == pause
