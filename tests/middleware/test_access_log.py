"""AccessLog: a line for each request, and the fields of its record."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import webtest

from oss_wsgi import AccessLog
from oss_wsgi.wsgi.facts import facts_of


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    facts_of(environ).user = "eric"
    environ["PATH_INFO"], environ["REQUEST_METHOD"] = "/moved", "POST"
    start_response("418 Teapot", [("Content-Type", "text/plain")])
    return [b"123", b"456"]


def test_the_record_has_the_request_and_its_facts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ticks: Iterator[float] = iter([1.0, 1.25])
    app = webtest.TestApp(AccessLog(application, clock=lambda: next(ticks)))
    environ = {"REMOTE_ADDR": "192.0.2.1", "HTTP_X_REQUEST_ID": "r1"}
    app.get("/tea?pot=secret", extra_environ=environ, status=418)
    (record,) = caplog.records
    assert record.getMessage() == "192.0.2.1 GET '/tea' 418 6 bytes 250.0 ms"
    expected = {"request_id": "r1", "user": "eric", "method": "GET", "path": "/tea", "status": 418, "bytes": 6}
    assert {name: getattr(record, name) for name in expected} == expected
    assert record.__dict__["seconds"] == 0.25
    assert not hasattr(record, "reason")


def test_the_line_of_a_callback_has_osss_request_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = webtest.TestApp(AccessLog(application, clock=lambda: 0.0))
    app.get("/tea", extra_environ={"HTTP_X_OSS_REQUEST_ID": "674EF4EC0000000000000001"}, status=418)
    assert caplog.messages[0].endswith(" ms oss_request_id=674EF4EC0000000000000001")


def test_an_application_without_a_response_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = AccessLog(lambda environ, start_response: [], clock=lambda: 0.0)(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": ""}, lambda *arguments: lambda data: None
    )
    answer.close()  # type: ignore[attr-defined]
    (record,) = caplog.records
    assert record.getMessage() == "- GET '/' - 0 bytes 0.0 ms"
    assert not hasattr(record, "status")


def test_the_response_is_closed_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    class Body:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            return iter([b"123"])

        def close(self) -> None:
            self.closed += 1
            raise OSError("the file is gone")

    body = Body()
    response: Any = AccessLog(lambda environ, start_response: body, clock=lambda: 0.0)(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *arguments: lambda data: None
    )
    assert b"".join(response) == b"123"
    with pytest.raises(OSError, match="gone"):
        response.close()
    assert body.closed == 1
    assert len(caplog.records) == 1


def test_a_long_path_is_cut_in_the_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    app = AccessLog(lambda environ, start_response: [], clock=lambda: 0.0)
    answer = app({"REQUEST_METHOD": "GET", "PATH_INFO": "/" + "a." * 15_000}, lambda *arguments: lambda data: None)
    answer.close()  # type: ignore[attr-defined]
    (record,) = caplog.records
    assert record.getMessage() == f"- GET '/{'a.' * 511}a... (cut: 30001 characters)' - 0 bytes 0.0 ms"
