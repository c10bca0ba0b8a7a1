"""Checks of `doctor` that ask OSS about the bucket, on a local OSS and on a server that answers as the test says."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from local_oss import CORSRule
from oss_wsgi.cli.doctor import oss
from oss_wsgi.cli.doctor.context import CheckContext, Finding
from oss_wsgi.cli.http_client import Response

from ...support.deployment import ORIGIN, Deployment, deployed
from ...support.running_server import REAL_BUCKET
from ...support.server_threads import serving_application
from .runs import finding_of, run_doctor

pytestmark = pytest.mark.slow

DENIED = "<Error><Code>AccessDenied</Code><Message>No.</Message>{}</Error>"


@contextlib.contextmanager
def oss_answering(document: str, status: int = 403) -> Iterator[dict[str, str]]:
    """Start a server in place of OSS that gives this answer to every request, and yield the settings for it."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
        start_response(f"{status} Answered", [("x-oss-request-id", "1"), ("Content-Length", str(len(document)))])
        return [document.encode()]

    with serving_application(application) as url:
        yield REAL_BUCKET | {"OSS_HOST": url}


def only_finding(check: Any, environ: dict[str, str]) -> Finding:
    (finding,) = check(CheckContext(environ))
    assert isinstance(finding, Finding)
    return finding


@pytest.mark.parametrize(
    ("endpoint", "colour", "fix"),
    [
        ("oss-cn-beijing.aliyuncs.com", "red", "Set OSS_REGION=cn-beijing."),
        ("oss-cn-hangzhou.aliyuncs.com", "green", ""),
        ("oss-cn-hangzhou-internal.aliyuncs.com", "green", ""),
    ],
)
def test_the_region_is_that_of_the_endpoint_in_the_refusal(endpoint: str, colour: str, fix: str) -> None:
    with oss_answering(DENIED.format(f"<Endpoint>{endpoint}</Endpoint>")) as environ:
        finding = only_finding(oss.check_region, environ)
    assert (finding.colour, finding.fix) == (colour, fix)


def test_an_acceleration_endpoint_tells_no_region() -> None:
    with oss_answering(DENIED.format("<Endpoint>oss-accelerate.aliyuncs.com</Endpoint>")) as environ:
        assert only_finding(oss.check_region, environ).colour == "yellow"


@pytest.mark.parametrize(
    ("document", "fix"),
    [
        ("<Error><Code>InvalidArgument</Code><EC>0002-00000701</EC></Error>", "oss-wsgi explain 0002-00000701"),
        ("<html>", "another server may answer there"),
    ],
)
def test_the_fix_for_a_refused_form_says_where_to_read_on(document: str, fix: str) -> None:
    with oss_answering(document) as environ:
        fix_text = only_finding(oss.check_v4, environ).fix
    assert fix in fix_text
    assert fix_text[0].isupper()
    assert fix_text.endswith(".")


