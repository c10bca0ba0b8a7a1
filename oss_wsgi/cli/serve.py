"""The `serve` command: the upload page or a person's own application; without a bucket, a local OSS too."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import socket
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..application import DirectUpload, direct_uploads_of, ledger_of
from ..endpoints.metrics import Metrics
from ..exceptions import SettingsError
from ..explanations.text import Text
from ..ledger.memory import MemoryLedger
from ..log_format import configure
from ..middleware.access_log import AccessLog
from ..middleware.dispatcher import check_prefix
from ..sdk.client import has_sdk
from ..serving import make_server
from ..serving.bounds import default_connection_limit, default_file_bytes, most_connections, raise_descriptor_limit
from ..serving.inheritance import Inheritance, inheritance
from ..serving.joined_metrics import JoinedRegistries, SharedMetrics
from ..serving.listeners import HANDSHAKE_SECONDS, inherited_sockets, listening_socket, local_url
from ..serving.sharing import Share
from ..serving.supervisor import Parent, Processes
from ..serving.until_stopped import CannotStartError, drain_on_signals, run_until_stopped
from ..settings import Settings
from ..settings_check import unshared
from ..signing.presigned_url import URLPresigner
from ..site import site
from ..wsgi.environ import MAX_BODY_BYTES
from ..wsgi.questions import nonblocking_test
from .loader import CannotLoadError, check_spelling, load_application, load_authorize
from .local import local_environ, start_local_oss, why_local
from .options import DESCRIPTION, EPILOG, add_server_options, environ_of, is_set
from .reload import DRAIN, reload_forever, watch_what_failed
from .terminal import note, said
from .watch import ApplicationWatch

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

ENV_FILE = ".env"
ENV_FILE_IS_NOT_READ = Text(
    "The file {1} in this folder is not read. To use its variables, first: set -a; . ./{2}; set +a", ENV_FILE, ENV_FILE
)
#: Seconds that the page's link to an upload in a local OSS is valid.
LINK_LIFETIME = 3600
# For paths of which DirectUpload says nothing. waitress refuses this size and larger ones.
MAX_BODY = MAX_BODY_BYTES + 1
MAX_HEADERS = 32 * 1024
#: The options of `make_server` that have the names of options of the command.
_BOUNDS = ("header_timeout", "body_timeout", "idle_timeout", "write_timeout", "connections_per_address")

DEFAULT_ADDRESS = "127.0.0.1", 8080

# A scraper needs one connection; strangers must not use up what the main port needs.
_METRICS_BOUNDS: dict[str, Any] = {"connection_limit": 10, "buffered_bytes": 1 << 20, "max_request_body_size": 1}


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
        "--forms",
        action="store_true",
        help="send the files of its forms straight to OSS; the application stays as it is, and finds them where it "
        "reads posted files",
    )
    own.add_argument(
        "--authorize",
        metavar="MODULE:NAME",
        help="with --forms: the function that says who may upload, as authorize of DirectUpload; without it everybody "
        "may if OSS_ALLOW_ANONYMOUS is on",
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
    _check_combination(arguments)
    check_prefix(arguments.prefix)
    try:
        for option, name in (("--app", arguments.app), ("--authorize", arguments.authorize)):
            if name is not None:
                with _naming(option):
                    check_spelling(name)
        child = inheritance(arguments.environ)
        if child is None:
            _serve_as_parent(arguments, stack)
        else:
            _serve_as_child(arguments, child, stack)
    except SettingsError as error:
        if arguments.app is not None and os.path.isfile(ENV_FILE):
            raise SettingsError(*error.problems, ENV_FILE_IS_NOT_READ) from error
        raise


def _check_combination(arguments: Namespace) -> None:
    """Raise CannotStartError for an option that says nothing without another."""
    if arguments.app is None and arguments.reload:
        raise CannotStartError("--reload restarts your own application: name it with --app MODULE:NAME.")
    if arguments.app is None and arguments.forms:
        raise CannotStartError("--forms takes the files of your own application: name it with --app MODULE:NAME.")
    if arguments.authorize is not None and not arguments.forms:
        raise CannotStartError(
            "--authorize says who may upload by the forms of --app MODULE:NAME: add --forms. A DirectUpload in your "
            "module takes authorize itself."
        )


@contextlib.contextmanager
def _naming(option: str) -> Iterator[None]:
    """Raise what cannot be loaded with the option that names it."""
    try:
        yield
    except CannotLoadError as error:
        raise CannotStartError(Text("{1}: {2}", option, error)) from error.__cause__


def _serve_as_parent(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    """Read the settings, open the sockets and start a local OSS; then serve, here or in children."""
    if arguments.reload and arguments.processes > 1:
        raise CannotStartError("--reload restarts one process, for development: leave --processes out.")
    environ = environ_of(arguments)
    reason = why_local(arguments, environ)
    is_said = is_set(environ, "OSS_ALLOW_ANONYMOUS")  # a local OSS has a default, which a real bucket will not have
    if reason:
        environ = local_environ(environ, arguments.local_dir)
    settings = _settings(environ, arguments, is_local=reason is not None)
    if arguments.forms and arguments.authorize is None and not (is_said and settings.allow_anonymous):
        raise CannotStartError(
            "--forms: name the function that says who may upload with --authorize MODULE:NAME, or let everybody upload "
            "with OSS_ALLOW_ANONYMOUS=on."
        )
    if not _makes_own(arguments) and reason is None:  # the local OSS brings both
        _check_shared(arguments.processes, settings, has_ledger=settings.ledger is not None)
    own = _open_sockets(arguments, stack)
    if reason:
        own.is_local = True
        own.callback_url = start_local_oss(environ, settings, arguments, own.listeners[0], stack)
        settings = Settings.from_environ(environ)
    configure(arguments.log_format, settings.secrets())
    raise_descriptor_limit()
    lines = _greeting(local_url(own.listeners[0]), reason, settings, arguments)
    own.greeting += [said(line, arguments.environ) for line in lines]
    # An option of a setting counts as the variable that the application reads.
    arguments.environ.update({name: value for name, value in environ.items() if name.startswith("OSS_")})
    if arguments.processes > 1:
        _serve_processes(arguments, stack, own)
    elif arguments.reload:
        reload_forever(own, arguments.environ)
    else:
        _run(arguments, own, settings, stack)


def _makes_own(arguments: Namespace) -> bool:
    """Return whether the application makes its DirectUpload itself."""
    return arguments.app is not None and not arguments.forms


def _settings(environ: Mapping[str, str], arguments: Namespace, *, is_local: bool) -> Settings:
    """Return the settings; SettingsError with all that is wrong or missing.

    An access key that is missing is no error by itself where the application may have credentials of its own.
    """
    if is_local:
        return Settings.from_environ(environ)
    try:
        return Settings.from_environ(environ, required=() if _makes_own(arguments) else ("access_key",))
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
    counted = None if metrics is None else JoinedRegistries(metrics.registry)
    parent = None
    if inherited.number:
        parent = _become_child(arguments, inherited, stack, counted)
    elif counted is not None:
        _serve_metrics(counted, arguments, inherited, stack)
    if arguments.app is None:
        app, options = _page(arguments, inherited, settings, metrics, stack)
    else:
        app, options = _own_application(arguments, inherited, settings, stack)
        if metrics is not None and counted is not None:
            for uploads in direct_uploads_of(app):
                counted.add(uploads.count_in(metrics).registry)
    _run_server(app, inherited, arguments, stack, parent, **options)


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
    with _warnings_of_the_first(inherited.number):
        page = site(settings, arguments.prefix, ledger=ledger, metrics=metrics, serve_metrics=False, links=links)
    # Nothing here reads the headers of proxies.
    return page, {"max_request_body_size": MAX_BODY, "clear_untrusted_proxy_headers": False}


def _own_application(
    arguments: Namespace,
    inherited: Inheritance,
    settings: Settings,
    stack: contextlib.ExitStack,
) -> tuple[WSGIApplication, dict[str, Any]]:
    """Return the person's application, and options of the server for it. Raises CannotStartError and SettingsError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the application prints is seen at once, in a pipe too
            stream.reconfigure(line_buffering=True)
    with _warnings_of_the_first(inherited.number):
        with _naming("--app"):
            app = load_application(arguments.app)
        if arguments.forms:
            app = _with_forms(app, arguments, settings, stack)
    shown = direct_uploads_of(app)
    for uploads in shown:
        has_ledger = not isinstance(uploads.ledger, MemoryLedger)
        _check_shared(inherited.processes, uploads.settings, has_ledger=has_ledger)

    def say(sentence: str) -> None:
        if inherited.number <= 1:  # the first process speaks for all
            note(f"{arguments.program}: {said(sentence, arguments.environ)}")

    def say_hidden(uploads: DirectUpload) -> None:
        say(
            Text(
                "{1} hides its DirectUpload: --metrics-listen does not count it, and --processes has not "
                "checked what it shares. Name the DirectUpload itself, or let what wraps it have its "
                "direct_uploads.",
                arguments.app,
            )
        )
        for line in _unused_local_oss([uploads], arguments):
            say(line)

    if not shown:
        say(
            Text(
                "{1} shows no DirectUpload: if it makes none, nothing answers below {2}. Then name the "
                "module that wraps it, such as uploads:application.",
                arguments.app,
                arguments.prefix,
            )
        )
    if inherited.number <= 1:
        inherited.greeting += [said(line, arguments.environ) for line in _unused_local_oss(shown, arguments)]
    if inherited.callback_url or not (shown and hasattr(app, "is_callback")):  # else there is nothing to watch for
        app = ApplicationWatch(app, say, say_hidden, arguments.prefix if inherited.callback_url else None)
    return app, {"file_bytes": default_file_bytes(inherited.processes)}


