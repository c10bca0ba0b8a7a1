"""The local OSS on a port of its own."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from oss_wsgi.serving.bounds import most_connections
from oss_wsgi.serving.connection import WRITING
from oss_wsgi.serving.server import evictable

from ..forms.form import MAX_BODY_SIZE
from .channel import Channel
from .tls import CERTIFICATE_FILE, server_context

if TYPE_CHECKING:
    from ..application import LocalOSS

#: Beyond this number, the connections that have been silent for longest are closed. Few descriptors lower the number.
MAX_CONNECTIONS = 1000
# How much of a body to keep in memory until it has arrived whole.
_MEMORY_BYTES = 64 * 1024
# How long to pause accepting when descriptors or memory run out.
_PAUSE_SECONDS = 0.5
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
#: glibc's M_TRIM_THRESHOLD for mallopt, and its default value.
_TRIM_THRESHOLD, _TRIM_BYTES = -1, 128 * 1024

logger = logging.getLogger(__name__)


class LocalOSSServer:
    """A server that binds its port at once, and serves between start() and stop().

    :param port: 0 for a free port; `port` and `url` then have its number.
    :param tls: serve HTTPS, with a certificate that is kept in the folder of `oss`; `certificate` is the file to trust.
    :raises OSError: the port is taken, or the certificate cannot be read or written.
    :raises ValueError: the certificate's file holds no certificate.
    """

    def __init__(self, oss: LocalOSS, host: str = "127.0.0.1", port: int = 0, *, tls: bool = False) -> None:
        self.oss = oss  # a test may put an application of its own here
        context = server_context(oss.directory) if tls else None
        self.certificate = oss.directory / CERTIFICATE_FILE if tls else None
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://{_url_host(host)}:{self.port}"
        oss.url = self.url
        self._thread: threading.Thread | None = None
        self._channels: dict[int, Any] = {}
        adjustments = Adjustments(
            sockets=[self._socket],
            connection_limit=sys.maxsize,  # Server has a limit of its own
            ident="AliyunOSS",
            url_scheme=scheme,
            recv_bytes=256 * 1024,
            asyncore_use_poll=True,  # select() fails for descriptors above 1,023
            inbuf_overflow=_MEMORY_BYTES,
            max_request_body_size=MAX_BODY_SIZE + 1,  # for chunked bodies; a length is checked with the headers
            # With more than this to send, waitress waits for the client; by default it would write more into a file.
            outbuf_high_watermark=1024 * 1024,
            # A browser that cancels an upload is no error.
            log_socket_errors=False,
            expose_tracebacks=False,
            clear_untrusted_proxy_headers=False,
        )
        self._server: Any = Server(
            lambda environ, start_response: self.oss(environ, start_response),
            self._channels,
            _sock=self._socket,
            dispatcher=RequestThreads(),
            adj=adjustments,
            sockinfo=(self._socket.family, self._socket.type, self._socket.proto, self._socket.getsockname()),
            bind_socket=False,
        )
        self._server.spool, self._server.tls_context = oss.storage.blobs.create, context

    def start(self) -> None:
        _return_freed_memory()
        self._thread = threading.Thread(target=self._server.run, name="local-oss", daemon=True)
        self._thread.start()

    def stop(self, is_urgent: Callable[[], bool] = lambda: False) -> None:
        """Wait for requests in progress, 5 seconds at the most and until ``is_urgent``; then close every socket."""
        self._server.task_dispatcher.shutdown(is_urgent=is_urgent)
        if self._thread:
            trigger = self._server.trigger
            with trigger.lock:  # or the loop, awake for another reason, closes the trigger before it is pulled
                trigger.thunks.append(self._close)
                trigger._physical_pull()
            self._thread.join()
            self._thread = None
        else:
            self._close()

    def _close(self) -> None:
        for channel in list(self._server.active_channels.values()):
            # An incomplete body has a spool file, which waitress leaves to the garbage collector.
            for request in [channel.request, *channel.requests]:
                if request is not None:
                    request.close()
            channel.handle_close()
        wasyncore.close_all(self._channels, ignore_all=True)


class Server(TcpWSGIServer):  # type: ignore[misc]
    """waitress's server, which makes room for new connections instead of letting them wait."""

    channel_class = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._limit = int(min(MAX_CONNECTIONS, most_connections(2)))  # an upload has a file, too
        self._accept_again = 0.0
        super().__init__(*args, **kwargs)

    def readable(self) -> bool:
        return bool(super().readable()) and time.monotonic() >= self._accept_again

    def handle_accept(self) -> None:
        excess = len(self.active_channels) + 1 - self._limit
        if excess > 0:
            self._make_room(excess)
        super().handle_accept()

    def accept(self) -> Any:
        try:
            return super().accept()
        except OSError as error:
            if error.errno in _NO_ROOM and not self._make_room(1):
                self._accept_again = time.monotonic() + _PAUSE_SECONDS
            raise

    def _make_room(self, number: int) -> bool:
        """Close connections that wait for their clients; return False if there is none."""
        states: list[Any] = [_State(each) for each in self.active_channels.values()]
        found: list[Any] = [*evictable(states, Counter(each.address for each in states), number)]
        for state in found:
            state.channel.give_up()
        return bool(found)

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        # waitress closes a connection only once it can write, so a client that does not read would keep a thread.
        for channel in [*self.active_channels.values()]:
            if channel.phase == WRITING and channel.last_activity < now - self.adj.channel_timeout:
                channel.give_up()


