"""`serve --processes`: what the processes must share, what the parent does, and what each child does."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..application import DirectUpload
from ..endpoints.metrics import Metrics
from ..exceptions import SettingsError
from ..ledger.memory import MemoryLedger
from ..serving.bounds import default_connection_limit, most_connections
from ..serving.handshakes import HANDSHAKE_SECONDS
from ..serving.inheritance import Inheritance
from ..serving.joined_metrics import SharedMetrics, families_of
from ..serving.sharing import Share
from ..serving.supervisor import Parent, Processes
from ..serving.until_stopped import CannotStartError, drain_on_signals
from ..settings_check import unshared
from .http_server import serve_metrics
from .local import is_set

if TYPE_CHECKING:
    from argparse import Namespace

_SECRETS = ("OSS_TICKET_SECRET", "OSS_TICKET_SECRET_FILE")


def check_shared(arguments: Namespace, environ: Mapping[str, str]) -> None:
    """Raise CannotStartError, with the lines to type, if the processes would not share ledger and ticket secret."""
    has_secret = any(is_set(environ, name) for name in _SECRETS)
    problem = unshared(arguments.processes, has_ledger=is_set(environ, "OSS_LEDGER"), has_secret=has_secret)
    if problem is not None:
        raise CannotStartError(f"--processes: {problem}")


def check_shared_by(uploads: DirectUpload, processes: int) -> None:
    """Raise SettingsError, with the lines to type, if the processes of an application would not share them."""
    has_secret = bool(uploads.settings.ticket_secret or uploads.settings.ticket_secret_file)
    has_ledger = not isinstance(uploads.ledger, MemoryLedger)
    problem = unshared(processes, has_ledger=has_ledger, has_secret=has_secret)
    if problem is not None:
        raise SettingsError(problem)


def serve_processes(
    arguments: Namespace,
    stack: contextlib.ExitStack,
    inherited: Inheritance,
    environ: Mapping[str, str],
    *,
    owns_listeners: bool,
) -> None:
    """Run several processes of this command line until a signal ends them."""
    greeting, inherited.greeting = inherited.greeting, []
    inherited.processes = arguments.processes
    inherited.has_metrics = bool(inherited.metrics_listeners or arguments.metrics_listen)
    processes = Processes(inherited, environ, owns_listeners=owns_listeners)
    if inherited.has_metrics:
        _serve_metrics_of(processes, arguments, inherited.metrics_listeners, stack)

    def greet() -> None:
        pids = processes.pids
        for line in (greeting[0], f"{len(pids)} processes serve: {', '.join(map(str, pids))}.", *greeting[1:]):
            print(line, flush=True)

    drain_on_signals(processes, arguments.drain, arguments.drain_delay)
    processes.run(greet)


def _serve_metrics_of(
    processes: Processes, arguments: Namespace, listeners: list[socket.socket], stack: contextlib.ExitStack
) -> None:
    Metrics()  # raises SettingsError without the extra
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(SharedMetrics(processes.collect))
    serve_metrics(registry, arguments, listeners, stack)


def become_child(
    arguments: Namespace,
    child: Inheritance,
    stack: contextlib.ExitStack,
    servers: list[Any],
    *,
    descriptors_each: int = 1,
) -> tuple[Parent, Metrics | None]:
    """Follow the parent from now on; return it, and the metrics for which it asks.

    :param servers: the server that the parent ends, as soon as there is one.
    :param descriptors_each: how many descriptors a connection takes.
    """
    # The parent refuses new connections after its delay, and handshakes that have begun are still taken.
    arguments.drain_delay += HANDSHAKE_SECONDS
    # The bound holds for all processes together.
    total = arguments.connections or default_connection_limit(descriptors_each)
    arguments.connections = max(1, total // child.processes)
    if child.number > 1:  # the first one says that these are too many
        arguments.connections = min(arguments.connections, most_connections(descriptors_each))
    metrics = Metrics() if child.has_metrics else None

    def end(seconds: float, delay: float) -> None:
        if servers:
            servers[0].drain(seconds, delay)
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    samples = None if metrics is None else functools.partial(families_of, metrics.registry)
    parent = Parent(socket.socket(fileno=child.lifeline), end, arguments.drain, samples)
    stack.callback(parent.report)
    return parent, metrics


def share_of(child: Inheritance) -> Share:
    """Return the Share through which this process's server knows of the others."""
    return Share(child.processes, child.number, list(child.share))
