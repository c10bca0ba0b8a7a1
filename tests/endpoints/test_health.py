"""HealthEndpoint and ReadinessEndpoint: failing parts are named, and frequent requests cost nothing."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import webtest

from oss_wsgi import (
    Credentials,
    DirectUpload,
    HealthEndpoint,
    MemoryLedger,
    Settings,
    SQLiteLedger,
    StaticCredentialsProvider,
)
from oss_wsgi.endpoints.health import ReadinessEndpoint
from oss_wsgi.exceptions import CredentialsError, LedgerUnavailableError
from oss_wsgi.testing import FrozenClock

from ..support.children import fork, forking
from ..support.sqlite_statements import Statements

TIMEOUT = 60.0
SETTINGS = Settings(bucket="examplebucket", region="cn-hangzhou", access_key_id="id", access_key_secret="swordfish")


class Part:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.looks = 0

    def __call__(self) -> None:
        self.looks += 1
        if self.error is not None:
            raise self.error


def client(endpoint: HealthEndpoint | ReadinessEndpoint) -> webtest.TestApp:
    return webtest.TestApp(lambda environ, start: endpoint({**environ, "PATH_INFO": ""}, start))


@pytest.mark.parametrize("endpoint", [HealthEndpoint(), ReadinessEndpoint({}, clock=FrozenClock())])
def test_without_a_fault_the_status_is_ok(endpoint: HealthEndpoint | ReadinessEndpoint) -> None:
    assert client(endpoint).get("/", status=200).json == {"status": "ok"}


def test_a_server_that_is_to_end_is_not_ready() -> None:
    part = Part()
    app = client(ReadinessEndpoint({"ledger": part}, clock=FrozenClock()))
    response = app.get("/", extra_environ={"oss_wsgi.draining": True}, expect_errors=True)
    assert (response.status_int, response.json["failing"]) == (503, ["draining"])
    assert part.looks == 0
    assert app.get("/").json == {"status": "ok"}


def test_failing_parts_are_named_and_their_causes_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = FrozenClock()
    ledger, credentials = Part(CredentialsError("STS is away")), Part(RuntimeError("key=swordfish"))
    app = client(ReadinessEndpoint({"ledger": ledger, "good": Part(), "credentials": credentials}, clock=clock))
    for _ in range(3):
        answer = app.get("/", status=503)
        assert answer.json == {"status": "unavailable", "failing": ["ledger", "credentials"]}
        assert app.head("/", status=503).body == b""
        clock.advance(2)
    own, foreign = (record.getMessage() for record in caplog.records)
    assert ("ledger" in own, "STS is away" in own) == (True, True)
    assert ("credentials" in foreign, "swordfish" in foreign) == (True, False)
    ledger.error = credentials.error = None
    assert app.get("/").json == {"status": "ok"}
    _, _, again = caplog.records
    assert (again.levelname, "ledger" in again.getMessage()) == ("INFO", False)
    ledger.error = CredentialsError("again")
    clock.advance(2)
    app.get("/", status=503)
    assert "ledger: again" in caplog.records[-1].getMessage()


def test_parts_are_checked_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, part = FrozenClock(), Part()
    app = client(ReadinessEndpoint({"part": part}, clock=clock))
    for _ in range(50):
        app.get("/")
    assert (part.looks, caplog.records) == (1, [])
    part.error = CredentialsError("no")
    clock.advance(0.9)
    app.get("/", status=200)
    clock.advance(0.2)
    app.get("/", status=503)
    assert part.looks == 2
    slow = client(ReadinessEndpoint({"part": part, "slow": lambda: clock.advance(5)}, clock=clock))
    for _ in range(2):
        slow.get("/", status=503)
    assert part.looks == 3


def test_during_a_check_other_requests_get_the_previous_result() -> None:
    clock, entered, gate = FrozenClock(), threading.Event(), threading.Event()
    looks: list[bool] = []

    def slow() -> None:
        if looks:
            entered.set()
        looks.append(not entered.is_set() or gate.wait(TIMEOUT))
        raise OSError

    app = client(ReadinessEndpoint({"part": slow}, clock=clock))
    app.get("/", status=503)
    clock.advance(2)
    thread = threading.Thread(target=lambda: app.get("/", status=503))
    thread.start()
    assert entered.wait(TIMEOUT)
    for _ in range(10):
        app.get("/", status=503)
    gate.set()
    thread.join(TIMEOUT)
    assert looks == [True, True]


def test_before_the_first_result_a_request_waits_for_another_ones_check() -> None:
    entered, gate = threading.Event(), threading.Event()
    looks: list[int] = []

    def slow() -> None:
        looks.append(1)
        entered.set()
        assert gate.wait(TIMEOUT)
        raise OSError

    app = client(ReadinessEndpoint({"part": slow}, clock=FrozenClock()))
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(app.get("/", expect_errors=True).status_int)) for _ in range(2)
    ]
    threads[0].start()
    assert entered.wait(TIMEOUT)
    threads[1].start()
    threads[1].join(0.05)  # it has answered by then if it does not wait
    gate.set()
    for thread in threads:
        thread.join(TIMEOUT)
    assert (statuses, len(looks)) == ([503, 503], 1)


def site(**options: Any) -> webtest.TestApp:
    return webtest.TestApp(DirectUpload(lambda environ, start: [], SETTINGS, **options))


def ready(app: webtest.TestApp) -> Any:
    """Return the failing parts, or None; health must be good in any case."""
    assert app.get("/oss/health").json == {"status": "ok"}
    answer = app.get("/oss/health/ready", expect_errors=True)
    assert "swordfish" not in answer.text + json.dumps(dict(answer.headers))
    assert answer.headers["Cache-Control"] == "no-store"
    assert (answer.status_int == 200) == (answer.json == {"status": "ok"})
    return answer.json.get("failing")


def test_a_key_and_a_ledger_make_it_ready(tmp_path: Path) -> None:
    assert ready(site()) is None
    with SQLiteLedger(tmp_path / "ledger.sqlite3", clock=FrozenClock()) as ledger:
        assert ready(site(ledger=ledger)) is None
        ledger.check()
        assert len(ledger) == 0, "what it writes to try, it takes back"


def test_health_is_nonblocking_and_readiness_is_not() -> None:
    app = DirectUpload(lambda environ, start: [], SETTINGS)
    assert app.is_nonblocking("GET", "/oss/health", {})
    assert not app.is_nonblocking("GET", "/oss/health/ready", {})
    for method, path in (("POST", ""), ("GET", "/x")):
        assert not HealthEndpoint().is_nonblocking(method, path, {})


def test_missing_or_expired_credentials_make_it_unready(caplog: pytest.LogCaptureFixture) -> None:
    class Nothing:
        def get_credentials(self) -> Credentials:
            raise CredentialsError("STS is away")

    past = Credentials("id", "swordfish", "token", datetime(2020, 1, 1, tzinfo=timezone.utc))
    for provider in (Nothing(), StaticCredentialsProvider(past)):
        assert ready(site(credentials=provider)) == ["credentials"]
    assert "not ready: credentials: STS is away" in caplog.text
    assert "not ready: credentials: The credentials have expired" in caplog.text


def test_an_unwritable_ledger_makes_it_unready(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    with SQLiteLedger(file, clock=FrozenClock()) as ledger:
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("DROP TABLE texts")
        other.close()
        assert ready(site(ledger=ledger)) == ["ledger"]
        with pytest.raises(LedgerUnavailableError, match="texts"):
            ledger.check()


def test_a_read_only_ledger_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements = Statements(monkeypatch)
    file = tmp_path / "ledger.sqlite3"
    with SQLiteLedger(file, clock=FrozenClock()) as ledger:
        ledger.check()
        statements.connections[-1].execute("PRAGMA query_only = ON")
        with pytest.raises(LedgerUnavailableError, match="readonly"):
            ledger.check()
        assert ready(site(ledger=ledger)) is None, "after an error a new connection is made"


def test_a_custom_ledger_is_checked() -> None:
    class Custom(MemoryLedger):
        broken = False

        def check(self) -> None:
            if self.broken:
                raise OSError("no")

    ledger = Custom(clock=time.time)
    assert ready(site(ledger=ledger)) is None
    ledger.broken = True
    assert ready(site(ledger=ledger)) == ["ledger"]


@pytest.mark.parametrize("kind", [OSError, SystemExit, KeyboardInterrupt])
def test_a_check_that_exits_fails_its_part(kind: type[BaseException]) -> None:
    def check() -> None:
        raise kind

    app = client(ReadinessEndpoint({"ledger": check}, clock=lambda: 0.0))
    assert app.get("/", status=503).json["failing"] == ["ledger"]


@forking
def test_a_child_that_was_forked_during_a_check_checks_itself() -> None:
    is_checking, may_go_on = threading.Event(), threading.Event()

    def check() -> None:
        if threading.current_thread() is thread:
            is_checking.set()
            may_go_on.wait(TIMEOUT)

    client = webtest.TestApp(ReadinessEndpoint({"part": check}, clock=FrozenClock()))
    thread = threading.Thread(target=client.get, args=[""])
    thread.start()
    is_checking.wait(TIMEOUT)
    fork(lambda: client.get("").json == {"status": "ok"})
    may_go_on.set()
    thread.join()
