"""A large object in parts through the local OSS: MB/s, CPU, and how far the server's memory rises, over a socket.

    LOCAL_OSS_PARTS_MIB=10240 pytest tests/benchmarks/test_local_oss_parts.py -s

Three parts of 16 MiB at once, as our clients send them, then CompleteMultipartUpload, and a read of the end. 10 GiB
need 20 GiB of disk until the upload is completed, and 10 GiB after. Without the variable it is small, and proves that
memory is flat.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from local_oss.environ import Address
from local_oss.signatures.account import Account
from tests.local_oss.sdk_signer import signed_headers

MIB = int(os.environ.get("LOCAL_OSS_PARTS_MIB", "256"))
PART_SIZE = 16 * 1024 * 1024
COUNT = -(-MIB * 1024 * 1024 // PART_SIZE)
AT_ONCE = 3
#: MiB that the server may need for all of it, whatever the size.
ROOM = 48


ID, SECRET = "benchmark", "benchmark-secret"
SERVER = f"""
import sys
from local_oss import LocalOSS, LocalOSSServer
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


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "objects")
    yield server
    server.stop()


def ask(
    server: Server, method: str, query: str = "", body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPMessage, bytes]:
    address, account = Address("examplebucket", "large"), Account(ID, SECRET)
    options = {"address": address, "query": query, "headers": headers, "account": account, "now": time.time()}
    names = signed_headers("v1", method, **options)
    target = http.client.HTTPConnection("127.0.0.1", server.port, blocksize=1024 * 1024, timeout=600)
    with closing(target) as connection:
        connection.request(method, f"/examplebucket/large{'?' if query else ''}{query}", body, names)
        response = connection.getresponse()
        content = response.read()
        assert response.status in (200, 206), content
        return response.headers, content


def test_memory_does_not_grow_with_the_object(server: Server) -> None:
    part = os.urandom(PART_SIZE)
    upload_id = ElementTree.fromstring(ask(server, "POST", "uploads")[1]).findtext("UploadId")
    before, spent, started = server.memory(), server.cpu(), time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as clients:
        numbers = range(1, COUNT + 1)
        list(clients.map(lambda n: ask(server, "PUT", f"partNumber={n}&uploadId={upload_id}", part), numbers))
    sent, memory, cpu = time.perf_counter() - started, server.memory(), server.cpu() - spent
    completing = time.perf_counter()
    ask(server, "POST", f"uploadId={upload_id}", headers={"x-oss-complete-all": "yes"})
    completed = time.perf_counter() - completing
    print(
        f"\n{MIB} MiB in {COUNT} parts: {COUNT * PART_SIZE / sent / 1e6:.0f} MB/s, CPU {cpu:.1f} s; complete "
        f"{completed:.1f} s; memory {before} -> {memory} MiB with the parts, {server.memory()} MiB in the end"
    )
    headers, end = ask(server, "GET", headers={"range": "bytes=-1024"})
    assert headers["Content-Range"] == f"bytes {COUNT * PART_SIZE - 1024}-{COUNT * PART_SIZE - 1}/{COUNT * PART_SIZE}"
    assert end == part[-1024:]
    assert server.memory() - before < ROOM
