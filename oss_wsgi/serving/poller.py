"""Waits for many descriptors at once, with the interface of `select.epoll`; kqueue or poll where it is missing."""

from __future__ import annotations

import select
import selectors
from typing import Any

#: The events that a descriptor waits for. Reading or writing shows which of them has come.
READ = 1
WRITE = 4

#: The kernel wakes only one of the processes that wait for a listening socket.
EXCLUSIVE = getattr(select, "EPOLLEXCLUSIVE", 0)


def make_poller() -> Any:
    return select.epoll() if hasattr(select, "epoll") else SelectorPoller()


class SelectorPoller(selectors.DefaultSelector):
    """A selector with the interface of `select.epoll`."""

    def register(self, fd: Any, interest: int, data: Any = None) -> Any:
        return super().register(fd, _selector_events(interest))

    def modify(self, fd: Any, interest: int, data: Any = None) -> Any:
        return super().modify(fd, _selector_events(interest))

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self.select(timeout)]


def _selector_events(interest: int) -> int:
    return (selectors.EVENT_READ if interest & READ else 0) | (selectors.EVENT_WRITE if interest & WRITE else 0)
