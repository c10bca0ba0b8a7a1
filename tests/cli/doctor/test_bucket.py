"""What `doctor` reads out of OSS's answers to a stranger, from a stand-in that answers as the test says."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from oss_wsgi.cli.doctor import bucket
from oss_wsgi.cli.doctor.context import Examination, Finding
from oss_wsgi.cli.http_client import Answer

DENIED = "<Error><Code>AccessDenied</Code><Message>No.</Message>{}</Error>"


@contextlib.contextmanager
def oss_that_says(document: str, status: int = 403, date: str | None = None) -> Iterator[dict[str, str]]:
    """Give the settings for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response_only(status)
            self.send_header("x-oss-request-id", "1")
            self.send_header("Content-Length", str(len(document)))
            if date:
                self.send_header("Date", date)
            self.end_headers()
            self.wfile.write(document.encode())

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield {
            "OSS_BUCKET": "examplebucket",
            "OSS_REGION": "cn-hangzhou",
            "OSS_HOST": f"http://127.0.0.1:{server.server_port}",
            "OSS_ACCESS_KEY_ID": "LTAI5tExampleKeyId000001",
            "OSS_ACCESS_KEY_SECRET": "ExampleSecret0000000000000000A",
        }
        server.shutdown()


def one(check: Any, environ: dict[str, str]) -> Finding:
    (finding,) = check(Examination(environ))
    assert isinstance(finding, Finding)
    return finding


@pytest.mark.parametrize(
    ("endpoint", "colour", "cure"),
    [
        ("oss-cn-beijing.aliyuncs.com", "red", "Set OSS_REGION=cn-beijing."),
        ("oss-cn-hangzhou.aliyuncs.com", "green", ""),
        ("oss-cn-hangzhou-internal.aliyuncs.com", "green", ""),
    ],
)
def test_the_region_is_read_of_the_endpoint_that_a_stranger_is_sent_to(endpoint: str, colour: str, cure: str) -> None:
    with oss_that_says(DENIED.format(f"<Endpoint>{endpoint}</Endpoint>")) as environ:
        finding = one(bucket.region, environ)
    assert (finding.colour, finding.cure) == (colour, cure)


def test_without_a_word_of_it_the_region_is_not_known() -> None:
    with oss_that_says(DENIED.format("<Endpoint>oss-accelerate.aliyuncs.com</Endpoint>")) as environ:
        assert one(bucket.region, environ).colour == "yellow"


@pytest.mark.parametrize(
    ("document", "cure"),
    [
        ("<Error><Code>InvalidArgument</Code><EC>0002-00000701</EC></Error>", "oss-wsgi explain 0002-00000701"),
        ("<Error><Code>InvalidArgument</Code><EC>0099-00000001</EC></Error>", "oss-wsgi explain InvalidArgument"),
        ("<Error><Code>NobodyKnows</Code><EC>0099-00000001</EC></Error>", "troubleshoot?q=0099-00000001"),
        ("<Error><Code>NobodyKnows</Code></Error>", "OSS's help explains NobodyKnows"),
        ("<html>", "is it OSS that answers there?"),
    ],
)
def test_a_cure_names_a_row_that_there_is_and_is_a_sentence(document: str, cure: str) -> None:
    with oss_that_says(document) as environ:
        said = one(bucket.v4, environ).cure
    assert cure in said
    assert said[0].isupper()
    assert said.endswith((".", "?"))


def told(body: str, host: str, **headers: str) -> Examination:
    """Give an examination of a bucket that has answered a stranger so, at 1,000 seconds after 1970."""
    settings = {"OSS_BUCKET": "examplebucket", "OSS_REGION": "cn-hangzhou", "OSS_HOST": host}
    case = Examination(settings)
    answered = Message()
    for name, value in headers.items():
        answered[name] = value
    case.unsigned = Answer(403, answered, body.encode(), 0.1, 1000.0)
    return case


def test_the_region_is_where_a_stranger_is_refused_if_the_key_may_not_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "_told_by_oss", lambda case: (None, "no right to ask"))
    denied = DENIED.format("")
    (finding,) = bucket.region(told(denied, "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"))
    assert finding.said == "the bucket is in cn-hangzhou"
    (finding,) = bucket.region(told(denied, "https://files.example.com"))
    assert "no right to ask" in finding.said


def test_the_clock_is_compared_with_the_moment_at_which_the_answer_came() -> None:
    (finding,) = bucket.clock(told("", "https://files.example.com", Date="Thu, 01 Jan 1970 00:16:40 GMT"))
    assert (finding.colour, "clock is 0 s" in finding.said) == ("green", True)