@contextlib.contextmanager
def _warnings_of_the_first(number: int) -> Iterator[None]:
    """Drop what DirectUpload logs when it is made, in all processes but the first: they would only repeat it."""
    logger = logging.getLogger(DirectUpload.__module__)

    def is_needed(_: logging.LogRecord) -> bool:
        return number <= 1

    logger.addFilter(is_needed)
    try:
        yield
    finally:
        logger.removeFilter(is_needed)


def _with_forms(
    app: WSGIApplication, arguments: Namespace, settings: Settings, stack: contextlib.ExitStack
) -> DirectUpload:
    """Return an application that knows nothing of OSS behind a DirectUpload that takes the files of its forms."""
    if direct_uploads_of(app):
        raise CannotStartError(
            Text(
                '--forms: {1} has a DirectUpload already: leave --forms out, and add forms="inject" there.',
                arguments.app,
            )
        )
    authorize = None
    if arguments.authorize is not None:
        with _naming("--authorize"):
            authorize = load_authorize(arguments.authorize)
    uploads = DirectUpload(app, settings, prefix=arguments.prefix, authorize=authorize, forms="inject")
    stack.callback(uploads.ledger.close)
    return uploads


def _unused_local_oss(shown: Sequence[DirectUpload], arguments: Namespace) -> Iterator[str]:
    """Yield a line where the application's own settings lead past the local OSS."""
    local_host = arguments.environ.get("OSS_HOST", "")
    others = sorted({uploads.settings.bucket_and_host()[1] for uploads in shown} - {local_host})
    if others and arguments.environ.get("OSS_TRUSTED_KEYS") and local_host.startswith("http://127.0.0.1:"):
        yield Text(
            "The application has settings of its own: its uploads go to {1}, not to the local OSS.", ", ".join(others)
        )