def context_with_response(body: str, host: str, **headers: str) -> CheckContext:
    """Return a context whose unsigned request got this answer, 1,000 seconds after 1970 began."""
    settings = {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou", "OSS_HOST": host}
    settings |= {"OSS_ACCESS_KEY_ID": "ID", "OSS_ACCESS_KEY_SECRET": "secret"}
    context = CheckContext(settings)
    message = Message()
    for name, value in headers.items():
        message[name] = value
    context.unsigned_response = Response(403, message, body.encode(), 0.1, 1000.0)
    return context


def test_the_region_is_that_of_the_host_if_nothing_can_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_oss_v2", None)
    denied = DENIED.format("")
    (finding,) = oss.check_region(context_with_response(denied, "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"))
    assert finding.message == "the bucket is in cn-hangzhou"
    (finding,) = oss.check_region(context_with_response(denied, "https://files.example.com"))
    assert "this needs the official SDK" in finding.message


def test_the_clock_is_compared_with_the_time_of_the_answer() -> None:
    context = context_with_response("", "https://files.example.com", Date="Thu, 01 Jan 1970 00:16:40 GMT")
    (finding,) = oss.check_clock(context)
    assert (finding.colour, "clock is 0 s" in finding.message) == ("green", True)


@pytest.mark.parametrize(("apart", "colour"), [(3600, "red"), (-3600, "red"), (200, "yellow")])
def test_a_wrong_clock_is_found(apart: int, colour: str, tmp_path: Path) -> None:
    with deployed(tmp_path, oss={"clock": lambda: time.time() - apart}) as deployment:
        finding = finding_of("clock", deployment.environ, colour)
    assert ("ahead of" if apart > 0 else "behind") in finding["said"]
    assert "NTP" in finding["fix"]


def test_a_wrong_region_is_red_and_the_fix_names_the_right_one(deployment: Deployment) -> None:
    environ = deployment.environ | {"OSS_REGION": "cn-beijing"}
    assert finding_of("region", environ)["fix"] == "Set OSS_REGION=cn-hangzhou."
    assert "OSS refused a form" in finding_of("v4", environ)["said"]


def test_a_missing_bucket_is_red(deployment: Deployment) -> None:
    host = deployment.oss.host.replace(deployment.oss.bucket, "another-bucket")
    environ = deployment.environ | {"OSS_BUCKET": "another-bucket", "OSS_HOST": host}
    assert "there is no bucket" in finding_of("bucket", environ)["said"]


def test_a_host_whose_path_names_another_bucket_is_red(deployment: Deployment) -> None:
    message = finding_of("bucket", deployment.environ | {"OSS_BUCKET": "nobucket"})["said"]
    assert message == f"OSS_BUCKET is nobucket, but the path of {deployment.oss.host} names {deployment.oss.bucket}"


def test_a_host_that_is_not_oss_is_red(deployment: Deployment) -> None:
    assert "does not answer as OSS" in finding_of("bucket", deployment.environ | {"OSS_HOST": deployment.url})["said"]


def test_the_v4_check_sends_no_callback(tmp_path: Path) -> None:
    with deployed(tmp_path, oss={"allow_private_callback": False}) as deployment:
        assert "accepts V4 signatures" in finding_of("v4", deployment.environ, "green")["said"]
        assert "0007-00000008" in finding_of("write", deployment.environ)["said"]


V1 = {"OSS_SIGNATURE_VERSION": "v1"}


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (1756684799, "for accounts made since 2025-03-01 and buckets made since 2025-09-01"),
        (1756684800, "for buckets made since 2025-09-01: this one was made on 2025-09-01"),
    ],
)
def test_signature_version_v1_is_yellow_and_compared_with_the_age_of_the_bucket(
    made: int, text: str, tmp_path: Path
) -> None:
    with deployed(tmp_path, settings=V1) as deployment:
        deployment.oss.storage.delete_bucket(deployment.oss.bucket)
        deployment.oss.storage.create_bucket(deployment.oss.bucket, now=made)
        message = finding_of("v4", deployment.environ, "yellow")["said"]
        assert "OSS_SIGNATURE_VERSION is v1" in message
        assert message.endswith(text)


def test_signature_version_v1_is_yellow_if_nothing_can_ask(
    monkeypatch: pytest.MonkeyPatch, deployment: Deployment
) -> None:
    monkeypatch.setitem(sys.modules, "alibabacloud_oss_v2", None)
    assert "accounts made since" in finding_of("v4", deployment.environ | V1, "yellow")["said"]


def test_a_refused_signature_version_v1_is_red(tmp_path: Path) -> None:
    with deployed(tmp_path, settings=V1, oss={"refuse_v1": True}) as deployment:
        finding = finding_of("v4", deployment.environ)
    assert "EC 0002-00000080" in finding["said"]
    assert "OSS_SIGNATURE_VERSION=v4" in finding["fix"]


@pytest.mark.parametrize(
    ("arguments", "allow", "colour"),
    [
        ((), False, "green"),
        (("--acl", "private"), False, "green"),
        (("--acl", "public-read"), True, "green"),
        (("--acl", "public-read"), False, "red"),
        (("--acl", "public-read-write"), False, "red"),
    ],
)
def test_the_bucket_is_asked_for_a_public_acl(
    arguments: tuple[str, ...], allow: bool, colour: str, tmp_path: Path
) -> None:
    with deployed(tmp_path, oss={"allow_public": allow}) as deployment:
        finding = finding_of("public", deployment.environ, colour, arguments)
    assert ("--allow-public" in finding["fix"]) == (colour == "red")


