"""What `serve --app` does with a person's own application, and what it says where uploads would not reach it."""

from __future__ import annotations

import gc
import io
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..application import DEFAULT_PREFIX, DirectUpload
from ..endpoints.metrics import Metrics
from ..http import essence
from ..ledger.memory import MemoryLedger
from ..serving.bounds import default_file_bytes
from ..serving.inheritance import Inheritance
from ..wsgi.facts import RequestFacts, facts_of
from ..wsgi.questions import pass_on
from .http_server import check_shared
from .load_application import load_application
from .terminal import note, said

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def own_application(
    arguments: Namespace, inherited: Inheritance, metrics: Metrics | None
) -> tuple[WSGIApplication, dict[str, Any]]:
    """Return the application, and options of the server for it. Raises CannotStartError and SettingsError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the application prints is seen at once, in a pipe too
            stream.reconfigure(line_buffering=True)
    app = load_application(arguments.app)
    made = _direct_uploads()
    for uploads in made:
        has_ledger = not isinstance(uploads.ledger, MemoryLedger)
        check_shared(inherited.processes, uploads.settings, has_ledger=has_ledger)
        if metrics is not None:
            uploads.count_in(metrics)

    def is_callback(method: str, path: str, headers: Mapping[str, str]) -> bool:
        return any(uploads.is_callback(method, path, headers) for uploads in made)

    if inherited.number <= 1:
        inherited.greeting += _unused_local_oss(made, arguments)
        if not made:
            problem = (
                f"{arguments.app} makes no DirectUpload, so nothing answers below {arguments.prefix}: "
                "name the module that wraps it, such as uploads:application."
            )
            note(f"{arguments.program}: {said(problem, arguments.environ)}")
    options: dict[str, Any] = {"file_bytes": default_file_bytes(inherited.processes)}
    if made and not hasattr(app, "is_callback"):  # middleware around DirectUpload may not say what a callback is
        options["is_callback"] = is_callback
    if inherited.callback_url:
        app = CallbackWatch(app, arguments.program, arguments.prefix, lambda text: said(text, arguments.environ))
    return app, options


def _direct_uploads() -> list[DirectUpload]:
    """Return each DirectUpload that there is: the application may hold one anywhere, and only Python knows them all."""
    return [found for found in gc.get_objects() if issubclass(type(found), DirectUpload)]


def _unused_local_oss(made: list[DirectUpload], arguments: Namespace) -> Iterator[str]:
    """Yield a line where the application's own settings lead past the local OSS."""
    local_host = arguments.environ.get("OSS_HOST", "")
    others = sorted({uploads.settings.bucket_and_host()[1] for uploads in made} - {local_host})
    if others and arguments.environ.get("OSS_TRUSTED_KEYS") and local_host.startswith("http://127.0.0.1:"):
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