def _greeting(url: str, reason: str | None, settings: Settings, arguments: Namespace) -> Iterator[str]:
    """Yield lines that say what runs, where files go, and what is missing.

    :param reason: why a local OSS takes the files, or None.
    """
    if arguments.app is not None:
        reloads = "; a change of a Python file restarts it" if arguments.reload else ""
        yield Text("Open {1}/ in a browser: your application {2}{3}.", url, arguments.app, reloads)
        if arguments.authorize is not None:
            yield Text("The files of its forms go to OSS; {1} says who may upload.", arguments.authorize)
        elif arguments.forms:
            yield "The files of its forms go to OSS; OSS_ALLOW_ANONYMOUS is on: everybody may upload."
    elif reason:
        yield Text("Open {1}/ in a browser and upload something.", url)
    else:
        yield Text("Serving {1}/; uploads go to {2}.", url, settings.host)
    if reason:
        yield Text("{1}: a local OSS at {2} takes the files.", reason, settings.host)
        kept_nowhere = "Files go to a temporary folder, removed at the end (keep them with --local-dir DIR)."
        yield Text("Files go to {1}.", os.path.abspath(arguments.local_dir)) if arguments.local_dir else kept_nowhere
        yield Text("See what OSS was asked, and what it stores: {1}/", settings.endpoint)
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
        if not settings.callback_url and not settings.pages_report:
            yield "OSS_CALLBACK_URL is not set: OSS will not report uploads to this application."
        if not settings.allow_anonymous:
            yield (
                Text(
                    "OSS_ALLOW_ANONYMOUS is off and {1} has no authorize function: every request for a "
                    "signature is refused.",
                    arguments.program,
                )
            )
    if reason or arguments.app is not None:
        yield "Ctrl-C ends it."


