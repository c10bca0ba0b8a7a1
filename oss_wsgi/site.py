"""Joins the page and the endpoints, and makes of them the application that a WSGI server loads."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .application import DEFAULT_PREFIX, DirectUpload, upload_page
from .settings import Settings
from .wsgi.responses import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("oss_wsgi.server")


def site(settings: Settings, prefix: str = DEFAULT_PREFIX, **options: Any) -> DirectUpload:
    """Join the page and the endpoints."""
    page = upload_page(settings, prefix=prefix)
    return DirectUpload(page, settings, prefix=prefix, **options)


def application_for(environ: Mapping[str, str]) -> WSGIApplication:
    """Make the application that other servers load; a wrong setting raises at once, no bucket answers 503."""
    settings = Settings.from_environ(environ)
    return site(settings) if settings.configured else _unconfigured


def _unconfigured(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    hint = "set OSS_BUCKET and the other OSS_* variables; the local OSS comes with `python server.py` alone"
    return refuse(log, environ, start_response, 503, "not_configured", hint, message="Not configured.")
