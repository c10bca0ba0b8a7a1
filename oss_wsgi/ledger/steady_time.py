"""The steady time by which ledgers forget responses: a clock that jumps removes nothing."""

from __future__ import annotations

import math
from typing import NamedTuple

#: The most seconds by which the steady time moves between two looks at the clock.
MAX_STEP = 600

#: Seconds of steady time for which a response is kept after its ticket has expired.
MARGIN = 24 * 3600


class SteadyTime(NamedTuple):
    """The steady time of a ledger in seconds, and the caller's clock (Unix seconds) when it was last looked at.

    A clock that is a day ahead for a moment makes everything look expired. A ledger that forgot responses by such a
    clock would handle each report again once the clock is right. So a ledger has a steady time. At each look at the
    clock the steady time moves as far as the clock has moved since the last look, forwards or backwards, but by at most
    ``MAX_STEP``. So a jump and the jump back cancel out.

    A ledger forgets a response when two conditions are met: its ticket has expired by the clock, and since the response
    was stored, the steady time has moved by the rest of the ticket's lifetime and ``MARGIN`` more. The margin also
    covers a clock that was wrong when the response was stored, or that is set back afterwards.

    In a ledger that looks at the clock more rarely than every ``MAX_STEP``, the steady time lags. Its responses are
    kept longer, but they do not pile up: at most one is stored between two looks.
    """

    seconds: float
    clock: float

    @classmethod
    def started(cls, clock: float) -> SteadyTime:
        """Return the steady time of a ledger that looks at the clock for the first time."""
        return cls(clock, clock)

    def at(self, clock: float) -> SteadyTime:
        """Return the steady time at the next look."""
        return SteadyTime(self.seconds + max(-MAX_STEP, min(clock - self.clock, MAX_STEP)), clock)

    def forget_after(self, expires: int) -> int:
        """Return the steady time until which a response stored now is kept, for a ticket that ends at ``expires``."""
        return math.ceil(self.seconds + max(0.0, expires - self.clock) + MARGIN)
