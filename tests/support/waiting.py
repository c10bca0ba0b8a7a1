"""Waits for a condition; a time that is too short fails no test, so the end is generous."""

from __future__ import annotations

import time
from collections.abc import Callable

TIMEOUT = 60.0


def wait_until(condition: Callable[[], object], tell: Callable[[], str] = str) -> None:
    """Wait until a condition is true; after a minute fail with what ``tell`` returns."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, tell()
        time.sleep(0.005)
