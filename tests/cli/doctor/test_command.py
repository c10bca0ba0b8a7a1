"""`oss-wsgi doctor`: what it prints, its options and its exit status."""

from __future__ import annotations

import re
import sys

import pytest

from oss_wsgi.cli.doctor.command import CHECKS

from ...support.deployment import Deployment
from ..command import oss_wsgi
from .runs import run_doctor

pytestmark = pytest.mark.slow


def test_a_good_deployment_is_green_but_for_the_unmeasured_handler(deployment: Deployment) -> None:
    findings = run_doctor(deployment.environ)
    (handler,) = (finding for finding in findings if finding["colour"] != "green")
    assert (handler["check"], handler["colour"]) == ("answer", "yellow")
    assert "not your own handler" in handler["said"]
    assert "doctor --write --handler" in handler["fix"]
    assert {finding["check"] for finding in findings} == set(CHECKS) - {"write"}
    assert {key for finding in findings for key in finding} == {"check", "colour", "said", "fix"}
    bucket = deployment.oss.storage.bucket(deployment.oss.bucket)
    assert bucket.page() == ([], False)


def test_findings_are_printed_in_lines_without_colour_off_a_terminal(deployment: Deployment) -> None:
    message = oss_wsgi("doctor", "--only", "callback", "--only", "key", **deployment.environ).stdout
    assert f"green  callback: {deployment.url}/oss/callback: header, path and body arrive, behind wsgiref" in message
    assert "https://gosspublic.alicdn.com" in message
    assert "512 bits, SHA-256 " in message
    assert "\x1b" not in message


def test_write_is_added_to_the_checks_that_only_names(deployment: Deployment) -> None:
    findings = run_doctor(deployment.environ, "--only", "clock", "--write")
    assert [finding["check"] for finding in findings] == ["clock", "write", "write"]


def test_no_secret_is_printed(deployment: Deployment) -> None:
    environ = deployment.environ
    for broken in ({}, {"OSS_ACCESS_KEY_SECRET": "another-secret"}, {"OSS_REGION": "cn-beijing"}):
        variables = environ | broken
        run = oss_wsgi("doctor", "--write", "--json", status=1 if broken else 0, **variables)
        for name in ("OSS_ACCESS_KEY_SECRET", "OSS_TICKET_SECRET"):
            assert variables[name] not in run.stdout + run.stderr


def test_without_the_sdk_only_region_and_deletion_are_yellow(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_oss_v2", None)  # an import of it fails
    findings = run_doctor(deployment.environ, "--write")
    assert {finding["check"] for finding in findings if finding["colour"] == "yellow"} == {"region", "write"}


def test_without_settings_each_cause_is_printed_once() -> None:
    lines = oss_wsgi("doctor", status=1).stdout.splitlines()
    assert sum("no bucket is set" in line for line in lines) == 2, "once with its fix, once for all that depends on it"
    assert sum("OSS_CALLBACK_URL is not set" in line for line in lines) == 2
    assert sum("export OSS_BUCKET" in line for line in lines) == 1
    assert "`oss-wsgi serve`" in "".join(lines)
    assert [line for line in lines if "not checked: no bucket is set" in line] == [
        "red    host, page, clock, bucket, region, v4, cors, recovery, lifecycle: not checked: no bucket is set"
    ]
    findings = run_doctor({}, status=1)
    assert {finding["check"] for finding in findings} == set(CHECKS) - {"write"}
    assert [finding["check"] for finding in findings if finding["said"] == "no bucket is set"] == ["settings"]


def test_a_check_that_is_run_alone_says_its_cause_in_full() -> None:
    (finding,) = run_doctor({}, "--only", "host", status=1)
    assert finding["said"] == "no bucket is set"


def test_no_line_to_paste_lets_everybody_upload(deployment: Deployment) -> None:
    findings = run_doctor(deployment.environ | {"OSS_ALLOW_ANONYMOUS": ""}, "--only", "settings")
    (fix,) = (finding["fix"] for finding in findings if "OSS_ALLOW_ANONYMOUS" in finding["said"])
    assert "If it has none, pass one" in fix
    assert "OSS_ALLOW_ANONYMOUS=on" not in fix


def test_a_chinese_locale_reads_chinese_and_json_stays_english(deployment: Deployment) -> None:
    chinese = {"LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "utf-8"}
    environ = {**deployment.environ, "OSS_SIGNATURE_VERSION": "v9"}
    output = oss_wsgi("doctor", "--only", "settings", "--only", "key", "--only", "v4", status=1, **environ, **chinese)
    assert "settings: OSS_SIGNATURE_VERSION 必须是 v4 或 v1，不能是 'v9'。\n" in output.stdout
    assert "       修改它指出的变量或选项。然后再试：`oss-wsgi doctor --only settings`。\n" in output.stdout
    assert " 位，SHA-256 " in output.stdout
    assert "未检查：OSS_SIGNATURE_VERSION 缺失或无效" in output.stdout
    json_arguments = ("doctor", "--json", "--only", "settings", "--only", "key")
    runs = [oss_wsgi(*json_arguments, status=1, **environ, **each).stdout for each in ({}, chinese)]
    assert runs[0] == runs[1]


def test_each_finding_of_a_good_deployment_is_in_chinese(deployment: Deployment) -> None:
    chinese = {"LC_ALL": "zh_CN.UTF-8", "PYTHONIOENCODING": "utf-8"}
    lines = oss_wsgi("doctor", "--write", **deployment.environ, **chinese).stdout.splitlines()
    assert len(lines) > len(CHECKS)
    assert [line for line in lines if not re.search("[一-鿿]", line)] == []
