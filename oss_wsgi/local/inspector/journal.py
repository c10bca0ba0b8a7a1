"""The newest stories, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

from .story import Story

#: Stories and bytes that are kept.
MAX_STORIES = 1000
MAX_BYTES = 8 * 1024 * 1024


class Journal:
    """The newest stories by their ids, from their beginning on; a new one drops the oldest. Threads may share it.

    :ivar bytes: about how many bytes the stories take.
    :ivar count: how much news there was, for pages that ask: stories that were added, that went on, or that ended.
    """

    def __init__(self) -> None:
        self._stories: OrderedDict[str, tuple[Story, int]] = OrderedDict()
        self.bytes = 0
        self.count = 0
        self._lock = threading.Lock()

    def add(self, story: Story) -> None:
        """Add a story, or what is new of one that is already there, which keeps its place."""
        cost = story.cost()
        with self._lock:
            _, former = self._stories.get(story.id, (None, 0))
            self._stories[story.id] = story, cost
            self.bytes += cost - former
            self.count += 1
            while self._stories and (len(self._stories) > MAX_STORIES or self.bytes > MAX_BYTES):
                _, (_, dropped) = self._stories.popitem(last=False)
                self.bytes -= dropped

    def stories(self) -> list[Story]:
        """Return the stories, the newest first."""
        with self._lock:
            return [story for story, _ in reversed(self._stories.values())]

    def story(self, request_id: str) -> Story | None:
        with self._lock:
            return self._stories.get(request_id, (None, 0))[0]

    def clear(self) -> None:
        """Forget all stories that have ended."""
        with self._lock:
            for name in [name for name, (story, _) in self._stories.items() if not story.is_under_way]:
                self.bytes -= self._stories.pop(name)[1]
            self.count += 1
