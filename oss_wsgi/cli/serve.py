"""The `serve` command: the upload page, the signatures and the callbacks; without a bucket, a local OSS too."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..application import CALLBACK_PATH, ledger_of, public_key_store
from ..credentials import CredentialsProvider
from ..endpoints.metrics import Metrics
from ..exceptions import CredentialsError
from ..ledger.base import Ledger
from ..ledger.memory import MemoryLedger
from ..log_format import configure
from ..middleware.access_log import AccessLog
from ..middleware.dispatcher import check_prefix
from ..sdk.bucket import has_sdk
from ..sdk.credentials import SDKCredentialsProvider
from ..serving import make_server
from ..serving.limits import raise_descriptor_limit
from ..serving.socket_activation import inherited_sockets
from ..settings import Settings
from ..site import site
from ..wsgi.environ import MAX_BODY_BYTES
from .local import is_set, ledger_beside, local_environ, start_local_oss
from .options import DESCRIPTION, EPILOG, add_server_options, environ_of
from .process import (
    CannotStartError,
    cannot_listen_error,
    drain_on_signals,
    ignore_signals,
    listening_socket,
    local_url,
    run_until_stopped,
)

if TYPE_CHECKING:
    from argparse import Namespace

# Only callbacks have a body here; waitress refuses bodies of this size and larger.
MAX_BODY = MAX_BODY_BYTES + 1

MAX_HEADERS = 32 * 1024

DEFAULT_ADDRESS = "127.0.0.1", 8080


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    epilog = f"Example: oss-wsgi serve --listen 127.0.0.1:9000. {EPILOG}"
    parser = subparsers.add_parser("serve", help="serve the upload page", description=DESCRIPTION, epilog=epilog)
    add_server_options(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Serve until SIGTERM, SIGHUP or Ctrl-C and return 0, or return 2 if the server cannot start."""
    return run_until_stopped(arguments.program, lambda stack: serve(arguments, stack))


