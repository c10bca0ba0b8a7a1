"""Mounts WSGI applications below prefixes of another one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..wsgi.observers import Observers, context_of
from ..wsgi.responses import not_found

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Dispatcher:
    """Middleware that gives requests below a prefix to the application mounted there, and all others to ``app``.

    The longest prefix wins; it ends at a ``/`` or at the path's end, so that ``/oss`` does not take ``/ossified``. The
    mounted application sees the prefix in SCRIPT_NAME and the rest in PATH_INFO; ``app`` sees the environ untouched.

        application = Dispatcher(legacy_app, {"/oss": upload_app})

    :param mounts: prefix -> application; a prefix begins with ``/``, does not end in one, and is decoded text. Keep it
        to plain ASCII where a server leaves PATH_INFO encoded (Passenger, AJP) or in real Unicode (Paste, Rocket).
    """

    def __init__(self, app: WSGIApplication, mounts: Mapping[str, WSGIApplication]) -> None:
        for prefix in mounts:
            check_prefix(prefix)
        # PATH_INFO holds UTF-8 bytes read as latin-1 (PEP 3333).
        native = {prefix.encode().decode("latin-1"): mounted for prefix, mounted in mounts.items()}
        self._app = app
        self._mounts = sorted(native.items(), key=lambda item: len(item[0]), reverse=True)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or ""
        for prefix, mounted in self._mounts:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                script_name = environ.get("SCRIPT_NAME") or ""
                moved = {**environ, "SCRIPT_NAME": script_name + prefix, "PATH_INFO": path[len(prefix) :]}
                return mounted(moved, start_response)
        return self._app(environ, start_response)


def check_prefix(prefix: str) -> None:
    """Raise ValueError unless a prefix begins with ``/`` and does not end in one."""
    if not prefix.startswith("/") or prefix.endswith("/") or "//" in prefix or "?" in prefix or "#" in prefix:
        raise ValueError(f"A prefix must be like '/uploads', beginning with '/' and not ending in one, not {prefix!r}.")


log = logging.getLogger(__name__)


def path_router(endpoints: Mapping[str, WSGIApplication], events: Observers | None = None) -> WSGIApplication:
    """Give an application that serves the endpoints' own paths, and 404 for all else; ``events`` hear of each.

    It stands behind a Dispatcher, whose copy of the environ it moves on.
    """

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if events is not None:
            context_of(environ).events = events
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
    events: Observers,
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
        events.answered(path[1:], status, events.clock() - started, context_of(environ).reason)


def at_original_path(app: WSGIApplication, path: str, prefix: str) -> WSGIApplication:
    """Give an application that calls ``app`` with SCRIPT_NAME and PATH_INFO as they came."""
    moved = prefix.encode().decode("latin-1") + path

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        script_name = environ["SCRIPT_NAME"].removesuffix(moved)
        return app({**environ, "SCRIPT_NAME": script_name, "PATH_INFO": moved}, start_response)

    return application
