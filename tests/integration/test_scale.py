"""The simulation of a day agrees with what queueing theory says, and with its own sizes and sums."""

from __future__ import annotations

import pytest

from ..support.absent import skip_or_fail

try:
    from ..benchmarks.scale import DAY, Costs, Failures, Prices, day, simulate, simulate_clients, sized
except SystemExit:
    skip_or_fail("SimPy")

# One process that does nothing but 1 ms of work that is always the same, and a ledger that takes no time.
ALIKE = Costs(signature=0.0, callback=0.001, handler=0.0, row=1e-9, sync=0.0, spread=0.0)


@pytest.mark.parametrize("load", [0.3, 0.8])
def test_one_process_is_as_busy_as_the_rate_times_the_work(load: float) -> None:
    assert simulate(ALIKE, 1, load * 1000, 10).processor == pytest.approx(load, rel=0.05)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_waiting_is_that_of_an_m_d_1_queue(load: float) -> None:
    """Pollaczek and Khinchine: with work that is alike, waiting is load / (2 (1 - load)) times the work."""
    seconds = simulate(ALIKE, 1, load * 1000, 25).seconds
    assert sum(seconds) / len(seconds) == pytest.approx(0.001 * (1 + load / (2 * (1 - load))), rel=0.15)


def test_clients_that_wait_for_each_other_get_the_rate_of_the_narrowest_part() -> None:
    costs = Costs(callback=0.0001, handler=0.0, row=0.0001, sync=0.0012, batch=8, spread=0.0)
    assert simulate_clients(costs, 8, 5).rate == pytest.approx(costs.ledger_rate, rel=0.05)
    assert simulate_clients(costs, 1, 5).rate == pytest.approx(1 / 0.0014, rel=0.02)


def test_costs_of_a_ledger_give_its_rates_back() -> None:
    costs = Costs.of_ledger(1250, 3060)
    assert 1 / (costs.row + costs.sync) == pytest.approx(1250)
    assert costs.ledger_rate == pytest.approx(3060)


def test_a_ledger_that_is_away_loses_what_comes_meanwhile() -> None:
    lost = simulate(ALIKE, 1, 500, 12, failure="ledger", begin=1, end=11).lost
    assert lost == pytest.approx(5000, rel=0.05)


def test_pages_that_are_open_find_what_was_lost() -> None:
    heard = simulate(ALIKE, 1, 100, 50, failure="ledger", begin=1, end=11, pages=1.0)
    assert heard.found == heard.lost > 900
    assert simulate(ALIKE, 1, 100, 50, failure="ledger", begin=1, end=11, pages=0.5).found < heard.found * 0.6
    # 31 s are the end of their patience.
    assert simulate(ALIKE, 1, 100, 90, failure="ledger", begin=1, end=81, pages=1.0).found < heard.lost * 4


def test_a_killed_process_loses_only_what_it_has_begun() -> None:
    assert simulate(ALIKE, 2, 500, 5, failure="process", begin=1, end=2).lost <= 2
    # Connections wait in the kernel while the only process is away.
    alone = simulate(ALIKE, 1, 500, 5, failure="process", begin=1, end=2)
    assert alone.lost <= 2
    assert alone.percentile(1.0) == pytest.approx(1.0, rel=0.6)


def test_a_handler_of_three_seconds_loses_what_finds_no_thread() -> None:
    costs = Costs(handler=0.001)
    assert simulate(costs, 1, 20, 20, failure="slow", begin=2, end=12).lost > 0
    assert simulate(costs, 1, 20, 20).lost == 0


def test_a_group_is_no_busier_than_it_shall_be() -> None:
    costs = Costs()
    group = sized(10_000, costs)
    share = 10_000 / group.cells
    assert share / costs.ledger_rate <= 0.7
    assert share * (costs.signature + costs.callback) / group.processes <= 0.4
    assert (sized(1, costs).cells, sized(1, costs).processes) == (1, 1)


def test_a_day_adds_up() -> None:
    assert sum(DAY) / 24 == pytest.approx(1)
    one = day(1e4, Costs(), Failures(), Prices())
    assert one.by_pages + one.by_sweep == pytest.approx(sum(one.lost.values()))
    assert one.peak == pytest.approx(3e4 / 86_400)
    assert one.money["puts"] == pytest.approx(0.01)
    assert one.lost["ledger"] == pytest.approx(one.peak * 10, rel=0.6)
