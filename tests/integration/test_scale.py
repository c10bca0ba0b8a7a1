"""The simulation of a day agrees with what queueing theory says, and with its own sizes and sums."""

from __future__ import annotations

import pytest

from ..support.absent import skip_or_fail

try:
    from ..benchmarks.scale import DAY, Costs, Failures, Prices, day, simulate, simulate_clients
except SystemExit:
    skip_or_fail("SimPy")

# One process that does nothing but 1 ms of work that is always the same, and a ledger that takes no time.
ALIKE = Costs(signature=0.0, callback=0.001, handler=0.0, row=1e-9, sync=0.0, spread=0.0)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_waiting_is_that_of_an_m_d_1_queue(load: float) -> None:
    """Pollaczek and Khinchine: with work that is alike, waiting is load / (2 (1 - load)) times the work."""
    seconds = simulate(ALIKE, 1, load * 1000, 25).seconds
    assert sum(seconds) / len(seconds) == pytest.approx(0.001 * (1 + load / (2 * (1 - load))), rel=0.15)


def test_clients_that_wait_for_each_other_get_the_rate_of_the_narrowest_part() -> None:
    costs = Costs(callback=0.0001, handler=0.0, row=0.0001, sync=0.0012, batch=8, spread=0.0)
    assert simulate_clients(costs, 8, 5).rate == pytest.approx(costs.ledger_rate, rel=0.05)
    assert simulate_clients(costs, 1, 5).rate == pytest.approx(1 / 0.0014, rel=0.02)


def test_a_ledger_that_is_away_loses_what_comes_meanwhile() -> None:
    lost = simulate(ALIKE, 1, 500, 12, failure="ledger", begin=1, end=11).lost
    assert lost == pytest.approx(5000, rel=0.05)


def test_pages_that_are_open_find_what_was_lost() -> None:
    heard = simulate(ALIKE, 1, 100, 50, failure="ledger", begin=1, end=11, pages=1.0)
    assert heard.found == heard.lost > 900
    assert simulate(ALIKE, 1, 100, 50, failure="ledger", begin=1, end=11, pages=0.5).found < heard.found * 0.6
    # 31 s are the end of their patience.
    assert simulate(ALIKE, 1, 100, 90, failure="ledger", begin=1, end=81, pages=1.0).found < heard.lost * 4


def test_a_day_adds_up() -> None:
    assert sum(DAY) / 24 == pytest.approx(1)
    one = day(1e4, Costs(), Failures(), Prices())
    assert one.by_pages + one.by_sweep == pytest.approx(sum(one.lost.values()))
    assert one.peak == pytest.approx(3e4 / 86_400)
    assert one.money["puts"] == pytest.approx(0.01)
    assert one.lost["ledger"] == pytest.approx(one.peak * 10, rel=0.6)
