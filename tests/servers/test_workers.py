"""Several processes share the ticket secret and the ledger: each upload is handled once, by one of them."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from oss_wsgi.testing import CallbackSigner, callback_body

from ..support.absent import skip_or_fail
from ..support.ports import free_port
from ..support.running_server import clean_environ

WORKERS, UPLOADS, REPORTS = 4, 40, 3
APPLICATION = """
import os
import time

from oss_wsgi import DirectUpload, Settings


def legacy(environ, start_response):
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


def save(upload):
    time.sleep(0.01)  # another worker takes the next request
    with open(os.environ["HANDLED"], "a") as file:
        file.write(f"{upload.object} {os.getpid()}\\n")


application = DirectUpload(legacy, Settings.from_environ(os.environ), on_upload=save)
"""


def fetch(port: int, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        data = response.read()
        assert response.status == 200, data
        return data


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until gunicorn listens and all its workers run."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0 and log.read_text().count("Booting worker") == WORKERS:
                return
        time.sleep(0.05)
    raise AssertionError("gunicorn does not listen")


def workers(handled: Path) -> set[str]:
    """Return the process IDs of the workers that have handled an upload."""
    return {line.split()[1] for line in handled.read_text().splitlines()}


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["each its own", "forked from one"])
def test_four_workers_handle_each_upload_once(options: list[str], tmp_path: Path) -> None:
    if importlib.util.find_spec("gunicorn") is None:
        skip_or_fail("gunicorn")
    signer = CallbackSigner()
    (tmp_path / "key.pem").write_text(signer.pem)
    (tmp_path / "app.py").write_text(APPLICATION)
    handled = tmp_path / "handled.txt"
    port = free_port()
    environ = clean_environ(
        OSS_BUCKET="examplebucket",
        OSS_REGION="cn-hangzhou",
        OSS_ACCESS_KEY_ID="LTAI5tExampleKeyId000001",
        OSS_ACCESS_KEY_SECRET="ExampleSecret0000000000000000A",
        OSS_CALLBACK_URL="https://app.example.com/oss/callback",
        OSS_ALLOW_ANONYMOUS="on",
        OSS_TICKET_SECRET="one secret for all of the workers",
        OSS_LEDGER=str(tmp_path / "ledger.sqlite3"),
        OSS_TRUSTED_KEYS=f"{signer.url}={tmp_path / 'key.pem'}",
        HANDLED=str(handled),
        PYTHONPATH=os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]),
    )
    command = [sys.executable, "-m", "gunicorn", "-w", str(WORKERS), "-b", f"127.0.0.1:{port}", *options]
    with (tmp_path / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [*command, "app:application"], env=environ, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True
        )
        try:
            wait_for(port, process, tmp_path / "log.txt")

            def upload(number: int) -> list[bytes]:
                query = urlencode({"filename": f"{number}.txt", "size": 6})
                signed = json.loads(fetch(port, "GET", f"/oss/signature?{query}"))
                body = callback_body(signed, size=6)
                headers = signer.headers("/oss/callback", body)
                with ThreadPoolExecutor(REPORTS) as reporters:
                    reports = [
                        reporters.submit(fetch, port, "POST", "/oss/callback", body, headers) for _ in range(REPORTS)
                    ]
                    return [report.result() for report in reports]

            with ThreadPoolExecutor(8) as clients:
                responses = list(clients.map(upload, range(UPLOADS)))
            deadline = time.monotonic() + 60
            while len(workers(handled)) == 1 and time.monotonic() < deadline:
                responses.append(upload(len(responses)))
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)
    assert responses == [[b'{"Status": "Ok"}'] * REPORTS] * len(responses)
    objects = [line.split()[0] for line in handled.read_text().splitlines()]
    assert len(objects) == len(set(objects)) == len(responses)
    assert len(workers(handled)) > 1
