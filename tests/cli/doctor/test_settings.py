"""Checks of `doctor` on settings, ledger, credentials and public keys."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from oss_wsgi.cli.doctor import settings
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.ledger.place import place_of_server

from ...support.deployment import Deployment, deployed
from ..command import oss_wsgi
from ..key_service import deployed_with_temporary_key
from .runs import finding_of, run_doctor

pytestmark = pytest.mark.slow


def test_all_invalid_settings_are_reported_at_once(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_UPLOAD_DIR": "no-slash", "OSS_BUKET": "x"}
    findings = run_doctor(environ, status=1)
    message = [finding["said"] for finding in findings if finding["check"] == "settings"]
    assert len(message) == 2
    assert {finding["colour"] for finding in findings if finding["check"] == "v4"} == {"green"}, "it needs neither"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"OSS_TICKET_SECRET": ""}, "OSS_TICKET_SECRET is not set", id="no ticket secret"),
        pytest.param({"OSS_CALLBACK_URL": ""}, "no callback", id="no callback"),
        pytest.param({"OSS_LEDGER": ""}, "OSS_LEDGER is not set", id="no ledger"),
        pytest.param({"OSS_ALLOW_ANONYMOUS": ""}, "OSS_ALLOW_ANONYMOUS is off", id="nobody may upload"),
    ],
)
def test_a_missing_setting_that_production_needs_is_yellow(
    change: dict[str, str], message: str, deployment: Deployment
) -> None:
    assert message in finding_of("settings", deployment.environ | change, "yellow")["said"]


SHOP = """
import os
from oss_wsgi import DirectUpload, MemoryLedger, Settings
settings = Settings.from_environ(os.environ)
options = dict(authorize=lambda request: None, on_upload=lambda upload: None)
application = DirectUpload(lambda environ, start: [], settings, forms="inject", **options)
deaf = DirectUpload(lambda environ, start: [], settings, ledger=MemoryLedger(clock=lambda: 0.0))
two = [application, deaf]
"""


def findings_of_application(name: str, environ: dict[str, str], folder: Path, status: int = 0) -> dict[str, list[str]]:
    """Return what `doctor --app` says of the settings, by colour."""
    (folder / "shop.py").write_text(SHOP)
    command = ["doctor", "--app", name, "--only", "settings", "--json"]
    process = oss_wsgi(*command, status=status, cwd=folder, **environ)
    found: dict[str, list[str]] = {}
    for finding in json.loads(process.stdout):
        found.setdefault(finding["colour"], []).append(finding["said"])
    return found


def test_an_application_shows_who_may_upload_and_what_it_hears(deployment: Deployment, tmp_path: Path) -> None:
    found = findings_of_application("shop:application", {**deployment.environ, "OSS_ALLOW_ANONYMOUS": ""}, tmp_path)
    assert set(found) == {"green"}
    said = "; ".join(found["green"])
    for part in ("an authorize callable decides", "gets each upload", "(forms='inject')", "SQLiteLedger can be"):
        assert part in said


def test_an_application_without_any_of_it_is_told_what_it_lacks(deployment: Deployment, tmp_path: Path) -> None:
    environ = {**deployment.environ, "OSS_ALLOW_ANONYMOUS": ""}
    found = findings_of_application("shop:deaf", environ, tmp_path, status=1)
    assert found["red"][0].startswith("nobody gets a signature")
    assert [said.partition(":")[0] for said in found["yellow"]] == [
        "OSS_LEDGER is not set",
        "the application hears of no upload",
    ]
    found = findings_of_application("shop:deaf", deployment.environ, tmp_path)
    assert any(said.startswith("anybody may upload") for said in found["yellow"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--app", "shop:two"], "shop:two is a list, not a DirectUpload"),
        (["--app", "shop:nothing"], "shop:nothing cannot be loaded"),
        (["--app", "shop:application", "--bucket", "b"], "has settings of its own: leave out --bucket"),
    ],
)
def test_an_application_that_cannot_be_checked_is_misuse(
    words: list[str], message: str, deployment: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    process = oss_wsgi("doctor", *words, status=2, cwd=tmp_path, **deployment.environ)
    assert message in process.stderr


def test_anonymous_uploads_to_a_real_bucket_are_yellow(deployment: Deployment) -> None:
    real = {"OSS_HOST": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"}
    assert "anybody may upload" in finding_of("settings", deployment.environ | real, "yellow")["said"]


def test_an_unusable_ledger_is_red_and_none_is_created(deployment: Deployment, tmp_path: Path) -> None:
    (tmp_path / "no-ledger").write_text("hello")
    for path in (tmp_path / "no-ledger", tmp_path / "no-folder" / "ledger"):
        assert "the ledger" in finding_of("settings", deployment.environ | {"OSS_LEDGER": str(path)})["said"].lower()
    environ = deployment.environ | {"OSS_LEDGER": str(tmp_path / "not-yet")}
    run_doctor(environ, "--only", "settings")
    assert not (tmp_path / "not-yet").exists(), "a check creates none"


def test_a_file_that_can_be_written_to_belongs_to_this_machine(deployment: Deployment) -> None:
    findings = run_doctor(deployment.environ, "--only", "settings")
    (said,) = (finding["said"] for finding in findings if "ledger" in finding["said"])
    assert (
        said == f"the ledger {deployment.environ['OSS_LEDGER']!r} can be written to, and belongs to this machine only"
    )


def test_the_ledger_of_a_server_has_a_fingerprint_and_no_password(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ledger(MemoryLedger):
        place = place_of_server("postgresql", "db.example", None, "shop")  # type: ignore[assignment]

    monkeypatch.setattr(settings, "ledger_from", lambda *_, **__: Ledger(clock=time.time))
    environ = deployment.environ | {"OSS_LEDGER": "postgresql://app:pass-word@db.example/shop"}
    (said,) = (each["said"] for each in run_doctor(environ, "--only", "settings") if "ledger" in each["said"])
    assert said == f"the ledger postgresql://db.example/shop can be written to, fingerprint {Ledger.place.fingerprint}"


def test_no_bucket_is_red() -> None:
    assert "no bucket" in finding_of("settings", {})["said"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"OSS_ACCESS_KEY_ID": "", "OSS_ACCESS_KEY_SECRET": ""}, "there is no access key", id="none"),
        pytest.param({"OSS_ACCESS_KEY_ID": "LTAInobody"}, "not accept the key: InvalidAccessKeyId", id="unknown"),
        pytest.param({"OSS_ACCESS_KEY_SECRET": "wrong"}, "the secret does not belong to", id="a wrong secret"),
        pytest.param({"OSS_ACCESS_KEY_ID": "STS.Nobody"}, "without its token", id="a temporary one without its token"),
    ],
)
def test_credentials_that_oss_refuses_are_red(change: dict[str, str], message: str, deployment: Deployment) -> None:
    assert message in finding_of("credentials", deployment.environ | change)["said"]


def test_a_temporary_key_is_yellow_and_an_expired_one_red(tmp_path: Path) -> None:
    token = {"OSS_SESSION_TOKEN": "token"}
    with deployed(tmp_path, oss={"security_token": "token"}, settings=token) as deployment:
        assert "temporary key" in finding_of("credentials", deployment.environ, "yellow")["said"]
    expired = {"security_token": "token", "security_token_expires": time.time() - 1}
    with deployed(tmp_path, oss=expired, settings=token) as deployment:
        assert "SecurityTokenExpired" in finding_of("credentials", deployment.environ)["said"]


@pytest.mark.parametrize(
    ("minutes", "colour", "message"),
    [
        (50, "green", "its provider renews it"),
        (9, "yellow", "its signatures expire with it"),
        (-5, "red", "no access key"),
    ],
)
def test_a_key_from_the_official_library_shows_when_it_expires(
    minutes: int, colour: str, message: str, tmp_path: Path
) -> None:
    with deployed_with_temporary_key(tmp_path, minutes=minutes) as deployment:
        # The library reads the environment once for each process.
        arguments = ("doctor", "--json", "--only", "credentials", "--only", "v4", "--credentials-library")
        output = oss_wsgi(*arguments, status=colour == "red", **deployment.environ).stdout
    key_finding, v4_finding = json.loads(output)
    assert key_finding["colour"] == colour
    assert message in key_finding["said"]
    assert v4_finding["colour"] == ("red" if colour == "red" else "green")


def test_the_official_library_without_a_key_prints_nothing_itself(deployment: Deployment, tmp_path: Path) -> None:
    environ = deployment.environ | {"OSS_ACCESS_KEY_ID": "", "OSS_ACCESS_KEY_SECRET": "", "HOME": str(tmp_path)}
    environ["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] = "true"
    process = oss_wsgi("doctor", "--only", "credentials", "--credentials-library", status=1, **environ)
    assert "there is no access key" in process.stdout
    assert process.stderr == ""


def test_an_additional_trusted_key_is_yellow_for_a_real_bucket(deployment: Deployment) -> None:
    real = {"OSS_HOST": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"}
    assert "is trusted besides OSS's own" in finding_of("key", deployment.environ | real, "yellow")["said"]
    missing = {"OSS_TRUSTED_KEYS": "http://127.0.0.1/key.pem=/no/such/file"}
    assert "cannot be read" in finding_of("key", deployment.environ | missing)["said"]
