"""The window of a sweep, and the moment before which the sweeps of its prefixes have told everything."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import inf, isfinite, nextafter
from typing import Any, NamedTuple

from ..http import json_object
from ..settings import duration

log = logging.getLogger(__name__)


class State(NamedTuple):
    """What the sweeps of a list of prefixes have reached, in Unix seconds. The ledger keeps it between sweeps.

    Everything that was stored before ``told`` is told: handled, or refused for good. Windows have reached ``until``; if
    nothing up to there is left, ``told`` comes after it. ``since`` is where the window of a sweep began that has not
    finished, because it runs, failed or was killed; None after a finished one.
    """

    told: float
    until: float
    since: float | None = None

    @classmethod
    def read(cls, text: str | None) -> State | None:
        """Return the state that was saved as a text, or None; log a damaged one."""
        if text is None:
            return None
        document = json_object(text) or {}
        numbers = [document.get(name) for name in cls._fields]
        if numbers[2] is None:
            numbers.pop()
        if not all(map(_is_moment, numbers)):
            log.warning("the state of the last sweep cannot be read: this sweep begins anew")
            return None
        return cls(*map(float, numbers))  # type: ignore[arg-type]

    def text(self) -> str:
        """Return the text to save."""
        return json.dumps(self._asdict())

    @property
    def untold_since(self) -> float | None:
        """The moment since which something may not be told; None if nothing is left."""
        return self.told if self.since is not None or self.told <= self.until else None

    def finished(self, oldest_untold: float | None) -> State:
        """Return the state after a sweep has looked at its whole window, and left ``oldest_untold`` or nothing."""
        until = max(self.until, self.told)  # a sweep of earlier days does not undo what was told after them
        return State(nextafter(until, inf) if oldest_untold is None else oldest_untold, until)


def next_sweep(last: State | None, since: float, until: float, not_before: float) -> State:
    """Return the state of a sweep that is to look at ``since`` to ``until``: ``since`` and ``until`` are its window.

    The window of a sweep that has not finished is looked at again, and so is everything since the oldest object that
    the last sweep could not hand over. If nobody has looked at the time before the window, that is logged.

    :param not_before: no sweep looks at objects stored before, because the ledger may have forgotten them.
    """
    if last is None:
        return State(since, until, since)
    if last.since is not None:
        return State(max(last.told, not_before), max(until, last.until), min(since, max(last.since, not_before)))
    if not_before <= last.told <= last.until:
        return State(last.told, max(until, last.until), min(since, last.told))
    if last.until < since:
        line = "no sweep has looked at the %.1f hours before this one's window: sweep once with a longer since"
        log.warning(line, (since - last.until) / 3600)
    return State(max(since, last.until), until, since)


def untold_by_sweeps(others: object) -> dict[str, float]:
    """Return since when something may be untold for each list of prefixes, without damaged values."""
    return {name: moment for name, moment in others.items() if _is_moment(moment)} if isinstance(others, dict) else {}


def untold_beside(
    others: Mapping[str, float], prefixes: Sequence[str], untold_since: float | None, seen_since: float
) -> dict[str, float]:
    """Return since when something may be untold for each list of prefixes, as a JSON list, after a sweep.

    :param others: the same before.
    :param prefixes: those of the sweep.
    :param untold_since: what it left under its prefixes, or None.
    :param seen_since: since when it has looked at everything under its prefixes; infinity before it has finished.
    """
    own = json.dumps(prefixes)
    left = {
        name: moment
        for name, moment in others.items()
        if name != own and not (seen_since <= moment and _covers(prefixes, name)) and _covers([""], name)
    }
    return left if untold_since is None else {**left, own: untold_since}


def _covers(prefixes: Sequence[str], others: str) -> bool:
    """Return whether prefixes include all names below others, which are a JSON list; False if that is damaged."""
    try:
        return all(each.startswith(tuple(prefixes)) for each in json.loads(others))
    except (AttributeError, TypeError, ValueError):
        return False


def _is_moment(value: object) -> bool:
    try:
        return isinstance(value, int | float) and isfinite(value)
    except OverflowError:  # of an integer that no float can hold
        return False


def distinct(prefixes: Sequence[str]) -> list[str]:
    """Return the prefixes sorted, without those that another prefix covers."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not any(prefix.startswith(other) for other in kept):
            kept.append(prefix)
    return kept


def moments(since: Any, until: Any, now: float) -> tuple[float, float]:
    """Return a window in Unix seconds.

    Each end is a duration before ``now`` (seconds, timedelta, or a text such as ``26h``) or a moment (a datetime with a
    time zone, or Unix seconds, which are numbers over 10**9). Raises ValueError.
    """
    window = _moment("since", since, now), _moment("until", until, now)
    if window[0] > window[1]:
        raise ValueError("since must be before until: since='26h', until='15m' looks at the time between the two.")
    return window


def _moment(name: str, value: Any, now: float) -> float:
    if isinstance(value, str):
        try:
            return now - duration(value)
        except ValueError as error:
            raise ValueError(f"{name} {error}, not {value!r}.") from None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} must have a time zone: datetime.now(timezone.utc), for example.")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"{name} must be seconds, a timedelta, a text such as '26h' or a datetime, not {value!r}.")
    return float(value) if value > 1e9 else now - value
