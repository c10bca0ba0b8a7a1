"""The question to a WSGI application whether it answers a request without waiting.

An application answers it by a method ``is_nonblocking(method, path, headers) -> bool``, where ``path`` is the PATH_INFO
that it would get, and ``headers`` has names such as ``X_OSS_PUB_KEY_URL``. True means that handling the request calls
none of the user's callables and waits for no disk, no lock and no other host, so a server may run it in its I/O loop.
Middleware asks the application that it wraps.

A response may have to wait for a disk before it is sent. Then the application passes a ``Held`` to the ``hold`` in the
environ (``HOLD_KEY``), and returns a body that calls ``start_response`` when it is iterated; the server iterates it
once the ``Held`` is settled. If the application has to wait earlier, it raises WouldWaitError, and the server calls it
again in a thread. Under a server without ``hold`` the application waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

NonBlockingTest = Callable[[str, str, Mapping[str, str]], bool]

#: Environ key that a server's loop sets: ``hold(held)``, called at most once, makes the server hold the response back.
HOLD_KEY = "oss_wsgi.hold"


class Held(Protocol):
    """An event that a response waits for."""

    def settle(self, wake: Callable[[], None]) -> bool:
        """Return True once it has happened. After False, any thread calls ``wake`` then, and perhaps earlier."""
        ...


class WouldWaitError(Exception):
    """Raised in a server's loop, before anything was done, when the response would have to wait."""


def nonblocking_test(app: WSGIApplication) -> NonBlockingTest:
    """Return the application's ``is_nonblocking``; if it has none, a function that always returns False."""
    return cast(NonBlockingTest, getattr(app, "is_nonblocking", always_blocks))


def always_blocks(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Return False: an application that does not say may wait."""
    return False
