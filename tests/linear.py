"""Compares the time of a function at two lengths of its input: a test of what clients send must find it linear."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", str, bytes)

FACTOR = 8
# Linear is 1, and the square is 8.
MARGIN = 3.0
# Below this the clock and the caches decide.
_LEAST_SECONDS = 0.0002


def slowdown(function: Callable[[T], object], hostile: Callable[[int], T], length: int = 4000) -> float:
    """Return how much longer than ``FACTOR`` times as long a call takes on an input of ``FACTOR`` times the length.

    It is the time of this thread alone, so a busy machine does not change it, and the shortest of several calls.
    """
    short, long = hostile(length), hostile(length * FACTOR)
    return _seconds(function, long, 3) / max(_seconds(function, short, 5), _LEAST_SECONDS) / FACTOR


def _seconds(function: Callable[[T], object], value: T, calls: int) -> float:
    return min(_one_call(function, value) for _ in range(calls))


def _one_call(function: Callable[[T], object], value: T) -> float:
    start = time.thread_time()
    function(value)
    return time.thread_time() - start
