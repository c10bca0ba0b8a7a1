"""A replayer repeats genuine reports: later, at once, after a restart, and after a kill within the handler.

tests/ledger kills the ledgers alone at every step.
"""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from oss_wsgi import Grant
from oss_wsgi.testing import callback_body

from ..support.running_server import running_server
from .attacks import OSS, VALUES, Site, as_json, changed
from .processes import RecordingSite, new_report, report, sign

AT_ONCE = 16


def test_a_repeated_report_gets_the_stored_response(tmp_path: Path) -> None:
    calls: list[str] = []

    def save(upload: object) -> dict[str, int]:
        calls.append("")
        return {"number": len(calls)}

    for values in ({}, {"ledger": str(tmp_path / "ledger.db")}):
        calls.clear()
        site = Site(values, on_upload=save)
        body = callback_body(site.sign(filename="a.txt", size=6), size=6)
        repeats = [body, body, changed(body, x="1"), changed(body, reqId="other"), changed(body, clientIp="192.0.2.1")]
        responses = [site.report(repeat).json for repeat in repeats]
        responses += [site.report(as_json(body), "application/json").json]
        site.clock.advance(12 * 3600)
        assert [*responses, site.report(body).json] == [{"Status": "Ok", "number": 1}] * 7


def test_a_repeated_report_with_an_expired_ticket_is_refused() -> None:
    site = Site()
    body = callback_body(site.sign(filename="a.txt", size=6), size=6)
    assert site.report(body).status_int == 200
    site.clock.advance(300 + 12 * 3600 + 1)
    assert site.report(body).status_int == 403
    assert len(site.uploads) == 1


@pytest.mark.parametrize("file", [False, True], ids=["memory", "file"])
def test_simultaneous_repeats_are_handled_once(file: bool, tmp_path: Path) -> None:
    values = {"ledger": str(tmp_path / "ledger.db")} if file else {}
    site = Site(values)
    body = callback_body(site.sign(filename="a.txt", size=6), size=6)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda _: site.report(body), range(AT_ONCE * 4)))
    assert {answer.text for answer in answers if answer.status_int == 200} == {'{"Status": "Ok"}'}
    # While one is handled and one waits, the others are sent away.
    assert {answer.headers.get("Retry-After") for answer in answers if answer.status_int != 200} <= {"1"}
    assert {answer.status_int for answer in answers} <= {200, 503}
    assert site.report(body).json == {"Status": "Ok"}
    assert len(site.uploads) == 1


@pytest.mark.parametrize("file", [False, True], ids=["memory", "file"])
def test_repeats_of_a_slow_report_hold_two_threads(file: bool, tmp_path: Path) -> None:
    started, release = threading.Event(), threading.Event()

    def save(upload: object) -> None:
        started.set()
        assert release.wait(60)

    values = {"ledger": str(tmp_path / "ledger.db")} if file else {}
    site = Site(values, on_upload=save)
    body = callback_body(site.sign(filename="a.txt", size=6), size=6)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        first = pool.submit(site.report, body)
        assert started.wait(60)
        repeats = [pool.submit(site.report, body) for _ in range(AT_ONCE - 1)]
        sent_away = []
        for repeat in as_completed(repeats, timeout=60):
            sent_away.append(repeat.result())
            if len(sent_away) == AT_ONCE - 2:
                break
        release.set()
        assert first.result().status_int == 200
    assert {answer.status_int for answer in sent_away} == {503}
    assert {answer.headers["Retry-After"] for answer in sent_away} == {"1"}
    # The one that waited has the response, or was refused after the ledger's 4 s on a busy machine.
    assert sorted(repeat.result().status_int for repeat in repeats)[1:] == [503] * (AT_ONCE - 2)


@pytest.mark.parametrize("file", [False, True], ids=["memory", "file"])
@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_handler_that_exits_is_500_and_the_next_report_is_handled(
    kind: type[BaseException], file: bool, tmp_path: Path
) -> None:
    errors: list[BaseException | None] = [kind("its own"), None]

    def save(upload: object) -> None:
        error = errors.pop(0)
        if error is not None:
            raise error

    site = Site({"ledger": str(tmp_path / "ledger.db")} if file else {}, on_upload=save)
    body = callback_body(site.sign(filename="a.txt", size=6), size=6)
    assert [site.report(body).status_int for _ in range(3)] == [500, 200, 200]
    assert errors == []


@pytest.mark.parametrize("file", [False, True], ids=["memory", "file"])
def test_a_second_etag_of_an_object_that_cannot_be_overwritten_is_409(file: bool, tmp_path: Path) -> None:
    site = Site({"ledger": str(tmp_path / "ledger.db")} if file else {})
    body = callback_body(site.sign(filename="a.txt", size=6), size=6)
    assert site.report(body).status_int == 200
    refusal = site.report(changed(body, etag="F" * 32))
    assert (refusal.status_int, set(refusal.json)) == (409, {"error"})
    assert site.report(body).json == {"Status": "Ok"}
    assert len(site.uploads) == 1


