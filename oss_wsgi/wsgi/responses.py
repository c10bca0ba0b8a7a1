"""JSON responses, the status of each error, and readers of other applications' responses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .. import exceptions as errors

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Headers = list[tuple[str, str]]

#: The status of each error. A class without a row uses the status of its nearest base.
STATUSES: dict[type[BaseException], int] = {
    errors.OSSWSGIError: 500,
    errors.CredentialsError: 503,
    errors.GrantError: 403,
    errors.SlotsTakenError: 503,
    errors.UploadRequestError: 403,
    errors.MalformedRequestError: 400,
    errors.OutsideGrantError: 403,
    errors.NotAuthorizedError: 403,
    errors.TooManyRequestsError: 429,
    errors.CallableFailedError: 500,
    errors.CallbackError: 403,
    errors.MalformedCallbackError: 400,
    errors.LengthRequiredError: 411,
    errors.BodyTooLargeError: 413,
    errors.BodyTimeoutError: 408,
    errors.MemoryTakenError: 503,
    errors.VerificationError: 403,
    errors.UnverifiedError: 403,
    errors.KeyUnavailableError: 503,
    errors.TicketUsedError: 409,
    errors.LedgerUnavailableError: 503,
    errors.HandlerCommittedError: 500,
    errors.HandlerFailedError: 500,
    errors.NotGuardedError: 500,
    errors.NotConfirmedError: 403,
    errors.ConfirmationUnavailableError: 503,
    errors.PartsError: 500,
    errors.PartsRefusedError: 409,
    errors.PartsNotAllowedError: 403,
    errors.UploadGoneError: 404,
    errors.UploadUnsettledError: 503,
    errors.PartsCorruptError: 500,
    errors.FormError: 400,
    errors.PostedFileChangedError: 409,
    errors.RecoveryError: 500,
    errors.MalformedRecoveryError: 400,
    errors.NotStoredError: 404,
    errors.NotYoursError: 409,
    errors.BucketError: 503,
    errors.NotDeliveredError: 503,
    errors.SweepRunningError: 503,
}

#: The reasons of a 503 that end as soon as another request has ended.
SOON = frozenset({"slots_taken", "memory_taken", "ledger_busy", "upload_unsettled"})
# OSS may have been unreachable only briefly.
PASSING = SOON | {"bucket_unreachable"}

#: Environ key of the number of the server's threads.
THREADS_KEY = "oss_wsgi.threads"

#: Environ key of `Again`, which a server sets that can call the application again.
AGAIN_KEY = "oss_wsgi.again"

#: For every response that is data and not a page. Despite the resource policy, allowed origins can read it by CORS.
SECURITY_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)
_JSON_HEADERS = (("Content-Type", "application/json"), *SECURITY_HEADERS)
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class AnsweredError(Exception):
    """Raised when a callable of the application answers a request by itself: ``app`` is its response."""

    def __init__(self, app: WSGIApplication) -> None:
        super().__init__("a callable of the application has answered the request")
        self.app = app


def json_bytes(
    environ: WSGIEnvironment, start_response: StartResponse, status: int, body: bytes, headers: Headers | None = None
) -> Iterable[bytes]:
    """Respond with encoded JSON; HEAD gets only the headers."""
    start_response(_STATUS_LINES[status], [*_JSON_HEADERS, ("Content-Length", str(len(body))), *(headers or ())])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def json_response(
    environ: WSGIEnvironment, start_response: StartResponse, status: int, payload: Any, headers: Headers | None = None
) -> Iterable[bytes]:
    """Respond with a value as JSON."""
    return json_bytes(environ, start_response, status, json.dumps(payload).encode(), headers)


def html_response(
    environ: WSGIEnvironment, start_response: StartResponse, status: int, page: bytes, headers: Headers
) -> Iterable[bytes]:
    """Respond with a page in UTF-8, which loads nothing."""
    own = [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(page)))]
    start_response(_STATUS_LINES[status], [*own, *SECURITY_HEADERS, *headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [page]


def status_of(error: BaseException) -> int:
    """Return the status of an error by ``STATUSES``; 500 for any other error."""
    return next((STATUSES[base] for base in type(error).__mro__ if base in STATUSES), 500)


def read_response(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[str, Headers, bytes]:
    """Return the status line, the headers and the body of an application's response, read to its end.

    The status line is empty if the application starts no response.
    """
    status_line = ""
    started: Headers = []
    pieces: list[bytes] = []

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        nonlocal status_line, started
        status_line, started = status, list(headers)
        if exc_info is not None:
            pieces.clear()
        return pieces.append

    body = app(environ, start)
    try:
        for piece in body:
            pieces.append(piece)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
    return status_line, started, b"".join(pieces)


class ClosingBody:
    """The body of a response that calls ``at_end`` when it is closed, even if the body's own ``close`` raises."""

    def __init__(self, body: Iterable[bytes], at_end: Callable[[], None]) -> None:
        self._body = body
        self._at_end = at_end

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._at_end()


class Again:
    """A request for another try: the server drops this response, and calls the application again soon.

    Meanwhile the request waits in the server's loop, not in a thread. All tries of a request share one object.
    Uppy needs it: it begins all files at once, and gives one up after a single 503.
    """

    __slots__ = ("due", "frees_others", "is_asked", "is_counted", "is_offered", "since")

    def __init__(self) -> None:
        #: Whether the server gives another try if the application asks for it.
        self.is_offered = False
        self.is_asked = False
        #: Whether other requests may have waited for the end of this one.
        self.frees_others = False
        #: Whether the request has counted for the rate limit.
        self.is_counted = False
        #: For the server: since when the request waits (None before the first try was dropped), and when the next try
        #: is due.
        self.since: float | None = None
        self.due = 0.0


def again_of(environ: WSGIEnvironment) -> Again | None:
    """Return the request's `Again`; None if the server gives no other try."""
    again = environ.get(AGAIN_KEY)
    return again if isinstance(again, Again) else None
