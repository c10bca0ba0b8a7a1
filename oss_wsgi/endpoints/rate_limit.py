"""Counts how often each caller asks, and says how long one who asks too often has to wait."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

# Refilling adds fractions, which do not add up to whole requests exactly.
_SLACK = 1e-6


class RateLimit:
    """Callable ``(who) -> float | None``: None counts the request and lets it pass, a number is the seconds to wait.

        RateLimit(30, 60, clock=time.monotonic)  # 30 at once, then one every 2 seconds

    A token bucket for each caller: ``count`` requests at once, which come back evenly over ``seconds``. So no caller
    ever gets more than twice ``count`` within ``seconds``. What is refused is not counted: who waits as long as told
    is let through.

    Memory is bounded: of more than ``max_callers`` those go whose allowance is full again, which changes nothing, and
    if need be those who are nearest to it, at least a tenth at once. So a flood of fresh addresses pushes out itself
    first: with one request each it wins an exhausted caller back less than one request, and for more it must spend as
    much from nearly ``max_callers`` addresses.

    One object counts for one process; several processes allow several times as much. Threads may share it.

    :param clock: gives seconds; ``time.monotonic`` is best.
    """

    def __init__(self, count: int, seconds: float, *, clock: Callable[[], float], max_callers: int = 10_000) -> None:
        for name, number in (("count", count), ("max_callers", max_callers)):
            if type(number) is not int or number < 1:
                raise ValueError(f"{name} must be a whole number, 1 or more, not {number!r}.")
        if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
            raise ValueError(f"seconds must be a number over 0, not {seconds!r}.")
        if not callable(clock):
            raise ValueError(f"clock must be a callable that gives seconds, such as time.monotonic, not {clock!r}.")
        self._count = count
        self._interval = seconds / count
        self._clock = clock
        self._max_callers = max_callers
        self._callers: dict[str, tuple[float, float]] = {}  # who -> requests used up, and when that was so
        self._lock = threading.Lock()

    def __call__(self, who: str) -> float | None:
        with self._lock:
            now = self._clock()
            known = self._callers.get(who)
            if known is None:
                if len(self._callers) >= self._max_callers:
                    self._make_room(now)
                used = 0.0
            else:
                # A clock that was set back refills nothing, and makes nobody wait until it is there again.
                used = max(0.0, known[0] - max(0.0, now - known[1]) / self._interval)
            missing = used + 1 - self._count
            allowed = missing <= _SLACK
            self._callers[who] = (used + 1 if allowed else used, now)
            return None if allowed else missing * self._interval

    def _make_room(self, now: float) -> None:
        full_again = {who: when + used * self._interval for who, (used, when) in self._callers.items()}
        least = max(1, len(full_again) // 10)
        for place, who in enumerate(sorted(full_again, key=full_again.__getitem__)):
            if place >= least and full_again[who] > now:
                break
            del self._callers[who]
