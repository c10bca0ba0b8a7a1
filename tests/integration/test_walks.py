"""How many files a reader visits to follow one request from the socket to the response: the number stays low."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import oss_wsgi
from oss_wsgi import DirectUpload, Grant, Settings, SQLiteLedger
from oss_wsgi.serving import make_server
from oss_wsgi.testing import CallbackSigner, callback_body

from ..support.example_settings import EXAMPLE

PACKAGE = Path(oss_wsgi.__file__).parent
SIGNER = CallbackSigner()
SETTINGS = Settings(**EXAMPLE, ticket_secret=("the ticket secret of these tests",), allow_anonymous=True)
SIGNATURE = "/oss/signature?filename=cat.png&content_type=image/png&size=5"


class Trace:
    """Records the package's files whose functions run, in all threads that start after it."""

    def __init__(self) -> None:
        self.files: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(PACKAGE):
            self.files.add(str(path.relative_to(PACKAGE)))


@contextlib.contextmanager
def traced_server(**options: Any) -> Iterator[tuple[Trace, socket.socket]]:
    """Serve DirectUpload on a free port with all its threads traced; yield the trace and a connection."""
    trace = Trace()
    application = DirectUpload(lambda environ, start: [], SETTINGS, public_keys=SIGNER.public_keys, **options)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.setprofile(trace)
    try:
        server = make_server(application, listener, application.is_nonblocking, threads=1)
        loop = threading.Thread(target=server.run)
        loop.start()
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]
    try:
        with socket.create_connection(listener.getsockname(), timeout=60) as connection:
            yield trace, connection
    finally:
        server.drain(0)
        loop.join(60)
    assert not loop.is_alive()


def exchange(connection: socket.socket, request: bytes) -> bytes:
    """Send a request and return the response, its body read by its length."""
    connection.sendall(request)
    response = b""
    while b"\r\n\r\n" not in response:
        response += connection.recv(65536)
    header, _, body = response.partition(b"\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 200"), response
    length = int(header.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return body


def callback_request() -> bytes:
    """Return a signed report of a new upload."""
    import webtest

    issuing = DirectUpload(lambda environ, start: [], SETTINGS, public_keys=SIGNER.public_keys)
    body = callback_body(webtest.TestApp(issuing).get(SIGNATURE).json, size=5, mime_type="image/png")
    headers = {"Host": "app.example.com", **SIGNER.headers("/oss/callback", body), "Content-Length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(["POST /oss/callback HTTP/1.1", *lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("authorize", "most"), [(None, 18), (lambda request: Grant(), 20)], ids=["in the loop", "in a thread"]
)
def test_a_signature_request_passes_few_files(authorize: Any, most: int) -> None:
    request = f"GET {SIGNATURE} HTTP/1.1\r\nHost: app.example.com\r\n\r\n".encode()
    with traced_server(authorize=authorize) as (trace, connection):
        exchange(connection, request)
        trace.files.clear()
        exchange(connection, request)
        files = set(trace.files)
    assert "endpoints/signature.py" in files
    assert len(files) <= most, sorted(files)


@pytest.mark.parametrize("on_upload", [None, lambda upload: {"id": upload.object}], ids=["in the loop", "in a thread"])
def test_a_callback_passes_at_most_12_files_of_the_application(on_upload: Any, tmp_path: Path) -> None:
    with (
        SQLiteLedger(tmp_path / "ledger.db", clock=time.time) as ledger,
        traced_server(on_upload=on_upload, ledger=ledger) as (trace, connection),
    ):
        exchange(connection, callback_request())
        second = callback_request()
        trace.files.clear()
        exchange(connection, second)
        files = {file for file in trace.files if not file.startswith("serving/")}
    assert {"middleware/callback_guard.py", "ledger/sqlite.py"} < files
    assert len(files) <= 12, sorted(files)


def test_the_trace_sees_files_that_run() -> None:
    trace = Trace()
    sys.setprofile(trace)
    try:
        SIGNER.headers("/oss/callback", b"")
    finally:
        sys.setprofile(None)
    assert "testing/callbacks.py" in trace.files
