"""Spreads new connections over processes that accept from the same sockets.

For a new connection the kernel wakes one of the waiting processes, and perhaps always the same one while all are idle:
of 2,000 connections that stay, one of two processes got between 0 and 28 %. So each process writes its number of
connections into shared memory. A process leaves new connections to another that has fewer, and rings the other's bell.

A process that does not answer its bell is ignored until it runs again, so a stopped process delays nobody for long.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
from math import inf

# How many more connections a process may have than the process with the fewest, plus an eighth of the fewest. While
# connections come and go, their number says little, and waking another process would double the cost of each.
_MORE_OF_KEPT, _MORE_OF_SHORT = 1, 32
_EIGHTHS = 8
# Connections come and go if this many have closed since the last look, about a second ago.
_MANY_CLOSED = 8
# A process whose loop has had no turn for this long is ignored; an idle loop has a turn each second.
_ALIVE_SECONDS = 2.0
# How long a process may take to have a turn after its bell rang.
_PATIENCE = 0.05


class Share:
    """The view that one of ``count`` processes has of the others. Each process has a Share over the same descriptors.

    :param number: this process's number, from 1 up; 0 for the parent, which accepts nothing.
    :param descriptors: the descriptors of another Share; None makes new ones.
    """

    def __init__(self, count: int, number: int = 0, descriptors: list[int] | None = None) -> None:
        self._number = number
        self.descriptors = _make_descriptors(count) if descriptors is None else descriptors
        memory, *bells = self.descriptors
        self._readers, self._writers = bells[::2], bells[1::2]
        # For each process: its number of connections, and the time of its last turn.
        self._memory = mmap.mmap(memory, 16 * count)
        self._table = memoryview(self._memory).cast("d")
        self._more = _MORE_OF_KEPT
        # When this process rang the bell of each other one.
        self._rung = [-inf] * count

    def close(self) -> None:
        """Close the descriptors."""
        self._table.release()
        self._memory.close()
        for descriptor in self.descriptors:
            os.close(descriptor)

    @property
    def bell(self) -> int:
        """The descriptor that can be read when another process leaves new connections to this one."""
        return self._readers[self._number - 1]

    def hear(self) -> None:
        """Read the bell, so that it can ring again."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.bell, 4096)

    def tell(self, connections: int, now: float, number: int = 0) -> None:
        """Tell the others how many connections this process has, at the end of each turn.

        The parent tells it for the process with a ``number``, before that process may accept.
        """
        place = 2 * ((number or self._number) - 1)
        self._table[place] = connections
        self._table[place + 1] = now

    def leave(self, number: int = 0) -> None:
        """Mark this process as gone; the parent marks the process with a ``number`` when that process has ended."""
        self._table[2 * ((number or self._number) - 1) + 1] = 0.0

    def note_closed(self, closed: int) -> None:
        """Note how many connections of this process have closed since the last call, about once a second."""
        self._more = _MORE_OF_SHORT if closed > _MANY_CLOSED else _MORE_OF_KEPT

    def room(self, connections: int, now: float) -> int:
        """Return how many more connections this process may take if it has ``connections``."""
        if connections < self._more:
            return self._more - connections
        fewest = min((self._table[2 * other] for other in self._others(now)), default=None)
        return 1 << 30 if fewest is None else int(fewest) + self._more + int(fewest) // _EIGHTHS - connections

    def ring(self, now: float) -> None:
        """Wake the process that has the fewest connections."""
        other = min(self._others(now), key=lambda other: self._table[2 * other], default=None)
        if other is None:
            return
        if self._rung[other] <= self._table[2 * other + 1]:  # the process has had a turn since
            self._rung[other] = now
        with contextlib.suppress(BlockingIOError):
            os.write(self._writers[other], b"\0")

    def _others(self, now: float) -> list[int]:
        """Return the places of the other processes that accept."""
        others = []
        for other in range(len(self._rung)):
            turn, rung = self._table[2 * other + 1], self._rung[other]
            is_deaf = turn < rung < now - _PATIENCE
            if other != self._number - 1 and now - turn < _ALIVE_SECONDS and not is_deaf:
                others.append(other)
        return others


def _make_descriptors(count: int) -> list[int]:
    """Return a file of memory, and for each process the two ends of its bell."""
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("oss_wsgi")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.ftruncate(memory, 16 * count)
    descriptors = [memory]
    for _ in range(count):
        descriptors += os.pipe()
    for descriptor in descriptors[1:]:
        os.set_blocking(descriptor, False)
    return descriptors
