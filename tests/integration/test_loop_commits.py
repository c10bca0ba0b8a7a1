"""Callbacks with a SQLite ledger in our server: the loop answers them, and only committed ones are counted."""

from __future__ import annotations

import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi import AccessLog, DirectUpload, Metrics, Settings, SQLiteLedger
from oss_wsgi.serving import make_server
from oss_wsgi.testing import CallbackSigner, FrozenClock, callback_body

from ..support.example_settings import EXAMPLE
from ..support.sqlite_statements import Statements

SIGNER = CallbackSigner()
SETTINGS = Settings(**EXAMPLE, ticket_secret=("the ticket secret of these tests",), allow_anonymous=True)
SIGNATURE = "/oss/signature?filename=cat.png&content_type=image/png&size=5"


def callback_request() -> bytes:
    """Return a signed report of a new upload."""
    import webtest

    issuing = DirectUpload(lambda environ, start: [], SETTINGS, public_keys=SIGNER.public_keys)
    body = callback_body(webtest.TestApp(issuing).get(SIGNATURE).json, size=5, mime_type="image/png")
    headers = {"Host": "app.example.com", **SIGNER.headers("/oss/callback", body), "Content-Length": str(len(body))}
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(["POST /oss/callback HTTP/1.1", *lines, "", ""]).encode() + body


pytestmark = pytest.mark.slow


class Running:
    """A server in a thread, whose application counts and logs."""

    def __init__(self, ledger: SQLiteLedger) -> None:
        self.metrics = Metrics()
        self.application = DirectUpload(
            lambda environ, start: [], SETTINGS, public_keys=SIGNER.public_keys, ledger=ledger, metrics=self.metrics
        )
        logged = AccessLog(self.application, clock=time.monotonic)
        listener = socket.create_server(("127.0.0.1", 0))
        self.server = make_server(logged, listener, self.application.is_nonblocking, threads=1)
        self.in_threads = 0
        add_task = self.server.task_dispatcher.add_task

        def count(task: Any, **options: Any) -> None:
            self.in_threads += 1
            add_task(task, **options)

        self.server.task_dispatcher.add_task = count
        self._thread = threading.Thread(target=self.server.run)
        self._thread.start()

    def post(self, requests: list[bytes]) -> list[bytes]:
        """Send requests on as many connections, and return the status lines."""
        clients = [socket.create_connection(("127.0.0.1", self.server.effective_port), 60) for _ in requests]
        for client, request in zip(clients, requests, strict=True):
            client.sendall(request)
        statuses = [client.recv(65536).partition(b"\r\n")[0] for client in clients]
        for client in clients:
            client.close()
        return statuses

    def counted(self, outcome: str) -> float:
        """Return how many callbacks had an outcome."""
        value = self.metrics.registry.get_sample_value("oss_wsgi_callbacks_total", {"outcome": outcome})
        return 0.0 if value is None else value

    def end(self) -> None:
        self.server.drain(60)
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Statements:
    return Statements(monkeypatch)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(time.time())


@pytest.fixture
def ledger(tmp_path: Path, statements: Statements, clock: FrozenClock) -> Iterator[SQLiteLedger]:
    with SQLiteLedger(tmp_path / "ledger.db", clock=clock) as ledger:
        ledger.check()
        yield ledger


@pytest.fixture
def running(ledger: SQLiteLedger, caplog: pytest.LogCaptureFixture) -> Iterator[Running]:
    caplog.set_level(logging.INFO)
    running = Running(ledger)
    yield running
    running.end()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [str(getattr(record, "status", "")) for record in caplog.records if "access_log" in record.name]


def test_the_loop_answers_and_what_is_counted_is_committed(
    running: Running, ledger: SQLiteLedger, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [callback_request() for _ in range(4)]
    for _ in range(2):
        assert running.post(requests) == [b"HTTP/1.1 200 OK"] * 4
    running.end()
    assert (len(ledger), running.in_threads) == (4, 0)
    assert lines(caplog) == ["200"] * 8
    assert (running.counted("accepted"), running.counted("repeated")) == (4, 4)


@pytest.mark.parametrize("slow", [False, True], ids=["quick disk", "slow disk"])
def test_a_commit_that_fails_is_answered_and_counted_as_503(
    running: Running,
    ledger: SQLiteLedger,
    statements: Statements,
    clock: FrozenClock,
    caplog: pytest.LogCaptureFixture,
    slow: bool,
) -> None:
    def fail(statement: str) -> None:
        if statement.startswith("INSERT INTO answers"):
            raise sqlite3.OperationalError("database or disk is full")

    request = callback_request()
    if slow:
        statements.before = lambda statement: clock.advance(statement == "COMMIT")
        ledger.check()
    statements.before = fail
    assert running.post([request]) == [b"HTTP/1.1 503 Service Unavailable"]
    statements.before = lambda statement: None
    assert running.post([request]) == [b"HTTP/1.1 200 OK"]  # in a thread, which writes a probe
    running.end()
    assert (len(ledger), running.in_threads) == (1, 1)
    assert lines(caplog) == ["503", "200"]
    assert "the ledger cannot store that: database or disk is full" in caplog.text
    assert "reason=ledger_unavailable" in caplog.text
    assert (running.counted("ledger_unavailable"), running.counted("accepted")) == (1, 1)
