"""A short soak test: many reports at once, while sockets break, the disk is full and the key host hangs.

Every report that got 200 had been handled durably before. Every upload is handled in the end, and twice only if the
log says that the ledger could not store its response on the full disk.
"""

from __future__ import annotations

import base64
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .attacks import CALLBACK, OSS
from .processes import RecordingSite, new_report, report, request

CLIENTS, UPLOADS = 6, 20
NEXT_KEY = base64.b64encode(b"https://gosspublic.alicdn.com/callback_pub_key_v2.pem").decode()
FULL = 64 * 1024  # largest size of a file in bytes; the ledger soon needs more


class Soak:
    """The clients, and the responses that they got."""

    def __init__(self, site: RecordingSite) -> None:
        self.site = site
        self.answers: dict[bytes, list[dict[str, Any]]] = {}
        self.statuses: set[int] = set()

    def client(self, number: int) -> None:
        for upload in range(UPLOADS):
            body = new_report(self.site.port, number)
            if upload % 4 == 0:
                self.cut_off(body, upload)
            if upload % 4 == 1:
                status, _ = report(self.site.port, body, **{"x-oss-pub-key-url": NEXT_KEY})
                assert status == 503, "no key to verify with"
            answers = self.answers.setdefault(body, [])
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                status, answer = report(self.site.port, body)
                self.statuses.add(status)
                if status == 200:
                    assert (self.site.folder / "handled" / answer["run"]).exists(), (
                        "the handler runs before the response"
                    )
                    answers.append(answer)
                    if len(answers) > upload % 3:
                        break
                else:
                    threading.Event().wait(0.01)

    def cut_off(self, body: bytes, upload: int) -> None:
        """Send a report and close the connection within the body, or before the response."""
        headers = "".join(f"{name}: {value}\r\n" for name, value in OSS.headers(CALLBACK, body).items())
        head = f"POST {CALLBACK} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()
        with socket.create_connection(("127.0.0.1", self.site.port)) as connection:
            connection.sendall(head + (body if upload % 8 == 0 else body[: len(body) // 2]))

    def limit(self, size: object) -> None:
        assert request(self.site.port, "GET", f"/limit/{size}")[0] == 200


def test_no_accepted_upload_is_lost_under_load_and_faults(tmp_path: Path) -> None:
    with RecordingSite(tmp_path) as site:
        soak = Soak(site)
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(soak.client, number) for number in range(CLIENTS)]
            pause = threading.Event()
            while not all(client.done() for client in clients):
                soak.limit(FULL)
                pause.wait(0.1)
                while 503 not in soak.statuses and not all(client.done() for client in clients):
                    pause.wait(0.1)
                soak.limit("none")
                pause.wait(0.1)
            for client in clients:
                client.result()
        site.kill()
        unwritten = re.findall(r"'(\S+)' was handled, but the ledger cannot store that", site.log())
        runs = site.runs()
    assert len(soak.answers) == CLIENTS * UPLOADS
    assert all(soak.answers.values()), "each upload is accepted in the end"
    assert {answer["run"] for answers in soak.answers.values() for answer in answers} <= set(runs)
    assert soak.statuses <= {200, 503}
    assert 503 in soak.statuses, "the disk was full for some reports"
    runs_by_object = site.runs_by_object()
    assert len(runs_by_object) == CLIENTS * UPLOADS
    repeated = {name: count - 1 for name, count in runs_by_object.items() if count > 1}
    assert all(count <= unwritten.count(name) for name, count in repeated.items()), (repeated, unwritten)
