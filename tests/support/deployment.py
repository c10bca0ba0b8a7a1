"""Runs a deployment on loopback: the local OSS on one port, the application on another."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from oss_wsgi import DirectUpload, Settings
from oss_wsgi.local import CORSRule, LocalOSS, LocalOSSServer
from oss_wsgi.testing.local_oss import environ_for

ORIGIN = "https://app.example.com"


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def not_found(environ: Any, start_response: Any) -> list[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


@dataclass
class Deployment:
    """A running deployment; the commands get the same ``environ`` as the application."""

    oss: LocalOSS
    url: str
    environ: dict[str, str]

    @property
    def signature(self) -> str:
        return f"{self.url}/oss/signature"


@contextlib.contextmanager
def deployed(
    folder: Path,
    *,
    front: Callable[[Any], Any] = lambda app: app,
    oss: dict[str, Any] | None = None,
    settings: dict[str, str] | None = None,
    app: dict[str, Any] | None = None,
    view: Any = not_found,
) -> Iterator[Deployment]:
    """Run a deployment; ``front`` is a WSGI middleware in the place of a web server."""
    with contextlib.ExitStack() as stack:
        options = {"cors_rules": [CORSRule([ORIGIN, "http://127.0.0.1:*"])], **(oss or {})}
        local = stack.enter_context(LocalOSS(directory=folder / "objects", **options))
        server = LocalOSSServer(local)
        server.start()
        stack.callback(server.stop)
        site = stack.enter_context(make_server("127.0.0.1", 0, not_found, WSGIServer, QuietHandler))
        url = f"http://127.0.0.1:{site.server_port}"
        environ = environ_for(local, folder, url=url)
        environ |= {"OSS_ALLOW_ANONYMOUS": "on", "OSS_ALLOWED_ORIGINS": ORIGIN}
        environ |= {"OSS_LEDGER": str(folder / "ledger.sqlite3"), **(settings or {})}
        site.set_app(front(DirectUpload(view, Settings.from_environ(environ), **(app or {}))))
        thread = threading.Thread(target=site.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(site.shutdown)
        yield Deployment(local, url, environ)
