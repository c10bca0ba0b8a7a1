"""The newest stories, in bounded memory, and those who wait for the next."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from .story import Story

#: Stories and bytes that are kept.
MAX_STORIES = 1000
MAX_BYTES = 8 * 1024 * 1024


class Journal:
    """The newest stories by their ids, from their beginning on; a new one drops the oldest. Threads may share it."""

    def __init__(self) -> None:
        self._stories: OrderedDict[str, tuple[Story, int]] = OrderedDict()
        self._bytes = 0
        self._count = 0
        self._is_closed = False
        self._changed = threading.Condition()

    def add(self, story: Story) -> None:
        """Add a story, or what is new of one that is already there, which keeps its place."""
        cost = story.cost()
        with self._changed:
            _, former = self._stories.get(story.id, (None, 0))
            self._stories[story.id] = story, cost
            self._bytes += cost - former
            self._count += 1
            while self._stories and (len(self._stories) > MAX_STORIES or self._bytes > MAX_BYTES):
                _, (_, dropped) = self._stories.popitem(last=False)
                self._bytes -= dropped
            self._changed.notify_all()

    def stories(self) -> list[Story]:
        """Return the stories, the newest first."""
        with self._changed:
            return [story for story, _ in reversed(self._stories.values())]

    def story(self, request_id: str) -> Story | None:
        with self._changed:
            return self._stories.get(request_id, (None, 0))[0]

    @property
    def bytes(self) -> int:
        """About how many bytes the stories take."""
        return self._bytes

    @property
    def count(self) -> int:
        """How much news there was: stories that were added, that went on, or that ended."""
        return self._count

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def clear(self) -> None:
        """Forget all stories that have ended."""
        with self._changed:
            for name in [name for name, (story, _) in self._stories.items() if not story.is_under_way]:
                self._bytes -= self._stories.pop(name)[1]
            self._count += 1
            self._changed.notify_all()

    def wait(self, count: int, seconds: float, is_over: Callable[[], bool] = lambda: False) -> int:
        """Return the count when it is no longer `count`, after `seconds`, or when a `wake()` finds `is_over()` true."""
        with self._changed:
            self._changed.wait_for(lambda: self._count != count or self._is_closed or is_over(), seconds)
            return self._count

    def wake(self) -> None:
        """Let all that wait call their `is_over` again."""
        with self._changed:
            self._changed.notify_all()

    def open(self) -> None:
        """Let others wait again."""
        self._is_closed = False

    def close(self) -> None:
        """End all waiting, until it is opened again."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
