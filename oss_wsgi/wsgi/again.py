"""What a server lends to a request: the number of its threads, and another try that waits without a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .observers import context_of
from .responses import SOON

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Environ key of the number of threads that the server answers requests in.
THREADS_KEY = "oss_wsgi.threads"

# OSS may have been unreachable for a moment only.
_PASSING = SOON | {"bucket_unreachable"}

#: Environ key of `Again`, where the server can call the application once more.
AGAIN_KEY = "oss_wsgi.again"


class Again:
    """Asks the server for another try of a request: it drops this response and calls the application again soon.

    The request waits in the server's loop meanwhile, not in a thread. All tries of a request share one object.
    """

    __slots__ = ("due", "frees_others", "is_asked", "is_counted", "is_offered", "since")

    def __init__(self) -> None:
        #: Whether there will be another try where the application asks for it.
        self.is_offered = False
        self.is_asked = False
        #: Whether other requests may have waited for the end of this one.
        self.frees_others = False
        #: Whether the request has counted for the rate limit.
        self.is_counted = False
        #: Of the server: since when it waits, None before the first try was dropped, and when the next try is due.
        self.since: float | None = None
        self.due = 0.0


def again_of(environ: WSGIEnvironment) -> Again | None:
    """Return what asks for another try; None where the server has none to give."""
    again = environ.get(AGAIN_KEY)
    return again if isinstance(again, Again) else None


def ask_again(environ: WSGIEnvironment) -> None:
    """Ask for another try of a request that was refused for what passes soon, where the server offers one.

    The end of any other request lets one that waits have its try.
    """
    again, context = again_of(environ), context_of(environ)
    if again is not None:
        is_passing = context.refused == 503 and context.reason in _PASSING
        again.is_asked = is_passing and again.is_offered
        again.frees_others = not is_passing
