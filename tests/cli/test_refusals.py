"""A refusal is read safely, and what helps after it: the variable, the right of the key, or the region."""

from __future__ import annotations

from pathlib import Path

import pytest

from oss_wsgi.cli.refusals import (
    REACH_OSS,
    OSSRefusal,
    fix_refusal,
    fix_status,
    read_refusal,
    region_of,
    see_also,
)
from oss_wsgi.explanations.rows import CODE_KINDS, rows

from ..support.deployment import Deployment, deployed
from .command import oss_wsgi

DOCUMENT = (
    "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Condition failed: [&quot;eq&quot;]{}</Message>"
    "<EC>0006-00000227</EC><Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint></Error>"
)


def test_a_refusal_has_code_message_number_and_endpoint() -> None:
    refusal = read_refusal(DOCUMENT.format("").encode())
    assert refusal == OSSRefusal(
        "AccessDenied", 'Condition failed: ["eq"]', "0006-00000227", "oss-cn-beijing.aliyuncs.com"
    )
    assert str(refusal) == 'AccessDenied: Condition failed: ["eq"] (EC 0006-00000227)'


@pytest.mark.parametrize("sign", ["\x1b[31m", "&#27;[31m", "&#x1b;[31m", "\x9b31m", "\u202e"])
def test_control_characters_of_a_refusal_are_escaped(sign: str) -> None:
    assert read_refusal(DOCUMENT.format(sign).encode()).message.isprintable()


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"<html>", b"<Error><Code>", b"<Code></Code>"])
def test_another_document_has_no_code(body: bytes) -> None:
    refusal = read_refusal(body)
    assert refusal.code == ""
    assert str(refusal) == "no reason given"


@pytest.mark.parametrize(
    ("refusal", "part"),
    [
        (OSSRefusal("AccessDenied", "must be addressed", "", "oss-cn-beijing.aliyuncs.com"), "OSS_REGION=cn-beijing"),
        (OSSRefusal("AccessDenied", "You have no right", "0003-00000001"), "oss:PutObject on acs:oss:*:*:b/*"),
        (OSSRefusal("AccessDenied", "because of bucket acl.", ""), "oss:PutObject on acs:oss:*:*:b/*"),
        (OSSRefusal("AccessDenied", "Policy expired.", "0006-00000213"), "OSS_UPLOAD_EXPIRES"),
        (OSSRefusal("AccessDenied", "Put public object acl is not allowed", "0016-00000901"), "Block Public Access"),
        (OSSRefusal("AccessDenied", "Access denied by authorizer's policy.", "0003-00000201"), "Deny"),
        (OSSRefusal("InvalidAccessKeyId", "", "0002-00000902"), "OSS_ACCESS_KEY_ID"),
        (OSSRefusal("SignatureDoesNotMatch", "", ""), "OSS_ACCESS_KEY_SECRET"),
        (OSSRefusal("NoSuchBucket", "", ""), "OSS_BUCKET"),
        (OSSRefusal("EntityTooLarge", "", "0099-00000001"), "OSS_UPLOAD_MAX_SIZE"),
        (OSSRefusal("NobodyKnows", "", ""), "oss-wsgi explain"),
    ],
)
def test_a_refusal_has_a_fix(refusal: OSSRefusal, part: str) -> None:
    assert part in fix_refusal(refusal, 403, "oss:PutObject", "acs:oss:*:*:b/*")


def test_a_status_that_nobody_knows_leads_to_the_address() -> None:
    assert fix_refusal(OSSRefusal("", "", ""), 299, "", "") == REACH_OSS


def test_every_code_has_a_fix() -> None:
    for row in rows(*CODE_KINDS):
        number = row.code[:4].isdigit()
        refusal = OSSRefusal("X" if number else row.code, "some text", row.code if number else "")
        assert fix_refusal(refusal, 400, "oss:PutObject", "x").endswith((".", "`.")), row.code


def test_a_refusal_of_the_application_has_a_fix() -> None:
    assert "OSS_UPLOAD_MAX_SIZE" in fix_status(403, "size_not_allowed")
    assert "rate_limit" in fix_status(429, "too_many_requests")
    assert "prefix" in fix_status(404, "")


@pytest.mark.parametrize(
    ("code", "ec", "sentence"),
    [
        ("InvalidArgument", "0002-00000701", "For more run `oss-wsgi explain 0002-00000701`."),
        ("InvalidArgument", "0099-00000001", "For more run `oss-wsgi explain InvalidArgument`."),
        ("Unknown", "0099-00000001", "For more see https://api.aliyun.com/troubleshoot?q=0099-00000001."),
        ("Unknown", "", "See Unknown in the help of OSS."),
        ("", "", ""),
    ],
)
def test_a_refusal_points_to_its_row_or_to_the_help_of_oss(code: str, ec: str, sentence: str) -> None:
    assert see_also(OSSRefusal(code, "", ec)) == sentence


def test_an_acceleration_endpoint_names_no_region() -> None:
    assert region_of("oss-cn-hangzhou-internal.aliyuncs.com") == "cn-hangzhou"
    assert region_of("oss-accelerate.aliyuncs.com") is None


@pytest.mark.slow
def test_errors_of_upload_end_with_the_fix(tmp_path: Path, deployment: Deployment) -> None:
    file = tmp_path / "a.txt"
    file.write_text("hello")
    command = ["upload", str(file), "--endpoint"]
    output = oss_wsgi(*command, "http://127.0.0.1:1/oss/signature", status=1).stdout
    assert "cannot be reached: Connection refused" in output and "--endpoint, such as" in output
    with deployed(tmp_path / "b", settings={"OSS_UPLOAD_MAX_SIZE": "2"}) as small:
        output = oss_wsgi(*command, small.signature, status=1).stdout
    assert "5 bytes" in output and "OSS_UPLOAD_MAX_SIZE" in output and "--headers-from" not in output
    with deployed(tmp_path / "c", settings={"OSS_ACCESS_KEY_SECRET": "another"}) as other:
        assert "OSS_ACCESS_KEY_SECRET" in oss_wsgi(*command, other.signature, status=1).stdout
    with deployed(tmp_path / "d", settings={"OSS_ALLOW_ANONYMOUS": "off"}) as closed:
        assert "OSS_ALLOW_ANONYMOUS=on" in oss_wsgi(*command, closed.signature, status=1).stdout
    deployment.oss.fail_next("callback_refused")
    output = oss_wsgi(*command, deployment.signature, status=1).stdout
    assert output.rstrip().endswith("Run `oss-wsgi doctor --only callback` from outside your network.")
