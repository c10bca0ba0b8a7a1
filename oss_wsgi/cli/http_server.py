"""Runs what `serve` serves, in one process or in several: its sockets, its metrics, the server itself."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import socket
import threading
import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from ..endpoints.metrics import Metrics
from ..exceptions import SettingsError
from ..middleware.access_log import AccessLog
from ..serving import make_server
from ..serving.bounds import default_connection_limit, most_connections
from ..serving.inheritance import Inheritance
from ..serving.joined_metrics import SharedMetrics, families_of
from ..serving.listeners import HANDSHAKE_SECONDS, inherited_sockets, listening_socket, local_url
from ..serving.sharing import Share
from ..serving.supervisor import Parent, Processes
from ..serving.until_stopped import CannotStartError, drain_on_signals
from ..settings import Settings
from ..settings_check import unshared
from ..wsgi.questions import nonblocking_test
from .terminal import said

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

MAX_HEADERS = 32 * 1024
#: The options of `make_server` that have the names of options of the command.
_BOUNDS = ("header_timeout", "body_timeout", "idle_timeout", "write_timeout", "connections_per_address")

DEFAULT_ADDRESS = "127.0.0.1", 8080

# A scraper needs one connection; strangers must not use up what the main port needs.
_METRICS_BOUNDS: dict[str, Any] = {"connection_limit": 10, "buffered_bytes": 1 << 20, "max_request_body_size": 1}


def run_server(
    app: WSGIApplication,
    inherited: Inheritance,
    arguments: Namespace,
    stack: contextlib.ExitStack,
    parent: Parent | None,
    **options: Any,
) -> None:
    """Serve until a signal or the parent ends it.

    :param options: of `make_server`.
    """
    bounds = {name: getattr(arguments, name) for name in _BOUNDS}
    if arguments.connections is not None:
        bounds["connection_limit"] = arguments.connections
    server = make_server(
        AccessLog(app, clock=time.monotonic) if arguments.access_log else app,
        inherited.listeners,
        nonblocking_test(app),
        threads=8,
        ident=None,
        max_request_header_size=MAX_HEADERS,
        share=Share(inherited.processes, inherited.number, list(inherited.share)) if inherited.number else None,
        owns_listeners=inherited.owns_listeners,
        **options,
        **bounds,
    )
    stack.callback(server.close)
    # Before the greeting: its reader may send a signal, and what the listener has accepted must be answered then.
    if parent is not None:
        parent.server = server
    drain_on_signals(server, arguments.drain, arguments.drain_delay)
    for line in inherited.greeting:
        print(said(line, arguments.environ), flush=True)
    if parent is not None:
        parent.serving()
    gc.freeze()  # what is loaded by now stays: the garbage collector need not search it again and again
    server.run()


def open_sockets(arguments: Namespace, stack: contextlib.ExitStack) -> Inheritance:
    """Take the sockets that LISTEN_FDS gives, for the application and for the metrics, or open the application's.

    Raises CannotStartError.
    """
    given = inherited_sockets(arguments.environ, os.getpid())
    for _, listener in given:
        stack.enter_context(listener)
    listeners = [listener for name, listener in given if name != "metrics"]
    metrics_listeners = [listener for name, listener in given if name == "metrics"]
    if listeners and arguments.listen:
        raise CannotStartError("--listen: LISTEN_FDS has the sockets already: omit --listen.")
    if metrics_listeners and arguments.metrics_listen:
        raise CannotStartError("--metrics-listen: LISTEN_FDS has a socket for metrics: omit --metrics-listen.")
    has_metrics = bool(metrics_listeners or arguments.metrics_listen)
    owns = not listeners
    if owns:
        listeners.append(stack.enter_context(listening_socket(arguments.listen or DEFAULT_ADDRESS, "--listen")))
    return Inheritance(listeners, metrics_listeners, owns_listeners=owns, has_metrics=has_metrics)


def serve_metrics(registry: Any, arguments: Namespace, inherited: Inheritance, stack: contextlib.ExitStack) -> None:
    """Serve a registry of prometheus_client, on inherited sockets or where the option says, until the stack ends."""
    from prometheus_client import make_wsgi_app

    listeners = inherited.metrics_listeners
    if not listeners:
        listeners = [stack.enter_context(listening_socket(arguments.metrics_listen, "--metrics-listen"))]
        print(f"Metrics at {local_url(listeners[0])}/metrics.", flush=True)
    server = make_server(make_wsgi_app(registry), listeners, threads=1, ident=None, **_METRICS_BOUNDS)
    thread = threading.Thread(target=server.run, name="metrics", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.drain, 0)


def check_shared(processes: int, settings: Settings, *, has_ledger: bool) -> None:
    """Raise SettingsError, with the lines to type, if several processes would not share ledger and ticket secret."""
    has_secret = bool(settings.ticket_secret or settings.ticket_secret_file)
    problem = unshared(processes, has_ledger=has_ledger, has_secret=has_secret)
    if problem is not None:
        raise SettingsError(f"--processes: {problem}")


def serve_processes(arguments: Namespace, stack: contextlib.ExitStack, inherited: Inheritance) -> None:
    """Run several processes of this command line until a signal ends them."""
    greeting, inherited.greeting = inherited.greeting, []
    inherited.processes = arguments.processes
    processes = Processes(inherited, arguments.environ)
    if inherited.has_metrics:
        Metrics()  # raises SettingsError without the extra
        from prometheus_client import CollectorRegistry

        registry = CollectorRegistry()
        registry.register(SharedMetrics(processes.collect))
        serve_metrics(registry, arguments, inherited, stack)

    def greet() -> None:
        pids = processes.pids
        for line in (greeting[0], f"{len(pids)} processes serve: {', '.join(map(str, pids))}.", *greeting[1:]):
            print(line, flush=True)

    drain_on_signals(processes, arguments.drain, arguments.drain_delay)
    processes.run(greet)


def become_child(
    arguments: Namespace, child: Inheritance, stack: contextlib.ExitStack, metrics: Metrics | None
) -> Parent:
    """Follow the parent from now on, and return it; it asks for the metrics."""
    # The parent refuses new connections after its delay, and handshakes that have begun are still taken.
    arguments.drain_delay += HANDSHAKE_SECONDS
    # The body of a request to an application may take a second descriptor.
    descriptors_each = 2 if arguments.app else 1
    # The bound holds for all processes together.
    total = arguments.connections or default_connection_limit(descriptors_each)
    arguments.connections = max(1, total // child.processes)
    if child.number > 1:  # the first one says that these are too many
        arguments.connections = min(arguments.connections, most_connections(descriptors_each))
    samples = None if metrics is None else functools.partial(families_of, metrics.registry)
    parent = Parent(socket.socket(fileno=child.lifeline), arguments.drain, samples)
    stack.callback(parent.report)
    return parent
