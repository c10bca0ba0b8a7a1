"""Uploads through the server and the local OSS while reports are lost and servers are killed; then counts the uploads.

    python -m tests.soak.soak --uploads 10000 --seed 1
    python -m tests.soak.soak --uploads 500 --break     recover and reconcile go past the ledger: it must fail

The handler fails now and then, or takes longer than OSS waits. For half of the uploads the page asks for its upload
when no answer came; for the other half nobody asks again. The server is killed, or drained, and started
again. At the end three sweeps run at once, one of which is killed. Exit status 0 when every stored object is in the
application's table, and its handler was called once; a further call is allowed only where the process of the call
before was killed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from local_oss import LocalOSS
from oss_wsgi.testing.clients import multipart
from oss_wsgi.testing.local_oss import InProcessBucket

from ..support.ports import free_port
from ..support.server_threads import serving_oss
from . import tables

ROOT = Path(__file__).parents[2]
_APPLICATION = "tests.soak.shop:application"
_CLIENTS = 6
_OSS_WAITS = 1.0  # seconds for a callback
_START_SECONDS = 120.0
_RECOVER_TRIES = 12
_MAX_SWEEPS = 20

#: What happens to an upload, and how often.
FAULTS = {
    "": 50,
    "callback_status": 8,
    "callback_status; delivered=true": 8,
    "callback_timeout": 6,
    "callback_timeout; delivered=true": 8,
    "callback_refused": 6,
    "dropped_connection": 6,
    "dropped_connection; stored=true": 8,
}


@dataclass
class Outcome:
    """What the soak counted, and every upload that was not handled exactly once."""

    uploads: int = 0
    stored: int = 0
    told: int = 0
    answered_by_recover: int = 0
    handled_by_sweep: int = 0
    kills: int = 0
    drains: int = 0
    repeated_after_kill: int = 0
    never: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return self.stored > 0 and not (self.never or self.twice or self.unknown)


class Upload(NamedTuple):
    number: int
    fault: str
    page_recovers: bool


class Server:
    """The server's process, which is killed, drained and started again on the same port."""

    def __init__(self, port: int, environ: dict[str, str], log: Path) -> None:
        self._port, self._environ, self._log = port, environ, log
        self._process: subprocess.Popen[bytes] | None = None
        #: All processes of the server so far, and those that a SIGKILL ended.
        self.processes: set[int] = set()
        self.killed: set[int] = set()

    def start(self) -> None:
        command = [sys.executable, "-m", "oss_wsgi", "serve", "--app", _APPLICATION, "--listen"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, f"127.0.0.1:{self._port}"], cwd=ROOT, env=self._environ, stdout=log, stderr=log
            )
        self.processes.add(self._process.pid)
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                if request(self._port, "GET", "/oss/health/ready")[0] == 200:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"the server does not start: {self._log.read_text()[-3000:]}")

    def kill(self) -> None:
        process = self._running()
        self.killed.add(process.pid)
        process.kill()
        process.wait()

    def drain(self) -> None:
        process = self._running()
        process.send_signal(signal.SIGTERM)
        if process.wait(_START_SECONDS) != 0:
            raise RuntimeError(f"a drained server ended with {process.returncode}")

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process


