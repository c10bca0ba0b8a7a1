"""oss_wsgi.asgi under uvicorn and hypercorn, mounted in Starlette or FastAPI, or served by itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.testing import CallbackSigner, callback_body

from ..support.callbacks import without_signed_id
from ..support.ports import free_port
from ..support.running_server import clean_environ
from ..support.waiting import wait_until
from .client import send

ROOT = Path(__file__).parents[2]

APP = """
import asyncio, os
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount
from oss_wsgi import Grant, Settings
from oss_wsgi.asgi import DirectUpload

saved = []

async def allow(request):
    await asyncio.sleep(float(request.params.get("seconds", "0")))
    return Grant(user=request.environ["asgi.scope"]["client"][0])

async def save(upload):
    await asyncio.sleep(0.05)
    saved.append(upload.object)
    return {"name": upload.object, "count": saved.count(upload.object)}

uploads = DirectUpload(
    Settings.from_environ(os.environ), authorize=allow, on_upload=save, prefix=os.environ.get("PREFIX", ""),
    time_limit=60.0,
)
fastapi = FastAPI()
fastapi.mount("/oss", uploads)
proxied = FastAPI(root_path="/api")
proxied.mount("/oss", uploads)

async def tag(request, call_next):
    response = await call_next(request)
    response.headers["X-Tag"] = "tagged"
    return response

starlette = Starlette(
    routes=[Mount("/a", routes=[Mount("/oss", uploads)])],
    middleware=[Middleware(GZipMiddleware), Middleware(BaseHTTPMiddleware, dispatch=tag)],
)
"""


@dataclass(frozen=True)
class Way:
    """How an application is served: the command, where it listens for us, and what OSS signs."""

    command: tuple[str, ...]
    path: str
    public: str
    prefix: str = ""


UVICORN = ("uvicorn", "--log-level", "warning", "--port", "{port}")
HYPERCORN = ("hypercorn", "--bind", "127.0.0.1:{port}")
WAYS = {
    "FastAPI": Way((*UVICORN, "app:fastapi"), "/oss", "/oss"),
    "Starlette below middleware": Way((*UVICORN, "app:starlette"), "/a/oss", "/a/oss"),
    "by itself": Way((*UVICORN, "app:uploads"), "", ""),
    "by itself with a prefix": Way((*UVICORN, "app:uploads"), "/files", "/files", "/files"),
    "uvicorn --root-path": Way((*UVICORN, "--root-path", "/api", "app:fastapi"), "/oss", "/api/oss"),
    "FastAPI(root_path=)": Way((*UVICORN, "app:proxied"), "/oss", "/api/oss"),
    "h11": Way((*UVICORN, "--http", "h11", "app:fastapi"), "/oss", "/oss"),
    "hypercorn": Way((*HYPERCORN, "app:fastapi"), "/oss", "/oss"),
    "hypercorn --root-path": Way((*HYPERCORN, "--root-path", "/api", "app:fastapi"), "/oss", "/api/oss"),
}


@dataclass
class Served:
    process: subprocess.Popen[bytes]
    port: int
    way: Way
    signer: CallbackSigner
    log: Path

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{self.way.path}{path}", timeout=60) as response:
            return json.load(response)

    def report(self, form: Any) -> tuple[int, Any]:
        """Send OSS's report, signed for the public path, as a proxy passes it on."""
        body = callback_body(form, size=6)
        headers = self.signer.headers(f"{self.way.public}/callback", body)
        return send(self.port, f"{self.way.path}/callback", body, headers)

    def stop(self, path: str, length: int) -> socket.socket:
        """Send a body but for its last byte, and stop; return the connection."""
        client = socket.create_connection(("127.0.0.1", self.port), 60)
        head = f"POST {self.way.path}{path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        with contextlib.suppress(ConnectionError):  # a server may close after it has answered
            client.sendall(head.encode() + bytes(length - 1))
        return client

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(self.get("/health"))
        except OSError:
            return False


