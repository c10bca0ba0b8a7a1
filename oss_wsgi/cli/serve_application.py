"""Serves the application that `--app` names: fills in its settings, leads callbacks to its DirectUpload, reloads it."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..application import DEFAULT_PREFIX, DirectUpload
from ..endpoints.metrics import Metrics
from ..exceptions import SettingsError
from ..http import essence
from ..log_format import configure
from ..middleware.dispatcher import check_prefix
from ..serving.bounds import default_file_bytes, raise_descriptor_limit
from ..serving.inheritance import Inheritance, inheritance
from ..serving.supervisor import Parent
from ..serving.until_stopped import CannotStartError, local_url, signals_deferred
from ..settings import Settings
from ..wsgi.observers import RequestFacts, facts_of
from ..wsgi.questions import pass_on
from .http_server import callback_url_of, is_local, metrics_for, run_server, sockets
from .load_application import check_spelling, load_application
from .local import KEPT_NOWHERE, ledger_beside, local_environ, no_bucket, start_local_oss
from .options import environ_of
from .reload import DRAIN, reload_forever, watch_what_failed
from .serve_processes import become_child, check_shared_by, serve_processes, share_of
from .terminal import note, said

if TYPE_CHECKING:
    from argparse import Namespace

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from ..local import LocalOSS

ENV_FILE = ".env"
ENV_FILE_IS_NOT_READ = (
    f"The file {ENV_FILE} in this folder is not read. To use its variables, first: set -a; . ./{ENV_FILE}; set +a"
)


def serve_application(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    """Serve the application that ``--app`` names; with ``--reload`` a child process does, again and again.

    Raises CannotStartError and SettingsError.
    """
    try:
        _serve(arguments, stack)
    except SettingsError as error:
        if os.path.isfile(ENV_FILE):
            raise SettingsError(*error.problems, ENV_FILE_IS_NOT_READ) from error
        raise


def _serve(arguments: Namespace, stack: contextlib.ExitStack) -> None:
    check_spelling(arguments.app)
    check_prefix(arguments.prefix)
    process_environ = arguments.process_environ
    child = inheritance(process_environ)
    if child is not None:
        settings = Settings.from_environ(process_environ)
        configure(arguments.log_format, settings.secrets(), process=child.number or None)
        if child.number:
            _run_application(arguments, child, stack)
            return
        arguments.drain, arguments.drain_delay = min(arguments.drain, DRAIN), 0
        try:
            _run_application(arguments, child, stack)
        except (CannotStartError, SettingsError) as error:
            watch_what_failed(error, arguments.app)
            raise
        return
    if arguments.reload and arguments.processes > 1:
        raise CannotStartError("--reload restarts one process, for development: leave --processes out.")
    environ = environ_of(arguments)
    local = is_local(arguments, environ)
    reason = "As --local says" if arguments.local else no_bucket(environ)
    if local:
        environ = local_environ(environ, arguments.local_dir)
    settings = _checked_settings(environ, arguments)
    configure(arguments.log_format, settings.secrets())
    raise_descriptor_limit()
    listeners, metrics_listeners, are_inherited = sockets(arguments, stack, local=local)
    url = local_url(listeners[0])
    callback_url = None
    if local:
        callback_url = fill_in_local_oss(environ, settings, listeners[0], arguments, stack)
    local_oss = f"{reason}: a local OSS at {environ['OSS_HOST']} takes the files." if local else None
    greeting = [*_application_greeting(url, local_oss, arguments), "Ctrl-C ends it."]
    # An option of a setting counts as the variable that the application reads.
    process_environ.update({name: value for name, value in environ.items() if name.startswith("OSS_")})
    own = Inheritance(listeners, metrics_listeners, greeting, callback_url)
    if arguments.processes > 1:
        serve_processes(arguments, stack, own, process_environ, owns_listeners=not are_inherited)
        return
    if arguments.reload:
        reload_forever(own, process_environ)
    _run_application(arguments, own, stack, owns_listeners=not are_inherited)


def fill_in_local_oss(
    environ: dict[str, str],
    settings: Settings,
    listener: socket.socket,
    arguments: Namespace,
    stack: contextlib.ExitStack,
) -> str | None:
    """Start the local OSS and set the variables that lead to it; return the callback URL if this chose it.

    Without a folder for the files the ledger is in a temporary one.
    """
    callback_url = None
    if settings.callback_url is None:
        callback_url = callback_url_of(listener, arguments.prefix)
        if arguments.prefix == DEFAULT_PREFIX:  # each DirectUpload adds its own
            callback_url = local_url(listener)
        environ["OSS_CALLBACK_URL"] = callback_url
    with signals_deferred():
        oss = start_local_oss(settings, arguments, local_url(listener), stack)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="oss-wsgi-"))
    ledger = settings.ledger or ledger_beside(arguments.local_dir) or os.path.join(folder, "ledger.sqlite3")
    environ |= {"OSS_HOST": oss.host, "OSS_ENDPOINT": oss.url, "OSS_LEDGER": ledger}
    environ["OSS_TRUSTED_KEYS"] = _with_trusted_key(environ, oss, folder)
    return callback_url


def _checked_settings(environ: Mapping[str, str], arguments: Namespace) -> Settings:
    """Return the settings; SettingsError with all that is wrong or missing.

    An access key that is missing is no error by itself: the application may have credentials of its own.
    """
    try:
        return Settings.from_environ(environ)
    except SettingsError:
        return Settings.from_environ(environ, required=("bucket", "access_key"))


def _run_application(
    arguments: Namespace,
    inherited: Inheritance,
    stack: contextlib.ExitStack,
    *,
    owns_listeners: bool = False,
) -> None:
    """Import the application and serve it."""
    servers: list[Any] = []
    parent: Parent | None = None
    metrics: Metrics | None
    if inherited.number:
        parent, metrics = become_child(arguments, inherited, stack, servers, descriptors_each=2)
    else:
        metrics = metrics_for(arguments, inherited.metrics_listeners, stack)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the application prints is seen at once, in a pipe too
            stream.reconfigure(line_buffering=True)
    app = load_application(arguments.app)
    made = _direct_uploads()
    for uploads in made:
        check_shared_by(uploads, inherited.processes)
        if metrics is not None:
            uploads.count_in(metrics)

    def is_callback(method: str, path: str, headers: Mapping[str, str]) -> bool:
        return any(uploads.is_callback(method, path, headers) for uploads in made)

    if not made and inherited.number <= 1:
        problem = (
            f"{arguments.app} makes no DirectUpload, so nothing answers below {arguments.prefix}: "
            "name the module that wraps it, such as uploads:application."
        )
        note(f"{arguments.program}: {said(problem, arguments.environ)}")
    greeting = [*inherited.greeting, *(_unused_local_oss(made, arguments) if inherited.number <= 1 else ())]
    watch = CallbackWatch(app, arguments.program, arguments.prefix, lambda text: said(text, arguments.environ))
    served = watch if inherited.callback_url else app
    run_server(
        served,
        inherited.listeners,
        arguments,
        stack,
        greeting,
        servers,
        parent.serving if parent is not None else None,
        file_bytes=default_file_bytes(inherited.processes),
        owns_listeners=owns_listeners,
        share=share_of(inherited) if inherited.number else None,
        # Middleware around DirectUpload may not say what a callback is.
        is_callback=is_callback if made and not hasattr(app, "is_callback") else None,
    )


def _direct_uploads() -> list[DirectUpload]:
    """Return each DirectUpload that there is: the application may hold one anywhere, and only Python knows them all."""
    return [found for found in gc.get_objects() if issubclass(type(found), DirectUpload)]


def _with_trusted_key(environ: Mapping[str, str], oss: LocalOSS, folder: str) -> str:
    """Write the local OSS's key to a file in a folder; return OSS_TRUSTED_KEYS with it."""
    path = os.path.join(folder, "callback_pub_key.pem")
    with open(path, "w", encoding="ascii") as file:
        file.write(oss.public_key_pem)
    keys = environ.get("OSS_TRUSTED_KEYS", "").strip()
    return f"{keys}{',' if keys else ''}{oss.public_key_url}={path}"


