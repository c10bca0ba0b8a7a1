"""Calls endpoints at their own paths, and an application where it stood before its path was moved."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..wsgi.observers import Events
from ..wsgi.request_facts import facts_of
from ..wsgi.responses import not_found

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)


def exactly(endpoints: Mapping[str, WSGIApplication], events: Events | None = None) -> WSGIApplication:
    """Give an application that serves the endpoints' own paths, and 404 for all else; ``events`` hear of each.

    It stands behind a Dispatcher, whose copy of the environ it moves on.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if events is not None:
            facts_of(environ).events = events
        endpoint = endpoints.get(path)
        if endpoint is None:
            return not_found(log, environ, start_response)
        environ["SCRIPT_NAME"] += path
        environ["PATH_INFO"] = ""
        if events is None or not events.times:
            return endpoint(environ, start_response)
        return _timed(endpoint, path, events, environ, start_response)

    return application


def _timed(
    endpoint: WSGIApplication,
    path: str,
    events: Events,
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> Iterable[bytes]:
    started = events.clock()
    status = 0

    def start(text: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        nonlocal status
        status = int(text[:3])
        return start_response(text, headers, exc_info)

    try:
        return endpoint(environ, start)
    finally:
        events.answered(path[1:], status, events.clock() - started, facts_of(environ).reason)


def moved_back(app: WSGIApplication, path: str, prefix: str) -> WSGIApplication:
    """Give an application that calls ``app`` with SCRIPT_NAME and PATH_INFO as they came."""
    moved = prefix.encode().decode("latin-1") + path

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        script_name = environ["SCRIPT_NAME"].removesuffix(moved)
        return app({**environ, "SCRIPT_NAME": script_name, "PATH_INFO": moved}, start_response)

    return application
