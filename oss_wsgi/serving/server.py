"""The server: it accepts connections, runs the loop that serves them, bounds them, and ends in order."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from ..wsgi.responses import Again
from .bounds import SHARE_OF_A_SEARCH, first_to_go, make_room, network_of
from .connection import BODY, CLOSED, HANDLING, HEADER, IDLE, LINGERING, NEW, WRITING, Connection, OverloadedError
from .listeners import HANDSHAKE_SECONDS, refuse_handshakes
from .poller import EXCLUSIVE, READ, make_poller
from .sharing import Share

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from ..wsgi.questions import BodyLimit, CallbackTest, NonBlockingTest
    from .bounds import Limits
    from .threads import Threads

#: How many connections the loop answers before it sends to them, and accepts in a turn.
BATCH_SIZE = 64

#: How many connections are accepted in a turn if other processes accept from the same socket, and nothing says how many
#: connections each has: one process must not take all.
SHARED_BATCH_SIZE = 4

# For how many seconds a turn reads small requests, and for how many long ones; it reads at least one of each.
_SMALL_SECONDS = 0.02
_LARGE_SECONDS = 0.01
# This many connections are read in a turn before it answers, and accepts again.
_MAX_READY = 4 * BATCH_SIZE

_SWEEP_SECONDS = 1.0
# How many deadlines a turn looks at, and how many late connections it ends.
_SWEEP_SIZE = 512
_EXPIRE_SIZE = 32

#: If more bytes than this were held, memory is given back once three quarters of them are free.
PEAK_BYTES = 8 * 1024 * 1024
_DRAINING_TURN_SECONDS = 0.1

# How long a connection that has sent nothing stays when the listener closes: a request may be on its way.
FIRST_REQUEST_SECONDS = 2.0

# How long accepting pauses if descriptors or memory are short, and if another process has fewer connections.
_PAUSE_SECONDS = 0.5
_LEAVING_SECONDS = 0.02
_LOG_SECONDS = 60.0
#: The log warns if more requests than this wait for each thread; a short burst is normal.
_MANY_WAITING = 4

# Requests for which the application asks for another try: the most seconds until that try; the most seconds that a
# request waits while others end, and while none ends; how many may wait; how many are tried when another one ends.
_AGAIN_SECONDS = 0.2
_PUT_OFF_SECONDS = 1.0
_STANDSTILL_SECONDS = 0.5
_MOST_PUT_OFF = 64
_TRIES_AT_AN_END = 2

# Errors that accept() reports for one connection, which is then gone.
_OF_ONE_CONNECTION = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "EINTR", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH"),
        *("EOPNOTSUPP", "ENETUNREACH", "EPERM", "ETIMEDOUT"),
    )
    if hasattr(errno, name)
)

# The order in which connections make room for others: answered, waiting between requests, with an unfinished request.
_ORDER = {LINGERING: 0, IDLE: 1, NEW: 2, HEADER: 2, BODY: 2, WRITING: 3}

log = logging.getLogger(__name__)


class Listener:
    """A listening socket of the server."""

    def __init__(self, server: Server, listening: socket.socket) -> None:
        self.server = server
        self.socket = listening
        self.fd = listening.fileno()
        #: The part of the environ that all its requests share; the first request fills it.
        self.environ: dict[str, Any] | None = None
        self.is_registered = False
        self.host, self.port = _effective_address(listening)
        # A connection inherits these, which saves a system call for each.
        if listening.family in (socket.AF_INET, socket.AF_INET6):
            for level, option, value in server.adj.socket_options:
                listening.setsockopt(level, option, value)
        listening.setblocking(False)


class Server:
    """Serves an application on listening sockets; `make_server` makes it.

    It has waitress's interface (``run``, ``close``, ``effective_host``, ``effective_port``, ``task_dispatcher``,
    ``adj``), and `drain`.
    """

    def __init__(
        self,
        application: WSGIApplication,
        listeners: Sequence[socket.socket],
        adj: Any,
        limits: Limits,
        *,
        file_bytes: int,
        connection_limit: int,
        threads: Threads,
        is_nonblocking: NonBlockingTest | None,
        body_limit: BodyLimit | None,
        is_callback: CallbackTest | None,
        clock: Callable[[], float],
        owns_listeners: bool,
        shares_listeners: bool,
        share: Share | None,
    ) -> None:
        self.application = application
        self.adj = adj
        self.limits = limits
        self.file_bytes = file_bytes
        self.connection_limit = connection_limit
        self.task_dispatcher = threads
        self.server_name = adj.server_name
        self._is_nonblocking = is_nonblocking
        self._is_callback = is_callback
        self._body_limit = body_limit
        adj.body_limit = self._longest_body if body_limit is not None else None
        self._clock = clock
        self._owns_listeners = owns_listeners
        self._shares_listeners = shares_listeners
        self._share = share
        self._bell = -1 if share is None else share.bell
        self._closed = 0
        #: The time of this turn of the loop.
        self.now = clock()
        self.poller = make_poller()
        self.listeners = [Listener(self, each) for each in listeners]
        self.effective_host, self.effective_port = self.listeners[0].host, self.listeners[0].port
        self._listener_of = {each.fd: each for each in self.listeners}
        #: All connections, by descriptor.
        self.connections: dict[int, Connection] = {}
        #: The number of connections of each address.
        self.counts: dict[Any, int] = {}
        #: Connections whose next request came with the one before; they wait for a turn, and for nothing else.
        self.pending: deque[Connection] = deque()
        # Requests that wait for another try, and when one of the requests that they may wait for last ended.
        self._put_off: deque[Connection] = deque()
        self._ended_at = self.now
        #: The memory of requests that are not complete or wait for a thread, and of responses that are not read.
        self.held = 0
        #: The part of these that is in temporary files.
        self.filed = 0
        self._peak = 0
        # Connections that can be read or written, in order: those that have little to do go first.
        self._small: deque[Connection] = deque()
        self._large: deque[Connection] = deque()
        self._ready: list[Connection] = []
        self._reports: deque[Connection] = deque()
        self._replaceable: list[tuple[Connection, int, float]] = []
        self._next_sweep = self.now
        self._is_sweeping = False
        self._unswept: list[Connection] = []
        self._late: list[Connection] = []
        self._accept_again: float | None = None
        self._logged_at: dict[str, float] = {}
        #: True from the call of `drain` on.
        self.draining = False
        #: True once the listeners close: responses end their connections.
        self.is_stopping = False
        self._drain_times: tuple[float, float] | None = None
        # When the handshakes under way have ended; None until new ones are refused.
        self._handshakes_end: float | None = None
        self._has_ended = False
        self._is_closed = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._is_woken = False
        # Signals that have come since handlers last ran for certain.
        self._seen_signals: set[int] = set()
        self.poller.register(self._wake_reader.fileno(), READ)
        if share is not None:
            self.poller.register(share.bell, READ)
        self._resume_accepting()

    # The interface.

    def run(self) -> None:
        """Serve until `drain` has ended, or a signal's handler raises SystemExit or KeyboardInterrupt."""
        try:
            with self._signals_wake():
                while not self._has_ended:
                    self._turn()
        except (SystemExit, KeyboardInterrupt):
            pass
        finally:
            self._stop()

    def drain(self, seconds: float, delay: float = 0.0) -> None:
        """End in order: `run` returns at the latest after ``delay + seconds``. A signal's handler may call this.

        From now on each environ has ``oss_wsgi.draining``. After ``delay`` seconds the server accepts the connections
        in the listeners' backlogs, closes the listeners, answers requests that have begun and closes each connection
        after its response. Idle connections are closed; one that has sent nothing yet has 2 seconds. If `drain` is
        called again, the earlier end counts. Raises ValueError for a negative number and for NaN.
        """
        for name, value in (("seconds", seconds), ("delay", delay)):
            if not value >= 0:
                raise ValueError(f"{name} must be 0 or more, not {value!r}.")
        now = self._clock()
        start, end = now + delay, now + delay + seconds
        if self._drain_times is not None:
            start, end = min(start, self._drain_times[0]), min(end, self._drain_times[1])
        self._drain_times = start, end
        self.draining = True
        self.pull_trigger()

    def close(self) -> None:
        """Close the listeners, the loop's descriptors, and the connections that `run` has not closed."""
        if self._is_closed:
            return
        self._is_closed = True
        self._close_listeners()
        for connection in list(self.connections.values()):
            connection.close()
        with contextlib.suppress(OSError):
            self.poller.unregister(self._wake_reader.fileno())
        self.poller.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def pull_trigger(self) -> None:
        """Wake the loop; any thread and any signal's handler may call this."""
        if not self._is_woken:
            self._is_woken = True
            with contextlib.suppress(OSError):  # the socket is full, so the loop wakes anyway; or it is closed
                self._wake_writer.send(b"\0")

    # Called by connections.

    def dispatch(self, connection: Connection) -> None:
        """Route a connection whose request is complete: to the loop, or to a thread."""
        request = connection.request
        if request.error or self._ask(
            "is_nonblocking", self._is_nonblocking, request.command, request.path, request.headers
        ):
            self._ready.append(connection)
        else:
            self.hand_over(connection)

    def hand_over(self, connection: Connection) -> None:
        """Let a thread answer a connection's request; answer 503 if a waiting request would take too much memory."""
        request, threads = connection.request, self.task_dispatcher
        self.hold(connection, request.held_bytes(), request.file_bytes())
        asked = request.command, request.path, request.headers
        is_callback = bool(self._ask("is_callback", self._is_callback, *asked))
        has_memory = self.held <= self.limits.buffered_bytes and self.filed <= self.file_bytes
        if has_memory or (is_callback and threads.has_idle):
            self._offer_another_try(connection)
            connection.hand_to_thread(is_callback=is_callback)
            waiting = threads.waiting
            if waiting > _MANY_WAITING * threads.count:
                message = "%d requests wait for one of %d threads: more threads may help, or a faster application"
                self._log_now_and_then("threads", message, waiting, threads.count)
            return
        request.error = OverloadedError("too many requests wait for a thread: try again later")
        self.hold(connection, 0)
        self._ready.append(connection)

    def _offer_another_try(self, connection: Connection) -> None:
        again = connection.again
        if again is None:
            again = connection.again = Again()
        again.is_asked = False
        again.is_offered = len(self._put_off) < _MOST_PUT_OFF and not self.is_stopping
        if again.since is not None:
            moves = self.now - max(again.since, self._ended_at) < _STANDSTILL_SECONDS
            again.is_offered &= moves and self.now - again.since < _PUT_OFF_SECONDS

    def put_off(self, connection: Connection) -> None:
        """Call the application again for a request in a moment."""
        again = connection.again
        if again is not None:
            again.since = self.now if again.since is None else again.since
            again.due = self.now + _AGAIN_SECONDS
            self._put_off.append(connection)

    def has_ended(self) -> None:
        """Try some of the requests again that may have waited for another one to end."""
        self._ended_at = self.now
        some = [self._put_off.popleft() for _ in range(min(len(self._put_off), _TRIES_AT_AN_END))]
        self._each([each for each in some if each.phase == HANDLING], self.dispatch)

    def report(self, connection: Connection) -> None:
        """Have the loop attend to a connection; called from threads."""
        self._reports.append(connection)
        self.pull_trigger()

    def forget(self, connection: Connection) -> None:
        """Remove a connection that closes; its descriptor is still its own."""
        del self.connections[connection.fd]
        self._closed += 1
        address = connection.address
        left = self.counts[address] - 1
        if left:
            self.counts[address] = left
        else:
            del self.counts[address]
        self.held -= connection.held
        self.filed -= connection.filed
        connection.held = connection.filed = 0

    def hold(self, connection: Connection, count: int, files: int = 0) -> None:
        """Count a connection's bytes in memory and in files; close some connections if all hold too much."""
        self.held += count - connection.held
        connection.held = count
        self._peak = max(self._peak, self.held)
        if count and self.held > self.limits.buffered_bytes:
            self._free("held", self.limits.buffered_bytes)
        if connection.phase != CLOSED:
            self.filed += files - connection.filed
            connection.filed = files
            if files and self.filed > self.file_bytes:
                self._free("filed", self.file_bytes)

    def queue(self, connection: Connection) -> None:
        """Give a connection its turn, after the connections that wait already."""
        if not connection.is_queued:
            (self._large if connection.is_large else self._small).append(connection)
        connection.is_queued = True

    def is_signal(self, error: BaseException) -> bool:
        """Return whether an error in the loop was raised by the handler of a signal that has arrived."""
        if isinstance(error, Exception):
            return False
        self._read_wake()
        return any(_raised_by(signal.getsignal(number), error) for number in self._seen_signals)

    # The loop.

    def _turn(self) -> None:
        is_busy = self.pending or self._reports or self._is_sweeping or self._small or self._large
        events = self.poller.poll(0.0 if is_busy else self._timeout())
        self.now = now = self._clock()
        listening = []
        find = self.connections.get
        for fd, _ in events:
            connection = find(fd)
            if connection is not None:
                self.queue(connection)
            elif fd in self._listener_of:
                listening.append(self._listener_of[fd])
            elif fd == self._bell:
                listening = self._hear()
            else:
                self._read_wake()
        while self._reports:
            self._each([self._reports.popleft()], Connection.attend)
        if self._put_off:
            self._try_again(now)
        for listener in listening:
            if self._shares_listeners:
                self._accept_share(listener)
            else:
                self._accept(listener, max(BATCH_SIZE, len(events)))  # as many as old ones, or new ones pile up
        self._take(self._small, Connection.handle_event, _SMALL_SECONDS)
        self._take(self.pending, Connection.proceed, _SMALL_SECONDS, BATCH_SIZE)
        self._seen_signals.clear()  # the handlers of these signals have run
        self._answer()
        self._take(self._large, Connection.handle_event, _LARGE_SECONDS)
        self._answer()
        if now >= self._next_sweep or self._is_sweeping:
            self._sweep(now)
        if self._accept_again is not None and now >= self._accept_again:
            self._resume_accepting()
        if self.draining:
            self._continue_drain(now)
        if self._share is not None and not self.is_stopping:
            self._share.tell(len(self.connections), now)

    def _take(
        self, queue: deque[Connection], work: Callable[[Connection], None], seconds: float, most: int = _MAX_READY
    ) -> None:
        """Work on the first connections in a queue, at most ``most``, until the time is over."""
        if not queue:
            return
        end = self._clock() + seconds
        for _ in range(min(len(queue), most)):
            connection = queue.popleft()
            try:
                work(connection)
            except Exception:
                self._fail(connection)
            if self._clock() >= end:
                break

    def _timeout(self) -> float:
        soonest = min((each.again.due for each in self._put_off if each.again), default=self._next_sweep)
        soonest = min(soonest, self._next_sweep, self._accept_again or inf)
        wait = max(soonest - self._clock(), 0.0)
        return min(wait, _DRAINING_TURN_SECONDS if self.draining else _SWEEP_SECONDS)

    def _try_again(self, now: float) -> None:
        """Hand each request whose next try is due to a thread; while the server ends, each has its last try now."""
        due = [each for each in self._put_off if self.is_stopping or each.again is None or each.again.due <= now]
        if due:
            self._put_off = deque(each for each in self._put_off if each not in due)
            self._each([each for each in due if each.phase == HANDLING], self.dispatch)

    def _answer(self) -> None:
        """Make a batch of responses, then send them, even if the handler of a signal raises in between.

        Batching each phase across connections is about twice as fast as interleaving them: caches stay warm, and a
        client on another processor wakes up once for many responses.
        """
        while self._ready:
            batch, self._ready = self._ready[:BATCH_SIZE], self._ready[BATCH_SIZE:]
            unsent = iter(batch)
            try:
                self._each(batch, Connection.answer)
                self._each(unsent, Connection.send_answer)
            finally:
                self._each(unsent, Connection.send_answer)

    def _each(self, connections: Iterable[Connection], work: Callable[[Connection], None]) -> None:
        """Call ``work`` with each connection; an error ends only the connection that it happens on."""
        for connection in connections:
            try:
                work(connection)
            except Exception:
                self._fail(connection)

    def _fail(self, connection: Connection) -> None:
        log.exception("an error of the server ended a connection")
        connection.abort()

    def _longest_body(self, method: str, path: str) -> int | None:
        longest: int | None = self._ask("body_limit", self._body_limit, method, path)
        return longest

    def _ask(self, name: str, question: Callable[..., Any] | None, method: str, path: str, *headers: Any) -> Any:
        """Ask the application about a request; return None where it does not say, or fails."""
        if question is None:
            return None
        prefix = self.adj.url_prefix
        if prefix and (path + "/").startswith(prefix + "/"):
            path = path[len(prefix) :]
        try:
            return question(method, path, *headers)
        except BaseException as error:
            if self.is_signal(error):
                raise
            log.exception("%s failed, so the request is handled like any other", name)
            return None

    def _sweep(self, now: float) -> None:
        """Look for passed deadlines: at some connections in each turn, and at all about once a second."""
        if now >= self._next_sweep:
            self._next_sweep = now + (_DRAINING_TURN_SECONDS if self.is_stopping else _SWEEP_SECONDS)
            if not self._is_sweeping:
                self._unswept = list(self.connections.values())
            if self._share is not None:
                self._share.note_closed(self._closed)
            self._closed = 0
            if self._peak > PEAK_BYTES and self.held < self._peak // 4:
                self._peak = self.held
                give_back()
        if not self._late:
            part = self._unswept[-_SWEEP_SIZE:]
            del self._unswept[-_SWEEP_SIZE:]
            self._late = [each for each in part if each.deadline <= now]
        some, self._late = self._late[:_EXPIRE_SIZE], self._late[_EXPIRE_SIZE:]
        self._each([each for each in some if each.deadline <= now], Connection.expire)
        self._is_sweeping = bool(self._late or self._unswept)

    # Accepting.

    def _accept(self, listener: Listener, count: int = BATCH_SIZE) -> int:
        """Accept up to ``count`` connections, to be read next; return how many were accepted."""
        # A connection over the limit goes at once, but takes a descriptor until then.
        count = min(count, max(self.connection_limit - len(self.connections), min(BATCH_SIZE, self.connection_limit)))
        accept = listener.socket._accept  # type: ignore[attr-defined]
        family, kind, proto = listener.socket.family, listener.socket.type, listener.socket.proto
        is_inet6, is_inet = family == socket.AF_INET6, family == socket.AF_INET
        accepted = []
        for _ in range(count):
            try:
                fd, addr = accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _OF_ONE_CONNECTION:
                    continue
                self._pause_accepting(error)
                break
            client = socket.SocketType(family, kind, proto, fd)
            address: Any
            if is_inet:
                address = addr[0]
            elif is_inet6:
                address = network_of(addr[0])
            else:
                addr, address = ("localhost", None), None
            connection = Connection(listener, client, fd, addr, address)
            self.connections[fd] = connection
            self.counts[address] = self.counts.get(address, 0) + 1
            accepted.append(connection)
        bound = self.limits.connections_per_address
        if bound is not None:
            for connection in reversed(accepted):  # those that came first stay
                if self.counts[connection.address] > bound:
                    self._log_now_and_then("per address", "connections were refused: one address has %d already", bound)
                    connection.abort()
        excess = len(self.connections) - self.connection_limit
        if excess > 0:
            self._replace(excess)
        for connection in accepted:
            if connection.phase != CLOSED:
                self.queue(connection)
        return len(accepted)

    def _accept_share(self, listener: Listener) -> None:
        """Accept some connections; for the next ones the kernel wakes the process that has waited longest.

        If another process has fewer connections, leave new ones to that process for a moment.
        """
        room = SHARED_BATCH_SIZE
        if self._share is not None:
            # Accept many at a time: a ledger commits the uploads of one turn together.
            room = min(BATCH_SIZE, self._share.room(len(self.connections), self.now))
            if room <= 0:
                self._stop_listening()
                self._accept_again = self.now + _LEAVING_SECONDS
                self._share.ring(self.now)
                return
        self._accept(listener, room)
        if listener.is_registered:
            self.poller.unregister(listener.fd)
            self.poller.register(listener.fd, READ | EXCLUSIVE)

    def _pause_accepting(self, error: OSError) -> None:
        """Accept nothing for a moment, because descriptors or memory are used up."""
        self._log_now_and_then("accept", "no connection can be accepted for the moment: %s", error.strerror or error)
        self._stop_listening()
        self._accept_again = self.now + _PAUSE_SECONDS

    def _stop_listening(self) -> None:
        for listener in self.listeners:
            if listener.is_registered:
                self.poller.unregister(listener.fd)
                listener.is_registered = False

    def _hear(self) -> list[Listener]:
        """Accept again, because another process leaves new connections to this one; return the listeners."""
        if self._share is not None:
            self._share.hear()
            self._resume_accepting()
        return self.listeners

    def _resume_accepting(self) -> None:
        self._accept_again = None
        for listener in self.listeners:
            if not listener.is_registered:
                self.poller.register(listener.fd, READ | EXCLUSIVE)
                listener.is_registered = True

    def _log_now_and_then(self, subject: str, message: str, *values: object) -> None:
        """Log a warning, once a minute at the most for each subject."""
        if self.now >= self._logged_at.get(subject, self.now):
            self._logged_at[subject] = self.now + _LOG_SECONDS
            log.warning(message, *values)

    # Bounds.

    def _replace(self, number: int) -> None:
        """Close ``number`` connections to make room for new ones."""
        limit = self.connection_limit
        self._log_now_and_then("full", "%d connections are open, which is the limit: idle ones are closed", limit)
        while number > 0:
            if not self._replaceable:
                batch = max(number, limit // SHARE_OF_A_SEARCH)
                found = evictable(self.connections.values(), self.counts, batch)
                if not found:
                    return  # all are being handled
                self._replaceable = [(each, each.phase, each.since) for each in found]
            connection, phase, since = self._replaceable.pop()
            if (connection.phase, connection.since) == (phase, since):
                connection.abort()
                number -= 1

    def _free(self, held: str, limit: int) -> None:
        """Close the oldest connections that hold memory (``filed``: files) until less than the limit is held."""
        what = "requests and responses hold %d bytes%s: the oldest ones are closed"
        self._log_now_and_then(held, what, getattr(self, held), " in files" if held == "filed" else "")
        make_room(
            lambda: int(getattr(self, held)),
            limit,
            len(self.connections),
            lambda number: evictable(self.connections.values(), self.counts, number, held),
            Connection.abort,
        )

    # Ending.

    def _continue_drain(self, now: float) -> None:
        start, end = self._drain_times or (now, now)
        if self.listeners and now >= start:
            if self._handshakes_end is None:
                self._handshakes_end = now + self._refuse_handshakes()
            if now >= min(self._handshakes_end, end):
                self._stop_accepting(end)
                self._answer()
        if self.is_stopping and (now >= end or not (self.connections or self.listeners)):
            self._has_ended = True

    def _refuse_handshakes(self) -> float:
        """Refuse new connections unless other processes accept them; return how long handshakes under way take."""
        if not self._owns_listeners:
            return 0.0
        are_refused = [refuse_handshakes(each.socket) for each in self.listeners]
        return HANDSHAKE_SECONDS if any(are_refused) else 0.0

    def _stop_accepting(self, end: float) -> None:
        """Accept the connections in the backlogs, close the listeners and the idle connections.

        While descriptors or memory are short, the listeners stay open until ``end``, and the next turn goes on.
        """
        self.is_stopping = True
        if self._share is not None:
            self._share.leave()
        is_taken = self._take_backlogs()
        if not is_taken:
            self._close_idle_connections()  # to free their descriptors
            is_taken = self._take_backlogs()
        if is_taken or self.now >= end:
            self._close_listeners()
        self._close_idle_connections()
        for connection in self.connections.values():
            if connection.phase == NEW:
                connection.deadline = min(connection.deadline, self.now + FIRST_REQUEST_SECONDS)
        # If descriptors are short, the next attempt waits until then too.
        self._next_sweep = self.now if is_taken else self.now + _DRAINING_TURN_SECONDS

    def _take_backlogs(self) -> bool:
        """Accept and answer the connections in the backlogs; return False if descriptors or memory are short."""
        self._accept_again = None
        for listener in self.listeners:
            left = max(self.adj.backlog, socket.SOMAXCONN) + BATCH_SIZE  # more come while these are taken
            while left > 0 and (count := self._accept(listener)):
                left -= count
                self._take(self._small, Connection.handle_event, inf)
                self._answer()
        return self._accept_again is None

    def _close_idle_connections(self) -> None:
        for connection in list(self.connections.values()):
            if connection.phase == IDLE:
                self._each([connection], Connection.proceed if connection.unread else Connection.receive)
                if connection.phase == IDLE:
                    connection.close()

    def _close_listeners(self) -> None:
        self._stop_listening()
        for listener in self.listeners:
            listener.socket.close()
        self.listeners = []
        self._listener_of = {}

    def _stop(self) -> None:
        """Close everything, and wait for the threads as long as `drain` allows."""
        self._close_listeners()
        for connection in list(self.connections.values()):
            connection.close()
        # Threads finish their requests, also for clients that have gone, as long as `drain` allows; another call of
        # `drain`, for a second signal, may shorten that time meanwhile.
        start = self._clock()
        self.task_dispatcher.shutdown(lambda: max(self._drain_times[1] - start, 0.5) if self._drain_times else 5.0)
        self.close()

    @contextlib.contextmanager
    def _signals_wake(self) -> Iterator[None]:
        """Let each signal wake the loop, where it runs in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)

    def _read_wake(self) -> None:
        """Read what woke the loop; a byte that is not zero is a signal's number."""
        with contextlib.suppress(BlockingIOError):
            while data := self._wake_reader.recv(4096):
                self._seen_signals.update(data.replace(b"\0", b""))
                # Python's own handler raises KeyboardInterrupt, which an application in the loop may have caught.
                if signal.SIGINT in data and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                    self._has_ended = True
        self._is_woken = False  # after the read, which may have taken the byte of a thread's report


def evictable(
    connections: Iterable[Connection], counts: Mapping[Any, int], number: int, held: str | None = None
) -> list[Connection]:
    """Return up to ``number`` connections to close, the last of the list first.

    The address that holds most goes first: its longest idle connection, then its oldest unfinished request. A
    connection whose request is being handled never goes.

    :param counts: address -> number of its connections.
    :param held: only those that hold memory (``held``) or files (``filed``), the oldest of an address first.
    """
    candidates = [
        each for each in connections if each.phase not in (HANDLING, CLOSED) and (held is None or getattr(each, held))
    ]
    return first_to_go(
        candidates, counts, number, lambda each: (0 if held else _ORDER[each.phase], each.since, each.fd)
    )


def give_back() -> None:
    """Return glibc's free pages to the system; by itself glibc keeps all that lie below its last block in use."""
    with contextlib.suppress(ImportError, OSError, AttributeError, TypeError):  # another C library, or Windows
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


def _raised_by(handler: Any, error: BaseException) -> bool:
    """Return whether a signal's handler is in an error's traceback; assume it of handlers without code of their own."""
    if handler is signal.default_int_handler:
        return isinstance(error, KeyboardInterrupt)
    if not callable(handler):
        return False
    code = getattr(handler, "__code__", None)
    return code is None or any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__))


def _effective_address(listening: socket.socket) -> tuple[str, Any]:
    """Return host and port as text, or ``unix`` and the path, as waitress does."""
    address = listening.getsockname()
    if listening.family in (socket.AF_INET, socket.AF_INET6):
        return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    return "unix", os.fsdecode(address)
