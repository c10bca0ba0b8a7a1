"""When a ledger may forget a response: expired by the caller's clock, and by a time that the clock's jumps hardly move.

A clock that is a day ahead for a moment makes everything look expired. If a ledger forgot by it, each report could be
handled again once the clock is right. So a ledger has a steady time of its own. Whenever it looks at the clock, that
time moves as far as the clock has moved since the last look, forwards or backwards, but by ``MAX_STEP`` at the most. A
jump and the way back cancel out.

A response is forgotten when both say so: its ticket has expired by the clock, and ``MARGIN`` more than what was left of
the ticket's life has passed in steady time since the response was stored. The margin also covers a clock that was wrong
when the response was stored, and one that is set back afterwards.

When a ledger looks at the clock more rarely than every ``MAX_STEP``, its steady time lags. The responses then stay
longer, but between two looks at most one is stored, so that they do not pile up.
"""

from __future__ import annotations

import math
from typing import NamedTuple

#: Seconds by which the steady time moves at the most between two looks at the clock.
MAX_STEP = 600

#: Seconds of steady time for which a response stays after its ticket has expired.
MARGIN = 24 * 3600


class SteadyTime(NamedTuple):
    """The steady time of a ledger in seconds, and the caller's clock (Unix seconds) when it was last looked at."""

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
        """Return the steady time until which a response that is stored now stays, if its ticket ends at ``expires``."""
        return math.ceil(self.seconds + max(0.0, expires - self.clock) + MARGIN)
