"""How long a process that ended waits before it starts again; `test_serve_processes.py` runs the processes."""

from __future__ import annotations

import pytest

from oss_wsgi.serving.supervisor import Child, pause_before_restart


def test_pauses_grow_up_to_half_a_minute() -> None:
    pauses = [pause_before_restart(lives) for lives in (0, 1, 2, 3, 4, 5, 6, 7, 8, 900)]
    assert pauses == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(("served", "pauses"), [(10, [0, 0]), (1, [0, 1]), (0, [0.5, 1])])
def test_what_has_served_starts_again_at_once_but_not_again_and_again(served: float, pauses: list[float]) -> None:
    """A start that takes long is no long life."""
    child = Child(1)
    for number, pause in enumerate(pauses, 1):
        child.serving_since = 60 * number - served if served else None
        assert child.plan_restart(60 * number) == pause
        assert child.start_at == 60 * number + pause
