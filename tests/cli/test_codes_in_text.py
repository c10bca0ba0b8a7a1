"""The code in a pasted text is found, the most telling first."""

from __future__ import annotations

import json
import logging
import time

import pytest

from local_oss.errors import OSSError
from oss_wsgi.cli.codes_in_text import FoundCode, find_codes
from oss_wsgi.explanations.rows import APPLICATION, OSS
from oss_wsgi.log_format import JSONFormatter, Masker, TextFormatter
from oss_wsgi.wsgi.facts import facts_of

XML = """\
<?xml version="1.0" encoding="UTF-8"?>
<Error>
  <Code>AccessDenied</Code>
  <Message>Invalid according to Policy: Policy expired.</Message>
  <RequestId>674EF4EC0000000000000002</RequestId>
  <EC>0006-00000213</EC>
</Error>"""
CALLBACK_FAILED = (
    "<Error><Code>CallbackFailed</Code><Message>Error status : 403.</Message><EC>0007-00000203</EC></Error>"
)


def codes(text: str) -> list[str]:
    return [found.code for found in find_codes(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("AccessDenied", ["AccessDenied"], id="a code"),
        pytest.param("EC 0006-00000213", ["0006-00000213"], id="a number"),
        pytest.param("reason=ticket_foreign", ["ticket_foreign"], id="a reason"),
        *(
            pytest.param(text, ["403"], id=text)
            for text in ("403", " 403. ", "HTTP 403", "status=403", "HTTP/1.1 403 Forbidden", "Error status : 403.")
        ),
        pytest.param("forbidden", ["403"], id="our word for a status"),
        pytest.param(XML, ["0006-00000213", "AccessDenied"], id="XML"),
        pytest.param(f"HTTP/1.1 403 Forbidden\r\n\r\n{XML}", ["0006-00000213", "AccessDenied"], id="a response"),
        pytest.param("<Error><Code>InternalError</Code></Error>", ["InternalError"], id="XML of the old kind"),
        pytest.param(CALLBACK_FAILED, ["0007-00000203", "CallbackFailed", "403"], id="the application's status"),
        pytest.param(json.dumps({"body": XML}), ["0006-00000213", "AccessDenied"], id="XML in JSON"),
        pytest.param('{"error": {"code": "forbidden", "message": "Not allowed."}}', ["403"], id="our JSON"),
        pytest.param(
            '{"error": {"code": "size_not_allowed", "message": "..."}}', ["size_not_allowed"], id="our code"
        ),
        pytest.param('{"code": "SlowDown", "ec": "0007-00000202"}', ["0007-00000202", "SlowDown"], id="upload"),
        pytest.param(
            '{"code": "InvalidAccessKeyId.NotFound"}',
            ["InvalidAccessKeyId.NotFound", "InvalidAccessKeyId"],
            id="a code of STS",
        ),
        pytest.param("reason=crc64_mismatch hint=x", ["crc64_mismatch"], id="a reason with digits"),
        pytest.param('{"statusCode": "403", "message": "no"}', ["403"], id="a status as a text"),
        pytest.param('[{"file": "a", "status": 429}]', ["429"], id="a list"),
        pytest.param('Response: {"status": 503} and more', ["503"], id="JSON within a text"),
        pytest.param(
            "failed a.png: refused: 403 AccessDenied: You have no right (EC 0003-00000001)",
            ["0003-00000001", "AccessDenied"],
            id="a line of upload",
        ),
        pytest.param("127.0.0.1 POST '/oss/callback' 411 24 bytes 1.2 ms", ["411"], id="the access log"),
        pytest.param('10.0.0.1 - - [25/Nov/2026] "POST /oss/callback HTTP/1.1" 502 157', ["502"], id="nginx's log"),
        pytest.param("nothing that is repeated or anonymous here", [], id="words of a sentence"),
        pytest.param("[" * 100_000, [], id="too deep"),
        pytest.param("", [], id="nothing"),
    ],
)  # fmt: skip
def test_the_code_is_found(text: str, expected: list[str]) -> None:
    assert codes(text) == expected


def test_an_answer_of_the_local_oss_is_read() -> None:
    error = OSSError(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.", "0006-00000003")
    assert codes(error.response("id", "host").body.decode()) == ["0006-00000003", "EntityTooLarge"]


@pytest.mark.parametrize("formatter", [TextFormatter, JSONFormatter])
def test_a_line_of_our_log_is_read(formatter: type[logging.Formatter]) -> None:
    """The line is made by the code that makes it in production."""
    records: list[logging.LogRecord] = []
    log = logging.Logger("oss_wsgi.middleware.callback_guard")
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    log.addHandler(handler)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/oss/callback"}
    facts_of(environ).log_refusal(log, 409, "ticket_used", "the ticket was used for another object, status=200")
    line = formatter(Masker()).format(records[0])  # type: ignore[call-arg]
    assert codes(line) == ["ticket_used"]


def test_the_sender_of_a_status_is_told_where_it_is_known() -> None:
    assert find_codes('{"error": {"code": "forbidden"}}') == [FoundCode("403", APPLICATION)]
    assert find_codes("oss_wsgi.x: refused: status=413 hint=''") == [FoundCode("413", APPLICATION)]
    assert find_codes("failed a: refused: 503 no reason given") == [FoundCode("503", OSS)]
    assert find_codes("HTTP 403") == [FoundCode("403")]


LONG = ["A" * 1_000_000, "a_" * 500_000, "status " * 150_000, "0000-" * 200_000, "{" * 999_999]


@pytest.mark.slow
@pytest.mark.parametrize("text", LONG, ids=lambda text: text[:7])
def test_a_long_text_takes_no_long_time(text: str) -> None:
    start = time.process_time()
    find_codes(text)
    assert time.process_time() - start < 30
