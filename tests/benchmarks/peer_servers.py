"""The servers that are compared: ours, small peers of our own writing, and other servers around our application."""

from __future__ import annotations

import http.client
import importlib.util
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from . import nginx
from .callbacks import SIGNATURE

ROOT = Path(__file__).parents[2]
PEERS = Path(__file__).parent / "peers"


class Figures(NamedTuple):
    """The figures of one round; times in milliseconds, ``cpu`` in microseconds of the processor for each request."""

    rate: float
    p50: float
    p99: float
    cpu: float


@dataclass
class Server:
    """A server that runs during all rounds; ``figures`` by work. ``proxy`` is a kind of nginx in front of it."""

    name: str
    command: list[str]
    works: list[str]
    proxy: str = ""
    peak: float = 0.0
    figures: dict[str, list[Figures]] = field(default_factory=lambda: defaultdict(list))


def peers() -> list[Server]:
    """Return our server and its peers; the others are compared with the first of each work."""
    both = ["signature", "callback"]
    sample = [sys.executable, str(PEERS / "sample.py")]
    legacy = [sys.executable, str(PEERS / "legacy.py")]
    return [
        Server("webob on waitress", [*sample, "webob", "{port}"], both),
        _ours(both),
        Server("http.server", [*sample, "http.server", "{port}"], both),
        Server("php -S", ["php", "-S", "127.0.0.1:{port}", str(PEERS / "sample.php")], both),
        Server("node", ["node", str(PEERS / "sample.mjs"), "{port}"], both),
        Server("node, like for like", ["node", str(PEERS / "ticketed.mjs"), "{port}"], ["callback"]),
        Server("go", go_command("sample"), both),
        Server("go, like for like", go_command("ticketed"), ["callback"]),
        Server("application alone", [*legacy, "alone", "{port}"], ["page"]),
        Server("wrapped, waitress", [*legacy, "wrapped", "{port}"], ["page"]),
        Server("wrapped, make_server", [*legacy, "ours", "{port}"], ["page"]),
    ]


def go_command(name: str) -> list[str]:
    """Return the command that compiles a peer in Go and runs it."""
    source = str(PEERS / f"{name}.go")
    return ["sh", "-c", 'go build -o "$0" "$1" && exec "$0" "$2"', f"{{folder}}/{name}", source, "{port}"]


def hosting() -> list[Server]:
    """Return our server, and the same application under other servers, each with one process."""
    both = ["signature", "callback"]
    gunicorn = ["gunicorn", "--keep-alive", "5", "--threads", "8", "-b", "127.0.0.1:{port}"]
    granian = ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", "{port}", "--no-ws"]
    uwsgi = ["uwsgi", "--http11-socket", "127.0.0.1:{port}", "--threads", "8", "--so-keepalive", "--http-keepalive"]
    bjoern = "import bjoern, server; bjoern.run(server.application, '127.0.0.1', {port})"
    return [
        _ours(both),
        Server("gunicorn, gthread", [*gunicorn, "server:application"], both),
        Server("uwsgi", [*uwsgi, "--master", "--die-on-term", "--wsgi", "server:application"], both),
        Server("granian", [*granian, "server:application"], both),
        Server("bjoern", [sys.executable, "-c", bjoern], both),
    ]


def behind_tls() -> list[Server]:
    """Return our server alone, behind nginx, and behind nginx with TLS and each kind of certificate."""
    fronts = [_ours(["callback"]) for _ in nginx.KINDS]
    for server, kind in zip(fronts, nginx.KINDS, strict=True):
        server.name, server.proxy = f"nginx, {kind}", kind
    return [_ours(["callback"]), *fronts]


def _ours(works: list[str]) -> Server:
    return Server("server.py", [sys.executable, str(ROOT / "server.py"), "--listen", "127.0.0.1:{port}"], works)


def can_run(server: Server) -> bool:
    program = "go" if server.name.startswith("go") else server.command[0]
    module = server.command[2].partition(",")[0][7:] if server.command[2].startswith("import ") else ""
    programs = [program, *(["nginx"] if server.proxy else [])]
    installed = all(map(shutil.which, programs)) and (not module or importlib.util.find_spec(module) is not None)
    if not installed:
        print(f"{server.name} is not installed and takes no part", file=sys.stderr)
    return installed


@contextmanager
def running(server: Server, port: int, environ: dict[str, str], folder: Path) -> Iterator[int]:
    """Run a server without a proxy in front, and yield its process ID once it answers.

    A program that is compiled for it goes into ``folder``.
    """
    command = [word.replace("{port}", str(port)).replace("{folder}", str(folder)) for word in server.command]
    process = subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        # Some of them are compiled first: Go's library too, which takes a busy machine minutes.
        for _ in range(9000):
            time.sleep(0.1)
            if process.poll() is not None:
                raise RuntimeError(f"{server.name} ended with status {process.returncode}: is port {port} free?")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with suppress(OSError), closing(connection):
                connection.request("GET", SIGNATURE)
                connection.getresponse().read()
                break
        else:
            raise RuntimeError(f"{server.name} does not answer at port {port}")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def closes(port: int, request: bytes, *, tls: bool) -> bool:
    """Return whether a server, asked to close the connection, says that it closes it and does so."""
    answer = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as plain:
        connection: socket.socket = plain
        if tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            connection = context.wrap_socket(plain)
        with connection:
            connection.sendall(request)
            while piece := connection.recv(65536):
                answer += piece
            return b"\r\nconnection: close\r\n" in answer.partition(b"\r\n\r\n")[0].lower() + b"\r\n"
    return False
