"""JSON answers, and refusals that say little to the client and more to the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .environ import request_id
from .observers import context_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Headers = list[tuple[str, str]]

_MESSAGES = {
    400: "The request is malformed.",
    403: "Not allowed.",
    404: "There is nothing here.",
    405: "This method is not allowed here.",
    409: "This was done already, for something else.",
    411: "Content-Length is required.",
    413: "The body is too large.",
    429: "Too many requests.",
    500: "The server failed to handle this.",
    503: "This cannot be done right now; try again later.",
}

_LEVELS = {404: logging.INFO, 405: logging.INFO, 429: logging.INFO, 500: logging.ERROR}

# As long as the store of keys waits after a fetch that failed; what else answers 503 is not slower to come back.
_RETRY_LATER = ("Retry-After", "10")

#: For every answer that is data and no page. A listed origin reads it by CORS, which the resource policy leaves alone.
SECURITY_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)
_JSON_HEADERS = (("Content-Type", "application/json"), *SECURITY_HEADERS)
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def json_bytes(
    environ: WSGIEnvironment, start_response: StartResponse, status: int, body: bytes, headers: Headers | None = None
) -> Iterable[bytes]:
    """Answer with JSON that is encoded already; a HEAD request gets the headers alone."""
    start_response(_STATUS_LINES[status], [*_JSON_HEADERS, ("Content-Length", str(len(body))), *(headers or ())])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def json_response(
    environ: WSGIEnvironment, start_response: StartResponse, status: int, payload: Any, headers: Headers | None = None
) -> Iterable[bytes]:
    """Answer with a value as JSON."""
    return json_bytes(environ, start_response, status, json.dumps(payload).encode(), headers)


def log_refusal(
    log: logging.Logger,
    environ: WSGIEnvironment,
    status: int,
    reason: str,
    hint: str,
    exc_info: BaseException | None = None,
) -> None:
    """Log one line with the reason, the hint and OSS's request ID, and tell the observers.

    With ``exc_info`` that exception's traceback is logged too.
    """
    facts = context_of(environ)
    facts.reason = reason
    fields = facts.fields(environ)
    line = "refused: status=%d reason=%s hint=%r request_id=%s"
    extra = {**fields, "status": status}
    level = _LEVELS.get(status, logging.WARNING)
    log.log(level, line, status, reason, hint, request_id(environ), exc_info=exc_info, extra=extra)
    if facts.events is not None:
        facts.events.refused(reason, status, fields)


def refuse(
    log: logging.Logger,
    environ: WSGIEnvironment,
    start_response: StartResponse,
    status: int,
    reason: str,
    hint: str,
    *,
    code: str | None = None,
    message: str | None = None,
    headers: Headers | None = None,
    exc_info: BaseException | None = None,
) -> Iterable[bytes]:
    """Log a refusal, and answer it as ``{"error": {"code", "message"}}``.

    The answer is generic, unless ``code`` and ``message`` say what a browser may know. 503 says when to try again.
    """
    if status == 503:
        headers = [*(headers or ()), _RETRY_LATER]
    log_refusal(log, environ, status, reason, hint, exc_info)
    error = {"code": code or HTTPStatus(status).name.lower(), "message": message or _MESSAGES[status]}
    return json_response(environ, start_response, status, {"error": error}, headers)


def method_not_allowed(
    log: logging.Logger, environ: WSGIEnvironment, start_response: StartResponse, allowed: str
) -> Iterable[bytes]:
    """Refuse a method, 405; ``allowed`` is the text of the Allow header."""
    hint = f"only {allowed} here"
    return refuse(
        log, environ, start_response, 405, "method_not_allowed", hint, message=f"Allowed here: {allowed}.",
        headers=[("Allow", allowed)],
    )  # fmt: skip


def not_found(log: logging.Logger, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Refuse a path, 404."""
    return refuse(log, environ, start_response, 404, "not_found", "no such path here")
