"""The check of `doctor` on recovery: it tries the rights, and reads the settings."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from oss_wsgi.cli.doctor import rights, write
from oss_wsgi.cli.doctor.context import CheckContext, Finding, NotCheckedError
from oss_wsgi.exceptions import BucketRefusedError

from ...support.deployment import Deployment, deployed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("patient")]


def findings(deployment: Deployment, **environ: str) -> list[Finding]:
    return list(rights.check_recovery(CheckContext({**deployment.environ, **environ})))


def test_rights_that_are_there_are_green(deployment: Deployment) -> None:
    assert [(finding.colour, finding.message) for finding in findings(deployment)] == [
        ("green", "the key may HEAD objects (oss:GetObject)"),
        ("green", "the key may list objects (oss:ListObjects)"),
        (
            "green",
            "receipts are on, and handled uploads are remembered for 7.0 days; OSS_RECOVER is off, so pages do not "
            "ask, and a lost callback stays lost: set OSS_RECOVER=on",
        ),
    ]
    assert "pages ask for lost reports" in findings(deployment, OSS_RECOVER="on")[-1].message


@pytest.mark.parametrize(("recover", "colour"), [("on", "red"), ("off", "yellow")])
def test_a_missing_right_is_named(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, recover: str, colour: str
) -> None:
    def refuse(self: Any, *arguments: Any) -> Any:
        raise BucketRefusedError("bucket_refused", "OSS answered 403 AccessDenied", code="AccessDenied")

    monkeypatch.setattr(rights.SDKBucket, "list", refuse)
    head, listing, _ = findings(deployment, OSS_RECOVER=recover)
    assert head.colour == "green"
    assert (listing.colour, listing.message) == (colour, "the key may not list objects: OSS answered 403 AccessDenied")
    assert "Grant the access key oss:ListObjects" in listing.fix


@pytest.mark.parametrize(
    ("problem", "recover", "colour"), [("ImportError", "on", "red"), ("AttributeError", "off", "yellow")]
)
def test_an_sdk_that_is_installed_and_cannot_be_imported_is_a_finding(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: str, recover: str, colour: str
) -> None:
    (tmp_path / "alibabacloud_oss_v2.py").write_text(f"raise {problem}('no Foo in bar')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "alibabacloud_oss_v2", raising=False)
    broken, *rest = findings(deployment, OSS_RECOVER=recover)
    assert (broken.colour, broken.message) == (
        colour,
        "the official SDK is installed and cannot be imported: no Foo in bar",
    )
    assert "`pip install --force-reinstall 'oss-wsgi[sdk]'`" in broken.fix
    assert all(finding.colour == "green" for finding in rest)
    stored, deleted = write.check_write(CheckContext(deployment.environ))
    assert (stored.colour, deleted.colour) == ("green", "yellow")
    assert "cannot be imported: no Foo in bar" in deleted.message


def test_a_wrong_key_is_told_by_both(deployment: Deployment) -> None:
    head, listing, _ = findings(deployment, OSS_ACCESS_KEY_ID="unknown", OSS_RECOVER="on")
    assert (head.colour, listing.colour) == ("red", "red")
    assert "InvalidAccessKeyId" in head.message
    assert head.fix.startswith("It is not a missing right: run `oss-wsgi explain InvalidAccessKeyId`.")


def test_a_bucket_that_does_not_answer_is_red(tmp_path: Path) -> None:
    with deployed(tmp_path) as deployment:
        pass
    head, listing, _ = findings(deployment)
    assert (head.colour, listing.colour) == ("red", "red")
    assert "firewall" in head.fix


def test_without_a_network_one_row_says_so_and_the_settings_are_still_read(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    offline, settings = findings(deployment, OSS_HOST="https://examplebucket.oss-cn-hangzhou.aliyuncs.com")
    assert (offline.colour, settings.colour) == ("yellow", "green")
    assert offline.message.startswith("not checked, because this machine has no network")


def test_receipts_that_are_off_and_a_short_memory_are_yellow(deployment: Deployment) -> None:
    found = findings(deployment, OSS_RECEIPTS="off", OSS_LEDGER_KEEP="2h")
    assert [finding.colour for finding in found] == ["yellow", "yellow", "green", "green"]
    assert "stays lost" in found[0].message
    assert "2.0 h, less than the 26 h that a sweep looks back" in found[1].message


@pytest.mark.parametrize(("recover", "colour"), [("on", "red"), ("off", "green")])
def test_a_missing_sdk_is_named(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, recover: str, colour: str
) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_oss_v2", None)
    (finding,) = findings(deployment, OSS_RECOVER=recover)
    assert finding.colour == colour
    assert "oss-wsgi[sdk] is not installed" in finding.message
    assert bool(finding.fix) is (recover == "on")
    assert ("a lost callback stays lost: set OSS_RECOVER=on" in finding.message) is (recover == "off")


def test_an_invalid_setting_is_not_checked(deployment: Deployment) -> None:
    with pytest.raises(NotCheckedError, match="OSS_LEDGER_KEEP is missing or invalid"):
        findings(deployment, OSS_LEDGER_KEEP="soon")
