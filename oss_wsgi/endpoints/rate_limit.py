"""A limit of how often each caller may ask: a token bucket in memory."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..threads import WithLock

# Refilling adds fractions, so their sum may differ slightly from a whole request.
_SLACK = 1e-6


class RateLimit(WithLock):
    """Callable ``(who) -> float | None``: None counts the request and lets it pass, a number is the seconds to wait.

        RateLimit(30, 60, clock=time.monotonic)  # 30 at once, then one every 2 seconds

    A token bucket for each caller: ``count`` requests pass at once, and the bucket is refilled evenly over ``seconds``.
    So no caller ever gets more than twice ``count`` within ``seconds``. A refused request does not count: a caller that
    waits for the seconds returned is let through.

    Memory is bounded. Beyond ``max_callers`` callers, at least a tenth is forgotten at once: first those whose bucket
    is full, which changes nothing, then those whose bucket is nearly full. So a flood of new addresses mostly evicts
    itself. With one request from each address, the flood gains an exhausted caller less than one request; to gain more,
    nearly ``max_callers`` addresses must each spend as much.

    Each process counts by itself, so several processes together allow several times as much. Threads may share it.

    :param clock: returns seconds; ``time.monotonic`` is best.
    """

    def __init__(self, count: int, seconds: float, *, clock: Callable[[], float], max_callers: int = 10_000) -> None:
        check_rate(count, seconds)
        _check_number("max_callers", max_callers)
        if not callable(clock):
            raise ValueError(f"clock must be a callable that returns seconds, such as time.monotonic, not {clock!r}.")
        self._count = count
        self._interval = seconds / count
        self._clock = clock
        self._max_callers = max_callers
        self._callers: dict[str, tuple[float, float]] = {}  # who -> used requests, and when that was computed
        super().__init__()

    def __call__(self, who: str) -> float | None:
        with self._lock:
            now = self._clock()
            caller = self._callers.get(who)
            if caller is None:
                if len(self._callers) >= self._max_callers:
                    self._make_room(now)
                used = 0.0
            else:
                used_before, computed_at = caller
                # A clock that is set back refills nothing; nobody has to wait until the clock catches up.
                used = max(0.0, used_before - max(0.0, now - computed_at) / self._interval)
            missing = used + 1 - self._count
            allowed = missing <= _SLACK
            self._callers[who] = (used + 1 if allowed else used, now)
            return None if allowed else missing * self._interval

    def _make_room(self, now: float) -> None:
        """Forget the callers whose bucket is full, and at least a tenth of all."""
        full_at = {who: when + used * self._interval for who, (used, when) in self._callers.items()}
        least = max(1, len(full_at) // 10)
        for count, who in enumerate(sorted(full_at, key=full_at.__getitem__)):
            if count >= least and full_at[who] > now:
                break
            del self._callers[who]


def check_rate(count: int, seconds: float) -> None:
    """Raise ValueError unless ``count`` requests in ``seconds`` are a rate."""
    _check_number("count", count)
    if type(seconds) not in (int, float) or not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be a number over 0, not {seconds!r}.")


def _check_number(name: str, number: int) -> None:
    if type(number) is not int or number < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more, not {number!r}.")
