"""Joins the page and the endpoints, and makes of them the application that a WSGI server loads."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from .application import DEFAULT_PREFIX, SIGNATURE_PATH, DirectUpload
from .endpoints.static import StaticSite
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


def upload_page(settings: Settings, *, prefix: str = DEFAULT_PREFIX) -> StaticSite:
    """Make the site of the shipped page, which may talk to the signature endpoint below ``prefix`` and to the host."""
    _, host = settings.bucket_and_host()
    parts = urlsplit(host)
    root = _static_folder()
    shipped = f'data-server-url="{DEFAULT_PREFIX[1:]}{SIGNATURE_PATH}"'
    own = f'data-server-url="{html.escape(quote(prefix[1:]))}{SIGNATURE_PATH}"'
    index = (root / "index.html").read_bytes().replace(shipped.encode(), own.encode())
    return StaticSite(
        root,
        content_security_policy=_page_policy(f"{parts.scheme}://{parts.netloc}"),
        overrides={"/index.html": index},
    )


def _page_policy(oss: str) -> str:
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: {oss}; "
        f"connect-src 'self' {oss}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _static_folder() -> Path:
    """Find the page's files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    installed = here / "static"
    return installed if (installed / "index.html").is_file() else here.parent / "static"
