"""Answers Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..wsgi.responses import SECURITY_HEADERS, method_not_allowed, not_found
from .metrics_counts import Metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger(__name__)


class MetricsEndpoint:
    """Application: GET or HEAD answers what ``metrics`` has counted, in Prometheus's text format.

    It asks for no password: keep its path from strangers at the front server, or serve it on a port of its own.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO"):
            return not_found(log, environ, start_response)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return method_not_allowed(log, environ, start_response, "GET, HEAD")
        content_type, body = self._metrics.text()
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *SECURITY_HEADERS]
        start_response("200 OK", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
