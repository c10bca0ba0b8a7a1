"""server.py restarted while callbacks come, in short: `tests/benchmarks/restarts.py` does it fifty times."""

from __future__ import annotations

import pytest

from ..benchmarks.restarts import measure


@pytest.mark.parametrize("systemd", [False, True], ids=["own socket", "inherited socket"])
def test_a_restart_loses_no_report(systemd: bool) -> None:
    outcome = measure(3, 8, systemd=systemd)
    # With its own socket the kernel resets what finishes its handshake between the last accept and the close.
    reset = 0 if systemd else outcome.failures.pop("ConnectionResetError without an answer", 0)
    assert reset <= outcome.restarts
    assert outcome.failures == {}
    assert outcome.sent >= 4 * 8
    assert (outcome.rows, outcome.missing) == (outcome.sent - reset, reset)
    assert not (systemd and outcome.refused)
