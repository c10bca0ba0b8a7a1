"""Delivery: each upload is handled once, and which uploads the ledger takes for one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from oss_wsgi import Upload
from oss_wsgi.exceptions import NotYoursError, PartsCorruptError
from oss_wsgi.ledger.base import Handle, StoredResponse, UploadIdentity
from oss_wsgi.ledger.memory import MemoryLedger
from oss_wsgi.recovery.delivery import Delivery, damaged_mark
from oss_wsgi.testing import FrozenClock

NOW = 1733227932
UPLOAD = Upload(object="user/a.txt", etag="5D41", ticket_id="T1", ticket_until=NOW + 300)
OK = StoredResponse("200 OK", "application/json", b"{}")


class Noting(MemoryLedger):
    """A ledger that notes what it is asked."""

    def __init__(self) -> None:
        super().__init__(clock=FrozenClock(NOW))
        self.asked: list[UploadIdentity] = []

    def run_once(self, identity: UploadIdentity, handle: Handle) -> StoredResponse:
        self.asked.append(identity)
        return super().run_once(identity, handle)


@pytest.mark.parametrize(
    ("upload", "may_wait", "changes"),
    [
        ({}, True, {}),
        ({}, False, {"may_wait": False}),
        ({"by_prefix": True}, True, {}),
        ({"max_objects": 7}, True, {"max_objects": 7}),
        ({"forbid_overwrite": True}, True, {"forbid_overwrite": True}),
        ({"recovered": True}, True, {"forbid_overwrite": True}),
        ({"object": None, "etag": None}, True, {"object": "", "etag": ""}),
    ],
    ids=str,
)
def test_the_ledger_is_asked_for_the_upload_and_keeps_it_beyond_the_ticket(
    upload: dict[str, Any], may_wait: bool, changes: dict[str, Any]
) -> None:
    ledger = Noting()
    Delivery(ledger, keep_seconds=3600).handle(replace(UPLOAD, **upload), lambda upload: OK, may_wait=may_wait)
    expected = UploadIdentity("T1", "user/a.txt", "5D41", NOW + 300 + 3600)
    assert ledger.asked == [expected._replace(**changes)]


def test_a_repeated_upload_is_one() -> None:
    delivery, uploads = Delivery(MemoryLedger(clock=FrozenClock(NOW))), []

    def handler(upload: Upload) -> StoredResponse:
        uploads.append(upload)
        return OK

    assert [delivery.handle(UPLOAD, handler) for _ in range(2)] == [(OK, False, None), (OK, True, None)]
    assert uploads == [UPLOAD]


@pytest.mark.parametrize("recovered", [True, False])
@pytest.mark.parametrize("etag", ["5D41", "another"])
def test_an_upload_in_parts_is_refused_if_its_object_was_noted_as_damaged(recovered: bool, etag: str) -> None:
    ledger = MemoryLedger(clock=FrozenClock(NOW))
    delivery, of_parts = Delivery(ledger), replace(UPLOAD, operation="CompleteMultipartUpload", recovered=recovered)
    ledger.note([("user/a.txt", damaged_mark("T1"))], NOW + 300)
    with pytest.raises(PartsCorruptError) as raised:
        delivery.handle(replace(of_parts, etag=etag), lambda upload: pytest.fail("it is damaged"))
    assert raised.value.reason == "crc64_mismatch"
    for other in (replace(of_parts, object="user/b.txt"), replace(of_parts, ticket_id="T2", recovered=False)):
        assert delivery.handle(other, lambda upload: OK).response == OK


def test_a_report_of_a_form_asks_for_no_notes() -> None:
    class WithoutNotes(MemoryLedger):
        def known(self, pairs: object) -> set[tuple[str, str]]:
            pytest.fail("it costs a question to the store for each callback")

    ledger = WithoutNotes(clock=FrozenClock(NOW))
    assert Delivery(ledger).handle(replace(UPLOAD, operation="PostObject"), lambda upload: OK).response == OK


def test_a_handler_that_raises_leaves_the_upload_unhandled_and_a_prefix_forms_report_noted() -> None:
    ledger = MemoryLedger(clock=FrozenClock(NOW))
    delivery = Delivery(ledger)
    reported = replace(UPLOAD, by_prefix=True)

    def failing(upload: Upload) -> StoredResponse:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        delivery.handle(reported, failing)
    assert ledger.known([("user/a.txt", "5D41")]) == set()
    with pytest.raises(NotYoursError):
        delivery.handle(replace(UPLOAD, ticket_id="T2", recovered=True), lambda upload: OK)
    assert delivery.handle(reported, lambda upload: OK).response == OK
