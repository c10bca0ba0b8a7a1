"""How long a process that ended waits before it starts again; `test_serve_processes.py` runs the processes."""

from __future__ import annotations

from oss_wsgi.cli.processes import pause_before_restart


def test_pauses_grow_up_to_half_a_minute() -> None:
    pauses = [pause_before_restart(lives) for lives in (0, 1, 2, 3, 4, 5, 6, 7, 8, 900)]
    assert pauses == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
