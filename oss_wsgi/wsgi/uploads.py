"""Verified uploads in WSGI: the one of a request, the applications that answer it, and the response to it."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..callback.upload import UPLOAD_KEY, Upload
from ..exceptions import NotGuardedError
from ..ledger.base import StoredResponse
from ..recovery.delivery import Delivered
from .facts import FACTS_KEY, RequestFacts
from .responses import SECURITY_HEADERS, Headers, read_response

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    #: ``(upload, environ of the browser that asks for it)``: has an upload that was found in the bucket handled.
    Deliver = Callable[[Upload, WSGIEnvironment | None], Delivered]


class UploadHandler(ABC):
    """An application whose response depends on the upload alone, so that it needs no request."""

    @abstractmethod
    def handle(self, upload: Upload) -> StoredResponse:
        """Return the response to an upload. Raises CallbackError."""

    @abstractmethod
    def for_page(self, response: StoredResponse, upload: Upload) -> StoredResponse:
        """Return what the page gets: the response, which a ledger may have stored, with what is new each time."""


class View:
    """An application as the handler of an upload: it is called with a copy of a request, and its response is read.

    ``headers`` are those of the last response.
    """

    __slots__ = ("_app", "_environ", "_was_called", "headers")

    def __init__(self, app: WSGIApplication, environ: WSGIEnvironment) -> None:
        self._app = app
        self._environ = environ
        self._was_called = False
        self.headers: Headers = []

    def __call__(self, upload: Upload) -> StoredResponse:
        environ = {**self._environ, UPLOAD_KEY: upload}  # the application may change it, and be called again
        facts = environ.get(FACTS_KEY)
        if self._was_called and isinstance(facts, RequestFacts):
            facts.reason = facts.refused = None  # of the response that another transaction has undone
        self._was_called = True
        body_input = environ.get("wsgi.input")
        if isinstance(body_input, io.BytesIO):
            body_input.seek(0)
        status, self.headers, body = read_response(self._app, environ)
        content_type = next((value for name, value in self.headers if name.lower() == "content-type"), "")
        return StoredResponse(status, content_type, body)


def guarded_upload(environ: WSGIEnvironment, middleware: str, *, needs_ticket: bool = False) -> Upload:
    """Return the verified upload of a request.

    Raises NotGuardedError if ``CallbackGuard`` is not around ``middleware``, which is a class's name.
    """
    upload = environ.get(UPLOAD_KEY)
    if not isinstance(upload, Upload):
        hint = f"put CallbackGuard around {middleware}: it adds the verified upload to the environ"
        raise NotGuardedError("not_guarded", hint)
    if needs_ticket and (upload.ticket_id is None or upload.ticket_until is None):
        hint = f"put CallbackGuard with tickets around {middleware}: the ticket identifies the upload"
        raise NotGuardedError("not_guarded", hint)
    return upload


def respond(
    response: StoredResponse, start_response: StartResponse, headers: Sequence[tuple[str, str]] | None = None
) -> Iterable[bytes]:
    """Respond with a handler's response. Without ``headers`` it is data, with the headers of all our data."""
    if headers is None:
        headers = [*SECURITY_HEADERS, ("Content-Length", str(len(response.body)))]
        if response.content_type:
            headers.insert(0, ("Content-Type", response.content_type))
    start_response(response.status, list(headers))
    return [response.body]