def test_a_bucket_that_cannot_be_asked_for_a_public_acl_is_yellow(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    acl = ("--acl", "public-read")
    unknown = deployment.environ | {"OSS_ACCESS_KEY_SECRET": "another"}
    assert "SignatureDoesNotMatch" in finding_of("public", unknown, "yellow", acl)["said"]
    monkeypatch.setitem(sys.modules, "alibabacloud_oss_v2", None)
    assert "oss-wsgi[sdk]" in finding_of("public", deployment.environ, "yellow", acl)["fix"]


def test_cors_rules_that_stop_a_page_are_found(deployment: Deployment, tmp_path: Path) -> None:
    environ = deployment.environ | {"OSS_ALLOWED_ORIGINS": f"{ORIGIN},https://new.example.com"}
    finding = finding_of("cors", environ)
    assert finding["fix"] == "Add the rule: `oss-wsgi cors apply 'https://new.example.com'`."
    nothing = deployment.environ | {"OSS_ALLOWED_ORIGINS": "", "OSS_CALLBACK_URL": ""}
    assert "there is no origin to try" in finding_of("cors", nothing, "yellow")["said"]
    hides = CORSRule([ORIGIN, "http://127.0.0.1:*"], expose_headers=())
    with deployed(tmp_path / "other", oss={"cors_rules": [hides]}) as other:
        findings = run_doctor(other.environ, "--only", "cors")
        assert {finding["colour"] for finding in findings} == {"yellow"}
        assert "cannot read the headers ETag" in findings[0]["said"]


def test_the_origin_of_the_callback_url_is_tried_too(deployment: Deployment, tmp_path: Path) -> None:
    own = f"{deployment.url} (taken from OSS_CALLBACK_URL)"
    assert own in run_doctor(deployment.environ, "--only", "cors")[1]["said"]
    with deployed(tmp_path / "others", oss={"cors_rules": [CORSRule([ORIGIN])]}) as others:
        assert "(taken from OSS_CALLBACK_URL)" in finding_of("cors", others.environ, "yellow")["said"]
        alone = others.environ | {"OSS_ALLOWED_ORIGINS": ""}
        assert "(taken from OSS_CALLBACK_URL)" in finding_of("cors", alone)["said"], "there are no other pages"
    with deployed(tmp_path / "none", oss={"cors_rules": []}) as none:
        findings = run_doctor(none.environ, "--only", "cors", status=1)
        assert {finding["colour"] for finding in findings} == {"red"}
        assert f"cors apply '{none.url}'" in findings[1]["fix"]


def test_an_answer_without_a_date_is_yellow() -> None:
    (finding,) = oss.check_clock(context_with_response("", "https://files.example.com"))
    assert (finding.colour, finding.message) == ("yellow", "the bucket's answer has no Date header")


def test_a_bucket_at_another_endpoint_is_red() -> None:
    refusal = DENIED.format("<Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint>")
    host = "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"
    (finding,) = oss.check_bucket(context_with_response(refusal, host))
    assert (finding.colour, finding.fix) == (
        "red",
        "Correct OSS_REGION or OSS_ENDPOINT. "
        "`export OSS_REGION=cn-beijing OSS_ENDPOINT=https://oss-cn-beijing.aliyuncs.com`",
    )
    assert finding.message == f"the bucket is at oss-cn-beijing.aliyuncs.com, not at {host}"


def test_a_missing_region_is_yellow_and_red_for_v4() -> None:
    environ = {"OSS_BUCKET": "examplebucket", "OSS_HOST": "https://files.example.com", "OSS_SIGNATURE_VERSION": "v1"}
    assert only_finding(oss.check_region, environ).colour == "yellow"
    assert only_finding(oss.check_v4, environ).fix == "Set OSS_REGION. `export OSS_REGION=cn-hangzhou`"


def test_a_host_that_stores_a_forbidden_file_is_red() -> None:
    with oss_answering("", status=204) as environ:
        assert only_finding(oss.check_v4, environ).message == "OSS stored a file that the policy forbids"
