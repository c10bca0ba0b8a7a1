"""The newest stories, in bounded memory, and the server-sent events that tell pages of each change."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator

from .story import Story

#: Stories and bytes that are kept.
MAX_STORIES = 1000
MAX_BYTES = 8 * 1024 * 1024
#: Streams at once; one more ends the oldest, whose page connects again.
MAX_STREAMS = 8
#: Seconds after which a stream ends and the page connects again, so that no thread is held for ever.
LIFETIME = 120.0
#: Seconds between signs of life, which find out that a page is gone.
HEARTBEAT = 5.0
#: Seconds between events at least.
PACE = 0.1


class Journal:
    """The newest stories by their ids, from their beginning on; a new one drops the oldest. Threads may share it.

    :ivar bytes: about how many bytes the stories take.
    :ivar count: how much news there was: stories that were added, that went on, or that ended.
    """

    def __init__(self) -> None:
        self._stories: OrderedDict[str, tuple[Story, int]] = OrderedDict()
        self.bytes = 0
        self.count = 0
        self._streams: list[object] = []
        self._is_closed = False
        self._changed = threading.Condition()

    def add(self, story: Story) -> None:
        """Add a story, or what is new of one that is already there, which keeps its place."""
        cost = story.cost()
        with self._changed:
            _, former = self._stories.get(story.id, (None, 0))
            self._stories[story.id] = story, cost
            self.bytes += cost - former
            self.count += 1
            while self._stories and (len(self._stories) > MAX_STORIES or self.bytes > MAX_BYTES):
                _, (_, dropped) = self._stories.popitem(last=False)
                self.bytes -= dropped
            self._changed.notify_all()

    def stories(self) -> list[Story]:
        """Return the stories, the newest first."""
        with self._changed:
            return [story for story, _ in reversed(self._stories.values())]

    def story(self, request_id: str) -> Story | None:
        with self._changed:
            return self._stories.get(request_id, (None, 0))[0]

    def clear(self) -> None:
        """Forget all stories that have ended."""
        with self._changed:
            for name in [name for name, (story, _) in self._stories.items() if not story.is_under_way]:
                self.bytes -= self._stories.pop(name)[1]
            self.count += 1
            self._changed.notify_all()

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return len(self._streams)

    def stream(self) -> Iterator[bytes]:
        """Yield an event whenever there is news of a story; the first says how much there was."""
        mark, end = object(), time.monotonic() + LIFETIME
        with self._changed:
            if not self._is_closed:
                self._streams.append(mark)
            del self._streams[:-MAX_STREAMS]
            self._changed.notify_all()  # the stream that was one too many holds a thread
            count = self.count
        try:
            yield f"retry: 500\nevent: story\ndata: {count}\n\n".encode()
            while mark in self._streams and time.monotonic() < end:
                now = self._wait(mark, count)
                if mark not in self._streams:
                    return
                yield f"event: story\ndata: {now}\n\n".encode() if now != count else b":\n\n"
                count = now
                time.sleep(PACE)
        finally:
            with self._changed:
                if mark in self._streams:
                    self._streams.remove(mark)

    def _wait(self, mark: object, count: int) -> int:
        """Return the count when it is another one, when the stream is to end, or after HEARTBEAT."""
        with self._changed:
            self._changed.wait_for(lambda: self.count != count or mark not in self._streams, HEARTBEAT)
            return self.count

    def open(self) -> None:
        """Let pages wait for news again."""
        self._is_closed = False

    def close(self) -> None:
        """End all streams, and each new one after its first event, until it is opened again."""
        with self._changed:
            self._is_closed = True
            self._streams.clear()
            self._changed.notify_all()
