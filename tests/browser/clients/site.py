"""A site with the clients' pages and our signatures of both versions, and a local OSS on another origin."""

from __future__ import annotations

import contextlib
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from local_oss import CORSRule, LocalOSS, LocalOSSServer
from oss_wsgi import DirectUpload, PublicKeyStore, Settings, Upload
from oss_wsgi.endpoints.static import StaticSite

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

VERSIONS = ("v1", "v4")


class WatchedOSS(LocalOSS):
    """A local OSS that records the method of each request, and the headers that a preflight asks for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.requests: list[str] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        headers = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        self.requests.append(f"{environ['REQUEST_METHOD']} {headers}".strip())
        return super().__call__(environ, start_response)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name there
        """Write no log."""


class Site:
    """The pages at ``url``, the uploads that the application got, and the local OSS."""

    def __init__(self, url: str, oss: WatchedOSS, pages: Path) -> None:
        self.url = url
        self.oss = oss
        self.uploads: list[Upload] = []
        # The pages may send requests to these two origins only.
        policy = (
            f"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' blob: {oss.url}; "
            f"frame-src {oss.url}; form-action {oss.url}"
        )
        self.application: Any = StaticSite(pages, content_security_policy=policy)
        for version in VERSIONS:
            url = f"{self.url}/{version}/callback"
            self.application = self._signing(version, signature_version=version, callback_url=url)
        self.application = self._signing("page", report_by="page")

    def _signing(self, name: str, **own: Any) -> DirectUpload:
        """Return the application so far, with signatures of settings of their own below a prefix of this name."""
        settings = Settings(
            bucket=self.oss.bucket,
            region=self.oss.region,
            host=self.oss.host,
            access_key_id=self.oss.access_key_id,
            access_key_secret=self.oss.access_key_secret,
            endpoint=self.oss.url,
            upload_names="original",
            allow_anonymous=True,
            ticket_secret=("a ticket secret for tests and nothing else",),
            signed_ids=False,  # each page shows the whole response
            **own,
        )
        keys = PublicKeyStore({self.oss.public_key_url: self.oss.public_key_pem})
        save = self.uploads.append
        return DirectUpload(self.application, settings, prefix=f"/{name}", on_upload=save, public_keys=keys)

    def stored(self, key: str) -> bytes:
        with urllib.request.urlopen(self.oss.signed_url(key)) as response:
            content: bytes = response.read()
        return content


@contextlib.contextmanager
def serving(pages: Path) -> Iterator[Site]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        with contextlib.closing(WatchedOSS(key_bits=1024, cors_rules=[CORSRule([url])])) as oss:
            storage = LocalOSSServer(oss)
            storage.start()
            site = Site(url, oss, pages)
            server.set_app(site.application)
            thread = threading.Thread(target=server.serve_forever, args=[0.02])
            thread.start()
            yield site
            server.shutdown()
            thread.join()
            storage.stop()