def _application_greeting(url: str, local_oss: str | None, arguments: Namespace) -> Iterator[str]:
    """Yield lines that say what runs, where files go, and that a .env in the folder is not read."""
    reloads = "; a change of a Python file restarts it" if arguments.reload else ""
    yield f"Open {url}/ in a browser: your application {arguments.app}{reloads}."
    if local_oss is None:
        return
    yield local_oss
    yield f"Files go to {os.path.abspath(arguments.local_dir)}." if arguments.local_dir else KEPT_NOWHERE
    if os.path.isfile(ENV_FILE) and not arguments.local:
        yield ENV_FILE_IS_NOT_READ


def _unused_local_oss(made: list[DirectUpload], arguments: Namespace) -> Iterator[str]:
    """Yield a line where the application's own settings lead past the local OSS."""
    local_host = arguments.process_environ.get("OSS_HOST", "")
    others = sorted({uploads.settings.bucket_and_host()[1] for uploads in made} - {local_host})
    if others and arguments.process_environ.get("OSS_TRUSTED_KEYS") and local_host.startswith("http://127.0.0.1:"):
        yield f"The application has settings of its own: its uploads go to {', '.join(others)}, not to the local OSS."


class CallbackWatch:
    """Middleware that says once that the local OSS's callback finds nobody: DirectUpload is mounted elsewhere."""

    def __init__(
        self, app: WSGIApplication, program: str, prefix: str = DEFAULT_PREFIX, say: Callable[[str], str] = str
    ) -> None:
        self._app = app
        self._program = program
        self._say = say
        self._fix = (
            "If it mounts DirectUpload below another path, start with --prefix PATH, such as /files/oss."
            if prefix == DEFAULT_PREFIX
            else f"Start again without --prefix {prefix}: OSS then reports to the path of DirectUpload's own prefix. "
            "Use --prefix only if the whole DirectUpload is mounted below a path: give that path followed by "
            "DirectUpload's prefix."
        )
        self._has_spoken = False
        pass_on(self, app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "HTTP_X_OSS_PUB_KEY_URL" not in environ or self._has_spoken:
            return self._app(environ, start_response)
        path = (environ.get("SCRIPT_NAME") or "") + (environ.get("PATH_INFO") or "")
        facts = facts_of(environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not self._has_spoken and _found_nobody(facts, status, headers):
                self._has_spoken = True
                problem = (
                    f"OSS reported an upload to {path}, and no DirectUpload is there: the application answered "
                    f"{status[:3]}. {self._fix}"
                )
                note(f"{self._program}: {self._say(problem)}")
            return start_response(status, headers, exc_info)

        return self._app(environ, start)


def _found_nobody(facts: RequestFacts, status: str, headers: list[tuple[str, str]]) -> bool:
    """Return whether no DirectUpload has verified or refused a callback, so that the application itself answered it."""
    if facts.object is not None or facts.reason not in (None, "not_found"):
        return False
    is_json = any(name.lower() == "content-type" and essence(value) == "application/json" for name, value in headers)
    return status.startswith("404") or not is_json
