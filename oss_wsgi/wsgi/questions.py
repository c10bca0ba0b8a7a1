"""The questions that a server asks a WSGI application about a request before it calls the application.

An application answers them by these methods, where ``path`` is the PATH_INFO that it would get, and ``headers`` has
names such as ``X_OSS_PUB_KEY_URL``. Middleware asks the application that it wraps.

``body_limit(method, path) -> int | None``: how many bytes the body may have, asked before the body is read. After None,
for a request that the application does not know, the server applies its own limit.

``is_callback(method, path, headers) -> bool``: whether OSS sends the request; the server keeps threads free for such
requests.

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
    """Return the application's ``body_limit``; if it has none, a function that always returns None."""
    return cast(BodyLimit, getattr(app, "body_limit", _unknown))


def callback_test(app: WSGIApplication) -> CallbackTest:
    """Return the application's ``is_callback``; if it has none, a function that always returns False."""
    return cast(CallbackTest, getattr(app, "is_callback", _never))


def pass_on(middleware: object, app: WSGIApplication) -> None:
    """Let a middleware that never waits answer the questions as its application does."""
    for name in ("is_nonblocking", "body_limit", "is_callback"):
        if hasattr(app, name):
            setattr(middleware, name, getattr(app, name))


def _unknown(method: str, path: str) -> None:
    return None


def _never(method: str, path: str, headers: Mapping[str, str]) -> bool:
    return False
