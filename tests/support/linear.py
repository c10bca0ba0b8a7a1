"""Compares the time of a function at two lengths of its input: reading what clients send must take linear time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from math import inf
from typing import TypeVar

T = TypeVar("T", str, bytes)

FACTOR = 8
# Linear is 1, with caches that are too small 3.5 at the most, and the square is 8.
MARGIN = 5.0
# Below this the clock and the caches decide.
_LEAST_SECONDS = 0.0002
_ATTEMPTS = 8


def slowdown(function: Callable[[T], object], hostile: Callable[[int], T], length: int = 4000) -> float:
    """Return the ratio of the time for an input of ``FACTOR`` times the length to ``FACTOR`` times the time.

    It measures the time of this thread alone, and takes the shortest of several calls, because a busy machine lengthens
    some. It measures again if a result is above ``MARGIN``. The garbage collector is off: its work grows with what
    other tests have left.
    """
    short, long = hostile(length), hostile(length * FACTOR)
    shortest = longest = ratio = inf
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(_ATTEMPTS):
            shortest = min(shortest, _seconds(function, short, 4))
            longest = min(longest, _seconds(function, long, 1))
            ratio = longest / max(shortest, _LEAST_SECONDS) / FACTOR
            if ratio < MARGIN:
                break
    finally:
        if was_enabled:
            gc.enable()
    return ratio


def _seconds(function: Callable[[T], object], value: T, calls: int) -> float:
    return min(_one_call(function, value) for _ in range(calls))


def _one_call(function: Callable[[T], object], value: T) -> float:
    start = time.thread_time()
    function(value)
    return time.thread_time() - start
