"""The `serve` command: the upload page or a person's own application; without a bucket, a local OSS too."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..application import DirectUpload, ledger_of, public_key_store
from ..endpoints.metrics import Metrics
from ..ledger.base import Ledger
from ..ledger.memory import MemoryLedger
from ..log_format import configure
from ..middleware.dispatcher import check_prefix
from ..sdk.bucket import has_sdk
from ..serving.bounds import raise_descriptor_limit
from ..serving.inheritance import Inheritance, inheritance
from ..serving.until_stopped import CannotStartError, local_url, run_until_stopped, signals_deferred
from ..settings import Settings
from ..site import site
from ..wsgi.environ import MAX_BODY_BYTES
from .http_server import callback_url_of, is_local, metrics_for, run_server, sockets
from .local import KEPT_NOWHERE, ledger_beside, local_environ, no_bucket, signed_links, start_local_oss
from .options import DESCRIPTION, EPILOG, add_server_options, environ_of
from .serve_application import fill_in_local_oss, serve_application
from .serve_processes import become_child, check_shared, serve_processes, share_of
from .terminal import said

if TYPE_CHECKING:
    from argparse import Namespace

# For paths of which DirectUpload says nothing. waitress refuses this size and larger ones.
MAX_BODY = MAX_BODY_BYTES + 1


def add(subparsers: Any) -> None:
    """Add the command to the command line."""
    epilog = (
        "Example: oss-wsgi serve --app shop:application --reload. "
        f"A file .env is not read: `set -a; . ./.env; set +a` sets its variables. {EPILOG}"
    )
    description = f"{DESCRIPTION} With --app it serves your own application instead of the page."
    parser = subparsers.add_parser(
        "serve", help="serve the upload page, or your application", description=description, epilog=epilog
    )
    own = parser.add_argument_group("your application")
    own.add_argument(
        "--app",
        metavar="MODULE:NAME",
        help="serve this WSGI application; its module is looked for in the current folder first; MODULE:NAME() calls a "
        "factory. If OSS_BUCKET is not set, it uses the local OSS",
    )
    own.add_argument(
        "--reload",
        action="store_true",
        help="restart it when one of its Python files changes; for development (oss-wsgi[reload]). Requests that "
        "have begun get a second to finish, or --drain if that is less; --drain-delay is ignored",
    )
    add_server_options(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Serve until SIGTERM, SIGHUP or Ctrl-C and return 0, or return 2 if the server cannot start."""
    return run_until_stopped(
        arguments.program, lambda stack: serve(arguments, stack), lambda text: said(text, arguments.environ)
    )


def serve(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    """Serve as the arguments and the environment say. What must be undone at the end goes onto the stack."""
    if getattr(arguments, "app", None) is not None:
        serve_application(arguments, stack)
        return
    if getattr(arguments, "reload", False):
        raise CannotStartError("--reload restarts your own application: name it with --app MODULE:NAME.")
    check_prefix(arguments.prefix)
    child = inheritance(arguments.environ)
    if child is not None:
        _serve_as_child(arguments, child, stack)
        return
    environ = environ_of(arguments)
    local = is_local(arguments, environ)
    if not local:
        check_shared(arguments, environ)
    required = () if local else ("access_key",)
    full_environ = local_environ(environ, arguments.local_dir) if local else environ
    settings = Settings.from_environ(full_environ, required=required)
    configure(arguments.log_format, settings.secrets())
    raise_descriptor_limit()
    listeners, metrics_listeners, are_inherited = sockets(arguments, stack, local=local)
    listener = listeners[0]
    url = local_url(listener)
    if arguments.processes > 1:
        callback_url = None
        if local:
            callback_url = fill_in_local_oss(full_environ, settings, listener, arguments, stack)
            settings = Settings.from_environ(full_environ)
            greeting = _local_greeting(url, settings, environ, arguments)
        else:
            greeting = _greeting(url, settings, arguments)
        inherited = Inheritance(listeners, metrics_listeners, list(greeting), callback_url)
        serve_processes(arguments, stack, inherited, full_environ, owns_listeners=not are_inherited)
        return
    metrics = metrics_for(arguments, metrics_listeners, stack)
    options: dict[str, Any] = {"metrics": metrics, "serve_metrics": False}
    ledger: Ledger
    if local:
        if settings.callback_url is None:
            settings = replace(settings, callback_url=callback_url_of(listener, arguments.prefix))
        with signals_deferred():
            oss = start_local_oss(settings, arguments, url, stack)
        settings = replace(settings, host=oss.host, ledger=settings.ledger or ledger_beside(arguments.local_dir))
        keys = public_key_store(settings, {oss.public_key_url: oss.public_key_pem})
        # Without a folder nothing outlives this process, so a ledger in memory is enough.
        ledger = ledger_of(settings) if settings.ledger else MemoryLedger(clock=time.time)
        options["links"] = signed_links(settings)
        uploads = site(settings, arguments.prefix, public_keys=keys, ledger=ledger, **options)
        greeting = _local_greeting(url, settings, environ, arguments)
    else:
        uploads, ledger = _site(settings, arguments, metrics)
        greeting = _greeting(url, settings, arguments)
    stack.callback(ledger.close)
    _run_site(uploads, listeners, arguments, stack, greeting, owns_listeners=not are_inherited)


def _serve_as_child(arguments: Namespace, child: Inheritance, stack: contextlib.ExitStack) -> None:
    """Serve the page as one of several processes; the parent has filled in the environment."""
    settings = Settings.from_environ(arguments.environ)
    configure(arguments.log_format, settings.secrets(), process=child.number)
    servers: list[Any] = []
    parent, metrics = become_child(arguments, child, stack, servers)
    links = None if child.callback_url is None else signed_links(settings)
    uploads, ledger = _site(settings, arguments, metrics, links=links)
    stack.callback(ledger.close)
    own = {"servers": servers, "serving": parent.serving, "share": share_of(child)}
    _run_site(uploads, child.listeners, arguments, stack, (), **own)


def _site(
    settings: Settings, arguments: Namespace, metrics: Metrics | None, **options: Any
) -> tuple[DirectUpload, Ledger]:
    """Return the page of these settings, and its ledger."""
    ledger = ledger_of(settings)
    uploads = site(settings, arguments.prefix, ledger=ledger, metrics=metrics, serve_metrics=False, **options)
    return uploads, ledger


def _run_site(
    uploads: DirectUpload,
    listeners: list[socket.socket],
    arguments: Namespace,
    stack: contextlib.ExitStack,
    greeting: Iterable[str],
    **options: Any,
) -> None:
    run_server(
        uploads,
        listeners,
        arguments,
        stack,
        greeting,
        max_request_body_size=MAX_BODY,
        clear_untrusted_proxy_headers=False,  # nothing here reads them
        **options,
    )


def _local_greeting(url: str, settings: Settings, environ: Mapping[str, str], arguments: Namespace) -> Iterator[str]:
    """Yield lines that say what runs, where files go and what to set for the real OSS."""
    yield f"Open {url}/ in a browser and upload something."
    if arguments.local:
        yield f"A local OSS at {settings.host} takes the files, because of --local."
    else:
        yield f"{no_bucket(environ)}: a local OSS at {settings.host} takes the files."
    if arguments.local_dir:
        yield f"Files go to {os.path.abspath(arguments.local_dir)}."
    else:
        yield KEPT_NOWHERE
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
