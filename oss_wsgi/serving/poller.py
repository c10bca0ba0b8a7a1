"""Waits for many descriptors at once, with the interface of `select.epoll`; kqueue or poll where it is missing."""

from __future__ import annotations

import select
import selectors
from typing import Any

#: What a descriptor waits for, or is ready for; any other bit is an error that reading or writing shows.
READ = 1
WRITE = 4

#: The kernel wakes only one of the processes that wait for a listening socket.
EXCLUSIVE = getattr(select, "EPOLLEXCLUSIVE", 0)


def make_poller() -> Any:
    """Return the best poller of this system."""
    return select.epoll() if hasattr(select, "epoll") else SelectorPoller()


class SelectorPoller:
    """The interface of `select.epoll` over `selectors`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, interest: int) -> None:
        self._selector.register(fd, _selector_mask(interest))

    def modify(self, fd: int, interest: int) -> None:
        self._selector.modify(fd, _selector_mask(interest))

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        return [
            (key.fd, (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0))
            for key, events in self._selector.select(timeout)
        ]

    def close(self) -> None:
        self._selector.close()


def _selector_mask(interest: int) -> int:
    read = selectors.EVENT_READ if interest & READ else 0
    return read | (selectors.EVENT_WRITE if interest & WRITE else 0)
