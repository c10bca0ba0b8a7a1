"""Servers in threads of the test: a local OSS, and any WSGI application."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from local_oss import LocalOSS, LocalOSSServer


@contextmanager
def serving_oss(oss: LocalOSS, **options: Any) -> Iterator[LocalOSSServer]:
    server = LocalOSSServer(oss, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving_application(application: Any) -> Iterator[str]:
    """Serve a WSGI application while the block runs, by the standard library, and yield its URL without a path."""
    with make_server("127.0.0.1", 0, application, _Server, _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
