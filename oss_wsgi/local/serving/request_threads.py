"""The threads of the local OSS: one for each request under way."""

from __future__ import annotations

from typing import Any

from waitress.task import ThreadedTaskDispatcher


class RequestThreads(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Starts a thread when all are busy: an upload waits for its callback, which may ask this OSS for something."""

    _ended = False

    def add_task(self, task: Any) -> None:
        with self.lock:
            self.queue.append(task)
            self.queue_cv.notify()
            running = len(self.threads) - self.stop_count
            lacking = len(self.queue) > running - self.active_count
        if lacking and not self._ended:
            self.set_thread_count(running + 1)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> bool:
        self._ended = True
        cancelled: bool = super().shutdown(cancel_pending, timeout)
        return cancelled
