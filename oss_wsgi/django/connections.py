"""Database connections of Django in callables that run outside its own requests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections

P = ParamSpec("P")
R = TypeVar("R")


def closing_connections(function: Callable[P, R]) -> Callable[P, R]:
    """Return a callable around which old connections are closed, as Django does around its own requests.

    Otherwise a connection that the database has ended meanwhile would fail the next call in its thread.
    """

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        if not settings.configured:  # then there are no connections
            return function(*args, **kwargs)
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return guarded