@pytest.fixture
def serve(tmp_path: Path, signer: CallbackSigner, require: Callable[..., None]) -> Iterator[Callable[[str], Served]]:
    require("module uvicorn", "module hypercorn", "module fastapi", "module a2wsgi")
    started: list[Served] = []

    def start(name: str) -> Served:
        way = WAYS[name]
        (tmp_path / "app.py").write_text(APP)
        (tmp_path / "key.pem").write_text(signer.pem)
        environ = clean_environ(
            PYTHONPATH=f"{ROOT}{os.pathsep}{tmp_path}",
            PREFIX=way.prefix,
            OSS_BUCKET="examplebucket",
            OSS_REGION="cn-hangzhou",
            OSS_ACCESS_KEY_ID="id",
            OSS_ACCESS_KEY_SECRET="secret",
            OSS_CALLBACK_URL=f"https://app.example.com{way.public}/callback",
            OSS_TRUSTED_KEYS=f"{signer.url}={tmp_path / 'key.pem'}",
            OSS_MULTIPART="on",
            OSS_RECOVER="on",
        )
        port = free_port()
        log = tmp_path / "log"
        command = [sys.executable, "-m", *[part.format(port=port) for part in way.command]]
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=file, stderr=file)
        served = Served(process, port, way, signer, log)
        started.append(served)
        wait_until(served.is_up, log.read_text)
        return served

    yield start
    for served in started:
        served.process.terminate()
        served.process.wait(60)


@pytest.mark.parametrize("name", WAYS)
def test_a_form_is_signed_and_its_report_handled_once(serve: Callable[[str], Served], name: str) -> None:
    served = serve(name)
    form = served.get("/signature?filename=a.png")
    for _ in range(2):
        status, answer = served.report(form)
        assert status == 200
        assert without_signed_id(answer) == {"Status": "Ok", "name": form["fields"]["key"], "count": 1}
    assert send(served.port, f"{served.way.path}/callback", b"x=1", {})[0] == 403
    assert send(served.port, f"{served.way.path}/signature", b"", {})[0] == 405
    with pytest.raises(urllib.error.HTTPError, match="404"):
        served.get("/elsewhere")


@pytest.mark.parametrize("name", ["FastAPI", "h11"])
def test_a_body_that_is_too_long_is_refused_and_never_kept(serve: Callable[[str], Served], name: str) -> None:
    served = serve(name)
    status = Path(f"/proc/{served.process.pid}/status")

    def resident() -> int:
        return int(status.read_text().partition("VmHWM:")[2].split()[0])

    before = resident()
    assert send(served.port, f"{served.way.path}/callback", bytes(100 * 1024 * 1024), {})[0] == 413
    assert resident() - before < 20 * 1024


@pytest.mark.parametrize("name", ["FastAPI", "h11", "hypercorn"])
def test_strangers_who_stop_sending_hold_no_memory(serve: Callable[[str], Served], name: str) -> None:
    """What a server itself keeps of each connection, up to 160 KiB, is the same in front of any application."""
    served = serve(name)
    status = Path(f"/proc/{served.process.pid}/status")

    def resident() -> int:
        return int(status.read_text().partition("VmRSS:")[2].split()[0])

    before = resident()
    with ExitStack() as strangers:
        clients = [strangers.enter_context(served.stop("/s3/multipart/x/complete?key=a", 1 << 20)) for _ in range(150)]
        for client in clients:
            assert client.recv(4096).startswith(b"HTTP/1.1 403 ")
        assert resident() - before < 60 * 1024
    with ExitStack() as strangers:
        clients = [strangers.enter_context(served.stop("/s3/multipart", 1 << 16)) for _ in range(850)]
        answered, _, _ = select.select(clients, [], [], 60)
        answer = answered[0].recv(4096)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer.lower()
        form = served.get("/signature?filename=a.png")
        status, answer = served.report(form)
        assert (status, without_signed_id(answer)) == (200, {"Status": "Ok", "name": form["fields"]["key"], "count": 1})
