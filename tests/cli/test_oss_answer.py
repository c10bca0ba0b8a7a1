"""What is read of OSS's error documents, and what never reaches a terminal."""

from __future__ import annotations

import pytest

from oss_wsgi.cli.http_client import OSSRefusal, read_refusal

DOCUMENT = (
    "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Condition failed: [&quot;eq&quot;]{}</Message>"
    "<EC>0006-00000227</EC><Endpoint>oss-cn-beijing.aliyuncs.com</Endpoint></Error>"
)


def test_code_message_number_and_endpoint_are_read() -> None:
    refusal = read_refusal(DOCUMENT.format("").encode())
    assert refusal == OSSRefusal(
        "AccessDenied", 'Condition failed: ["eq"]', "0006-00000227", "oss-cn-beijing.aliyuncs.com"
    )
    assert str(refusal) == 'AccessDenied: Condition failed: ["eq"] (EC 0006-00000227)'


@pytest.mark.parametrize("sign", ["\x1b[31m", "&#27;[31m", "&#x1b;[31m", "\x9b31m", "\u202e"])
def test_no_sign_that_a_terminal_obeys_comes_through(sign: str) -> None:
    assert read_refusal(DOCUMENT.format(sign).encode()).message.isprintable()


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"<html>", b"<Error><Code>", b"<Code></Code>"])
def test_what_is_no_error_document_has_no_code(body: bytes) -> None:
    refusal = read_refusal(body)
    assert refusal.code == ""
    assert str(refusal) == "no reason given"
