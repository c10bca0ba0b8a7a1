"""Servers side by side over HTTP, in turn (A B C, A B C), with `wrk`: ours and small peers of our own writing.

    python -m tests.benchmarks.servers                    signatures, callbacks, a wrapped legacy application
    python -m tests.benchmarks.servers --hosting          `server:application` under other servers, one process each
    python -m tests.benchmarks.servers --rounds 5 --seconds 5 --connections 16,64 --only wrapped

Prints for each its requests a second, p50 and p99 in milliseconds, CPU microseconds per request and peak memory, and
the ratio to WebOb on stock waitress, or to the application alone: median of the rounds, and the least and the most.
Ours signs V4 with a unique name, a ticket and every pin, and takes distinct callbacks with tickets and the ledger on;
the peers do what a sample does. PHP, Node and Go (held to one core) take part where they are installed.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import MD5
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from oss_wsgi import PostPresigner, Settings, TicketBook

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "tests" / "benchmarks" / "peers"
VECTORS = ROOT / "tests" / "vectors" / "callbacks.json"
KEY_URL = "http://127.0.0.1/key.pem"
SIGNATURE = "/oss/signature?filename=a.png&content_type=image/png&size=5"
CALLBACK = "/oss/callback"
VARIABLES = {
    "size": "5",
    "mimeType": "image%2Fpng",
    "imageInfo.height": "278",
    "imageInfo.width": "200",
    "imageInfo.format": "png",
    "bucket": "examplebucket",
    "etag": "5D41402ABC4B2A76B9719D911017C592",
    "crc64": "3155123217085384032",
    "reqId": "674EF4EC0000000000000001",
    "operation": "PostObject",
}
ENVIRON = {
    "OSS_BUCKET": "examplebucket",
    "OSS_REGION": "cn-hangzhou",
    "OSS_ACCESS_KEY_ID": "id",
    "OSS_ACCESS_KEY_SECRET": "secret",
    "OSS_CALLBACK_URL": f"https://app.example.com{CALLBACK}",
    "OSS_TICKET_SECRET": "t" * 32,
    "OSS_ALLOW_ANONYMOUS": "on",
}


class Figures(NamedTuple):
    rate: float
    p50: float
    p99: float
    cpu: float


@dataclass
class Server:
    """A server that runs all the while; ``figures`` by work."""

    name: str
    command: list[str]
    works: list[str]
    peak: float = 0.0
    figures: dict[str, list[Figures]] = field(default_factory=lambda: defaultdict(list))


def peers() -> list[Server]:
    """Ours and the peers; the first of each work is what the others are compared with."""
    both = ["signature", "callback"]
    sample = [sys.executable, str(PEERS / "sample.py")]
    built = str(Path(tempfile.gettempdir()) / "oss-wsgi-benchmark-peer")
    go = ["sh", "-c", 'go build -o "$0" "$1" && exec "$0" "$2"', built, str(PEERS / "sample.go"), "{port}"]
    legacy = [sys.executable, str(PEERS / "legacy.py")]
    return [
        Server("webob on waitress", [*sample, "webob", "{port}"], both),
        Server("server.py", [sys.executable, str(ROOT / "server.py"), "--listen", "127.0.0.1:{port}"], both),
        Server("http.server", [*sample, "http.server", "{port}"], both),
        Server("php -S", ["php", "-S", "127.0.0.1:{port}", str(PEERS / "sample.php")], both),
        Server("node", ["node", str(PEERS / "sample.mjs"), "{port}"], both),
        Server("go", go, both),
        Server("application alone", [*legacy, "alone", "{port}"], ["page"]),
        Server("wrapped, waitress", [*legacy, "wrapped", "{port}"], ["page"]),
        Server("wrapped, make_server", [*legacy, "ours", "{port}"], ["page"]),
    ]


def hosting() -> list[Server]:
    """Ours, and the same application under other servers, each with one process."""
    both = ["signature", "callback"]
    gunicorn = ["gunicorn", "--keep-alive", "5", "--threads", "8", "-b", "127.0.0.1:{port}"]
    granian = ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", "--no-ws"]
    uwsgi = ["uwsgi", "--http11-socket", "127.0.0.1:{port}", "--threads", "8", "--so-keepalive", "--http-keepalive"]
    bjoern = "import bjoern, server; bjoern.run(server.application, '127.0.0.1', {port})"
    return [
        Server("server.py", [sys.executable, str(ROOT / "server.py"), "--listen", "127.0.0.1:{port}"], both),
        Server("gunicorn, gthread", [*gunicorn, "server:application"], both),
        Server("uwsgi", [*uwsgi, "--master", "--die-on-term", "--wsgi", "server:application"], both),
        Server("granian", [*granian, "server:application"], both),
        Server("bjoern", [sys.executable, "-c", bjoern], both),
    ]


def can_run(server: Server) -> bool:
    program = server.name if server.name == "go" else server.command[0]
    module = server.command[2].partition(",")[0][7:] if server.command[2].startswith("import ") else ""
    found = shutil.which(program) and (not module or importlib.util.find_spec(module))
    if not found:
        print(f"{server.name} is not installed and takes no part", file=sys.stderr)
    return bool(found)


def signer() -> rsa.RSAPrivateKey:
    """Give the throwaway key of 512 bits, OSS's size (protocol.md 8.6)."""
    numbers = json.loads(VECTORS.read_text(encoding="utf-8"))["throwaway_key"]
    n, e, d = (int(numbers[name], 16) for name in ("n", "e", "d"))
    p, q = rsa.rsa_recover_prime_factors(n, e, d)
    private = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(e, n)
    )
    return private.private_key()


def public_pem() -> str:
    pem = signer().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem.decode()


