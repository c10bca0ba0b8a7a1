"""The window of a sweep, and the moment before which everything is told."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from oss_wsgi.recovery.window import State, moments, next_sweep, untold_beside, untold_by_sweeps

NOW = 1733227932.5
HOUR = 3600


def swept(since: float, until: float, *, left: float | None = None) -> State:
    return State(since, until, since).finished(left)


@pytest.mark.parametrize(
    "state",
    [State(1.5, 2.5), State(2.0, 1.0, 0.5), swept(0, NOW), swept(0, NOW, left=NOW)],
)
def test_a_saved_state_is_read_again(state: State) -> None:
    assert State.read(state.text()) == state


@pytest.mark.parametrize(
    "text",
    [
        *("", "[", "[]", "5", "{}", '{"told": 1}', '{"told": "1", "until": 2}', '{"told": 1, "until": NaN}'),
        *('{"told": 1, "until": 2, "since": "x"}', '{"told": 1, "until": 1%s}' % ("0" * 400)),
    ],
)
def test_a_damaged_state_is_none_and_is_logged(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert State.read(text) is None
    assert "cannot be read" in caplog.text


def test_no_state_is_none_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    assert State.read(None) is None
    assert caplog.records == []


@pytest.mark.parametrize(
    ("last", "state"),
    [
        (None, (20, 30, 20)),
        (swept(10, 25), (25, 30, 20)),
        (swept(15, 50), (50, 30, 20)),
        (swept(10, 25, left=12), (12, 30, 12)),
        (swept(10, 15, left=15), (15, 30, 15)),
        (swept(10, 50, left=12), (12, 50, 12)),
        (swept(3, 6, left=5), (5, 30, 5)),
        (swept(3, 6, left=4), (20, 30, 20)),
        (State(15, 18, 10), (15, 30, 10)),
        (State(15, 50, 10), (15, 50, 10)),
        (State(25, 28, 22), (25, 30, 20)),
        (State(3, 4, 2), (5, 30, 5)),
    ],
    ids=[
        *("the first", "after one that told all", "of earlier days", "something left", "the last moment left"),
        *(
            "left by one of later days",
            "left just in time",
            "left too long ago",
            "killed",
            "killed with a later window",
        ),
        *("killed with a shorter window", "killed long ago"),
    ],
)
def test_the_next_sweep_looks_at_what_is_not_told(last: State | None, state: tuple[float, float, float]) -> None:
    assert next_sweep(last, 20, 30, not_before=5) == state


def test_a_sweep_of_earlier_days_does_not_undo_what_was_told(caplog: pytest.LogCaptureFixture) -> None:
    told = swept(50, 60)
    earlier = next_sweep(told, 20, 30, 0).finished(None)
    assert earlier == told
    assert 60 < earlier.told < 60.001
    assert next_sweep(earlier, 55, 70, 0) == (60, 70, 55)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("state", "untold_since"),
    [
        (State(20, 30, 20), 20),
        (State(30, 30, 20), 30),
        (State(50, 30, 20), 50),
        (swept(20, 30), None),
        (swept(20, 30, left=25), 25),
        (swept(20, 30, left=30), 30),
    ],
)
def test_a_state_says_since_when_something_may_be_untold(state: State, untold_since: float | None) -> None:
    assert state.untold_since == untold_since


def test_a_time_that_nobody_looks_at_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    next_sweep(swept(0, 10 * HOUR), 20 * HOUR, 30 * HOUR, 0)
    assert "no sweep has looked at the 10.0 hours before this one's window" in caplog.text


def test_a_finished_sweep_ends_what_others_left_below_its_prefixes_and_in_its_window() -> None:
    others = {'["a/b/"]': 10.0, '["a/", "c/"]': 20.0, '["a/x/"]': 5.0, "x": 1.0, "[5]": 1.0}
    kept = {'["a/", "c/"]': 20.0, '["a/x/"]': 5.0}
    assert untold_beside(others, ["a/"], None, 10) == kept
    assert untold_beside(others, ["a/"], 15, 10) == {**kept, '["a/"]': 15}
    assert untold_beside({'["a/"]': 5.0}, ["a/"], None, 10) == {}
    assert untold_beside(others, ["a/"], 15, float("inf")) == {'["a/b/"]': 10.0, **kept, '["a/"]': 15}


def test_damaged_moments_are_left_out() -> None:
    assert untold_by_sweeps({"a": 1.5, "b": float("nan"), "c": "x", "d": int("9" * 400)}) == {"a": 1.5}
    assert untold_by_sweeps("x") == {}


@pytest.mark.parametrize(
    ("since", "until", "window"),
    [
        ("26h", "15m", (NOW - 26 * HOUR, NOW - 900)),
        (3600, 0, (NOW - 3600, NOW)),
        ("1h", "1h", (NOW - 3600, NOW - 3600)),
        ("7 days", "0", (NOW - 7 * 24 * HOUR, NOW)),
        (timedelta(hours=2), timedelta(minutes=1), (NOW - 7200, NOW - 60)),
        (datetime(2024, 12, 3, tzinfo=timezone.utc), NOW, (1733184000.0, NOW)),
    ],
)
def test_a_window_is_written_as_durations_or_moments(since: Any, until: Any, window: tuple[float, float]) -> None:
    assert moments(since, until, NOW) == window


@pytest.mark.parametrize(
    ("since", "until", "message"),
    [
        ("15m", "26h", "since must be before until"),
        ("soon", "15m", "since must be a duration such as 15m, 26h or 7d, not 'soon'"),
        (-1, 0, "since must be seconds, a timedelta"),
        (True, 0, "since must be seconds"),
        ("1h", None, "until must be seconds"),
        (float("nan"), 0, "since must be seconds"),
        (datetime(2024, 12, 3), 0, "since must have a time zone"),
    ],
)
def test_a_window_that_is_none_is_refused(since: Any, until: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        moments(since, until, NOW)
