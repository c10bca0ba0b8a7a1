"""server.py restarted while callbacks come, in short: `tests/benchmarks/restarts.py` does it fifty times."""

from __future__ import annotations

import pytest

from ..benchmarks.restarts import measure


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("systemd", [False, True], ids=["own socket", "inherited socket"])
def test_a_restart_loses_no_report(systemd: bool, processes: int) -> None:
    outcome = measure(3, 8, systemd=systemd, processes=processes)
    assert outcome.failures == {}
    assert outcome.sent >= 4 * 8
    assert (outcome.rows, outcome.missing) == (outcome.sent, 0)
    assert not (systemd and outcome.refused)
