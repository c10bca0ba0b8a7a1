"""The `serve` command: the upload page or a person's own application; without a bucket, a local OSS too."""

from __future__ import annotations

import contextlib
import os
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..application import ledger_of
from ..endpoints.metrics import Metrics
from ..exceptions import SettingsError
from ..ledger.memory import MemoryLedger
from ..log_format import configure
from ..middleware.dispatcher import check_prefix
from ..sdk.client import has_sdk
from ..serving.bounds import raise_descriptor_limit
from ..serving.inheritance import Inheritance, inheritance
from ..serving.listeners import local_url
from ..serving.until_stopped import CannotStartError, run_until_stopped
from ..settings import Settings
from ..signing.presigned_url import URLPresigner
from ..site import site
from ..wsgi.environ import MAX_BODY_BYTES
from .http_server import become_child, check_shared, open_sockets, run_server, serve_metrics, serve_processes
from .load_application import CannotLoadError, check_spelling
from .local import local_environ, start_local_oss, why_local
from .options import DESCRIPTION, EPILOG, add_server_options, environ_of
from .reload import DRAIN, reload_forever, watch_what_failed
from .serve_application import own_application
from .terminal import said

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

ENV_FILE = ".env"
ENV_FILE_IS_NOT_READ = (
    f"The file {ENV_FILE} in this folder is not read. To use its variables, first: set -a; . ./{ENV_FILE}; set +a"
)
#: Seconds that the page's link to an upload in a local OSS is valid.
LINK_LIFETIME = 3600
# For paths of which DirectUpload says nothing. waitress refuses this size and larger ones.
MAX_BODY = MAX_BODY_BYTES + 1


def add(subparsers: Any) -> None:
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
    """Serve as the arguments and the environment say. What must be undone at the end goes onto the stack.

    Raises CannotStartError and SettingsError.
    """
    if arguments.app is None and arguments.reload:
        raise CannotStartError("--reload restarts your own application: name it with --app MODULE:NAME.")
    check_prefix(arguments.prefix)
    try:
        if arguments.app is not None:
            check_spelling(arguments.app)
        child = inheritance(arguments.environ)
        if child is None:
            _serve_as_parent(arguments, stack)
        else:
            _serve_as_child(arguments, child, stack)
    except CannotLoadError as error:
        raise CannotStartError(f"--app: {error}") from error
    except SettingsError as error:
        if arguments.app is not None and os.path.isfile(ENV_FILE):
            raise SettingsError(*error.problems, ENV_FILE_IS_NOT_READ) from error
        raise


