"""Says that the application answers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..wsgi.responses import json_response, method_not_allowed, not_found

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)


class HealthEndpoint:
    """Application: GET or HEAD answers 200 and ``{"status": "ok"}``."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO"):
            return not_found(log, environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return method_not_allowed(log, environ, start_response, "GET, HEAD")
        return json_response(environ, start_response, 200, {"status": "ok"})
