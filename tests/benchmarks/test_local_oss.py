"""MB/s of the local OSS beside a plain copy of the same bytes: PostObject, PUT and GET over a socket, in a process.

    LOCAL_OSS_BENCHMARK_MIB=1024 pytest tests/benchmarks/test_local_oss.py -s

Prints for each what it took, how far the server's resident memory rose, and how much was written. Small unless told,
which proves only that the benchmark still works.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from oss_wsgi.local import LocalOSS
from oss_wsgi.local.address import Address
from oss_wsgi.local.signature_check import Account
from tests.local.form_client import sign_v4, utc, v4_fields
from tests.local.sdk_signer import sign

MIB = int(os.environ.get("LOCAL_OSS_BENCHMARK_MIB", "8"))
SIZE = MIB * 1024 * 1024
CHUNK = 1024 * 1024
ID, SECRET = "benchmark", "benchmark-secret"
SERVER = f"""
import sys
from oss_wsgi.local import LocalOSS, LocalOSSServer
oss = LocalOSS(directory=sys.argv[1], access_key_id="{ID}", access_key_secret="{SECRET}")
server = LocalOSSServer(oss)
server.start()
print(server.port, flush=True)
sys.stdin.read()
server.stop()
oss.close()
"""


class Server:
    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def stop(self) -> None:
        self.process.communicate()

    def memory(self) -> int:
        """The most that was resident, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024

    def written(self) -> int:
        return int(re.findall(r"write_bytes: (\d+)", Path(f"/proc/{self.process.pid}/io").read_text())[0])


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    with path.open("wb") as file:
        for _ in range(MIB):
            file.write(os.urandom(CHUNK))
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "objects")
    yield server
    server.stop()


def measured(name: str, server: Server, work: Callable[[], None]) -> None:
    memory, written = server.memory(), server.written()
    started = time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    rate = SIZE / seconds / 1e6
    print(
        f"{name:10} {rate:7.0f} MB/s, memory {memory} -> {server.memory()} MiB,"
        f" written {(server.written() - written) / SIZE:.2f} times"
    )


def ask(server: Server, method: str, key: str, body: object = None, headers: dict[str, str] | None = None) -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, blocksize=CHUNK, timeout=600)) as connection:
        connection.request(method, f"/examplebucket{key}", body, headers or {})  # type: ignore[arg-type]
        response = connection.getresponse()
        digest = hashlib.md5(usedforsecurity=False)
        while chunk := response.read(CHUNK):
            if method == "GET" and MIB <= 8:
                digest.update(chunk)
        assert response.status in (200, 204)
        return digest.digest()


def put(server: Server, content: Path) -> None:
    account = Account(ID, SECRET)
    address = Address("examplebucket", "put")
    signed = sign("v1", "PUT", address=address, query="", headers={}, account=account, now=time.time())
    headers = {name[5:].replace("_", "-"): value for name, value in signed.items() if name.startswith("HTTP_")}
    headers.pop("HOST", None)
    with content.open("rb") as file:
        ask(server, "PUT", "/put", file, {**headers, "Content-Length": str(SIZE)})


def post(server: Server, content: Path) -> None:
    boundary = "benchmark"
    oss = LocalOSS(access_key_id=ID, access_key_secret=SECRET, key_bits=512)
    now = time.time()
    fields = {"key": "post", **sign_v4(oss, fields=v4_fields(oss, now=now), expiration=now + 600)}
    oss.close()
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    before, after = ("".join(parts) + head).encode(), f"\r\n--{boundary}--\r\n".encode()

    def body() -> Iterator[bytes]:
        yield before
        with content.open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
        yield after

    length = len(before) + SIZE + len(after)
    kind = f"multipart/form-data; boundary={boundary}"
    ask(server, "POST", "", body(), {"Content-Type": kind, "Content-Length": str(length)})


def plain_copy(content: Path) -> None:
    target = content.with_suffix(".copy")
    with content.open("rb") as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)
        file.flush()
        os.fsync(file.fileno())


def test_uploads_and_downloads_stream(server: Server, content: Path) -> None:
    print(f"\n{MIB} MiB, {utc(time.time())}")
    measured("copy", server, lambda: plain_copy(content))
    measured("PUT", server, lambda: put(server, content))
    measured("PostObject", server, lambda: post(server, content))
    digests: list[bytes] = []
    measured("GET", server, lambda: digests.append(ask(server, "GET", "/put")))
    if MIB <= 8:
        assert digests == [hashlib.md5(content.read_bytes(), usedforsecurity=False).digest()]
