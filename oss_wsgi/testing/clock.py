"""A clock for tests."""

from __future__ import annotations


class FrozenClock:
    """A clock that stands still until it is moved; call it for Unix seconds."""

    def __init__(self, now: float = 1733227932.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self.now += seconds
