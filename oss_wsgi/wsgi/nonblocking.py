"""Asks a WSGI application whether it can answer a request without waiting.

An application that can tell has a method ``is_nonblocking(method, path, headers) -> bool``, where ``path`` is the
PATH_INFO that it would get, and ``headers`` has names such as ``X_OSS_PUB_KEY_URL``. True means that the answer calls
none of the user's callables and waits for no disk, no lock and no other host, so that a server may run it in its I/O
loop. Middleware asks the application that it wraps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

NonBlockingTest = Callable[[str, str, Mapping[str, str]], bool]


def nonblocking_test(app: WSGIApplication) -> NonBlockingTest:
    """Return the application's ``is_nonblocking``; for one that has none, a test that is always False."""
    return cast(NonBlockingTest, getattr(app, "is_nonblocking", always_blocks))


def always_blocks(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Return False: an application of which nothing is known may wait."""
    return False
