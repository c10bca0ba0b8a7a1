"""How long a process that ended waits before it starts again; `test_serve_processes.py` runs the processes."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from oss_wsgi.serving.inheritance import Inheritance
from oss_wsgi.serving.supervisor import Processes, pause_before_restart
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
    processes = Processes(inherited, {}, clock=clock)
    yield processes
    for part in (processes._selector, processes._wake_reader, processes._wake_writer, processes._share):
        part.close()


@pytest.mark.parametrize(("served", "pauses"), [(10, [0, 0]), (1, [0, 1]), (0, [0.5, 1])])
def test_what_has_served_starts_again_at_once_but_not_again_and_again(
    processes: Any, clock: FrozenClock, served: float, pauses: list[float]
) -> None:
    """A start that takes long is no long life."""
    (child,) = processes._children
    for pause in pauses:
        child.process = SimpleNamespace(pid=7, returncode=7)
        clock.advance(60)
        if served:
            child.serving_since = clock() - served
        processes._bury(child, child.process)
        assert child.start_at - clock() == pause
