"""Measures callbacks beside browsers' requests that would wait: for a lost upload, a slow handler or a silent OSS.

``slow_clients`` runs these kinds, each with 8, 32 and 128 connections that ask again as soon as they are answered:

gone    completes an upload that was aborted
handler completes one upload whose handler takes 8 s
silent  asks for a lost report, while OSS does not answer
sign    asks for a form, params for an upload of Uppy, and limits for what may be uploaded; authorize takes 5 s
view    asks the application's own page, which takes 5 s
key     sends forged reports whose key must be fetched, from a host that does not answer for 5 s

Run as a module it is the server of ``measure``: our own with 8 threads, and a bucket in its memory. The attackers have
8 addresses, so that only the sum of the slots bounds them.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import webob

from oss_wsgi import DirectUpload, Grant, PublicKeyStore, Settings, Upload
from oss_wsgi.bucket import StoredObject, StoredPart
from oss_wsgi.exceptions import BucketUnreachableError, FetchError, NotStoredError
from oss_wsgi.serving import make_server

from ..support.running_server import clean_environ, serving
from .callbacks import Reporter

# Requests that need no preparation; those with a cookie meet an application that is slow.
_SLOW_PATHS = {
    "sign": "/oss/signature",
    "params": "/oss/s3/params?filename=a.png&type=image/png",
    "limits": "/oss/limits",
    "view": "/",
}
KINDS = ("gone", "handler", "silent", *_SLOW_PATHS, "key")
CONNECTIONS = (8, 32, 128)
IN_TIME = 1.0

_ADDRESSES = 8
_HANDLER_SECONDS = 8.0
_SILENT_SECONDS = 20.0
_SLOW_SECONDS = 5.0
_SLOW = "slow=1"
_NEWER_KEY = base64.b64encode(b"https://gosspublic.alicdn.com/callback_pub_key_v2.pem").decode()
_GIVE_UP_SECONDS = 30.0


class MemoryBucket:
    """A bucket of uploads in parts; each has one part of 5 bytes. It is silent about objects of forms."""

    def __init__(self) -> None:
        self._receipts: dict[str, Mapping[str, str]] = {}
        self._begun: set[str] = set()
        self._stored: dict[str, StoredObject] = {}

    def begin(self, key: str, headers: Mapping[str, str]) -> str:
        names = {name.lower(): value for name, value in headers.items()}
        self._receipts[key] = {
            name.removeprefix("x-oss-meta-"): text for name, text in names.items() if name.startswith("x-oss-meta-")
        }
        self._begun.add(key)
        return "1"

    def list_parts(self, key: str, upload_id: str) -> Sequence[StoredPart]:
        if key not in self._begun:
            raise NotStoredError("not_stored", "NoSuchUpload")
        return [StoredPart(1, 5, "5D41402ABC4B2A76B9719D911017C592")]

    def complete(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], headers: Mapping[str, str]
    ) -> StoredObject:
        self.list_parts(key, upload_id)
        self._begun.discard(key)
        self._stored[key] = stored = StoredObject(
            key, 5, "ABC-1", time.time(), "image/png", metadata=self._receipts[key]
        )
        return stored

    def abort(self, key: str, upload_id: str) -> None:
        self._begun.discard(key)

    def head(self, key: str) -> StoredObject | None:
        if key not in self._receipts:
            time.sleep(_SILENT_SECONDS)
            raise BucketUnreachableError("bucket_unreachable", "OSS does not answer")
        return self._stored.get(key)

    def list(self, prefix: str, start_after: str, limit: int) -> Sequence[Any]:
        return ()


def serve() -> None:
    """Serve on a free port of loopback until SIGTERM."""

    def save(upload: Upload) -> None:
        if upload.operation == "CompleteMultipartUpload":
            time.sleep(_HANDLER_SECONDS)

    def authorize(request: webob.Request) -> Grant:
        if request.headers.get("Cookie") == _SLOW:
            time.sleep(_SLOW_SECONDS)
        return Grant()

    def legacy(environ: Any, start_response: Any) -> Iterable[bytes]:
        time.sleep(_SLOW_SECONDS)
        start_response("404 Not Found", [("Content-Length", "0")])
        return []

    def fetch(url: str) -> bytes:
        time.sleep(_SLOW_SECONDS)
        raise FetchError("no answer")

    settings = Settings.from_environ(os.environ)
    application = DirectUpload(
        legacy,
        settings,
        authorize=authorize,
        on_upload=save,
        bucket_client=MemoryBucket(),  # type: ignore[arg-type]
        public_keys=PublicKeyStore(
            {url: Path(file).read_text() for url, file in settings.trusted_keys}, fetcher=fetch, clock=time.monotonic
        ),
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"Serving http://127.0.0.1:{listener.getsockname()[1]}/ ", flush=True)
    server = make_server(application, listener, application.is_nonblocking, threads=8)
    signal.signal(signal.SIGTERM, lambda number, frame: server.drain(0.5))
    server.run()


@dataclass(frozen=True)
class Outcome:
    """How honest callbacks fared beside an attack (status and seconds), and how the attackers were answered."""

    kind: str
    connections: int
    callbacks: list[tuple[int, float]]
    answers: Counter[int]

    def faults(self) -> list[str]:
        late = sum(status != 200 or took > IN_TIME for status, took in self.callbacks)
        what = f"{self.kind}, {self.connections} connections"
        return [f"{what}: {late} of {len(self.callbacks)} callbacks were not answered within a second."] if late else []

    def line(self) -> str:
        times = sorted(took for _, took in self.callbacks)
        answers = ", ".join(f"{status or 'none'}: {count}" for status, count in sorted(self.answers.items()))
        good = sum(status == 200 for status, _ in self.callbacks)
        middle, longest = times[len(times) // 2] * 1000, times[-1] * 1000
        return f"{self.kind:10}{self.connections:5}{good:6}/{len(times)}{middle:9.1f}{longest:9.1f}   {answers}"


def measure(kind: str, connections: int, seconds: float) -> Outcome:
    """Start the server, attack it, and meanwhile send an honest callback each second."""
    reporter = Reporter()
    with tempfile.TemporaryDirectory() as folder:
        environ = clean_environ(**reporter.environ(Path(folder)), OSS_MULTIPART="on", OSS_RECOVER="on")
        command = [sys.executable, "-m", __name__]
        with serving(command, environ) as server:
            port = urlsplit(server.url).port or 0
            requests = [report.request(closed=True) for report in reporter.reports(max(1, round(seconds)))]
            stop = threading.Event()
            answers: Counter[int] = Counter()
            attack = threading.Thread(target=lambda: asyncio.run(_attack(port, kind, connections, stop, answers)))
            attack.start()
            time.sleep(1)  # until the attack is under way
            callbacks = [_callback(port, request) for request in requests]
            stop.set()
            attack.join()
    return Outcome(kind, connections, callbacks, answers)


def _callback(port: int, request: bytes) -> tuple[int, float]:
    time.sleep(1)
    start = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_GIVE_UP_SECONDS) as client:
            client.sendall(request)
            answer = client.recv(65536)
        status = int(answer[9:12])
    except (OSError, ValueError):
        status = 0
    return status, time.monotonic() - start


async def _attack(port: int, kind: str, connections: int, stop: threading.Event, answers: Counter[int]) -> None:
    ask = await _request_of(port, kind)

    async def one(number: int) -> None:
        while not stop.is_set():
            with suppress(OSError, ValueError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", port, local_addr=(f"127.0.0.{2 + number % _ADDRESSES}", 0)
                )
                try:
                    while not stop.is_set():
                        writer.write(ask)
                        answers[(await _answer(reader))[0]] += 1
                finally:
                    writer.close()

    tasks = [asyncio.create_task(one(number)) for number in range(connections)]
    while not stop.is_set():
        await asyncio.sleep(0.1)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _request_of(port: int, kind: str) -> bytes:
    """Make what the attack needs, and return the request that it repeats."""
    if kind in _SLOW_PATHS:
        return _raw("GET", _SLOW_PATHS[kind], cookie=_SLOW)
    if kind == "key":
        return _raw("POST", "/oss/callback", {}, x_oss_pub_key_url=_NEWER_KEY, authorization="AAAA")
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def call(method: str, path: str, body: Any = None) -> Any:
        writer.write(_raw(method, path, body))
        status, text = await _answer(reader)
        assert status == 200, (status, text)
        return json.loads(text)

    try:
        if kind == "silent":
            form = await call("GET", "/oss/signature?filename=a.png&content_type=image/png")
            proof = {"ticket": form["fields"]["callback"], "object": form["fields"]["key"]}
            return _raw("POST", "/oss/recover", proof)
        begun = await call("POST", "/oss/s3/multipart", {"filename": "a.png", "type": "image/png"})
        place = f"/oss/s3/multipart/{begun['uploadId']}"
        query = f"?key={quote(begun['key'], safe='')}"
        if kind == "gone":
            await call("DELETE", place + query)
        part = {"PartNumber": 1, "ETag": "5D41402ABC4B2A76B9719D911017C592"}
        return _raw("POST", f"{place}/complete{query}", {"parts": [part]})
    finally:
        writer.close()


def _raw(method: str, path: str, body: Any = None, **headers: str) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "Host: app.example.com", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "", "")).encode() + content


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))[15:])
    return int(head[9:12]), await reader.readexactly(length)


def report(outcomes: Iterable[Outcome]) -> None:
    print(f"{'':10}{'conn.':>5}{'200':>9}{'p50 ms':>9}{'most':>9}   the attackers were answered")
    for outcome in outcomes:
        print(outcome.line())


if __name__ == "__main__":
    serve()
