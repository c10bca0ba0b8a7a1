"""A replayer repeats genuine reports after a restart, and after a kill under load.

tests/ledger/contract.py has repeats in one process; tests/ledger kills the ledgers alone at every step.
"""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from oss_wsgi.testing import callback_body

from ..support.callbacks import without_signed_id
from ..support.running_server import running_server
from .attacks import OSS, VALUES
from .processes import RecordingSite, new_report, report, sign

AT_ONCE = 16


@contextmanager
def served(tmp_path: Path, *arguments: str) -> Iterator[int]:
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
        OSS_TICKET_SECRET="s" * 32,
    ) as server:
        yield urlsplit(server.url).port or 0


def test_the_ledger_survives_a_restart_of_the_server(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.db"
    with served(tmp_path, "--ledger", str(ledger)) as port:
        signed = sign(port, filename="a.txt")
        body = callback_body(signed, size=6)
        other = callback_body(signed, size=6, etag="E" * 32)  # the form forbids to overwrite, so OSS never has this one
        status, answer = report(port, body)
        assert (status, without_signed_id(answer)) == (200, {"Status": "Ok"})
    with served(tmp_path, "--ledger", str(ledger)) as port:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            assert {status for status, _ in pool.map(lambda _: report(port, body), range(AT_ONCE))} == {200}
        assert report(port, other)[0] == 409, "the ledger knows the upload of the ticket"
    with closing(sqlite3.connect(ledger)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM answers").fetchone() == (1,)
    with served(tmp_path) as port:
        assert report(port, other)[0] == 200, "a ledger in memory forgets, as the log says at the start"


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
            (tmp_path / "die").touch()

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
