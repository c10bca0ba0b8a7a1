"""Asks a WSGI application whether it can answer a request without waiting.

An application that can tell has a method ``is_nonblocking(method, path, headers) -> bool``, where ``path`` is the
PATH_INFO that it would get, and ``headers`` has names such as ``X_OSS_PUB_KEY_URL``. True means that the answer calls
none of the user's callables and waits for no disk, no lock and no other host, so that a server may run it in its I/O
loop. Middleware asks the application that it wraps.

Where the response may be sent only once something is on the disk, the application gives what it waits for to the
``hold`` in the environ (``HOLD_KEY``), and returns a body that calls ``start_response`` when it is iterated, which may
be done once that is settled. An application that finds it must wait before that raises WouldWaitError, and a thread
calls it from the start. Under a server without ``hold`` it waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

NonBlockingTest = Callable[[str, str, Mapping[str, str]], bool]

#: Environ key of a server's loop: ``hold(held)``, called once at the most, has it hold the response back.
HOLD_KEY = "oss_wsgi.hold"


class Held(Protocol):
    """What a response waits for."""

    def settle(self, wake: Callable[[], None]) -> bool:
        """Return True once it is over; if not, ``wake`` is called then, by any thread, and may be called before."""
        ...


class WouldWaitError(Exception):
    """Raised in a server's loop when the answer would have to wait, before anything was done."""


def nonblocking_test(app: WSGIApplication) -> NonBlockingTest:
    """Return the application's ``is_nonblocking``; for one that has none, a test that is always False."""
    return cast(NonBlockingTest, getattr(app, "is_nonblocking", always_blocks))


def always_blocks(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Return False: an application of which nothing is known may wait."""
    return False