def serve(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    """Serve as the arguments and the environment say. What must be undone at the end goes onto the stack."""
    environ = environ_of(arguments)
    check_prefix(arguments.prefix)
    local = arguments.local or not (is_set(environ, "OSS_BUCKET") or is_set(environ, "OSS_HOST"))
    settings = Settings.from_environ(local_environ(environ, arguments.local_dir) if local else environ)
    configure(arguments.log_format, settings.secrets())
    raise_descriptor_limit()
    listeners, metrics = _listeners_and_metrics(arguments, stack)
    listener = listeners[0]
    options: dict[str, Any] = {"metrics": metrics, "serve_metrics": False}
    url = local_url(listener)
    ledger: Ledger
    if local:
        if settings.callback_url is None:
            if listener.family not in (socket.AF_INET, socket.AF_INET6):
                raise CannotStartError("LISTEN_FDS: OSS cannot call a Unix socket: set OSS_CALLBACK_URL.")
            if listener.family == socket.AF_INET6:
                raise CannotStartError("--listen: OSS calls no IPv6 address: use IPv4, or set OSS_CALLBACK_URL.")
            settings = replace(settings, callback_url=f"{url}{quote(arguments.prefix)}{CALLBACK_PATH}")
        oss = start_local_oss(settings, arguments, url, stack)
        settings = replace(settings, host=oss.host, ledger=settings.ledger or ledger_beside(arguments.local_dir))
        keys = public_key_store(settings, {oss.public_key_url: oss.public_key_pem})
        # Without a folder nothing outlives this process, so a ledger in memory is enough.
        ledger = ledger_of(settings) if settings.ledger else MemoryLedger(clock=time.time)
        uploads = site(settings, arguments.prefix, public_keys=keys, ledger=ledger, **options)
        greeting = _local_greeting(url, settings, arguments)
    else:
        ledger = ledger_of(settings)
        credentials = _library_credentials(settings) if arguments.credentials_library else None
        uploads = site(settings, arguments.prefix, ledger=ledger, credentials=credentials, **options)
        greeting = _greeting(url, settings, arguments)
    stack.callback(ledger.close)
    server = make_server(
        AccessLog(uploads, clock=time.monotonic) if arguments.access_log else uploads,
        listeners,
        uploads.is_nonblocking,
        threads=8,
        ident=None,
        max_request_body_size=MAX_BODY,
        max_request_header_size=MAX_HEADERS,
        clear_untrusted_proxy_headers=False,  # nothing here reads them
        **_bounds(arguments),
    )
    stack.callback(server.close)
    # Before the greeting: whoever reads it may send a signal, and what the listener has taken is then answered.
    drain_on_signals(server, arguments.drain, arguments.drain_delay)
    for line in greeting:
        print(line, flush=True)
    try:
        server.run()
    finally:
        ignore_signals()


def _listeners_and_metrics(
    arguments: Namespace, stack: contextlib.ExitStack
) -> tuple[list[socket.socket], Metrics | None]:
    """Return the application's sockets, and the metrics if an option or a socket is for them."""
    inherited = inherited_sockets(arguments.environ, os.getpid())
    for _, listener in inherited:
        stack.enter_context(listener)
    listeners = [listener for name, listener in inherited if name != "metrics"]
    metrics_listeners = [listener for name, listener in inherited if name == "metrics"]
    if listeners and arguments.listen:
        raise CannotStartError("--listen: LISTEN_FDS has the sockets already: omit --listen.")
    if metrics_listeners and arguments.metrics_listen:
        raise CannotStartError("--metrics-listen: LISTEN_FDS has a socket for metrics: omit --metrics-listen.")
    if not listeners:
        listeners = [stack.enter_context(listening_socket(arguments.listen or DEFAULT_ADDRESS, "--listen"))]
    if metrics_listeners:
        return listeners, _serve_metrics_on(metrics_listeners, stack)
    return listeners, _serve_metrics(arguments.metrics_listen, stack) if arguments.metrics_listen else None


def _serve_metrics_on(listeners: list[socket.socket], stack: contextlib.ExitStack) -> Metrics:
    """Serve new metrics on listening sockets until the stack ends. Raises SettingsError without the extra."""
    metrics = Metrics()
    from prometheus_client import make_wsgi_app

    server = make_server(make_wsgi_app(metrics.registry), listeners, threads=1, ident=None)
    thread = threading.Thread(target=server.run, name="metrics")
    stack.callback(thread.join)
    stack.callback(server.drain, 0)
    thread.start()
    return metrics


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


def _serve_metrics(address: tuple[str, int], stack: contextlib.ExitStack) -> Metrics:
    """Serve new metrics until the stack ends, and print where. Raises SettingsError without the extra."""
    metrics = Metrics()
    from prometheus_client import start_http_server

    host, port = address
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise cannot_listen_error("--metrics-listen", host, port, error) from error
    stack.callback(thread.join)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    shown_host = f"[{host}]" if ":" in host else host
    print(f"Metrics at http://{shown_host}:{server.server_port}/metrics.", flush=True)
    return metrics


def _library_credentials(settings: Settings) -> CredentialsProvider:
    """Return the official library's access key, cached and renewed in the background; if it is missing, log that."""
    provider = SDKCredentialsProvider(settings, clock=time.time)
    with contextlib.suppress(CredentialsError):
        provider.get_credentials()
    return provider


def _local_greeting(url: str, settings: Settings, arguments: Namespace) -> Iterator[str]:
    """Yield lines that say what runs, where files go and what to set for the real OSS."""
    yield f"Open {url}/ in a browser and upload something."
    if arguments.local:
        yield f"A local OSS at {settings.host} takes the files, as --local says."
    else:
        yield f"No bucket is configured: a local OSS at {settings.host} takes the files."
    if arguments.local_dir:
        yield f"Files go to {os.path.abspath(arguments.local_dir)}."
    else:
        yield "Files go to a temporary folder, removed at the end (keep them with --local-dir DIR)."
    if not settings.recover and not has_sdk():
        yield "Lost reports are not recovered without the official SDK: pip install 'oss-wsgi[sdk]'."
    yield "For the real OSS set OSS_BUCKET, OSS_REGION, OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and OSS_CALLBACK_URL."
    yield "Ctrl-C ends it."


def _greeting(url: str, settings: Settings, arguments: Namespace) -> Iterator[str]:
    """Yield lines that say what runs, and what is missing before uploads are reported."""
    yield f"Serving {url}/; uploads go to {settings.host}."
    if not settings.callback_url:
        yield "OSS_CALLBACK_URL is not set: OSS will not report uploads to this application."
    if not settings.allow_anonymous:
        yield (
            f"OSS_ALLOW_ANONYMOUS is off and {arguments.program} has no authorize function: "
            "every request for a signature is refused."
        )
