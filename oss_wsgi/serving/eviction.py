"""Chooses the connections that make room for others."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .connection import BODY, CLOSED, HANDLING, HEADER, IDLE, LINGERING, NEW, WRITING

if TYPE_CHECKING:
    from .connection import Connection

# In the order in which they go: answered, waiting between requests, with an unfinished request.
_ORDER = {LINGERING: 0, IDLE: 1, NEW: 2, HEADER: 2, BODY: 2, WRITING: 3}


def evictable(
    connections: Iterable[Connection], counts: Mapping[Any, int], number: int, held: str | None = None
) -> list[Connection]:
    """Return up to ``number`` connections to close, the last of the list first.

    The address that holds most goes first: its longest idle connection, then its oldest unfinished request. A
    connection whose request is being handled never goes.

    :param counts: address -> number of its connections.
    :param held: only those that hold memory (``held``) or files (``filed``), the oldest of an address first.
    """
    candidates = [
        (-counts[each.address], 0 if held else _ORDER[each.phase], each.since, each.fd, each)
        for each in connections
        if each.phase not in (HANDLING, CLOSED) and (held is None or getattr(each, held))
    ]
    return [each[-1] for each in reversed(heapq.nsmallest(number, candidates))]
