"""The questions that a server asks a WSGI application about a request before it calls the application.

An application answers them by these methods, where ``path`` is the PATH_INFO that it would get, and ``headers`` has
names such as ``X_OSS_PUB_KEY_URL``. Middleware asks the application that it wraps.

``body_limit(method, path) -> int | None``: how many bytes the body may have, asked before the body is read. After None,
for a request that the application does not know, the server applies its own limit.

``reads_body(environ) -> bool``: whether the application reads the request's body, asked before the body is read and
without ``wsgi.input``. It is False for a request that is refused whatever the body is, such as one for an upload whose
ID is not valid; then the server leaves the body alone. It waits for nothing. Only `oss_wsgi.asgi` asks it.

``is_callback(method, path, headers) -> bool``: whether OSS sends the request; the server keeps threads free for such
requests.

``is_nonblocking(method, path, headers) -> bool``: whether handling the request calls none of the user's callables and
waits for no disk, no lock and no other host, so that a server may run it in its I/O loop. A response may have to wait
for a disk before it is sent. Then the application passes a ``Held`` to the ``hold`` in the environ (``HOLD_KEY``), and
returns a body that calls ``start_response`` when it is iterated; the server iterates it once the ``Held`` is settled.
If the application has to wait earlier, it raises WouldWaitError, and the server calls it again in a thread. Under a
server without ``hold`` the application waits.

An application also says which DirectUploads are in it, by ``direct_uploads``. One that middleware hides finds ``meet``
in the environ (``MEET_KEY``) of `serve --app`, and calls it with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

BodyLimit = Callable[[str, str], int | None]
BodyTest = Callable[["WSGIEnvironment"], bool]
CallbackTest = Callable[[str, str, Mapping[str, str]], bool]
NonBlockingTest = Callable[[str, str, Mapping[str, str]], bool]

#: Environ key that a server's loop sets: ``hold(held)``, called at most once, makes the server hold the response back.
HOLD_KEY = "oss_wsgi.hold"

#: Environ key of ``meet(direct_upload)``, which `serve --app` sets where the application shows no DirectUpload.
MEET_KEY = "oss_wsgi.meet"


class Held(Protocol):
    """An event that a response waits for."""

    def settle(self, wake: Callable[[], None]) -> bool:
        """Return True once it has happened. After False, any thread calls ``wake`` then, and perhaps earlier."""
        ...


class WouldWaitError(Exception):
    """Raised in a server's loop, before anything was done, when the response would have to wait."""


def body_limit_of(app: WSGIApplication) -> BodyLimit:
    """Return the application's ``body_limit``; if it has none, a function that always returns None."""
    return cast(BodyLimit, getattr(app, "body_limit", lambda method, path: None))


def body_test(app: WSGIApplication) -> BodyTest:
    """Return the application's ``reads_body``; if it has none, a function that always returns False."""
    return cast(BodyTest, getattr(app, "reads_body", lambda environ: False))


def callback_test(app: WSGIApplication) -> CallbackTest:
    """Return the application's ``is_callback``; if it has none, a function that always returns False."""
    return cast(CallbackTest, getattr(app, "is_callback", never))


def nonblocking_test(app: WSGIApplication) -> NonBlockingTest:
    """Return the application's ``is_nonblocking``; if it has none, a function that always returns False."""
    return cast(NonBlockingTest, getattr(app, "is_nonblocking", never))


def pass_on(middleware: object, app: WSGIApplication) -> None:
    """Let a middleware that never waits answer the questions as its application does, and have its DirectUploads."""
    for name in ("is_nonblocking", "body_limit", "reads_body", "is_callback", "direct_uploads"):
        if hasattr(app, name):
            setattr(middleware, name, getattr(app, name))


def never(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Return False for every request."""
    return False