def _serve_as_parent(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    """Read the settings, open the sockets and start a local OSS; then serve, here or in children."""
    if arguments.reload and arguments.processes > 1:
        raise CannotStartError("--reload restarts one process, for development: leave --processes out.")
    environ = environ_of(arguments)
    reason = why_local(arguments, environ)
    if reason:
        environ = local_environ(environ, arguments.local_dir)
    settings = _settings(environ, arguments, is_local=reason is not None)
    if arguments.app is None and reason is None:  # the local OSS brings both
        check_shared(arguments.processes, settings, has_ledger=settings.ledger is not None)
    own = open_sockets(arguments, stack)
    if reason:
        own.is_local = True
        own.callback_url = start_local_oss(environ, settings, arguments, own.listeners[0], stack)
        settings = Settings.from_environ(environ)
    configure(arguments.log_format, settings.secrets())
    raise_descriptor_limit()
    own.greeting += _greeting(local_url(own.listeners[0]), reason, settings, arguments)
    # An option of a setting counts as the variable that the application reads.
    arguments.environ.update({name: value for name, value in environ.items() if name.startswith("OSS_")})
    if arguments.processes > 1:
        serve_processes(arguments, stack, own)
    elif arguments.reload:
        reload_forever(own, arguments.environ)
    else:
        _run(arguments, own, settings, stack)


def _settings(environ: Mapping[str, str], arguments: Namespace, *, is_local: bool) -> Settings:
    """Return the settings; SettingsError with all that is wrong or missing.

    An access key that is missing is no error by itself where the application may have credentials of its own.
    """
    if is_local:
        return Settings.from_environ(environ)
    try:
        return Settings.from_environ(environ, required=() if arguments.app else ("access_key",))
    except SettingsError:
        return Settings.from_environ(environ, required=("bucket", "access_key"))


def _serve_as_child(arguments: Namespace, child: Inheritance, stack: contextlib.ExitStack) -> None:
    """Serve as one of several processes, or as the one that is restarted; the parent has filled in the environment."""
    settings = Settings.from_environ(arguments.environ)
    configure(arguments.log_format, settings.secrets(), process=child.number or None)
    if child.number:
        _run(arguments, child, settings, stack)
        return
    arguments.drain, arguments.drain_delay = min(arguments.drain, DRAIN), 0
    try:
        _run(arguments, child, settings, stack)
    except (CannotStartError, SettingsError) as error:
        watch_what_failed(error, arguments.app)
        raise


def _run(arguments: Namespace, inherited: Inheritance, settings: Settings, stack: contextlib.ExitStack) -> None:
    """Serve the page or the application in this process."""
    metrics = Metrics() if inherited.has_metrics else None
    parent = None
    if inherited.number:
        parent = become_child(arguments, inherited, stack, metrics)
    elif metrics is not None:
        serve_metrics(metrics.registry, arguments, inherited, stack)
    if arguments.app is None:
        app, options = _page(arguments, inherited, settings, metrics, stack)
    else:
        app, options = own_application(arguments, inherited, metrics)
    run_server(app, inherited, arguments, stack, parent, **options)


def _page(
    arguments: Namespace,
    inherited: Inheritance,
    settings: Settings,
    metrics: Metrics | None,
    stack: contextlib.ExitStack,
) -> tuple[WSGIApplication, dict[str, Any]]:
    """Return the page, and options of the server for it."""
    # The local bucket is private, as most are.
    presigner = URLPresigner(settings, clock=time.time) if inherited.is_local else None
    links = None if presigner is None else lambda key: presigner.presign("GET", key, expires=LINK_LIFETIME).url
    # `start_local_oss` names a ledger where one is needed; without one, this process's memory is nothing to warn of.
    is_enough = inherited.is_local and settings.ledger is None
    ledger = MemoryLedger(clock=time.time) if is_enough else ledger_of(settings)
    stack.callback(ledger.close)
    page = site(settings, arguments.prefix, ledger=ledger, metrics=metrics, serve_metrics=False, links=links)
    # Nothing here reads the headers of proxies.
    return page, {"max_request_body_size": MAX_BODY, "clear_untrusted_proxy_headers": False}


def _greeting(url: str, reason: str | None, settings: Settings, arguments: Namespace) -> Iterator[str]:
    """Yield lines that say what runs, where files go, and what is missing.

    :param reason: why a local OSS takes the files, or None.
    """
    if arguments.app is not None:
        reloads = "; a change of a Python file restarts it" if arguments.reload else ""
        yield f"Open {url}/ in a browser: your application {arguments.app}{reloads}."
    elif reason:
        yield f"Open {url}/ in a browser and upload something."
    else:
        yield f"Serving {url}/; uploads go to {settings.host}."
    if reason:
        yield f"{reason}: a local OSS at {settings.host} takes the files."
        kept_nowhere = "Files go to a temporary folder, removed at the end (keep them with --local-dir DIR)."
        yield f"Files go to {os.path.abspath(arguments.local_dir)}." if arguments.local_dir else kept_nowhere
    if reason and arguments.app is None:
        if not settings.recover and not has_sdk():
            yield "Lost reports are not recovered without the official SDK: pip install 'oss-wsgi[sdk]'."
        yield (
            "For the real OSS set OSS_BUCKET, OSS_REGION, OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET and "
            "OSS_CALLBACK_URL."
        )
    elif reason and os.path.isfile(ENV_FILE) and not arguments.local:
        yield ENV_FILE_IS_NOT_READ
    elif arguments.app is None:
        if not settings.callback_url:
            yield "OSS_CALLBACK_URL is not set: OSS will not report uploads to this application."
        if not settings.allow_anonymous:
            yield (
                f"OSS_ALLOW_ANONYMOUS is off and {arguments.program} has no authorize function: "
                "every request for a signature is refused."
            )
    if reason or arguments.app is not None:
        yield "Ctrl-C ends it."
