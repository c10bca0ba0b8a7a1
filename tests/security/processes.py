"""The recording site in a process of its own, and requests to it over sockets."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from oss_wsgi.testing import callback_body

from ..support.forks import start
from ..support.running_server import clean_environ
from .attacks import CALLBACK, OSS

ROOT = Path(__file__).parents[2]


def request(
    port: int, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of a response. Raise OSError if the server is gone."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        text = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
    finally:
        connection.close()
    return response.status, json.loads(text) if response.getheader("Content-Type") == "application/json" else {}


def sign(port: int, **parameters: Any) -> dict[str, Any]:
    status, signed = request(port, "GET", f"/oss/signature?{urlencode(parameters)}")
    assert status == 200, signed
    return signed


def report(port: int, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    return request(port, "POST", CALLBACK, body, {**OSS.headers(CALLBACK, body), **headers})


def new_report(port: int, number: int = 0) -> bytes:
    """Get a signature, and return the report of its upload."""
    return callback_body(sign(port, filename=f"{number}.txt", size=6), size=6)


class RecordingSite:
    """tests.security.recording_site in a process of its own. The end of the ``with`` block kills it."""

    def __init__(self, folder: Path) -> None:
        (folder / "key.pem").write_text(OSS.pem)
        self.folder = folder
        self.lines: list[str] = []

    def __enter__(self) -> RecordingSite:
        command = ["-m", "tests.security.recording_site", str(self.folder)]
        self.process = start(command, clean_environ(), ROOT, stderr=subprocess.STDOUT)
        assert self.process.stdout is not None
        line = ""
        while not line.startswith("port "):
            line = self.process.stdout.readline()
            assert line, "".join(self.lines)
            self.lines.append(line)
        self.port = int(line.split()[1])
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout or ()), daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        status = self.process.wait(timeout=60)
        self._reader.join(timeout=60)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def log(self) -> str:
        return "".join(self.lines)

    def runs(self) -> dict[str, str]:
        """Return the object of each completed run of the handler."""
        files = (self.folder / "handled").iterdir()
        return {path.name: json.loads(path.read_text())["object"] for path in files}

    def runs_by_object(self) -> Counter[str]:
        return Counter(self.runs().values())
