"""JoinedParts: a damaged object gets no further; tests/security/test_parts.py has the ways on which it may come."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import webob

from oss_wsgi import MemoryLedger, Upload
from oss_wsgi.exceptions import LedgerUnavailableError
from oss_wsgi.ledger.base import StoredResponse, UploadIdentity
from oss_wsgi.middleware.joined_parts import JoinedParts
from oss_wsgi.parts.expected import COMPLETE_OPERATION, ExpectedObjects

UPLOAD = Upload(object="u/a", operation=COMPLETE_OPERATION, crc64=5, ticket_id="ticket", members={})


def ask(ledger: MemoryLedger, upload: Upload) -> webob.Response:
    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return [b"handled"]

    request = webob.Request.blank("/", environ={"oss_wsgi.upload": upload})
    return request.get_response(JoinedParts(app, ExpectedObjects(ledger, keep_seconds=0)))


@pytest.fixture
def ledger() -> MemoryLedger:
    ledger = MemoryLedger(clock=lambda: 0.0)
    for etag in ("crc64 of ticket", "crc64 of ticket: 5"):
        ledger.run_once(UploadIdentity(etag, "u/a", etag, 100), lambda _: StoredResponse("200 OK", "", b""))
    return ledger


def test_a_whole_object_passes_and_a_damaged_one_does_not(
    ledger: MemoryLedger, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(ledger, UPLOAD).body == b"handled"
    answer = ask(ledger, replace(UPLOAD, crc64=6))
    assert (answer.status_int, answer.json["error"]["code"]) == (500, "crc64_mismatch")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_when_the_ledger_cannot_tell_it_is_503(ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pairs: Any) -> Any:
        raise LedgerUnavailableError("ledger_unavailable", "the disk is gone")

    monkeypatch.setattr(ledger, "known", fail)
    answer = ask(ledger, UPLOAD)
    assert (answer.status_int, answer.headers["Retry-After"]) == (503, "10")
