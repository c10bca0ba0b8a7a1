"""When a request arrived: with its header, however long its body then takes (P§3.1)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

#: in the environ: what time.monotonic() was
ARRIVED = "oss_wsgi.local.arrived"


def arrival(environ: Mapping[str, Any], now: float) -> float:
    """By the clock that says `now`, which may be a test's own; now, where the server noted nothing."""
    noted = environ.get(ARRIVED)
    return now if noted is None else now - (time.monotonic() - noted)
