"""waitress without its busy loop, which answers in its I/O loop what cannot wait for anything.

waitress 3 hands each request to a thread, whose answer the I/O loop sees as ready to be sent while the thread is
still sending it: the loop spins, holds the GIL, and the thread waits for it. The more connections than threads, the
slower. Here the loop waits a moment for the thread instead. What an application answers at once, without waiting for
a disk, a lock or another host, it answers in the loop itself: that saves two hand-overs between threads.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import waitress
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from ..wsgi.responses import SECURITY_HEADERS
from .parser import RequestParser
from .task import LoopTask, date

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    #: ``(method, path, headers) -> bool``; ``path`` is decoded, the headers' names are as in ``X_OSS_PUB_KEY_URL``.
    AtOnce = Callable[[str, str, dict[str, str]], bool]

# The releases whose insides are known to be as they are taken here.
_KNOWN = ("3.0.",)
_LOCK_SECONDS = 0.001
_JOINED_BYTES = 64 * 1024
_AT_ONCE = 64

log = logging.getLogger(__name__)


def make_server(app: WSGIApplication, listener: socket.socket, at_once: AtOnce | None = None, **options: Any) -> Any:
    """Make a waitress server for a listening socket; ``options`` are waitress's own.

    :param at_once: tells the requests that ``app`` answers without waiting for anything; None for none.
    """
    # select() knows no descriptor above 1,023, and dies of one.
    server = create_server(app, sockets=[listener], asyncore_use_poll=True, **options)
    version = waitress_version()
    if not version.startswith(_KNOWN):
        log.info("waitress %s is not known here and serves as it is: it may be slow with many connections", version)
        return server
    server.channel_class = _Channel
    server.asyncore = _Loop()
    server.pull_trigger = _Trigger(server.trigger.pull_trigger)
    if at_once is not None:
        server.add_task = _Tasks(server.task_dispatcher, at_once)
    return server


def waitress_version() -> str:
    """Read the version off the folder beside the package: importlib.metadata takes 4 MiB to say the same."""
    for found in Path(waitress.__file__).parent.parent.glob("waitress-*.dist-info"):
        return found.name.removeprefix("waitress-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version("waitress")


# Set in the thread that runs the loop.
_thread = threading.local()


def _in_loop() -> bool:
    return getattr(_thread, "in_loop", False)


class _Loop:
    """The I/O loop: reads from all connections that have something, makes the answers that need not wait, sends them.

    To do one kind of work for all connections, and then the next, takes half the time that it takes to change in
    between: a processor remembers only so much code, and a client on another one is woken up for many answers at once.
    """

    def __init__(self) -> None:
        self.answers: list[_Channel] = []
        self.close_all = wasyncore.close_all

    def loop(self, timeout: float, map: dict[int, Any], use_poll: bool) -> None:  # noqa: A002 - waitress's name
        _thread.in_loop = True
        try:
            while map:
                wasyncore.poll2(timeout, map)
                channels, self.answers = self.answers, []
                for first in range(0, len(channels), _AT_ONCE):
                    _answer(channels[first : first + _AT_ONCE])
        finally:
            _thread.in_loop = False


def _answer(channels: list[_Channel]) -> None:
    """Make all answers, then send all, also where a signal ends the process in the midst of either."""
    unsent = iter(channels)
    try:
        for channel in channels:
            _guarded(channel, channel.service)
        for channel in unsent:
            _guarded(channel, channel.send_answer)
    finally:
        for channel in unsent:
            _guarded(channel, channel.send_answer)


def _guarded(channel: _Channel, work: Callable[[], None]) -> None:
    """Do some of a connection's work; its fault ends no other connection, as in wasyncore where it reads."""
    try:
        work()
    except Exception:
        channel.handle_error()


class _Trigger:
    """Wakes the loop, unless it is the loop that calls."""

    def __init__(self, pull_trigger: Callable[[], None]) -> None:
        self._pull_trigger = pull_trigger

    def __call__(self) -> None:
        if not _in_loop():
            self._pull_trigger()


class _Tasks:
    """Takes a connection whose next request is complete: to be answered at once, or by a thread."""

    def __init__(self, threads: ThreadedTaskDispatcher, at_once: AtOnce) -> None:
        self._threads = threads
        self._at_once = at_once

    def __call__(self, channel: _Channel) -> None:
        request = channel.requests[0]
        # One answer for each read: whoever sends many requests at once would keep all others waiting. And with an
        # answer still unsent the client is slow, and the next one might have to wait for it.
        free = _in_loop() and not channel.answered and not channel.total_outbufs_len
        if free and (request.error or self._at_once(request.command, request.path, request.headers)):
            channel.answered = True
            channel.server.asyncore.answers.append(channel)
        else:
            self._threads.add_task(channel)


class _Task(WSGITask):  # type: ignore[misc]
    """Sends header and body together, and makes the Date header once a second."""

    def build_response_header(self) -> bytes:
        if not any(name.lower() == "date" for name, _ in self.response_headers):
            self.response_headers.append(("Date", date(int(self.start_time))))
        header: bytes = super().build_response_header()
        return header

    def write(self, data: bytes) -> None:
        if self.wrote_header or not 0 < len(data) <= _JOINED_BYTES:
            super().write(data)
            return
        self.channel.joined = []
        try:
            super().write(data)
        finally:
            pieces, self.channel.joined = self.channel.joined, None
        self.channel.write_soon(b"".join(pieces))


class _ErrorTask(ErrorTask):  # type: ignore[misc]
    """waitress's own refusals, with the headers of ours."""

    def execute(self) -> None:
        self.response_headers.extend(SECURITY_HEADERS)
        super().execute()


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection: answers at once in the loop, or in a thread for which the loop waits instead of spinning."""

    parser_class = RequestParser
    error_task_class = _ErrorTask
    joined: list[bytes] | None = None
    kept_answer = b""
    plain_environ: dict[str, Any] | None = None
    answered = False

    def task_class(self, channel: _Channel, request: Any) -> Any:
        """Make the task of a request; a thread may ask for its own while the loop still is at the one before."""
        return (LoopTask if _in_loop() else _Task)(channel, request)

    def write_soon(self, data: Any) -> int:
        if self.joined is None:
            written: int = super().write_soon(data)
            return written
        self.joined.append(data)
        return len(data)

    def keep_answer(self, data: bytes) -> None:
        """Take a whole answer from the loop, with nothing unsent before it, to send it with those of the others."""
        self.kept_answer = data
        # Before that a thread may answer the next request, or waitress tell the client to go on with its body.
        if len(self.requests) > 1 or self.request is not None:
            self.send_answer()

    def send_answer(self) -> None:
        """Send the answer that was kept, if one was."""
        data, self.kept_answer = self.kept_answer, b""
        sent = self.send(data, do_close=False) if data else 0
        if sent < len(data):
            self.write_soon(data[sent:])

    def _flush_some_if_lockable(self, do_close: bool = True) -> None:
        # A thread that holds the lock is sending, or adding what it will send: mostly it is done in no time, and where
        # it sends much to a quick reader, the others shall not wait for it.
        if self.outbuf_lock.acquire(timeout=_LOCK_SECONDS):
            try:
                super()._flush_some_if_lockable(do_close=do_close)
            finally:
                self.outbuf_lock.release()

    def received(self, data: bytes) -> bool:
        self.answered = False
        taken: bool = super().received(data)
        return taken
