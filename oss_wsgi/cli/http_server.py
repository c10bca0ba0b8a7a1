"""What `serve` needs for the page and for one's own application: sockets, metrics, and the server itself."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ..application import CALLBACK_PATH
from ..endpoints.metrics import Metrics
from ..middleware.access_log import AccessLog
from ..serving import make_server
from ..serving.socket_activation import inherited_sockets
from ..serving.until_stopped import (
    CannotListenError,
    CannotStartError,
    drain_on_signals,
    listening_socket,
    local_url,
)
from ..wsgi.nonblocking import nonblocking_test
from .local import is_set
from .terminal import said

if TYPE_CHECKING:
    from argparse import Namespace

    from _typeshed.wsgi import WSGIApplication


MAX_HEADERS = 32 * 1024

DEFAULT_ADDRESS = "127.0.0.1", 8080

# A scraper needs one connection; strangers must not use up what the main port needs.
_METRICS_BOUNDS: dict[str, Any] = {"connection_limit": 10, "buffered_bytes": 1 << 20, "max_request_body_size": 1}


def run_server(
    app: WSGIApplication,
    listeners: list[socket.socket],
    arguments: Namespace,
    stack: contextlib.ExitStack,
    greeting: Iterable[str],
    servers: list[Any] | None = None,
    serving: Callable[[], object] | None = None,
    **options: Any,
) -> None:
    """Serve until a signal ends it; the server is appended to ``servers`` as soon as it can be drained.

    :param serving: called when the server takes requests.
    """
    server = make_server(
        AccessLog(app, clock=time.monotonic) if arguments.access_log else app,
        listeners,
        nonblocking_test(app),
        threads=8,
        ident=None,
        max_request_header_size=MAX_HEADERS,
        **options,
        **_bounds(arguments),
    )
    stack.callback(server.close)
    if servers is not None:
        servers.append(server)
    # Before the greeting: its reader may send a signal, and what the listener has accepted must be answered then.
    drain_on_signals(server, arguments.drain, arguments.drain_delay)
    for line in greeting:
        print(said(line, arguments.environ), flush=True)
    if serving is not None:
        serving()
    gc.freeze()  # what is loaded by now stays: the garbage collector need not search it again and again
    server.run()


def is_local(arguments: Namespace, environ: Mapping[str, str]) -> bool:
    """Return whether a local OSS takes the files."""
    return arguments.local or not (is_set(environ, "OSS_BUCKET") or is_set(environ, "OSS_HOST"))


def callback_url_of(listener: socket.socket, prefix: str) -> str:
    """Return the URL at which the local OSS reaches the callback. Raises CannotStartError if it cannot."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise CannotStartError("LISTEN_FDS: OSS cannot call a Unix socket: set OSS_CALLBACK_URL.")
    if listener.family == socket.AF_INET6:
        raise CannotStartError("--listen: OSS calls no IPv6 address: use IPv4, or set OSS_CALLBACK_URL.")
    return f"{local_url(listener)}{quote(prefix)}{CALLBACK_PATH}"


class Sockets(NamedTuple):
    """Listening sockets: the application's, those inherited for the metrics, and whether all outlive this process."""

    listeners: list[socket.socket]
    metrics_listeners: list[socket.socket]
    are_inherited: bool


def sockets(arguments: Namespace, stack: contextlib.ExitStack, *, local: bool) -> Sockets:
    """Return the sockets that LISTEN_FDS gives, or a new one. Raises CannotStartError.

    :param local: a local OSS will listen too; if neither address is free, the error names both.
    """
    inherited = inherited_sockets(arguments.environ, os.getpid())
    for _, listener in inherited:
        stack.enter_context(listener)
    listeners = [listener for name, listener in inherited if name != "metrics"]
    metrics_listeners = [listener for name, listener in inherited if name == "metrics"]
    if listeners and arguments.listen:
        raise CannotStartError("--listen: LISTEN_FDS has the sockets already: omit --listen.")
    if metrics_listeners and arguments.metrics_listen:
        raise CannotStartError("--metrics-listen: LISTEN_FDS has a socket for metrics: omit --metrics-listen.")
    are_inherited = bool(listeners)
    if not are_inherited:
        try:
            listeners = [stack.enter_context(listening_socket(arguments.listen or DEFAULT_ADDRESS, "--listen"))]
        except CannotListenError as error:
            if local:
                _try_local_address(arguments, error)
            raise
    return Sockets(listeners, metrics_listeners, are_inherited)


def _try_local_address(arguments: Namespace, error: CannotListenError) -> None:
    """Raise CannotListenError for both addresses if the local OSS's is not available either."""
    try:
        with listening_socket(arguments.local_listen, "--local-listen"):
            pass
    except CannotListenError as other:
        raise CannotListenError(*error.failures, *other.failures) from error


def metrics_for(arguments: Namespace, listeners: list[socket.socket], stack: contextlib.ExitStack) -> Metrics | None:
    """Return the metrics, if an option or a socket is for them. Raises SettingsError without the extra."""
    if not (listeners or arguments.metrics_listen):
        return None
    metrics = Metrics()
    serve_metrics(metrics.registry, arguments, listeners, stack)
    return metrics


def serve_metrics(
    registry: Any, arguments: Namespace, listeners: list[socket.socket], stack: contextlib.ExitStack
) -> None:
    """Serve a registry of prometheus_client, on ``listeners`` or where the option says, until the stack ends."""
    from prometheus_client import make_wsgi_app

    if not listeners:
        listeners = [stack.enter_context(listening_socket(arguments.metrics_listen, "--metrics-listen"))]
        print(f"Metrics at {local_url(listeners[0])}/metrics.", flush=True)
    server = make_server(make_wsgi_app(registry), listeners, threads=1, ident=None, **_METRICS_BOUNDS)
    thread = threading.Thread(target=server.run, name="metrics", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.drain, 0)


def _bounds(arguments: Namespace) -> dict[str, Any]:
    """Return the options of `make_server` that bound its connections; an option that is not given is left out."""
    bounds = {
        "header_timeout": arguments.header_timeout,
        "body_timeout": arguments.body_timeout,
        "idle_timeout": arguments.idle_timeout,
        "write_timeout": arguments.write_timeout,
        "connection_limit": arguments.connections,
        "connections_per_address": arguments.connections_per_address,
    }
    return {name: value for name, value in bounds.items() if value is not None}
