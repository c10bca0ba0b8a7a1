"""What a server asks a WSGI application about a request before it calls the application.

An application that can tell has these methods, where ``path`` is the PATH_INFO that it would get, and ``headers`` has
names such as ``X_OSS_PUB_KEY_URL``. Middleware asks the application that it wraps.

``body_limit(method, path) -> int | None``: how long the body may be, before it is read. It returns bytes, or None for a
request that it knows nothing of; the server then applies its own limit.

``is_callback(method, path, headers) -> bool``: whether OSS sends the request, so that it finds a thread however long
other requests take.

``is_nonblocking`` is in `wsgi.nonblocking`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BodyLimit = Callable[[str, str], int | None]
CallbackTest = Callable[[str, str, Mapping[str, str]], bool]


def body_limit_of(app: WSGIApplication) -> BodyLimit:
    """Return the application's ``body_limit``; for one that has none, a function that always returns None."""
    return cast(BodyLimit, getattr(app, "body_limit", _unknown))


def callback_test(app: WSGIApplication) -> CallbackTest:
    """Return the application's ``is_callback``; for one that has none, a test that is always False."""
    return cast(CallbackTest, getattr(app, "is_callback", _never))


def pass_on(middleware: object, app: WSGIApplication) -> None:
    """Let a middleware that waits for nothing answer as the application does that it wraps."""
    for name in ("is_nonblocking", "body_limit", "is_callback"):
        if hasattr(app, name):
            setattr(middleware, name, getattr(app, name))


def _unknown(method: str, path: str) -> None:
    return None


def _never(method: str, path: str, headers: Mapping[str, str]) -> bool:
    return False
