"""The upload page and DirectUpload, joined into the application that a WSGI server loads."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from .application import DEFAULT_PREFIX, RECOVER_PATH, SIGNATURE_PATH, DirectUpload
from .endpoints.static import StaticSite, shipped_folder
from .middleware.dispatcher import check_prefix
from .settings import Settings
from .wsgi.responses import SECURITY_HEADERS, refuse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("oss_wsgi.server")


def site(settings: Settings, prefix: str = DEFAULT_PREFIX, **options: Any) -> DirectUpload:
    """Return the upload page with DirectUpload over it; ``options`` are those of ``DirectUpload``."""
    return DirectUpload(UploadPage(settings, prefix), settings, prefix=prefix, **options)


def application_for(environ: Mapping[str, str]) -> WSGIApplication:
    """Return the application of the environment's settings; without a bucket it responds 503 to every request.

    Raises SettingsError for a wrong setting.
    """
    has_bucket = any(environ.get(name, "").strip() for name in ("OSS_BUCKET", "OSS_HOST"))
    settings = Settings.from_environ(environ, required=("access_key",) if has_bucket else ())
    return site(settings) if settings.configured else _refuse_unconfigured


def _refuse_unconfigured(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    hint = "set OSS_BUCKET and the other OSS_* variables; only `python server.py` starts the local OSS"
    return refuse(log, environ, start_response, 503, "not_configured", hint, message="Not configured.")


class UploadPage(StaticSite):
    """The upload page as an application. It may reach only its own server and the OSS host.

        application = DirectUpload(Dispatcher(legacy_app, {"/files": UploadPage(settings)}), settings, authorize=allow)

    It may be the application of a DirectUpload, or be mounted below one; then the endpoints are one segment above it.
    ``Dispatcher`` and other dispatchers do; for a longer mount such as ``/admin/files`` say so with ``mount``.

    :param prefix: the prefix of the DirectUpload.
    :param mount: where a dispatcher below the DirectUpload mounts the page.

    Raises SettingsError without a bucket, ValueError for a prefix or mount that is not like ``/files``.
    """

    def __init__(self, settings: Settings, prefix: str = DEFAULT_PREFIX, *, mount: str = "") -> None:
        check_prefix(prefix)
        if mount:
            check_prefix(mount)
        _, host = settings.bucket_and_host()
        parts = urlsplit(host)
        root = shipped_folder()
        shipped = f'data-server-url="{DEFAULT_PREFIX[1:]}{SIGNATURE_PATH}"'
        place = html.escape("../" * mount.count("/") + quote(prefix[1:]))
        recover = f"{place}{RECOVER_PATH}" if settings.recover else ""  # an empty one: the server does not answer there
        replacement = f'data-server-url="{place}{SIGNATURE_PATH}" data-recover-url="{recover}"'
        index = (root / "index.html").read_bytes().replace(shipped.encode(), replacement.encode())
        super().__init__(
            root,
            content_security_policy=_page_policy(f"{parts.scheme}://{parts.netloc}"),
            overrides={"/index.html": index},
        )
        self._endpoints = prefix.encode().decode("latin-1") + "/"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or ""
        if path.startswith(self._endpoints) and environ.get("SCRIPT_NAME"):
            # A DirectUpload right around the page takes these paths, so it is above the page's mount.
            return _redirect_above(environ, start_response, path)
        return super().__call__(environ, start_response)


def _redirect_above(environ: WSGIEnvironment, start_response: StartResponse, path: str) -> Iterable[bytes]:
    """Redirect to the same path, method and query one segment above the mount."""
    query = environ.get("QUERY_STRING") or ""
    location = "../" * path.count("/") + quote(path[1:].encode("latin-1")) + (f"?{query}" if query else "")
    headers = [("Location", location), ("Content-Length", "0"), *SECURITY_HEADERS]
    start_response("307 Temporary Redirect", headers)
    return []


def _page_policy(oss: str) -> str:
    """Return the page's Content-Security-Policy; ``oss`` is the origin to which it uploads."""
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: {oss}; "
        f"connect-src 'self' {oss}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
