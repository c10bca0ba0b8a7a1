"""Server-sent events: they tell pages that a story begins, goes on or ends, and the pages then fetch it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from .journal import Journal

#: Streams at once; one more ends the oldest, whose page connects again.
MAX_STREAMS = 8
#: Seconds after which a stream ends and the page connects again, so that no thread is held for ever.
LIFETIME = 120.0
#: Seconds between signs of life, which find out that a page is gone.
HEARTBEAT = 5.0
#: Seconds between events at least.
PACE = 0.1


class Events:
    """The streams of one inspector; they end with the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._open: list[object] = []

    @property
    def count(self) -> int:
        return len(self._open)

    def stream(self) -> Iterator[bytes]:
        """Yield an event whenever there is news of a story; the first says how much there was."""
        mark = object()
        with self._lock:
            self._open.append(mark)
            del self._open[:-MAX_STREAMS]
        self._journal.wake()  # the stream that was one too many holds a thread
        try:
            end = time.monotonic() + LIFETIME
            count = self._journal.count
            yield f"retry: 500\nevent: story\ndata: {count}\n\n".encode()
            while mark in self._open and time.monotonic() < end and not self._journal.is_closed:
                now = self._journal.wait(count, HEARTBEAT, lambda: mark not in self._open)
                if self._journal.is_closed or mark not in self._open:
                    return
                yield f"event: story\ndata: {now}\n\n".encode() if now != count else b":\n\n"
                count = now
                time.sleep(PACE)
        finally:
            with self._lock:
                if mark in self._open:
                    self._open.remove(mark)
