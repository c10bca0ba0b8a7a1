"""Asks a WSGI application how long the body of a request may be, before the body is read.

An application that can tell has a method ``body_limit(method, path) -> int | None``, where ``path`` is the PATH_INFO
that it would get. It returns bytes, or None for a request that it knows nothing of; the server then applies its own
limit. Middleware asks the application that it wraps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

BodyLimit = Callable[[str, str], int | None]


def body_limit_of(app: WSGIApplication) -> BodyLimit:
    """Return the application's ``body_limit``; for one that has none, a function that always returns None."""
    return cast(BodyLimit, getattr(app, "body_limit", _unknown))


def _unknown(method: str, path: str) -> None:
    return None
