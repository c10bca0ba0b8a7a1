"""Serves the metrics on a port of their own."""

from __future__ import annotations

import contextlib

from ..endpoints.metrics_counts import Metrics
from .process import cannot_listen


def serve_metrics(address: tuple[str, int], stack: contextlib.ExitStack) -> Metrics:
    """Start to serve new metrics until the stack ends, and say where; SettingsError without the extra."""
    metrics = Metrics()
    from prometheus_client import start_http_server

    host, port = address
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise cannot_listen("--metrics-listen", host, port, error) from error
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    shown = f"[{host}]" if ":" in host else host
    print(f"Metrics at http://{shown}:{server.server_port}/metrics.", flush=True)
    return metrics
