"""The local OSS beside a plain copy of the same bytes, in MB/s: PostObject, PUT and GET over a socket, in a process.

    LOCAL_OSS_BENCHMARK_MIB=1024 pytest tests/benchmarks/test_local_oss.py -s

Prints for each the time, the CPU-seconds of the server beside those of MD5 alone over the same bytes, how far its
resident memory rose, and how much it wrote; also for eight forms at once, which share the bytes. A copy before each
leaves memory that was in use: on a virtual machine, writing a GiB into new memory costs the kernel 2 s more. Without
the variable it is small, which proves only that the benchmark still works.
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
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from oss_wsgi.local import LocalOSS
from oss_wsgi.local.environ import Address
from oss_wsgi.local.signatures.account import Account
from tests.local.form_client import sign_v4, utc, v4_fields
from tests.local.sdk_signer import sign

MIB = int(os.environ.get("LOCAL_OSS_BENCHMARK_MIB", "8"))
SIZE = MIB * 1024 * 1024
CHUNK = 1024 * 1024
AT_ONCE = 8
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
        """The peak of resident memory, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1024

    def cpu(self) -> float:
        """Seconds, in user mode and in the system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


def measured(
    name: str,
    server: Server,
    work: Callable[[], None],
    *,
    cpu: Callable[[], float] | None = None,
    hashes: bool = False,
) -> None:
    """:param cpu: returns the CPU-seconds of the process that works; :param hashes: print its MD5 separately."""
    cpu = cpu or server.cpu
    memory, written, spent = server.memory(), server.written(), cpu()
    started = time.perf_counter()
    work()
    rate, spent = SIZE / (time.perf_counter() - started) / 1e6, cpu() - spent
    md5 = md5_seconds() if hashes else 0.0
    print(
        f"{name:14} {rate:5.0f} MB/s, CPU {spent - md5:5.2f} s{f' beside MD5 ({md5:.2f} s)' if md5 else '':21}"
        f" memory {memory} -> {server.memory()} MiB, written {(server.written() - written) / SIZE:.2f} times"
    )


def md5_seconds() -> float:
    digest, chunk = hashlib.md5(usedforsecurity=False), os.urandom(CHUNK)
    started = time.process_time()
    for _ in range(MIB):
        digest.update(chunk)
    return time.process_time() - started


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


def signed_headers(method: str) -> dict[str, str]:
    account = Account(ID, SECRET)
    address = Address("examplebucket", "put")
    signed = sign("v1", method, address=address, query="", headers={}, account=account, now=time.time())
    headers = {name[5:].replace("_", "-"): value for name, value in signed.items() if name.startswith("HTTP_")}
    headers.pop("HOST", None)
    return headers


def put(server: Server, content: Path) -> None:
    with content.open("rb") as file:
        ask(server, "PUT", "/put", file, {**signed_headers("PUT"), "Content-Length": str(SIZE)})


def post(server: Server, content: Path, key: str = "post", size: int = SIZE) -> None:
    """Post a form with the first `size` bytes of `content`."""
    boundary = "benchmark"
    oss = LocalOSS(access_key_id=ID, access_key_secret=SECRET, key_bits=512)
    now = time.time()
    fields = {"key": key, **sign_v4(oss, fields=v4_fields(oss, now=now), expiration=now + 600)}
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
            for start in range(0, size, CHUNK):
                yield file.read(min(CHUNK, size - start))
        yield after

    length = len(before) + size + len(after)
    kind = f"multipart/form-data; boundary={boundary}"
    ask(server, "POST", "", body(), {"Content-Type": kind, "Content-Length": str(length)})


def post_at_once(server: Server, content: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as clients:
        done = [clients.submit(post, server, content, f"post-{i}", SIZE // AT_ONCE) for i in range(AT_ONCE)]
    for each in done:
        each.result()


def plain_copy(content: Path) -> None:
    target = content.with_suffix(".copy")
    with content.open("rb") as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, CHUNK)
        file.flush()
        os.fsync(file.fileno())
    target.unlink()


def test_uploads_and_downloads_stream(server: Server, content: Path) -> None:
    print(f"\n{MIB} MiB, {utc(time.time())}")
    measured("copy", server, lambda: plain_copy(content), cpu=time.process_time)
    uploads = {"PUT": put, "PostObject": post, f"{AT_ONCE} PostObjects": post_at_once}
    for name, upload in uploads.items():
        plain_copy(content)
        measured(name, server, lambda upload=upload: upload(server, content), hashes=True)  # type: ignore[misc]
    digests: list[bytes] = []
    measured("GET", server, lambda: digests.append(ask(server, "GET", "/put", headers=signed_headers("GET"))))
    if MIB <= 8:
        assert digests == [hashlib.md5(content.read_bytes(), usedforsecurity=False).digest()]