@pytest.mark.parametrize("exact", [True, False], ids=["overwriting allowed", "prefix"])
def test_a_second_etag_is_handled_where_the_object_may_be_overwritten(exact: bool) -> None:
    site = Site(authorize=lambda request: Grant(forbid_overwrite=not exact))
    signed = site.sign(filename="a.txt", size=6) if exact else site.sign()
    body = callback_body(signed, size=6, filename="a.txt")
    assert [site.report(changed(body, etag=letter * 32)).status_int for letter in "EFE"] == [200] * 3
    assert len(site.uploads) == 2


@contextmanager
def served(tmp_path: Path, *arguments: str, secret: str = "s" * 32) -> Iterator[int]:
    """Run server.py for a real bucket, with our own key instead of OSS's, and yield its port."""
    (tmp_path / "key.pem").write_text(OSS.pem)
    with running_server(
        *arguments,
        OSS_BUCKET=VALUES["bucket"],
        OSS_REGION=VALUES["region"],
        OSS_ACCESS_KEY_ID=VALUES["access_key_id"],
        OSS_ACCESS_KEY_SECRET=VALUES["access_key_secret"],
        OSS_CALLBACK_URL=VALUES["callback_url"],
        OSS_ALLOW_ANONYMOUS="on",
        OSS_TRUSTED_KEYS=f"{OSS.url}={tmp_path / 'key.pem'}",
        OSS_TICKET_SECRET=secret,
    ) as server:
        yield urlsplit(server.url).port or 0


def test_the_ledger_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    with served(tmp_path, "--ledger", str(ledger)) as port:
        signed = sign(port, filename="a.txt")
        body = callback_body(signed, size=6)
        other = callback_body(signed, size=6, etag="E" * 32)  # the form forbids to overwrite, so OSS never has this one
        assert report(port, body) == (200, {"Status": "Ok"})
    with served(tmp_path, "--ledger", str(ledger)) as port:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            assert {status for status, _ in pool.map(lambda _: report(port, body), range(AT_ONCE))} == {200}
        assert report(port, other)[0] == 409, "the ledger knows the upload of the ticket"
    with closing(sqlite3.connect(ledger)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM answers").fetchone() == (1,)
    with served(tmp_path) as port:
        assert report(port, other)[0] == 200, "a ledger in memory forgets, as the log says at the start"


def test_a_report_under_another_secret_is_refused(tmp_path: Path) -> None:
    with served(tmp_path) as port:
        body = callback_body(sign(port, filename="a.txt"), size=6)
    with served(tmp_path, secret="n" * 32) as port:
        assert report(port, body)[0] == 403
    with served(tmp_path, secret=f"{'n' * 32},{'s' * 32}") as port:
        assert report(port, body)[0] == 200


@pytest.mark.parametrize(("place", "runs"), [("before", 1), ("after", 2)])
def test_after_a_kill_in_the_handler_the_next_report_is_handled(place: str, runs: int, tmp_path: Path) -> None:
    """A handler that is killed before its work runs once, after it twice: the ledger cannot know."""
    with RecordingSite(tmp_path) as site:
        body = new_report(site.port)
        (tmp_path / "die").write_text(place)
        with pytest.raises(OSError):
            report(site.port, body)
        assert site.wait() == -signal.SIGKILL

    def report_until_answered(number: int) -> tuple[int, dict[str, Any]]:
        while (answer := report(site.port, body))[0] == 503:  # one is handled and one waits
            pass
        return answer

    with RecordingSite(tmp_path) as site:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(report_until_answered, range(AT_ONCE)))
        assert {status for status, _ in answers} == {200}
        assert len({answer["run"] for _, answer in answers}) == 1
        assert len(site.runs()) == runs
        assert answers[0][1]["run"] in site.runs()


def test_a_kill_under_load_loses_and_repeats_no_answered_upload(tmp_path: Path) -> None:
    answered: dict[bytes, str] = {}

    def post(body: bytes) -> None:
        try:
            status, answer = report(site.port, body)
        except OSError:
            return
        assert status == 200
        answered[body] = answer["run"]
        if len(answered) >= 20 and not before:
            (tmp_path / "die").write_text("after")

    before: dict[bytes, str] = {}
    with RecordingSite(tmp_path) as site:
        bodies = [new_report(site.port, number) for number in range(60)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(post, bodies))
        assert site.wait() == -signal.SIGKILL
        assert set(answered.values()) <= set(site.runs())
        before |= answered
        assert 20 <= len(before) < len(bodies)
    with RecordingSite(tmp_path) as site:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(post, bodies))
        assert len(answered) == len(bodies)
        assert {body: answered[body] for body in before} == before, "an answered upload is not handled again"
        # At the kill, each thread may have handled one upload without a response.
        assert len(site.runs()) - len(bodies) <= 8
        assert len(site.runs_by_object()) == len(bodies)
