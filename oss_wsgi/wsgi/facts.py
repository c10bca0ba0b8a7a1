"""The facts of one request, for the log and for observers, and the refusals, which log them.

A refusal tells little to the client and more to the log.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..callback.upload import UPLOAD_KEY, Upload
from ..exceptions import (
    CallableFailedError,
    CredentialsError,
    GrantError,
    HandlerFailedError,
    OSSWSGIError,
    ReasonedError,
    TooManyRequestsError,
    UploadRequestError,
)
from .responses import PASSING, SOON, Headers, again_of, json_response, status_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

#: Environ key of the request's facts.
FACTS_KEY = "oss_wsgi.facts"

# The ID of an upload in parts has at least 300 characters. It is masked beside any others too, which a client may have
# put there by mistake.
_MIN_SEALED = 100
_SEALED = re.compile(rf"[A-Za-z0-9_-]{{{_MIN_SEALED},}}")
_OSS_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_WELL_FORMED_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

_MESSAGES = {
    400: "The request is malformed.",
    403: "Not allowed.",
    404: "There is nothing here.",
    405: "This method is not allowed here.",
    408: "The body took too long to arrive.",
    409: "This conflicts with an earlier request.",
    411: "Content-Length is required.",
    413: "The body is too large.",
    429: "Too many requests.",
    500: "The server failed to handle this.",
    503: "This cannot be done right now; try again later.",
}
#: Python 3.13 renamed this status; clients see the same code with every Python.
_CODES = {413: "request_entity_too_large"}

_LEVELS = {404: logging.INFO, 405: logging.INFO, 408: logging.INFO, 429: logging.INFO, 500: logging.ERROR}
# Anybody can cause any number of these, so they are logged at INFO.
_QUIET = frozenset({"slots_taken", "memory_taken"})

#: Header of a 503. PublicKeyStore pauses this long after a failed fetch; the other causes of 503 end sooner.
RETRY_LATER = ("Retry-After", "10")
_RETRY_SOON = ("Retry-After", "1")

#: The errors whose cause a callable of the user's own has raised.
_OF_USERS = (CallableFailedError, HandlerFailedError)
_NO_MESSAGES: Mapping[str, str] = {}

_log = logging.getLogger(__name__)


class RequestFacts:
    """One request, as the log and observers may know it; made once, where the request enters.

    ``user`` and ``object`` are added as they become known, from our own grant or a verified report, never from the
    client's own claims. ``reason`` says why the request was refused, or that its response was ``repeated``; ``refused``
    is the status of a refusal.
    """

    __slots__ = ("_id", "_oss_id", "_path", "_sent_id", "address", "method", "object", "reason", "refused", "user")

    def __init__(self, environ: WSGIEnvironment) -> None:
        # Not the environ itself: it holds its facts, and a circle would keep both until the garbage collector comes.
        get = environ.get
        self.method = get("REQUEST_METHOD") or ""
        self.address = get("REMOTE_ADDR") or ""
        self._path = (get("SCRIPT_NAME") or "") + (get("PATH_INFO") or "")
        self._sent_id = get("HTTP_X_REQUEST_ID")
        self._oss_id = get("HTTP_X_OSS_REQUEST_ID")
        self._id: str | None = None
        upload = get(UPLOAD_KEY)
        self.user: str | None = None
        self.object: str | None = None
        if isinstance(upload, Upload):
            self.user, self.object = upload.user, upload.object
        self.reason: str | None = None
        self.refused: int | None = None

    @property
    def id(self) -> str:
        """The request's ID: a well-formed ``X-Request-ID``, or else a random one that stays the same."""
        if self._id is None:
            self._id = _matching(_WELL_FORMED_ID, self._sent_id) or secrets.token_hex(8)
        return self._id

    @property
    def oss_request_id(self) -> str:
        """OSS's request ID, for the log; ``-`` if it is missing or malformed."""
        return _matching(_OSS_ID, self._oss_id) or "-"

    @property
    def path(self) -> str:
        """The path as `without_ids` shows it in a log."""
        return without_ids(self._path)

    def fields(self) -> dict[str, Any]:
        """Return the known facts, under the names that a log shows."""
        oss_id = self.oss_request_id
        fields = {
            "request_id": self.id,
            "oss_request_id": None if oss_id == "-" else oss_id,
            "address": self.address,
            "method": self.method,
            "path": self.path,
            "reason": self.reason,
            "user": self.user,
            "object": self.object,
        }
        return {name: value for name, value in fields.items() if value}

    def log_refusal(
        self, log: logging.Logger, status: int, reason: str, hint: str, cause: BaseException | None = None
    ) -> None:
        """Log one line with the reason, the hint and OSS's request ID, and the traceback of ``cause``."""
        self.reason, self.refused = reason, status
        level = logging.INFO if reason in _QUIET else _LEVELS.get(status, logging.WARNING)
        line = "refused: status=%d reason=%s hint=%r oss_request_id=%s"
        extra = {**self.fields(), "status": status}
        log.log(level, line, status, reason, hint, self.oss_request_id, exc_info=cause, extra=extra)

    def refuse(
        self,
        log: logging.Logger,
        start_response: StartResponse,
        status: int,
        reason: str,
        hint: str,
        *,
        message: str | None = None,
        headers: Headers | None = None,
        cause: BaseException | None = None,
    ) -> Iterable[bytes]:
        """Log a refusal, and respond with ``{"error": {"code", "message"}}``.

        The response is generic, unless ``message`` says what a browser may know; then the reason is the code. 503 has a
        Retry-After.
        """
        self.log_refusal(log, status, reason, hint, cause)
        if status == 503:
            headers = [*(headers or ()), _RETRY_SOON if reason in SOON else RETRY_LATER]
        generic = HTTPStatus(status)
        error = {
            "code": reason if message else _CODES.get(status) or generic.name.lower(),
            "message": message or _MESSAGES.get(status) or f"{generic.phrase}.",
        }
        return json_response({"REQUEST_METHOD": self.method}, start_response, status, {"error": error}, headers)

    def refuse_error(
        self,
        log: logging.Logger,
        start_response: StartResponse,
        error: OSSWSGIError,
        *,
        hint: str | None = None,
        messages: Mapping[str, str] = _NO_MESSAGES,
    ) -> Iterable[bytes]:
        """Refuse with the status and the reason of an error, and with ``hint`` or else the error's own.

        A browser gets the message of the reason in ``messages``, what is wrong with its own request, or else the
        generic response. The log has the traceback of what the user's own code raised.
        """
        refusal = reasoned(error)
        reason, own_hint = refusal.reason, refusal.hint
        message, headers = messages.get(reason), None
        if isinstance(error, UploadRequestError):
            message = own_hint
        elif isinstance(error, TooManyRequestsError):
            message = f"Too many requests: try again in {error.seconds} s."
            headers = [("Retry-After", str(error.seconds))]
        cause = error.__cause__ if isinstance(error, _OF_USERS) or reason == "confirm_failed" else None
        hint = own_hint if hint is None else hint
        status = status_of(error)
        return self.refuse(log, start_response, status, reason, hint, message=message, headers=headers, cause=cause)

    def method_not_allowed(self, log: logging.Logger, start_response: StartResponse, allowed: str) -> Iterable[bytes]:
        """Refuse a method with 405; ``allowed`` is the text of the Allow header."""
        hint, message = f"this endpoint allows only {allowed}", f"Allowed here: {allowed}."
        headers = [("Allow", allowed)]
        return self.refuse(log, start_response, 405, "method_not_allowed", hint, message=message, headers=headers)

    def not_found(
        self, log: logging.Logger, start_response: StartResponse, hint: str = "there is no endpoint at this path"
    ) -> Iterable[bytes]:
        """Refuse a path with 404."""
        return self.refuse(log, start_response, 404, "not_found", hint)


