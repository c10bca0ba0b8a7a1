"""The threads that answer requests, and some more that answer OSS's callbacks alone."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)


class Task(Protocol):
    """A request to answer."""

    def service(self) -> None:
        """Answer the request; called in a thread."""

    def cancel(self) -> None:
        """Give the request up: the threads have ended."""


class Threads:
    """Answers requests in threads, in the order in which they came, ``count`` at a time.

    ``reserved_threads(count)`` more threads answer callbacks alone. So a callback waits only while callbacks hold all
    of these threads, however long other requests take.

    :param has_callbacks: whether some requests may be callbacks; if not, only ``count`` threads are started.
    """

    def __init__(self, count: int, *, has_callbacks: bool = False) -> None:
        self.count = count
        self._callbacks: deque[tuple[int, Task]] = deque()
        self._others: deque[tuple[int, Task]] = deque()
        self._added = 0
        self._others_running = 0
        self._idle = 0
        self._is_ending = False
        lock = threading.Lock()
        self._may_begin = threading.Condition(lock)
        self._has_ended = threading.Condition(lock)
        self._running = count + (reserved_threads(count) if has_callbacks else 0)
        for number in range(self._running):
            threading.Thread(target=self._run, name=f"request-{number}", daemon=True).start()

    @property
    def waiting(self) -> int:
        """The number of requests that no thread has taken."""
        return len(self._callbacks) + len(self._others)

    @property
    def has_idle(self) -> bool:
        return self._idle > 0

    def add_task(self, task: Task, *, is_callback: bool = False) -> None:
        with self._may_begin:
            self._added += 1
            (self._callbacks if is_callback else self._others).append((self._added, task))
            if self._idle:
                self._may_begin.notify()

    def shutdown(self, seconds: Callable[[], float] = lambda: 0.0) -> None:
        """End each thread with its request, wait for them, and cancel the requests that no thread has taken.

        :param seconds: returns how long to wait in all; called again and again.
        """
        waited = 0.0
        with self._has_ended:
            self._is_ending = True
            self._may_begin.notify_all()
            while waited < seconds() and not self._has_ended.wait_for(lambda: not self._running, 0.1):
                waited += 0.1
            if self._running and seconds():
                log.warning("%d threads are still at work, and are cut off as the process ends", self._running)
            left = [task for _, task in (*self._callbacks, *self._others)]
            self._callbacks.clear()
            self._others.clear()
        if left:
            log.warning("%d requests that waited for a thread are given up", len(left))
        for task in left:
            task.cancel()

    def _run(self) -> None:
        is_other = False
        while True:
            with self._may_begin:
                self._others_running -= is_other
                while not self._is_ending and (queue := self._next_queue()) is None:
                    self._idle += 1
                    self._may_begin.wait()
                    self._idle -= 1
                if self._is_ending:
                    self._running -= 1
                    self._has_ended.notify()
                    return
                _, task = queue.popleft()  # type: ignore[union-attr]
                is_other = queue is self._others
                self._others_running += is_other
            try:
                task.service()
            except BaseException:
                log.exception("an error of the server made a request fail")

    def _next_queue(self) -> deque[tuple[int, Task]] | None:
        """Return the queue whose first request may begin now; of two, the one whose request came first."""
        callbacks, others = self._callbacks, self._others
        if not others or self._others_running >= self.count:
            return callbacks or None
        return callbacks if callbacks and callbacks[0] < others[0] else others


def reserved_threads(count: int) -> int:
    """Return how many threads callbacks have beside ``count`` others: a quarter, and at least one.

    A single thread gets none beside it: an application that asks for one thread may not be safe for two calls at once.
    """
    return max(1, count // 4) if count > 1 else 0
