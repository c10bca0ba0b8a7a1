"""A connection: it reads requests, has each one answered, and sends the response before it reads the next.

The loop owns a connection and calls its methods, except those that a task calls. While a thread answers a request, the
thread may write too; ``lock`` guards what both touch. Nothing is registered, locked or buffered before it must be.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import socket
import struct
import threading
import traceback
from collections.abc import Callable
from math import inf
from typing import Any

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import ClientDisconnected
from waitress.utilities import Error, InternalServerError

from ..log_format import cut, on_one_line
from ..wsgi.facts import without_ids
from ..wsgi.questions import Held, WouldWaitError
from ..wsgi.responses import Again
from .bounds import BYTES_FOR_A_SECOND
from .output import Output
from .parser import RequestParser
from .poller import READ, WRITE
from .task import ErrorTask, LoopTask, PutOffError, ThreadTask


class Phase(enum.IntEnum):
    """What a connection waits for."""

    #: Its first byte.
    NEW = 0
    #: The rest of a request's header.
    HEADER = 1
    #: The rest of a request's body.
    BODY = 2
    #: The response: for the loop's turn, a thread, another try, or something that the application awaits.
    HANDLING = 3
    #: A peer that reads the response.
    WRITING = 4
    #: The first byte of the next request.
    IDLE = 5
    #: The last bytes of the peer, after the response: closing earlier could destroy the response.
    LINGERING = 6
    CLOSED = 7


NEW, HEADER, BODY, HANDLING, WRITING, IDLE, LINGERING, CLOSED = Phase

#: The phases that may follow each one. The tests of this room check each change; a check here would cost a call each.
NEXT_PHASES = {
    NEW: {HEADER, CLOSED},
    HEADER: {BODY, HANDLING, CLOSED},
    BODY: {HANDLING, CLOSED},
    HANDLING: {WRITING, IDLE, LINGERING, CLOSED},
    WRITING: {IDLE, LINGERING, CLOSED},
    IDLE: {HEADER, CLOSED},
    LINGERING: {CLOSED},
    CLOSED: set(),
}

# After the response the connection still reads, for up to these seconds and bytes: an earlier close would reset the
# connection, and a reset can destroy the response on its way.
LINGER_SECONDS = 2.0
_LINGER_BYTES = 1 << 26
_MAX_DISCARDS_IN_A_TURN = 16

# The size of reads for a request that does not come whole.
_MANY_BYTES = 64 * 1024

# Once this much of a request has been read, the request takes its turn behind requests that have just begun.
_SMALL_BYTES = 8 * 1024

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)

log = logging.getLogger("waitress")


class RequestTimeoutError(Error):  # type: ignore[misc]
    code = 408
    reason = "Request Timeout"


class OverloadedError(Error):  # type: ignore[misc]
    code = 503
    reason = "Service Unavailable"


class Connection:
    """One client, with the attributes and methods that waitress's tasks expect of a channel."""

    __slots__ = (
        *("server", "listener", "socket", "fd", "addr", "address", "phase", "since", "deadline", "interest", "request"),
        *("unread", "pieces", "output", "held", "filed", "lock", "is_done", "is_closing", "may_have_more"),
        *("sent_continue", "discarded", "is_large", "is_queued", "again", "is_put_off", "task", "awaited"),
    )

    # ``listener`` is a `server.Listener`; that module imports this one.
    def __init__(self, listener: Any, client: socket.SocketType, fd: int, addr: Any, address: Any) -> None:
        self.server = server = listener.server
        self.listener = listener
        self.socket = client
        self.fd = fd
        self.addr = addr
        #: The peer: an IPv4 address, or a network of 64 bits of IPv6.
        self.address = address
        self.phase: Phase = NEW
        #: When the phase, or the request of this phase, began.
        self.since = server.now
        #: When the loop gives up; checked once a second.
        self.deadline: float = server.now + server.limits.header_timeout
        #: The events that the poller watches.
        self.interest = 0
        self.request: Any = None
        #: The bytes that came after the current request.
        self.unread = b""
        #: Collects what a task writes if all of it is to leave in one piece.
        self.pieces: list[bytes] | None = None
        self.output: Output | None = None
        #: Bytes of memory that the server counts for this connection.
        self.held = 0
        #: Bytes in temporary files that the server counts for this connection.
        self.filed = 0
        #: Whether reading on is much work: the rest of a long request, chunks, or bytes that are only dropped.
        self.is_large = False
        #: Whether the connection waits in a queue of the server for its turn.
        self.is_queued = False
        #: None unless a thread works on this connection.
        self.lock: threading.Condition | None = None
        self.is_done = False
        self.is_closing = False
        self.may_have_more = False
        self.sent_continue = False
        self.discarded = 0
        #: Asks for another try of the request; None if the server cannot give one.
        self.again: Again | None = None
        self.is_put_off = False
        #: The task of a response that is held back.
        self.task: Any = None
        #: The response waits for this; meanwhile the poller watches nothing, or a peer that closes would wake it.
        self.awaited: Held | None = None

    @property
    def adj(self) -> Any:
        return self.server.adj

    # Called by the loop.

    def handle_event(self) -> None:
        """Do what the poller says is possible."""
        self.is_queued = False
        phase = self.phase
        if phase == HANDLING:
            self._handle_event_beside_thread()
        elif phase == WRITING:
            self._continue_writing()
        elif phase == LINGERING:
            self._discard()
        elif phase != CLOSED:
            self.receive()

    def receive(self) -> None:
        """Read what is there; wait for more where the request is not complete."""
        if self.unread:
            data, self.unread = self.unread, b""
            self.parse(data)
            return
        size = _MANY_BYTES if self.phase in (HEADER, BODY) else self.server.adj.recv_bytes
        try:
            data = self.socket.recv(size, _DONTWAIT)
        except BlockingIOError:
            self.wait_for(READ)
            return
        except OSError:
            self.close()
            return
        if not data:
            self.close()
            return
        self.may_have_more = len(data) == size
        self.parse(data)

    def parse(self, data: bytes) -> None:
        """Feed the parser. A complete request goes to the server; what follows it waits.

        Chunks may wait too: so many can come together that other connections must have a turn in between.
        """
        request = self.request
        if request is None:
            if data[0] <= 32:  # empty lines before a request are no part of it, and earn no time (RFC 9112 section 2.2)
                data = data.lstrip()
                if not data:
                    self._wait_for_first_byte()
                    return
            server = self.server
            request = self.request = RequestParser(server.adj)
            if self.phase != NEW:  # the first header counts from the accept
                self.since = server.now
                self.deadline = server.now + server.limits.header_timeout
            self.phase = HEADER
        while data:
            data = data[request.received(data) :]
            if request.completed:
                self.sent_continue = self.is_large = False
                self.unread = data
                self.phase = HANDLING
                self.again = None
                if self.held:
                    self.server.hold(self, 0)
                self.server.dispatch(self)
                return
            if request.expect_continue and request.headers_finished and not self.sent_continue:
                self._send_continue(request)
                if self.phase == CLOSED:
                    return
            if request.chunked and data:
                self.unread = data
                break
        self._wait_for_more()

    def _wait_for_first_byte(self) -> None:
        self.wait_for(READ)
        if self.held:
            self.server.hold(self, 0)

    def _wait_for_more(self) -> None:
        request, server = self.request, self.server
        if self.phase == CLOSED:
            return
        if request.headers_finished:
            if self.phase != BODY:
                self.phase = BODY
                self.since = server.now
            seconds = server.limits.body_seconds(request.body_bytes_received, request.longest_body())
            self.deadline = self.since + seconds
        self.wait_for(READ)
        self.is_large = request.chunked or request.header_bytes_received + request.body_bytes_received >= _SMALL_BYTES
        server.hold(self, request.held_bytes() + len(self.unread), request.file_bytes())
        if self.unread:
            server.queue(self)

    def _send_continue(self, request: RequestParser) -> None:
        self.sent_continue = True
        request.expect_continue = False
        try:
            self.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n", _DONTWAIT)
        except OSError:  # a socket without room for this takes no response either
            self.close()

    def proceed(self) -> None:
        """Read the next request from the bytes that came with the one before."""
        if self.phase == IDLE and self.unread:
            data, self.unread = self.unread, b""
            self.parse(data)

    def answer(self) -> None:
        """Answer the request in the loop; the response waits in ``pieces`` for `send_answer`."""
        if self.phase == CLOSED:
            return
        self.phase = HANDLING
        self.pieces = []
        request = self.request
        if request.error:
            self.may_have_more = True  # of the refused request
        task = (ErrorTask if request.error else LoopTask)(self, request)
        try:
            self.is_closing = self._run(task, task.service)
        except WouldWaitError:
            self.pieces = None
            request.get_body_stream().seek(0)
            self.server.hand_over(self)
            return
        if self.awaited is not None:
            self.task = task
        if request.body_rcv is not None:  # the body may have a file
            request.close()

    def hold(self, awaited: Held) -> None:
        """Hold the response back until ``awaited`` is settled."""
        self.awaited = awaited

    def send_answer(self) -> None:
        """Send the response of `answer` once nothing holds it back; keep the bytes that the socket does not take."""
        if self.awaited is not None:
            if not self.awaited.settle(self._wake):
                self.deadline = inf
                self.wait_for(0)
                return
            task, self.task, self.awaited = self.task, None, None
            if task.has_returned:  # else the application failed after it began to wait
                self.is_closing = self._run(task, task.resume)
        pieces, self.pieces = self.pieces, None
        if pieces is None and self.phase != CLOSED:
            return  # a thread answers
        self.request = None
        if self.phase == CLOSED or pieces is None:
            return
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        try:
            sent = self.socket.send(data, _DONTWAIT)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.close()
            return
        if sent < len(data):
            output = self.output = Output(self.server.adj)
            output.append(data[sent:])
            self._begin_writing(output)
        else:
            self._answered()

    def hand_to_thread(self, *, is_callback: bool) -> None:
        """Let a thread answer the request; it calls `service`."""
        self.phase = HANDLING
        self.deadline = inf
        self.is_done = False
        self.lock = threading.Condition()
        self.server.task_dispatcher.add_task(self, is_callback=is_callback)

    def _wake(self) -> None:
        self.server.report(self)

    def attend(self) -> None:
        """Go on after a thread has finished or put off a request or left unsent output, or after a wait has ended."""
        lock = self.lock
        if lock is None:
            if self.awaited is not None:
                self.send_answer()
            return
        with lock:
            if self.is_put_off:
                self._put_off()
                return
            if self.is_done:
                self.lock = None
                self.request = None
                if self.again is not None and self.again.frees_others:
                    self.server.has_ended()
            if self.phase == CLOSED:
                return
            if self.output:
                if self.phase != WRITING and self.deadline == inf:
                    self._begin_writing(self.output)
                elif self.is_done:
                    self.phase = WRITING
                    self.wait_for(WRITE)
            elif self.is_done:
                self._answered()

    def _put_off(self) -> None:
        """Wait without a thread for another try of the request."""
        self.is_put_off = False
        self.lock = None
        if self.phase == CLOSED:
            self.request.close()
            self.request = None
        else:
            self.wait_for(0)
            self.server.put_off(self)

    def expire(self) -> None:
        """Close a connection that took too long, with 408 if a request has begun."""
        if self.phase in (HEADER, BODY):
            request = RequestParser(self.server.adj)
            request.version = "1.1"
            request.error = RequestTimeoutError("the request took too long to arrive")
            if self.request is not None:
                self.request.close()
            self.request = request
            self.server.hold(self, 0)
            self.answer()
            self.may_have_more = True
            self.send_answer()
        elif self.phase in (WRITING, HANDLING):
            self.abort()
        else:
            self.close()

    def wait_for(self, interest: int) -> None:
        """Tell the poller what this connection waits for, if that has changed."""
        before = self.interest
        if interest == before:
            return
        poller = self.server.poller
        if not before:
            poller.register(self.fd, interest)
        elif not interest:
            poller.unregister(self.fd)
        else:
            poller.modify(self.fd, interest)
        self.interest = interest

    def close(self) -> None:
        """Close now. Bytes that are unread in the kernel, or unsent here, are lost."""
        if self.lock is None:
            self._close()
            return
        with self.lock:
            self._close()
            self.lock.notify_all()

    def abort(self) -> None:
        """Close with a reset, so that the kernel keeps nothing for a peer that does not read."""
        if self.phase != CLOSED:
            with contextlib.suppress(OSError):
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.close()

    def _close(self) -> None:
        if self.phase == CLOSED:
            return
        if self.interest:
            self.wait_for(0)
        self.phase = CLOSED
        self.deadline = inf
        self.server.forget(self)
        self.socket.close()
        self.unread = b""
        if self.output is not None:
            self.output.close()
            self.output = None
        if self.lock is None and self.request is not None:
            self.request.close()
            self.request = None

    def _answered(self) -> None:
        """Go on after a response has left: close, read what came with the request, or wait for the next."""
        server = self.server
        if self.is_closing or server.is_stopping:
            self._end()
            return
        self.phase = IDLE
        self.since = now = server.now
        self.deadline = now + server.limits.idle_timeout
        interest = READ
        if self.unread:  # its turn comes without an event
            server.pending.append(self)
            interest = 0
        if self.interest != interest:
            self.wait_for(interest)
        if self.unread or self.held or self.filed:
            server.hold(self, len(self.unread))

    def _end(self) -> None:
        """Close so that the peer gets the whole response."""
        if not self.unread and not self.may_have_more:
            self.close()
            return
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.close()
            return
        self.phase = LINGERING
        self.is_large = True
        self.unread = b""
        if self.held or self.filed:
            self.server.hold(self, 0)
        self.since = self.server.now
        self.deadline = self.since + LINGER_SECONDS
        self._discard()

    def _discard(self) -> None:
        try:
            for _ in range(_MAX_DISCARDS_IN_A_TURN):
                count = len(self.socket.recv(_MANY_BYTES, _DONTWAIT))
                self.discarded += count
                if not count or self.discarded > _LINGER_BYTES:
                    self.close()
                    return
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self.wait_for(READ)

    def _begin_writing(self, output: Output) -> None:
        """Wait until the peer reads."""
        server = self.server
        if self.lock is None:
            self.phase = WRITING
        self.since = server.now
        output.taken = 0
        self.deadline = server.now + server.limits.write_timeout
        self.wait_for(WRITE)
        self._hold_output(output)

    def _hold_output(self, output: Output) -> None:
        """Count the unsent output, and the request that a thread still answers."""
        memory, files = output.memory + len(self.unread), output.file_bytes
        request = self.request
        if request is not None:
            memory, files = memory + request.held_bytes(), files + request.file_bytes()
        self.server.hold(self, memory, files)

    def _continue_writing(self) -> None:
        output = self.output
        if output is None:
            return
        try:
            output.flush(self.socket)
        except OSError:
            self.close()
            return
        if not output:
            output.close()
            self.output = None
            if self.held or self.filed:
                self.server.hold(self, 0)
            if self.lock is None:
                self._answered()
            else:
                self.deadline = inf
                self.wait_for(0)
        else:
            earned = output.taken / BYTES_FOR_A_SECOND
            self.deadline = self.since + self.server.limits.write_timeout + earned
            self._hold_output(output)

    def _handle_event_beside_thread(self) -> None:
        lock = self.lock
        if lock is None:
            return
        if self.output:
            with lock:
                self._continue_writing()
                lock.notify_all()
        else:
            self.wait_for(0)  # the thread answers first

    # Called by tasks and threads.

    def service(self) -> None:
        """Answer the request in a thread."""
        try:
            request = self.request
            task = ThreadTask(self, request)
            self.is_closing = self.phase == CLOSED or self._run(task, task.service)
            if not self.is_put_off:
                request.close()
        finally:
            self.is_done = True
            self.server.report(self)

    def cancel(self) -> None:
        """Give up a request that no thread took before the end."""
        self.request.close()
        self.is_closing = self.is_done = True
        self.server.report(self)

    def check_client_disconnected(self) -> bool:
        return self.phase == CLOSED

    def write_soon(self, data: Any) -> int:
        """Send, or keep the bytes that the socket does not take; wait while too many are kept."""
        count = len(data)
        if not count:
            return 0
        if self.pieces is not None:
            self.pieces.append(data)
            return count
        lock = self.lock
        if lock is None:
            raise ClientDisconnected
        with lock:
            watermark = self.server.adj.outbuf_high_watermark
            while self.phase != CLOSED and self.output and self.output.length > watermark:
                lock.wait()
            if self.phase == CLOSED:
                raise ClientDisconnected
            self._write(data)
        return count

    def _write(self, data: Any) -> None:
        output = self.output
        if not output and not isinstance(data, ReadOnlyFileBasedBuffer):
            try:
                sent = self.socket.send(data, _DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                raise ClientDisconnected from error
            if sent == len(data):
                return
            data = data[sent:]
        if output is None:
            output = self.output = Output(self.server.adj)
        was_empty = not output
        output.append(data)
        if was_empty:
            try:
                output.flush(self.socket)
            except OSError as error:
                raise ClientDisconnected from error
            if output:
                self.server.report(self)

    def _run(self, task: Any, work: Callable[[], None]) -> bool:
        """Do a task's work; return whether the connection ends after it.

        No exception of the application leaves this method. Only WouldWaitError does, and exceptions of a signal's
        handler in the loop.
        """
        request = task.request
        try:
            work()
        except PutOffError:
            self.is_put_off = True
            return False
        except ClientDisconnected:
            log.info("Client disconnected while serving %s", _shown(request))
            return True
        except BaseException as error:
            if self.lock is None and (isinstance(error, WouldWaitError) or self.server.is_signal(error)):
                raise
            log.exception("Exception while serving %s", _shown(request))
            if self.lock is None:
                self.pieces = []  # nothing has left yet
            elif task.wrote_header:
                return True
            self._answer_internal_error(request)
            return True
        close: bool = task.close_on_finish
        return close

    def _answer_internal_error(self, request: Any) -> None:
        text = "The server encountered an unexpected internal server error"
        failed = RequestParser(self.server.adj)
        failed.error = InternalServerError(traceback.format_exc() if self.server.adj.expose_tracebacks else text)
        failed.version = request.version
        if "CONNECTION" in request.headers:
            failed.headers["CONNECTION"] = request.headers["CONNECTION"]
        with contextlib.suppress(ClientDisconnected, OSError):
            ErrorTask(self, failed).service()


def _shown(request: RequestParser) -> str:
    """Return a request's path for the log, on one line; a request with an error in its header has no path."""
    return on_one_line(cut(without_ids(getattr(request, "path", ""))))
