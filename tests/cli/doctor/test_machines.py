"""`doctor --only machines`, as docs/how-to/ticket-secrets.md has it: different secrets or ledgers behind one URL."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi import DirectUpload, Settings
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.middleware.probe import secret_fingerprint
from oss_wsgi.testing import FrozenClock

from ...support.deployment import deployed, not_found
from ...support.running_server import REAL_BUCKET
from .runs import run_doctor

pytestmark = pytest.mark.slow

ONE, OTHER, THIRD = "1" * 32, "2" * 32, "3" * 32


def alternating(environ: dict[str, str], *secrets: str) -> Any:
    """Return a load balancer: each request goes to the next machine; each machine has its own secrets."""

    def front(app: Any) -> Any:
        settings = [Settings.from_environ({**environ, "OSS_TICKET_SECRET": each}) for each in secrets]
        turns = itertools.cycle([app, *(DirectUpload(not_found, each) for each in settings)])
        return lambda environ, start_response: next(turns)(environ, start_response)

    return front


#: What the further machines need: their callbacks are never verified here.
OTHERS = REAL_BUCKET | {"OSS_ALLOW_ANONYMOUS": "on"}


def machines_finding(tmp_path: Path, here: str, first: str, *others: str, colour: str = "red") -> dict[str, str]:
    """Return what is said of the secrets of machines that share their ledger."""
    front = alternating(OTHERS | {"OSS_LEDGER": str(tmp_path / "ledger.sqlite3")}, *others)
    with deployed(tmp_path, front=front, settings={"OSS_TICKET_SECRET": first}) as deployment:
        environ = deployment.environ | {"OSS_TICKET_SECRET": here}
        return secrets_finding(environ, colour)


def secrets_finding(environ: dict[str, str], colour: str = "red") -> dict[str, str]:
    findings = run_doctor(environ, "--only", "machines", status=1 if colour == "red" else 0)
    (finding,) = (finding for finding in findings if "one ledger" not in finding["said"])
    assert finding["colour"] == colour
    return finding


@pytest.mark.parametrize(
    ("first", "others"),
    [
        pytest.param(ONE, [OTHER], id="two machines"),
        pytest.param(ONE, [ONE, ONE, OTHER], id="one of four"),
        pytest.param(OTHER, [ONE], id="the first that answers has the other one"),
        pytest.param(ONE, [""], id="one has none"),
    ],
)
def test_machines_with_other_secrets_are_red(first: str, others: list[str], tmp_path: Path) -> None:
    finding = machines_finding(tmp_path, ONE, first, *others)
    assert "reached a machine that does not have the ticket secret set here" in finding["said"]
    assert secret_fingerprint(ONE) in finding["said"]
    assert "`export OSS_TICKET_SECRET=" in finding["fix"]
    for secret in (ONE, OTHER):
        assert secret not in str(finding)


def test_a_machine_that_seals_with_what_another_cannot_open_is_red(tmp_path: Path) -> None:
    finding = machines_finding(tmp_path, ONE, ONE, f"{OTHER},{ONE}")
    sealing, opening = secret_fingerprint(OTHER), secret_fingerprint(ONE)
    assert f"one seals with {sealing}, another opens only {opening}" in finding["said"]
    assert "`export OSS_TICKET_SECRET=" in finding["fix"]


@pytest.mark.parametrize(
    ("first", "others"),
    [
        pytest.param(ONE, [ONE, ONE], id="the same"),
        pytest.param(f"{ONE},{OTHER}", [f"{OTHER},{ONE}"], id="within a rotation"),
        pytest.param(ONE, [f"{ONE},{OTHER}"], id="the first step of a rotation"),
    ],
)
def test_machines_that_understand_each_other_are_green(first: str, others: list[str], tmp_path: Path) -> None:
    finding = machines_finding(tmp_path, ONE, first, *others, colour="green")
    assert secret_fingerprint(ONE) in finding["said"]


def test_machines_follow_their_files(tmp_path: Path) -> None:
    """Each machine has its own file; the one that is rotated alone is found, and well again when all are."""
    files = [tmp_path / name for name in ("one", "other", "here")]
    for file in files:
        file.write_text(ONE, encoding="ascii")
    clock = FrozenClock(time.time())

    def front(app: Any) -> Any:
        shared = {**OTHERS, "OSS_LEDGER": str(tmp_path / "ledger.sqlite3")}
        settings = [Settings.from_environ({**shared, "OSS_TICKET_SECRET_FILE": str(file)}) for file in files[:2]]
        machines = itertools.cycle([DirectUpload(not_found, each, clock=clock) for each in settings])
        return lambda environ, start_response: next(machines)(environ, start_response)

    with deployed(tmp_path, front=front) as deployment:
        environ = deployment.environ | {"OSS_TICKET_SECRET": "", "OSS_TICKET_SECRET_FILE": str(files[2])}
        assert secret_fingerprint(ONE) in secrets_finding(environ, "green")["said"]
        files[0].write_text(f"{OTHER}\n{ONE}\n", encoding="ascii")
        clock.advance(10)
        finding = secrets_finding(environ)
        assert f"one seals with {secret_fingerprint(OTHER)}" in finding["said"]
        assert "OSS_TICKET_SECRET_FILE" in finding["fix"]
        for file in files[1:]:
            file.write_text(f"{OTHER}\n{ONE}\n", encoding="ascii")
        clock.advance(10)
        assert secret_fingerprint(OTHER) in secrets_finding(environ, "green")["said"]
        files[2].write_text("short", encoding="ascii")
        findings = run_doctor(environ, "--only", "settings", status=1)
        assert "line 1 has fewer than 32 characters" in findings[0]["said"]


def test_where_no_machine_knows_the_secret_the_callback_is_to_blame(tmp_path: Path) -> None:
    assert "not checked" in machines_finding(tmp_path, THIRD, ONE, OTHER, colour="yellow")["said"]


def test_without_a_secret_nothing_is_checked(tmp_path: Path) -> None:
    assert machines_finding(tmp_path, "", ONE, OTHER, colour="yellow")["said"].startswith("not checked: ")


def ledgers_findings(tmp_path: Path, ledger: str, status: int) -> list[dict[str, str]]:
    """Return what is said of the ledgers of two machines, the second of which has the one named."""
    front = alternating(OTHERS | {"OSS_LEDGER": ledger}, ONE)
    with deployed(tmp_path, front=front, settings={"OSS_TICKET_SECRET": ONE}) as deployment:
        findings = run_doctor(deployment.environ, "--only", "machines", status=status)
    return [finding for finding in findings if "ledger" in finding["said"]]


@pytest.mark.parametrize("name", ["other.sqlite3", ""], ids=["a file of its own", "memory"])
def test_machines_with_different_ledgers_are_red_with_the_fix(name: str, tmp_path: Path) -> None:
    (finding,) = ledgers_findings(tmp_path, name and str(tmp_path / name), 1)
    assert "have different ledgers" in finding["said"]
    assert "`export OSS_LEDGER=postgresql://" in finding["fix"]


def test_machines_that_share_a_ledger_are_green_however_they_name_it(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (finding,) = ledgers_findings(tmp_path, str(tmp_path / "link" / "ledger.sqlite3"), 0)
    assert finding["said"].endswith(", which belongs to one machine only")


def test_of_a_ledger_that_does_not_say_where_it_is_nothing_is_said(tmp_path: Path) -> None:
    class Ledger(MemoryLedger):
        place = None  # type: ignore[assignment]

    ledger = Ledger(clock=time.time)
    with deployed(tmp_path, settings={"OSS_TICKET_SECRET": ONE}, app={"ledger": ledger}) as deployment:
        (finding,) = run_doctor(deployment.environ, "--only", "machines")
    assert "ledger" not in finding["said"]
