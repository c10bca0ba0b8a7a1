"""One origin with the clients' pages and our signatures of both versions, another one with a local OSS."""

from __future__ import annotations

import contextlib
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from oss_wsgi import DirectUpload, PublicKeyStore, Settings, Upload
from oss_wsgi.endpoints.static import StaticSite
from oss_wsgi.local import CORSRule, LocalOSS, LocalOSSServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

VERSIONS = ("v1", "v4")


class WatchedOSS(LocalOSS):
    """A local OSS that notes the method of each request, and which headers a preflight asks for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.requests: list[str] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", "")
        self.requests.append(f"{environ['REQUEST_METHOD']} {asked}".strip())
        return super().__call__(environ, start_response)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - its name there
        """Say nothing."""


class Site:
    """The pages, at ``url``, and what came of them."""

    def __init__(self, url: str, oss: WatchedOSS, pages: Path) -> None:
        self.url = url
        self.oss = oss
        self.heard: list[Upload] = []
        # Nothing but these two may be asked for anything.
        policy = (
            f"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' blob: {oss.url}; "
            f"frame-src {oss.url}; form-action {oss.url}"
        )
        self.application: Any = StaticSite(pages, content_security_policy=policy)
        for version in VERSIONS:
            self.application = self._signing(version)

    def _signing(self, version: str) -> DirectUpload:
        """Give the application so far, with signatures of a version below a prefix of its name."""
        settings = Settings(
            bucket=self.oss.bucket,
            region=self.oss.region,
            host=self.oss.host,
            access_key_id=self.oss.access_key_id,
            access_key_secret=self.oss.access_key_secret,
            signature_version=version,
            callback_url=f"{self.url}/{version}/callback",
            upload_names="original",
            allow_anonymous=True,
            ticket_secret=("a ticket secret for tests and nothing else",),
        )
        keys = PublicKeyStore({self.oss.public_key_url: self.oss.public_key_pem})
        heard = self.heard.append
        return DirectUpload(self.application, settings, prefix=f"/{version}", on_upload=heard, public_keys=keys)

    def stored(self, key: str) -> bytes:
        with urllib.request.urlopen(f"{self.oss.host}/{quote(key)}") as response:
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
