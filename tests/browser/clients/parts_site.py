"""A site whose uploads go in parts, and a local OSS that fails, expires or delays parts as a test says."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_oss import CORSRule, LocalOSS, LocalOSSServer
from oss_wsgi import DirectUpload, PublicKeyStore, Settings, Upload
from oss_wsgi.endpoints.static import StaticSite
from oss_wsgi.serving import make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

MEGABYTE = 1024 * 1024


class WatchedOSS(LocalOSS):
    """A local OSS that fails, expires or delays parts by their number, as the test says."""

    def __init__(self, **options: Any) -> None:
        self.skew = threading.local()
        super().__init__(clock=lambda: time.time() + getattr(self.skew, "seconds", 0), test_mode=True, **options)
        self.sent: list[str] = []
        self.failing: dict[str, int] = {}
        self.outdated: dict[str, int] = {}
        self.held: set[str] = set()
        self.arrived = threading.Event()
        self.release = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match = re.search(r"partNumber=([0-9]+)", environ.get("QUERY_STRING", ""))
        self.skew.seconds = 0
        if environ["REQUEST_METHOD"] == "PUT" and match is not None:
            number = match[1]
            self.sent.append(number)
            if self.failing.get(number):
                self.failing[number] -= 1
                environ["HTTP_X_OSS_LOCAL_FAULT"] = "slow_down"
            if self.outdated.get(number):
                self.outdated[number] -= 1
                self.skew.seconds = 7200
            if number in self.held:
                self.held.discard(number)
                self.arrived.set()
                self.release.wait(60)
        return super().__call__(environ, start_response)


class PartsSite:
    """The pages, the application, its bucket, and a way to delay requests that complete an upload."""

    def __init__(self, url: str, oss: WatchedOSS, pages: Path, security_token: str | None) -> None:
        self.url = url
        self.oss = oss
        self.uploads: list[Upload] = []
        self.requests: list[str] = []
        self.answer: dict[str, Any] = {}
        self.hold_completes = 0
        self.lose_completes = 0
        self.completes = threading.Semaphore(0)
        self.release = threading.Event()
        policy = f"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; connect-src 'self' blob: {oss.url}"
        settings = Settings(
            bucket=oss.bucket,
            region=oss.region,
            host=oss.host,
            access_key_id=oss.access_key_id,
            access_key_secret=oss.access_key_secret,
            session_token=security_token,
            callback_url=f"{url}/oss/callback",
            allow_anonymous=True,
            multipart=True,
            ticket_secret=("a ticket secret for tests and nothing else",),
        )
        keys = PublicKeyStore({oss.public_key_url: oss.public_key_pem})
        pages_site = StaticSite(pages, content_security_policy=policy)
        self.direct_upload = DirectUpload(pages_site, settings, on_upload=self.save, public_keys=keys)

    def save(self, upload: Upload) -> dict[str, Any]:
        self.uploads.append(upload)
        return {"number": len(self.uploads), **self.answer}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/oss/s3/"):
            step = re.sub(r"multipart/[^/]+", "multipart/ID", path.removeprefix("/oss/s3/"))
            self.requests.append(f"{environ['REQUEST_METHOD']} {step}")
        if not path.endswith("/complete"):
            return self.direct_upload(environ, start_response)
        if self.hold_completes:
            self.hold_completes -= 1
            self.completes.release()
            assert self.release.wait(60)
        body = self.direct_upload(environ, start_response)
        if self.lose_completes:
            self.lose_completes -= 1
            self.completes.release()
            assert self.release.wait(60)
        return body

    @property
    def bucket(self) -> Any:
        return self.oss.storage.bucket(self.oss.bucket)

    @property
    def objects(self) -> list[Any]:
        return sorted(self.bucket.page()[0], key=lambda stored: stored.last_modified, reverse=True)

    @property
    def unfinished(self) -> int:
        return len(self.bucket.uploads())

    def content(self) -> bytes:
        (stored,) = self.objects
        opened = self.bucket.open(stored.key)
        with opened[1] as file:
            content: bytes = file.read()
        return content


@contextlib.contextmanager
def serving_parts(pages: Path, folder: Path, *, security_token: str | None = None) -> Iterator[PartsSite]:
    """Run the site and its OSS, which keeps what it stores in a folder; with a token, both use a temporary key."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        rule = CORSRule([url], allowed_methods=("GET", "HEAD", "POST", "PUT"))
        oss = stack.enter_context(
            WatchedOSS(directory=folder, key_bits=1024, cors_rules=[rule], security_token=security_token)
        )
        storage = LocalOSSServer(oss)
        storage.start()
        stack.callback(storage.stop)
        site = PartsSite(url, oss, pages, security_token)
        server = make_server(site, [listener], max_request_body_size=MEGABYTE, threads=8)
        thread = threading.Thread(target=server.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.drain, 0)
        stack.callback(site.release.set)
        stack.callback(oss.release.set)
        yield site
