"""The check of `doctor` on uploads in parts: rights, lifecycle rule, CORS for PUT, and an upload of two parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local_oss import CORSRule
from local_oss.operations.lifecycle import read_rules
from oss_wsgi.cli.doctor import rights, write
from oss_wsgi.cli.doctor.context import CheckContext, Finding
from oss_wsgi.exceptions import BucketRefusedError

from ...support.deployment import ORIGIN, Deployment, deployed, set_lifecycle_rule
from ..command import oss_wsgi
from .runs import run_doctor

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("patient")]


CORS = CORSRule([ORIGIN, "http://127.0.0.1:*"], ("POST", "PUT"), expose_headers=("ETag", "x-oss-request-id"))


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with deployed(tmp_path, settings={"OSS_MULTIPART": "on", "OSS_UPLOAD_DIR": "user/"}) as deployment:
        yield deployment


def findings(deployment: Deployment, **environ: str) -> list[tuple[str, str]]:
    checked = rights.check_parts(CheckContext({**deployment.environ, **environ}))
    return [(finding.colour, finding.message) for finding in checked]


def set_rule(deployment: Deployment, days: int, prefix: str = "user/", **members: Any) -> None:
    """Let the bucket have one lifecycle rule, which aborts uploads in parts."""
    abort = ("LifecycleRuleAbortMultipartUpload", days)
    set_lifecycle_rule(deployment, prefix, abort_multipart_upload=abort, **members)


def test_rights_and_a_rule_that_are_there_are_green(deployment: Deployment) -> None:
    set_rule(deployment, 7, prefix="")
    assert findings(deployment) == [
        ("green", "the key may HEAD objects (oss:GetObject)"),
        ("green", "the key may list parts (oss:ListParts)"),
        ("green", "the key may abort uploads in parts (oss:AbortMultipartUpload)"),
        ("green", "OSS removes unfinished parts under user/ after 7 days"),
    ]


def test_while_parts_are_off_nothing_is_asked(deployment: Deployment) -> None:
    ((colour, message),) = findings(deployment, OSS_MULTIPART="off", OSS_HOST="http://127.0.0.1:1/examplebucket")
    assert (colour, message) == ("green", "OSS_MULTIPART is off: each file is one form of 5 GB at most")


@pytest.mark.parametrize(
    ("method", "right"),
    [("list_parts", "oss:ListParts"), ("abort", "oss:AbortMultipartUpload"), ("head", "oss:GetObject")],
)
def test_a_missing_right_is_red_and_named(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, method: str, right: str
) -> None:
    def refuse(self: Any, *arguments: Any) -> Any:
        raise BucketRefusedError("bucket_refused", "OSS answered 403 AccessDenied", code="AccessDenied")

    monkeypatch.setattr(rights.SDKBucket, method, refuse)
    red: list[Finding] = [
        finding for finding in rights.check_parts(CheckContext(deployment.environ)) if finding.colour == "red"
    ]
    assert [finding.fix.partition(": ")[0] for finding in red] == [f"Grant the access key {right}"]


@pytest.mark.parametrize("members", [None, {"status": "Disabled"}, {"prefix": "user/eric/"}, {"tags": "some"}])
def test_a_rule_that_is_missing_is_yellow_and_printed(deployment: Deployment, members: dict[str, Any] | None) -> None:
    if members is not None:
        if "tags" in members:
            sdk = pytest.importorskip("alibabacloud_oss_v2")
            members = {"tags": [sdk.Tag(key="a", value="b")]}
        set_rule(deployment, 7, **members)
    rule = list(rights.check_parts(CheckContext(deployment.environ)))[-1]
    assert rule.colour == "yellow"
    assert "no lifecycle rule removes unfinished parts under user/" in rule.message
    assert "Files with Specified Prefix: user/, Delete Parts: Validity Period (Days): 7" in rule.fix
    assert "<Prefix>user/</Prefix>" in rule.fix
    assert "<AbortMultipartUpload><Days>7</Days></AbortMultipartUpload>" in rule.fix


def test_the_printed_rule_is_one_that_oss_takes_and_obeys(deployment: Deployment) -> None:
    rule = list(rights.check_parts(CheckContext(deployment.environ)))[-1].fix.split("`")[1]
    (read,) = read_rules(f"<LifecycleConfiguration>{rule}</LifecycleConfiguration>".encode())
    assert read.abort is not None
    week = 7 * 24 * 3600
    assert (read.prefix, read.abort(0, week), read.abort(1, week)) == ("user/", True, False)


def test_a_rule_that_is_too_early_is_yellow(deployment: Deployment) -> None:
    set_rule(deployment, 3)
    early = list(rights.check_parts(CheckContext(deployment.environ)))[-1]
    assert (early.colour, "after 3 days, but a page may continue an upload for 7" in early.message) == (
        "yellow",
        True,
    )
    assert early.fix == "Set its days to 7 or more in the console, Data Management > Lifecycle."


def test_signature_v1_leaves_the_length_open(deployment: Deployment) -> None:
    colour, message = findings(deployment, OSS_SIGNATURE_VERSION="v1")[0]
    assert (colour, "does not sign the length of a part" in message) == ("yellow", True)


def test_write_uploads_two_parts_and_removes_them(deployment: Deployment) -> None:
    written = run_doctor(deployment.environ, "--only", "write")
    assert written[-2]["said"].endswith(".txt was stored in two parts")
    assert written[-1]["said"].endswith("was deleted")
    bucket = deployment.oss.storage.bucket(deployment.oss.bucket)
    assert bucket.page()[0] == []
    assert bucket.uploads() == []


@pytest.mark.parametrize("version", ["v1", "v4"])
def test_a_part_that_is_refused_leaves_nothing(deployment: Deployment, version: str) -> None:
    real = write.ask_oss

    def fail(method: str, *arguments: Any, **options: Any) -> Any:
        deployment.oss.fail_next("slow_down")
        return real(method, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "ask_oss", fail)
        context = CheckContext({**deployment.environ, "OSS_SIGNATURE_VERSION": version})
        (finding,) = write.write_parts(context)
    assert (finding.colour, "part 1 of a test upload was refused: 503 SlowDown" in finding.message) == ("red", True)
    assert deployment.oss.storage.bucket(deployment.oss.bucket).uploads() == []


def test_a_refused_begin_names_the_right(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, *arguments: Any) -> Any:
        raise BucketRefusedError("bucket_refused", "no", code="AccessDenied", right="oss:PutObject")

    monkeypatch.setattr(rights.SDKBucket, "begin", refuse)
    (finding,) = write.write_parts(CheckContext(deployment.environ))
    assert (finding.colour, finding.fix) == ("red", "Grant the access key oss:PutObject.")


@pytest.mark.parametrize(
    ("rule", "colour", "message"),
    [
        (CORSRule([ORIGIN, "http://127.0.0.1:*"]), "red", "cannot read OSS's answers to parts (PUT): 403"),
        (
            CORSRule([ORIGIN, "http://127.0.0.1:*"], ("POST", "PUT"), expose_headers=("x-oss-request-id",)),
            "red",
            "without its ETag no part counts as sent",
        ),
        (CORS, "yellow", "cannot read the header x-oss-hash-crc64ecma"),
    ],
)
def test_cors_of_a_put_is_checked(rule: CORSRule, colour: str, message: str, tmp_path: Path) -> None:
    with deployed(tmp_path, oss={"cors_rules": [rule]}, settings={"OSS_MULTIPART": "on"}) as deployment:
        checked = run_doctor(deployment.environ, "--only", "cors", status=1 if colour == "red" else 0)
        assert any(finding["colour"] == colour and message in finding["said"] for finding in checked), checked
        oss_wsgi("cors", "apply", ORIGIN, deployment.url, "--yes", **deployment.environ)
        checked = run_doctor(deployment.environ, "--only", "cors")
        assert all(finding["said"].endswith("may upload, in parts too") for finding in checked), checked
