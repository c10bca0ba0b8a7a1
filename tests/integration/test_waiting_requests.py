"""Requests of browsers that wait take half of a server's threads at most: OSS's callbacks are answered beside them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from oss_wsgi import DirectUpload, Settings, Upload
from oss_wsgi.exceptions import NotStoredError
from oss_wsgi.wsgi.responses import Again

from ..benchmarks.callbacks import Reporter
from ..benchmarks.waiting_requests import MemoryBucket, measure
from ..support.server_thread import connect, running

pytestmark = pytest.mark.slow

THREADS = 4


class Waiting(MemoryBucket):
    """A bucket that does not answer, and a handler of files in parts that does not return, until the test ends."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = threading.Semaphore(0)
        self.release = threading.Event()
        self.is_silent = False

    def wait(self) -> None:
        self.waiting.release()
        assert self.release.wait(60)

    def list_parts(self, key: str, upload_id: str) -> Any:
        if self.is_silent:
            self.wait()
            raise NotStoredError("not_stored", "NoSuchUpload")
        return super().list_parts(key, upload_id)

    def head(self, key: str) -> None:
        if self.is_silent:
            self.wait()

    def handle(self, upload: Upload) -> None:
        if upload.operation == "CompleteMultipartUpload":
            self.wait()


def ask(server: Any, method: str, path: str, body: Any = None) -> tuple[int, dict[str, str], Any]:
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    return answer_of(server, head.encode() + content)


def answer_of(server: Any, request: bytes) -> tuple[int, dict[str, str], Any]:
    with connect(server) as client:
        client.sendall(request)
        data = b""
        while piece := client.recv(65536):
            data += piece
    head, _, text = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, json.loads(text) if text else None


@pytest.fixture
def bucket() -> Waiting:
    return Waiting()


@pytest.fixture
def reporter() -> Reporter:
    return Reporter()


@pytest.fixture
def server(bucket: Waiting, reporter: Reporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run a server in which each client has its own address, and which tries nothing again, so that refusals show."""
    settings = Settings.from_environ({**reporter.environ(tmp_path), "OSS_MULTIPART": "on", "OSS_RECOVER": "on"})
    application = DirectUpload(
        lambda environ, start_response: [],
        settings,
        on_upload=bucket.handle,  # type: ignore[arg-type]
        bucket_client=bucket,  # type: ignore[arg-type]
    )

    def one_of_many(environ: Any, start_response: Any) -> Any:
        return application({**environ, "REMOTE_ADDR": environ["REMOTE_PORT"]}, start_response)

    monkeypatch.setattr(Again, "is_offered", property(lambda again: False, lambda again, value: None), raising=False)
    with running(one_of_many, in_loop=False, threads=THREADS) as server:
        try:
            yield server
        finally:
            bucket.release.set()


def requests_of(server: Any, bucket: Waiting, step: str) -> Callable[[], tuple[int, dict[str, str], Any]]:
    """Return a function that sends a request of a kind, each for its own upload; OSS is silent from now on."""
    begun = [ask(server, "POST", "/oss/s3/multipart", {"filename": "a", "type": "image/png"})[2] for _ in range(8)]
    signature = "/oss/signature?filename=a.png&content_type=image/png"
    forms = [ask(server, "GET", signature)[2]["fields"] for _ in range(8)]
    bucket.is_silent = step != "handler"
    parts = {"parts": [{"PartNumber": 1, "ETag": "5D41402ABC4B2A76B9719D911017C592"}]}

    def send() -> tuple[int, dict[str, str], Any]:
        upload, form = begun.pop(), forms.pop()
        place, query = f"/oss/s3/multipart/{upload['uploadId']}", f"?key={quote(upload['key'], safe='')}"
        if step == "recover":
            return ask(server, "POST", "/oss/recover", {"ticket": form["callback"], "object": form["key"]})
        if step == "handler":
            return ask(server, "POST", f"{place}/complete{query}", parts)
        return ask(server, "GET", place + query)

    return send


@pytest.mark.parametrize("step", ["list", "recover", "handler"])
def test_a_callback_is_answered_while_browsers_requests_wait(
    server: Any, bucket: Waiting, reporter: Reporter, step: str
) -> None:
    send = requests_of(server, bucket, step)
    threads = [threading.Thread(target=send) for _ in range(THREADS // 2)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert bucket.waiting.acquire(timeout=60)
    for _ in range(3):
        status, headers, _ = send()
        assert (status, headers["Retry-After"]) == (503, "1")
        assert answer_of(server, reporter.report().request(closed=True))[0] == 200
    bucket.release.set()
    for thread in threads:
        thread.join(60)
    assert send()[0] != 503


def test_callbacks_beside_an_attack_are_all_answered() -> None:
    outcome = measure("silent", 8, 2)
    assert [status for status, _ in outcome.callbacks] == [200, 200]