def callbacks(key: rsa.RSAPrivateKey, count: int) -> Iterator[bytes]:
    """Give distinct requests as OSS sends them, each for a form that our settings signed."""
    settings = Settings.from_environ(ENVIRON)
    book = TicketBook(settings.ticket_secret, clock=time.time)
    presigner = PostPresigner(settings, clock=time.time, tickets=book)
    url = base64.b64encode(KEY_URL.encode()).decode()
    for _ in range(count):
        form = presigner.presign(filename="a.png", content_type="image/png", size=5)
        text = json.loads(base64.b64decode(form.fields["callback"]))["callbackBody"]
        for name, value in {"object": quote(form.fields["key"], safe=""), **VARIABLES}.items():
            text = text.replace(f"${{{name}}}", value)
        body = text.encode()
        proof = base64.b64encode(key.sign(f"{CALLBACK}\n".encode() + body, PKCS1v15(), MD5())).decode()
        yield (
            f"POST {CALLBACK} HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nAuthorization: {proof}\r\n"
            f"x-oss-pub-key-url: {url}\r\nUser-Agent: aliyun-oss-callback\r\nx-oss-bucket: examplebucket\r\n"
            "x-oss-request-id: 674EF4EC0000000000000001\r\nx-oss-signature-version: 1.0\r\nx-oss-tag: CALLBACK\r\n\r\n"
        ).encode() + body


SCRIPT = """
local requests, next = {}, 0
local function byte(two) return string.char(tonumber(two, 16)) end
for line in io.lines("%s") do requests[#requests + 1] = (line:gsub("..", byte)) end
request = function() next = next %% #requests + 1; return requests[next] end
"""


@contextmanager
def running(server: Server, port: int, environ: dict[str, str]) -> Iterator[int]:
    command = [word.replace("{port}", str(port)) for word in server.command]
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        for _ in range(600):  # one of them is compiled first
            time.sleep(0.1)
            with suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", SIGNATURE)
                connection.getresponse().read()
                connection.close()
                break
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def load(port: int, work: str, connections: int, seconds: float, script: Path) -> tuple[str, int, float, float, float]:
    url = f"http://127.0.0.1:{port}{'/page' if work == 'page' else SIGNATURE}"
    extra = ["-s", str(script)] if work == "callback" else []
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", *extra, url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    count = int(re.search(r"(\d+) requests in", output)[1])  # type: ignore[index]
    rate = float(re.search(r"Requests/sec: +([\d.]+)", output)[1])  # type: ignore[index]
    p50, p99 = (
        float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
        for value, unit in re.findall(r"(?:50|99)% +([\d.]+)(us|ms|s)", output)
    )
    return output, count, rate, p50, p99


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    ticks = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_mebibytes(pid: int) -> float:
    statuses = [Path(f"/proc/{each}/status").read_text() for each in family(pid)]
    return sum(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) for status in statuses) / 1024  # type: ignore[index]


def measure(chosen: list[Server], works: list[tuple[str, int]], rounds: int, seconds: float) -> None:
    key = signer()
    with tempfile.TemporaryDirectory() as folder:
        pem, script, prepared = (Path(folder) / name for name in ("key.pem", "callback.lua", "callbacks"))
        pem.write_text(public_pem())
        script.write_text(SCRIPT % prepared)
        environ = {**os.environ, **ENVIRON, "OSS_TRUSTED_KEYS": f"{KEY_URL}={pem}"}
        environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        for turn in range(rounds):
            lines = (request.hex() for request in callbacks(key, int(seconds * 15_000)))
            prepared.write_text("\n".join(lines))
            for work, connections in works:
                for number, server in enumerate(each for each in chosen if work in each.works):
                    with running(server, 18_700 + number, environ) as pid:
                        before = cpu_seconds(pid)
                        output, count, rate, p50, p99 = load(18_700 + number, work, connections, seconds, script)
                        cpu = (cpu_seconds(pid) - before) / count * 1e6
                        server.peak = max(server.peak, peak_mebibytes(pid))
                    server.figures[f"{work}, {connections} connections"].append(Figures(rate, p50, p99, cpu))
                    if "Non-2xx" in output:
                        print(f"{server.name}: {work}: not every answer was a 2xx", file=sys.stderr)
            print(f"round {turn + 1} of {rounds} done", file=sys.stderr)


def report(chosen: list[Server]) -> None:
    works = list(dict.fromkeys(work for server in chosen for work in server.figures))
    for work in works:
        taking_part = [server for server in chosen if work in server.figures]
        base = taking_part[0]
        print(f"\n{work}\n{'':22}{'req/s':>8}{'p50 ms':>8}{'p99 ms':>8}{'us CPU':>8}{'MiB':>6}  times {base.name}")
        for server in taking_part:
            figures = server.figures[work]
            ratios = sorted(ours.rate / theirs.rate for ours, theirs in zip(figures, base.figures[work], strict=True))
            rate, p50, p99, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"{server.name:22}{rate:8.0f}{p50:8.2f}{p99:8.2f}{cpu:8.0f}{server.peak:6.1f}  {spread}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosting", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", default="16,64", help="comma-separated (default: %(default)s)")
    parser.add_argument("--only", default="", help="servers whose names hold this text")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.exit(2, "wrk is missing: apt-get install wrk\n")
    known = hosting() if arguments.hosting else peers()
    chosen = [server for server in known if arguments.only in server.name and can_run(server)]
    numbers = [int(text) for text in arguments.connections.split(",")]
    works = [(work, number) for work in ("signature", "callback", "page") for number in numbers]
    measure(chosen, works, arguments.rounds, arguments.seconds)
    report(chosen)


if __name__ == "__main__":
    main()
