"""Requests of many threads, sent together: while a batch is on its way, the next one gathers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: Seconds for which a batch is held back after one of several requests: their threads are about to ask again.
_PAUSE = 0.0001


class _Call(Generic[T]):
    """A thread's request, the answer to it, and the lock that is released when one is there or the thread must send."""

    __slots__ = ("answer", "request", "sends", "turn")

    def __init__(self, request: T) -> None:
        self.request = request
        self.answer: Any = None
        self.turn = threading.Lock()
        self.turn.acquire()
        self.sends = False


class Batches(Generic[T]):
    """Sends requests in batches: a driver's work for one command is most of what a command costs.

    There is no thread for it. A request that finds nothing under way is sent at once. Those that come meanwhile wait,
    and the first of them then sends them all.

    :param send: returns the answers to some requests, in their order. An answer that is an exception is raised by
        ``ask``. When ``send`` raises, so does ``ask`` for its requests and for those that wait: they would find the
        server as it is, each after another time limit.
    """

    def __init__(self, send: Callable[[list[T]], Sequence[Any]]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._waiting: deque[_Call[T]] = deque()
        self._is_sending = False
        self._last_size = 1

    def ask(self, request: T) -> Any:
        """Send a request, perhaps with others, and return the answer or raise it."""
        call = _Call(request)
        with self._lock:
            call.sends, self._is_sending = not self._is_sending, True
            if not call.sends:
                self._waiting.append(call)
        if not call.sends:
            self._wait(call)
        if call.sends:
            self._send_all(call)
        if isinstance(call.answer, Exception):
            raise call.answer
        return call.answer

    def _wait(self, call: _Call[T]) -> None:
        try:
            call.turn.acquire()
        except BaseException:  # of a signal's handler
            with self._lock:
                if call in self._waiting:
                    self._waiting.remove(call)
            if call.sends:
                self._pass_on()
            raise

    def _send_all(self, call: _Call[T]) -> None:
        """Send a request and those that wait."""
        batch = [call]
        answers: Sequence[Any] = ()
        try:
            if self._last_size > 1:
                call.turn.acquire(timeout=_PAUSE)
            batch += self._taken()
            self._last_size = len(batch)
            answers = self._send([each.request for each in batch])
        except Exception as error:
            batch += self._taken()
            answers = [error] * len(batch)
        finally:
            for number, each in enumerate(batch):
                each.answer = answers[number] if answers else ConnectionError("the thread that sent it was interrupted")
                if each is not call:
                    each.turn.release()
            # Last, so that the threads that have their answers may be back with a request for the next batch.
            self._pass_on()

    def _taken(self) -> list[_Call[T]]:
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
        return taken

    def _pass_on(self) -> None:
        """Let the first that waits send, if any does."""
        with self._lock:
            self._is_sending = bool(self._waiting)
            if self._waiting:
                call = self._waiting.popleft()
                call.sends = True
                call.turn.release()
