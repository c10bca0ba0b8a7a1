"""The upload page and DirectUpload, joined into the application that a WSGI server loads."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from .application import DEFAULT_PREFIX, RECOVER_PATH, SIGNATURE_PATH, DirectUpload
from .endpoints.static import StaticSite
from .settings import Settings
from .wsgi.responses import refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("oss_wsgi.server")


def site(settings: Settings, prefix: str = DEFAULT_PREFIX, **options: Any) -> DirectUpload:
    """Return the upload page with DirectUpload over it; ``options`` are those of ``DirectUpload``."""
    page = upload_page(settings, prefix=prefix)
    return DirectUpload(page, settings, prefix=prefix, **options)


def application_for(environ: Mapping[str, str]) -> WSGIApplication:
    """Return the application of the environment's settings; without a bucket it responds 503 to every request.

    Raises SettingsError for a wrong setting.
    """
    settings = Settings.from_environ(environ)
    return site(settings) if settings.configured else _refuse_unconfigured


def _refuse_unconfigured(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    hint = "set OSS_BUCKET and the other OSS_* variables; only `python server.py` starts the local OSS"
    return refuse(log, environ, start_response, 503, "not_configured", hint, message="Not configured.")


def upload_page(settings: Settings, *, prefix: str = DEFAULT_PREFIX) -> StaticSite:
    """Return the site of the shipped page, which may reach only its own server, below ``prefix``, and the OSS host."""
    _, host = settings.bucket_and_host()
    parts = urlsplit(host)
    root = _static_folder()
    shipped = f'data-server-url="{DEFAULT_PREFIX[1:]}{SIGNATURE_PATH}"'
    below = html.escape(quote(prefix[1:]))
    recover = f"{below}{RECOVER_PATH}" if settings.recover else ""  # an empty one: the server does not answer there
    replacement = f'data-server-url="{below}{SIGNATURE_PATH}" data-recover-url="{recover}"'
    index = (root / "index.html").read_bytes().replace(shipped.encode(), replacement.encode())
    return StaticSite(
        root,
        content_security_policy=_page_policy(f"{parts.scheme}://{parts.netloc}"),
        overrides={"/index.html": index},
    )


def _page_policy(oss: str) -> str:
    """Return the page's Content-Security-Policy; ``oss`` is the origin to which it uploads."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: {oss}; "
        f"connect-src 'self' {oss}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _static_folder() -> Path:
    """Return the folder of the page: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).parent
    installed = here / "static"
    return installed if (installed / "index.html").is_file() else here.parent / "static"