def without_ids(path: str) -> str:
    """Return a path for a log, without the ID of an upload in parts, which is a secret ticket."""
    return _SEALED.sub("***", path) if len(path) > _MIN_SEALED else path


def facts_of(environ: WSGIEnvironment) -> RequestFacts:
    """Return the facts of a request, which all copies of its environ share; make them if there are none yet."""
    facts = environ.get(FACTS_KEY)
    if not isinstance(facts, RequestFacts):
        facts = environ[FACTS_KEY] = RequestFacts(environ)
    return facts


def no_such_path(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Refuse a request with 404: an application for paths at which there is no endpoint."""
    return facts_of(environ).not_found(_log, start_response)


def _matching(pattern: re.Pattern[str], text: object) -> str:
    """Return a header's text; "" if it is missing or another text than the pattern's."""
    return text if isinstance(text, str) and pattern.fullmatch(text) else ""


def reasoned(error: OSSWSGIError) -> ReasonedError:
    """Return the error itself, or for one without a reason why nothing was signed."""
    if isinstance(error, ReasonedError):
        return error
    if isinstance(error, GrantError):
        return ReasonedError("grant_refused", str(error))
    if isinstance(error, CredentialsError):
        return ReasonedError("credentials_unavailable", str(error))
    return ReasonedError("not_signed", str(error))


def ask_again(environ: WSGIEnvironment) -> None:
    """Ask for another try, if the server offers one and the request was refused for a reason that ends soon.

    The end of any other request gives a waiting request its try.
    """
    again, facts = again_of(environ), facts_of(environ)
    if again is not None:
        is_passing = facts.refused == 503 and facts.reason in PASSING
        again.is_asked = is_passing and again.is_offered
        again.frees_others = not is_passing