class _State:
    """A connection as it was at one moment: its threads go on meanwhile."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.fd, self.address, self.phase, self.since = channel.fd, channel.address, channel.phase, channel.since


class RequestThreads:
    """Runs the requests of a server of waitress, with one more thread whenever all are busy.

    With a fixed number of threads, uploads that wait for their callbacks could block the requests that the callbacks
    send here. A thread ends after a second without a request.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self._changed = threading.Condition()
        self._running = 0
        self._idle = 0
        self._stopped = False

    def add_task(self, task: Any) -> None:
        """Let an idle thread, or a new one, run a request; do nothing after the end."""
        with self._changed:
            if self._stopped:
                return
            if self._idle:
                self._idle -= 1
            else:
                threading.Thread(target=self._serve, name="local-oss-requests", daemon=True).start()
            self._running += 1
        self._tasks.put(task)

    def shutdown(self, is_urgent: Callable[[], bool] = lambda: False) -> None:
        """Wait for requests in progress, 5 seconds at the most and until ``is_urgent``."""
        end = time.monotonic() + 5
        with self._changed:
            self._stopped = True
            while self._running and time.monotonic() < end and not is_urgent():
                self._changed.wait(0.1)

    def _serve(self) -> None:
        while task := self._next_task():
            try:
                task.service()
            except BaseException:
                logger.exception("a request failed outside the application: %r", task)
            del task  # else an idle thread keeps the last request
            with self._changed:
                self._running -= 1
                self._idle += 1
                self._changed.notify_all()

    def _next_task(self) -> Any:
        """Return a request, or None after a second unless one is on its way."""
        try:
            return self._tasks.get(timeout=1.0)
        except Empty:
            with self._changed:
                if not self._idle:
                    return self._tasks.get()
                self._idle -= 1
                return None


def _return_freed_memory() -> None:
    """Let glibc return freed memory: after one large block, glibc keeps all memory below the last block in use."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(ImportError, OSError, AttributeError):  # another C library
            import ctypes

            ctypes.CDLL(None).mallopt(_TRIM_THRESHOLD, _TRIM_BYTES)


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a host, which may be a name with an IPv6 address only."""
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(addresses, key=lambda entry: entry[0] != socket.AF_INET)
    return socket.create_server(address[:2], family=family)


def _url_host(host: str) -> str:
    if host in ("", "0.0.0.0", "::"):  # noqa: S104
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
