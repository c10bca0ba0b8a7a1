"""The I/O loop and its connections: waitress's, without its busy loop, and with answers from the loop itself.

waitress 3 gives each request to a thread. While the thread sends the response, the I/O loop sees the connection as
writable, tries to send too, finds the connection locked and tries again: it spins, holds the GIL, and the thread waits
for it. With more connections than threads this costs most of the speed. Here the loop waits a moment for the thread.

A request that the application answers without waiting for anything is answered in the loop: that saves two hand-overs
between threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher

from .parser import RequestParser
from .task import ErrorTask, LoopTask, ThreadTask

if TYPE_CHECKING:
    #: ``(method, path, headers) -> bool``, as ``make_server`` says.
    NonBlockingTest = Callable[[str, str, dict[str, str]], bool]

#: How many connections the loop answers before it sends to them.
BATCH_SIZE = 64

_LOCK_SECONDS = 0.001

# `in_loop` is set in the thread that runs the loop.
_thread = threading.local()


def _in_loop() -> bool:
    return getattr(_thread, "in_loop", False)


class Loop:
    """The I/O loop: it reads from all ready connections, answers what needs no waiting, then sends the responses.

    Batching each phase across connections is about twice as fast as interleaving them: caches stay warm, and a client
    on another processor wakes up once for many responses.
    """

    def __init__(self) -> None:
        #: Connections whose next request the loop answers in this turn.
        self.ready: list[Channel] = []
        self.close_all = wasyncore.close_all

    def loop(self, timeout: float, map: dict[int, Any], use_poll: bool) -> None:  # noqa: A002 - waitress's name
        _thread.in_loop = True
        try:
            while map:
                wasyncore.poll2(timeout, map)
                channels, self.ready = self.ready, []
                for first in range(0, len(channels), BATCH_SIZE):
                    _answer(channels[first : first + BATCH_SIZE])
        finally:
            _thread.in_loop = False


def _answer(channels: list[Channel]) -> None:
    """Make all responses, then send them; what is made is sent even when a signal raises in between."""
    unsent = iter(channels)
    try:
        for channel in channels:
            _run_guarded(channel, channel.service)
        for channel in unsent:
            _run_guarded(channel, channel.send_response)
    finally:
        for channel in unsent:
            _run_guarded(channel, channel.send_response)


def _run_guarded(channel: Channel, work: Callable[[], None]) -> None:
    """Do a connection's work; an error ends this connection only, as wasyncore does when it reads."""
    try:
        work()
    except Exception:
        channel.handle_error()


class LoopTrigger:
    """Wakes the loop, unless the loop itself calls."""

    def __init__(self, pull_trigger: Callable[[], None]) -> None:
        self._pull_trigger = pull_trigger

    def __call__(self) -> None:
        if not _in_loop():
            self._pull_trigger()


class TaskRouter:
    """Routes a connection whose next request is complete to the loop or to a thread."""

    def __init__(self, threads: ThreadedTaskDispatcher, is_nonblocking: NonBlockingTest) -> None:
        self._threads = threads
        self._is_nonblocking = is_nonblocking

    def __call__(self, channel: Channel) -> None:
        request = channel.requests[0]
        # The loop answers one request for each read, so that a client that pipelines does not delay the others. A
        # client with unsent data is slow, and the next response could have to wait for it.
        free = _in_loop() and not channel.answered_in_loop and not channel.total_outbufs_len
        if free and (request.error or self._is_nonblocking(request.command, request.path, request.headers)):
            channel.answered_in_loop = True
            channel.server.asyncore.ready.append(channel)
        else:
            self._threads.add_task(channel)


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection: its requests are answered in the loop, or in a thread for which the loop waits without spinning."""

    parser_class = RequestParser
    error_task_class = ErrorTask
    #: Collects what a task writes, where it shall leave in one piece.
    joined: list[bytes] | None = None
    #: The part of the environ that all requests of the connection share.
    connection_environ: dict[str, Any] | None = None
    answered_in_loop = False
    _queued_response = b""

    def task_class(self, channel: Channel, request: Any) -> Any:
        """Return the task of a request; a thread may ask for one while the loop still runs the one before."""
        return (LoopTask if _in_loop() else ThreadTask)(channel, request)

    def write_soon(self, data: Any) -> int:
        if self.joined is None:
            written: int = super().write_soon(data)
            return written
        self.joined.append(data)
        return len(data)

    def queue_response(self, data: bytes) -> None:
        """Take a whole response made in the loop, when nothing unsent is before it; it leaves with the batch."""
        self._queued_response = data
        # These may write before the batch is sent: a thread the next response, waitress "100 Continue".
        if len(self.requests) > 1 or self.request is not None:
            self.send_response()

    def send_response(self) -> None:
        """Send the queued response, if there is one."""
        data, self._queued_response = self._queued_response, b""
        sent = self.send(data, do_close=False) if data else 0
        if sent < len(data):
            self.write_soon(data[sent:])

    def _flush_some_if_lockable(self, do_close: bool = True) -> None:
        # A thread that holds the lock sends, or adds what it will send. Mostly it is done at once; while it sends
        # much to a quick reader, the other connections must not wait.
        if self.outbuf_lock.acquire(timeout=_LOCK_SECONDS):
            try:
                super()._flush_some_if_lockable(do_close=do_close)
            finally:
                self.outbuf_lock.release()

    def received(self, data: bytes) -> bool:
        self.answered_in_loop = False
        is_complete: bool = super().received(data)
        return is_complete
