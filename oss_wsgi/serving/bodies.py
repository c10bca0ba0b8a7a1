"""Bodies that arrive over ASGI: each has a deadline, and together they have one bound of memory in this process."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager, suppress
from typing import Any

from ..exceptions import BodyTimeoutError, CallbackError, MemoryTakenError
from ..threads import ForkAware
from .bounds import OBJECTS_BYTES, Limits, first_to_go, make_room, network_of

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Bodies(ForkAware):
    """The bodies of requests that arrive, wait for a thread, or are handled.

    Their bounds are those of `make_server`'s server, for all applications and loops of the process together. The bytes
    that have arrived count until the request is answered. Beyond ``buffered_bytes``, unfinished bodies are given up:
    the oldest ones of the address that has most go first. A request with a complete body is refused if other complete
    bodies hold too much.
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float]) -> None:
        self.limits = limits
        self.clock = clock
        self._forget()
        super().__init__()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        #: The memory that is held.
        self.held = 0
        self._arriving: dict[Body, None] = {}
        self._counts: dict[Any, int] = {}

    def _renew_in_child(self) -> None:
        self._forget()  # the loops that read the bodies do not run here

    @contextmanager
    def count(self, host: str) -> Iterator[Body]:
        """Count the body of a request from a host until the end of the with block."""
        body = Body(self, _address(host))
        with self._lock:
            self._arriving[body] = None
            self.held += body.held
            self._counts[body.address] = self._counts.get(body.address, 0) + 1
        try:
            yield body
        finally:
            with self._lock:
                self._release(body)
                self._counts[body.address] -= 1
                if not self._counts[body.address]:
                    del self._counts[body.address]

    def grow(self, body: Body, count: int, *, is_complete: bool) -> None:
        """Count more bytes of a body; give up others, or this one, if all hold too much."""
        with self._lock:
            if body.is_given_up:
                return
            if is_complete:
                self._arriving.pop(body, None)
            self.held += count
            body.held += count
            if self.held > self.limits.buffered_bytes:
                make_room(
                    lambda: self.held,
                    self.limits.buffered_bytes,
                    len(self._arriving),
                    lambda number: first_to_go(self._arriving, self._counts, number, lambda each: each.since),
                    self._give_up,
                )

    @property
    def is_full(self) -> bool:
        """Whether complete bodies alone hold more than is allowed."""
        return self.held > self.limits.buffered_bytes

    def _give_up(self, body: Body) -> None:
        self._release(body)
        body.give_up()

    def _release(self, body: Body) -> None:
        self._arriving.pop(body, None)
        self.held -= body.held
        body.held = 0


class Body:
    """The body of one request."""

    __slots__ = ("_bodies", "_loop", "_reading", "_stream", "address", "held", "is_given_up", "since")

    def __init__(self, bodies: Bodies, address: Any) -> None:
        self._bodies = bodies
        self._loop = asyncio.get_running_loop()
        self._reading: asyncio.Future[bool] | None = None
        self._stream = io.BytesIO()
        #: The peer, as `_address` returns it.
        self.address = address
        self.since = bodies.clock()
        #: Bytes that are counted for this body.
        self.held = OBJECTS_BYTES
        self.is_given_up = False

    async def read(self, receive: Receive, length: int, *, has_thread: Callable[[], bool]) -> io.BytesIO | None:
        """Read a body of ``length`` bytes; return it, or None if the client is gone.

        If the server delivers fewer or more bytes, the body has these, and the application refuses it.

        :param has_thread: whether a thread waits for this request; then other bodies never make it fail.

        Raises BodyTimeoutError and MemoryTakenError.
        """
        self._reading = reading = asyncio.ensure_future(self._collect(receive, length))
        try:
            while not reading.done() and (left := self._deadline(length) - self._bodies.clock()) > 0:
                await asyncio.wait({reading}, timeout=left)
        finally:
            reading.cancel()
        if not (self.is_given_up or reading.done()):
            hint = f"of {length} bytes {self._stream.tell()} came within {self._bodies.clock() - self.since:.0f} s"
            raise BodyTimeoutError("body_timeout", hint)
        if not self.is_given_up and not reading.result():
            return None
        if self.is_given_up or (self._bodies.is_full and not has_thread()):
            hint = f"requests hold {self._bodies.limits.buffered_bytes} bytes in memory, and may hold no more"
            raise MemoryTakenError("memory_taken", hint)
        self._stream.seek(0)
        return self._stream

    def _deadline(self, length: int) -> float:
        return self.since + self._bodies.limits.body_seconds(self._stream.tell(), length)

    async def _collect(self, receive: Receive, length: int) -> bool:
        """Read to the end, or until more bytes have come than announced; return False if the client is gone."""
        more = True
        while more and self._stream.tell() <= length and not self.is_given_up:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            self._stream.write(piece)
            self._bodies.grow(self, len(piece), is_complete=not more)
        if more:
            self._bodies.grow(self, 0, is_complete=True)
        return True

    def give_up(self) -> None:
        """Let ``read`` raise MemoryTakenError; any thread may call this."""
        self.is_given_up = True
        self._stream = io.BytesIO()
        if self._reading is not None:
            with suppress(RuntimeError):  # its loop has ended
                self._loop.call_soon_threadsafe(self._reading.cancel)


class RefusedBody:
    """An input that raises an error when it is read, which says why the body was not read to its end."""

    def __init__(self, error: CallbackError) -> None:
        self._error = error

    def read(self, size: int = -1) -> bytes:
        raise self._error


def _address(host: str) -> Any:
    """Return the peer of a host: an IPv4 address, or a network of 64 bits of IPv6."""
    try:
        return network_of(host) if ":" in host else host
    except OSError:  # not an address
        return host


#: All bodies of this process.
BODIES = Bodies(Limits(), clock=time.monotonic)
