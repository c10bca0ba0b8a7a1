"""The steady time of ledgers: what jumps of the clock move."""

from __future__ import annotations

from itertools import accumulate

import pytest

from oss_wsgi.ledger.steady_time import MAX_STEP, SteadyTime

NOW = 1733227932.0
DAY = 86_400.0


def after(*looks: float) -> float:
    """Return how far the steady time has moved after readings of a clock, in seconds after ``NOW``."""
    time = SteadyTime.started(NOW)
    for look in looks:
        time = time.at(NOW + look)
    return time.seconds - NOW


def test_the_steady_time_goes_as_a_clock_that_goes_right() -> None:
    assert after(*accumulate([MAX_STEP, 0.5, 300, 0])) == MAX_STEP + 300.5


@pytest.mark.parametrize("jump", [DAY, -DAY, 365 * DAY])
def test_jumps_and_their_way_back_cancel_out(jump: float) -> None:
    assert after(*[jump, 0.0] * 1000) == 0
    assert abs(after(*[jump, 0.0] * 1000, jump)) == MAX_STEP


def test_many_looks_during_a_jump_count_its_own_length() -> None:
    assert after(*(DAY + number / 1000 for number in range(10_000)), 10.0) == pytest.approx(9.999)


def test_a_long_pause_counts_as_one_step() -> None:
    assert after(7 * DAY) == MAX_STEP


def test_a_response_stays_for_a_day_after_the_rest_of_its_ticket() -> None:
    time = SteadyTime(1000.5, NOW)
    assert time.forget_after(int(NOW) + 300) == 1301 + DAY
    assert time.forget_after(int(NOW) - 300) == 1001 + DAY