def request(
    port: int, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Send one request on a connection of its own; return status and body. Raises OSError, HTTPException."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()


class Browser:
    """Sends files as a page does, and asks for those without an answer."""

    def __init__(self, port: int, outcome: Outcome, lock: threading.Lock) -> None:
        self._port, self._outcome, self._lock = port, outcome, lock

    def upload(self, upload: Upload) -> None:
        content = f"file {upload.number}".encode()
        form = self._form(f"{upload.number}.txt", len(content))
        content_type, body = multipart(form["fields"], f"{upload.number}.txt", content, "text/plain")
        headers = {"Content-Type": content_type}
        if upload.fault:
            headers["x-oss-local-fault"] = upload.fault
        target = urlsplit(form["url"])
        try:
            status, _ = request(target.port or 80, "POST", target.path or "/", body, headers)
        except (OSError, http.client.HTTPException):
            status = 0
        if status == 200:
            self._count("told")
        elif upload.page_recovers:
            self._recover(form["fields"])

    def _form(self, name: str, size: int) -> Any:
        """Ask for a signature until the server is there."""
        query = urlencode({"filename": name, "size": size, "content_type": "text/plain"})
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                status, body = request(self._port, "GET", f"/oss/signature?{query}")
                if status == 200:
                    return json.loads(body)
            time.sleep(0.05)
        raise TimeoutError("no signature")

    def _recover(self, fields: dict[str, str]) -> None:
        body = json.dumps({"ticket": fields["callback"], "object": fields["key"]}).encode()
        for tries in range(_RECOVER_TRIES):
            with suppress(OSError, http.client.HTTPException):
                status, _ = request(self._port, "POST", "/oss/recover", body, {"Content-Type": "application/json"})
                if status == 200:
                    self._count("answered_by_recover")
                if status in (200, 404):
                    return
            time.sleep(min(0.05 * 2**tries, 2))

    def _count(self, name: str) -> None:
        with self._lock:
            setattr(self._outcome, name, getattr(self._outcome, name) + 1)


def soak(uploads: int, seed: int, *, restart_every: int, broken: bool = False) -> Outcome:
    chance = random.Random(seed)
    outcome = Outcome(uploads=uploads)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        oss = stack.enter_context(LocalOSS(directory=folder / "oss", test_mode=True, callback_timeout=_OSS_WAITS))
        stack.enter_context(serving_oss(oss))
        port = free_port()
        environ = _environ(oss, port, folder, broken=broken)
        with closing(tables.connect(environ[tables.DATABASE])) as connection:
            connection.executescript(tables.SCHEMA)
        server = Server(port, environ, folder / "server.log")
        server.start()
        stack.callback(server.drain)
        _upload_all(uploads, chance, port, server, outcome, restart_every)
        killed = server.killed | _sweep(environ, chance)
        _count(oss, environ[tables.DATABASE], server.processes, killed, outcome)
    return outcome


def _environ(oss: LocalOSS, port: int, folder: Path, *, broken: bool) -> dict[str, str]:
    key = folder / "key.pem"
    key.write_text(oss.public_key_pem)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OSS_", "ALIBABA_CLOUD_"))}
    return environ | {
        "OSS_ACCESS_KEY_ID": oss.access_key_id,
        "OSS_ACCESS_KEY_SECRET": oss.access_key_secret,
        "OSS_BUCKET": oss.bucket,
        "OSS_REGION": oss.region,
        "OSS_HOST": oss.host,
        "OSS_ENDPOINT": oss.url,
        "OSS_CALLBACK_URL": f"http://127.0.0.1:{port}/oss/callback",
        "OSS_TRUSTED_KEYS": f"{oss.public_key_url}={key}",
        "OSS_TICKET_SECRET": "the secret that outlives each server of the soak",
        "OSS_ALLOW_ANONYMOUS": "on",
        "OSS_RECOVER": "on",
        "OSS_LEDGER": str(folder / "ledger.sqlite3"),
        tables.DATABASE: str(folder / "shop.sqlite3"),
        tables.SLOW_SECONDS: str(1.5 * _OSS_WAITS),
        tables.BREAK: "on" if broken else "",
    }


def _upload_all(
    uploads: int, chance: random.Random, port: int, server: Server, outcome: Outcome, restart_every: int
) -> None:
    waiting: queue.Queue[Upload | None] = queue.Queue(maxsize=2 * _CLIENTS)
    failures: list[BaseException] = []
    browser = Browser(port, outcome, threading.Lock())

    def work() -> None:
        while (upload := waiting.get()) is not None:
            try:
                browser.upload(upload)
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=work, name=f"browser-{number}") for number in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        for number in range(uploads):
            fault = chance.choices(list(FAULTS), list(FAULTS.values()))[0]
            waiting.put(Upload(number, fault, page_recovers=chance.random() < 0.5))
            if (number + 1) % restart_every == 0:
                if chance.random() < 0.5:
                    server.kill()
                    outcome.kills += 1
                else:
                    server.drain()
                    outcome.drains += 1
                server.start()
    finally:
        for _ in threads:
            waiting.put(None)
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def _sweep(environ: dict[str, str], chance: random.Random) -> set[int]:
    """Run three sweeps at once, kill one, then run more until nothing is left; return the killed process's ID."""
    command = [sys.executable, "-m", "oss_wsgi", "reconcile", _APPLICATION, "--until", "0s", "--json"]
    sweeps = [
        subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    time.sleep(chance.uniform(0.5, 1.5))  # somewhere between its start and its end
    sweeps[0].kill()
    for sweep in sweeps:
        sweep.wait()
    for _ in range(_MAX_SWEEPS):
        time.sleep(1.1)  # OSS tells times in whole seconds
        last = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
        if last.returncode == 0:
            break
    else:
        print(last.stdout, last.stderr, file=sys.stderr)
    return {sweeps[0].pid}


def _count(oss: LocalOSS, database: str, servers: set[int], killed: set[int], outcome: Outcome) -> None:
    """Compare what OSS holds with the application's tables."""
    stored: set[tuple[str, str]] = set()
    bucket, after = InProcessBucket(oss), ""
    while listed := bucket.list("", after, 1000):
        stored |= {(each.key, each.etag.strip('"').upper()) for each in listed}
        after = listed[-1].key
    with closing(tables.connect(database)) as connection:
        saved = set(connection.execute("SELECT object, etag FROM uploads"))
        calls = list(connection.execute("SELECT object, etag, process FROM calls ORDER BY rowid"))
    outcome.stored = len(stored)
    outcome.never = sorted(key for key, _ in stored - saved)
    outcome.unknown = sorted(key for key, _ in saved - stored)
    counts = Counter((key, etag) for key, etag, _ in calls)
    outcome.handled_by_sweep = len({(key, etag) for key, etag, process in calls if process not in servers})
    for identity, count in counts.items():
        processes = [process for key, etag, process in calls if (key, etag) == identity] if count > 1 else []
        if not set(processes[:-1]) <= killed:
            outcome.twice.append(identity[0])
        elif processes:
            outcome.repeated_after_kill += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uploads", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--restart-every", type=int, default=200, metavar="UPLOADS", help="default: %(default)s")
    parser.add_argument("--break", dest="broken", action="store_true")
    arguments = parser.parse_args()
    start = time.monotonic()
    outcome = soak(arguments.uploads, arguments.seed, restart_every=arguments.restart_every, broken=arguments.broken)
    for name, value in vars(outcome).items():
        print(f"{name}: {len(value)} {value[:5]}" if isinstance(value, list) else f"{name}: {value}")
    print(f"{'exactly once' if outcome.is_good else 'NOT exactly once'}, {time.monotonic() - start:.0f} s")
    return 0 if outcome.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