def _run_server(
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
        print(line, flush=True)
    if parent is not None:
        parent.serving()
    gc.freeze()  # what is loaded by now stays: the garbage collector need not search it again and again
    server.run()


def _open_sockets(arguments: Namespace, stack: contextlib.ExitStack) -> Inheritance:
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


def _serve_metrics(collector: Any, arguments: Namespace, inherited: Inheritance, stack: contextlib.ExitStack) -> None:
    """Serve what a collector collects, on inherited sockets or where the option says, until the stack ends."""
    from prometheus_client import CollectorRegistry, make_wsgi_app

    registry = CollectorRegistry()
    registry.register(collector)

    listeners = inherited.metrics_listeners
    if not listeners:
        listeners = [stack.enter_context(listening_socket(arguments.metrics_listen, "--metrics-listen"))]
        print(Text("Metrics at {1}/metrics.", local_url(listeners[0])), flush=True)
    server = make_server(make_wsgi_app(registry), listeners, threads=1, ident=None, **_METRICS_BOUNDS)
    thread = threading.Thread(target=server.run, name="metrics", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(server.drain, 0)


def _check_shared(processes: int, settings: Settings, *, has_ledger: bool) -> None:
    """Raise SettingsError, with the lines to type, if several processes would not share ledger and ticket secret."""
    has_secret = bool(settings.ticket_secret or settings.ticket_secret_file)
    problem = unshared(processes, has_ledger=has_ledger, has_secret=has_secret)
    if problem is not None:
        raise SettingsError(Text("--processes: {1}", problem))


def _serve_processes(arguments: Namespace, stack: contextlib.ExitStack, inherited: Inheritance) -> None:
    """Run several processes of this command line until a signal ends them."""
    greeting, inherited.greeting = inherited.greeting, []
    inherited.processes = arguments.processes
    processes = Processes(inherited, arguments.environ)
    if inherited.has_metrics:
        Metrics()  # raises SettingsError without the extra
        _serve_metrics(SharedMetrics(processes.collect), arguments, inherited, stack)

    def greet() -> None:
        pids = processes.pids
        those = said(Text("{1} processes serve: {2}.", len(pids), ", ".join(map(str, pids))), arguments.environ)
        for line in (greeting[0], those, *greeting[1:]):
            print(line, flush=True)

    drain_on_signals(processes, arguments.drain, arguments.drain_delay)
    processes.run(greet)


def _become_child(
    arguments: Namespace, child: Inheritance, stack: contextlib.ExitStack, counted: JoinedRegistries | None
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
    samples = None if counted is None else counted.families
    parent = Parent(socket.socket(fileno=child.lifeline), arguments.drain, samples)
    stack.callback(parent.report)
    return parent
