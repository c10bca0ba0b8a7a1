"""Middleware that says what keeps reports from a person's own application under `serve --app`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..application import DEFAULT_PREFIX, DirectUpload, direct_uploads_of
from ..explanations.text import Text
from ..http import essence
from ..wsgi.facts import RequestFacts, facts_of
from ..wsgi.questions import MEET_KEY, pass_on

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class ApplicationWatch:
    """Calls the application, and says once what a developer should know.

    Without ``direct_uploads`` of the application, each DirectUpload in it is met at its first request; from then on
    callbacks are known as such. With a prefix, a callback that finds no DirectUpload is spoken of.

    :param say: called with a sentence.
    :param on_hidden: called with a DirectUpload that the application hides, at its first request.
    :param prefix: that of the callback URL which `serve` chose; None if it chose none.
    """

    def __init__(
        self,
        app: WSGIApplication,
        say: Callable[[str], object],
        on_hidden: Callable[[DirectUpload], object],
        prefix: str | None,
    ) -> None:
        self._app = app
        self._say = say
        self._on_hidden = on_hidden
        self._prefix = prefix
        self._has_spoken = prefix is None
        self._met = [*direct_uploads_of(app)]
        self._meets = not self._met
        self._lock = threading.Lock()
        self.is_callback = self._is_callback
        pass_on(self, app)

    def _is_callback(self, method: str, path: str, headers: Mapping[str, str]) -> bool:
        return any(uploads.is_callback(method, path, headers) for uploads in self._met)

    def _meet(self, uploads: DirectUpload) -> None:
        with self._lock:
            is_new = uploads not in self._met
            if is_new:
                self._met.append(uploads)
        if is_new:
            self._on_hidden(uploads)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._meets:
            environ[MEET_KEY] = self._meet
        if "HTTP_X_OSS_PUB_KEY_URL" not in environ or self._has_spoken:
            return self._app(environ, start_response)
        path = (environ.get("SCRIPT_NAME") or "") + (environ.get("PATH_INFO") or "")
        facts = facts_of(environ)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not self._has_spoken and _found_nobody(facts, status, headers):
                self._has_spoken = True
                self._say(
                    Text(
                        "OSS reported an upload to {1}, and no DirectUpload is there: the application answered "
                        "{2}. {3}",
                        path,
                        status[:3],
                        self._fix(),
                    )
                )
            return start_response(status, headers, exc_info)

        return self._app(environ, start)

    def _fix(self) -> str:
        if self._prefix == DEFAULT_PREFIX:
            return "If it mounts DirectUpload below another path, start with --prefix PATH, such as /files/oss."
        return Text(
            "Start again without --prefix {1}: OSS then reports to the path of DirectUpload's own "
            "prefix. Use --prefix only if the whole DirectUpload is mounted below a path: give that "
            "path followed by DirectUpload's prefix.",
            self._prefix,
        )


def _found_nobody(facts: RequestFacts, status: str, headers: list[tuple[str, str]]) -> bool:
    """Return whether no DirectUpload has verified or refused a callback, so that the application itself answered it."""
    if facts.object is not None or facts.reason not in (None, "not_found"):
        return False
    is_json = any(name.lower() == "content-type" and essence(value) == "application/json" for name, value in headers)
    return status.startswith("404") or not is_json
