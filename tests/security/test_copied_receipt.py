"""A receipt that somebody copied: a prefix form over the victim's folder posts another file under the victim's name.

Anybody who may read an object can read its receipt, and no condition of a policy can forbid a field that honest clients
do not send (protocol.md 3.3.1). So the server alone decides whose upload a found object is.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from oss_wsgi import Grant, Upload
from oss_wsgi.callback.ticket import RECEIPT_FIELD, UPLOAD_SECONDS
from oss_wsgi.testing import FrozenClock, UploadClient

from ..recovery.site import NOW, legacy
from ..support.closing import closing_fixture

OWN, COPY = b"mine!", b"other"


class Site:
    """An application in which two users upload to one folder: eric by exact forms, mallory by prefix forms."""

    def __init__(
        self,
        *,
        forbid_overwrite: bool = True,
        max_objects: int = 1000,
        content_types: list[str] | None = None,
        **grant: Any,
    ) -> None:
        self.clock = FrozenClock(NOW)
        self.uploads: list[Upload] = []
        self.orphans: list[Upload] = []
        self.refused: set[str] = set()
        grants = {
            "eric": Grant("eric", "shared/", data={"order": 7}, forbid_overwrite=forbid_overwrite, **grant),
            "mallory": Grant("mallory", "shared/", max_objects=max_objects, content_types=content_types),
        }
        self.client = UploadClient(
            legacy,
            {"recover": True},
            clock=self.clock,
            authorize=lambda request: grants[request.remote_user],
            on_upload=self.save,
            on_orphan=self.orphans.append,
        )
        self.fields: dict[str, str] = {}

    def close(self) -> None:
        self.client.close()

    def save(self, upload: Upload) -> None:
        if upload.user in self.refused:
            raise RuntimeError("not yours")
        self.uploads.append(upload)

    def upload(self, *, lost: bool) -> None:
        if lost:
            self.client.local_oss.fail_next("callback_refused")
        environ = {"REMOTE_USER": "eric"}
        answer = self.client.upload("a.png", OWN, content_type="image/png", environ=environ, change=self.fields.update)
        assert answer.status_int == (203 if lost else 200)

    def overwrite(self, **more: str) -> int:
        """Post another file under eric's name, with eric's receipt, and return OSS's status."""
        copied = {"key": self.fields["key"], RECEIPT_FIELD: self.fields[RECEIPT_FIELD], **more}
        answer = self.client.upload(
            "b.png", COPY, content_type="image/png", exact=False, environ={"REMOTE_USER": "mallory"},
            change=lambda fields: fields.update(copied),
        )  # fmt: skip
        return answer.status_int

    def look(self, way: str) -> None:
        """Tell the application of the stored object in one of four ways."""
        etag = str(self.client.bucket.head(self.fields["key"]).etag)
        if way == "sweep":
            self.client.direct_upload.reconcile(until=0, prefixes=[""])
        elif way == "recover":
            self.client.recover(self.fields["callback"], self.fields["key"])
        else:
            stored = {"key": self.fields["key"], **({"eTag": etag} if way == "event" else {})}
            oss = {"bucket": {"name": "examplebucket"}, "object": stored}
            event = {"eventName": "ObjectCreated:PostObject", "oss": oss}
            self.client.direct_upload.handle_event(json.dumps({"events": [event]}))

    def of_eric(self, data: bytes) -> list[Upload]:
        """Return the uploads that were handed over as eric's and have this content."""
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest().upper()
        return [upload for upload in self.uploads if upload.user == "eric" and upload.etag == etag]


make = closing_fixture(Site)


def one_form(sign: Callable[..., Any]) -> Callable[..., Any]:
    """Return a signing function that signs one form and returns the same one at each later call."""
    forms: list[Any] = []

    def first(*arguments: Any, **options: Any) -> Any:
        if not forms:
            forms.append(sign(*arguments, **options))
        return forms[0]

    return first


REPORTS = ("handled", "used up", "failed", "not allowed", "lost")
WAYS = ("sweep", "event", "event without ETag", "recover")


@pytest.mark.parametrize("forbid_overwrite", [True, False], ids=["forbidden", "allowed"])
@pytest.mark.parametrize(
    ("lost", "report"),
    [(lost, report) for report in REPORTS for lost in (True, False) if (lost, report) != (True, "lost")],
)
def test_another_file_with_a_copied_receipt_is_never_handed_over_as_the_victims(
    make: Any, forbid_overwrite: bool, lost: bool, report: str
) -> None:
    """Mallory's own report is handled, refused because her ticket is used up or does not allow it, fails, or is lost.

    When both reports are lost, nothing tells the two apart: that is the gap that SECURITY.md names.
    """
    for first, second in itertools.permutations(WAYS, 2):
        types = ["text/plain"] if report == "not allowed" else None
        max_objects = 1 if report == "used up" else 1000
        site = make(forbid_overwrite=forbid_overwrite, max_objects=max_objects, content_types=types)
        site.upload(lost=lost)
        if report == "failed":
            site.refused.add("mallory")
        if report == "lost":
            site.client.local_oss.fail_next("callback_refused")
        if report == "used up":
            site.client.sign = one_form(site.client.sign)
            assert site.overwrite(key="shared/other.png") == 200
        more = {"Content-Type": "text/plain", "x-oss-content-type": "image/png"} if report == "not allowed" else {}
        assert site.overwrite(**more) == (200 if report == "handled" else 203)
        site.look(first)
        site.look(second)
        assert site.of_eric(COPY) == []
        assert len(site.of_eric(OWN)) == (not lost)
        assert all(upload.user == "mallory" for upload in site.uploads if upload.object != site.fields["key"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("difference", ["none", "metadata", "time"])
def test_an_object_that_does_not_fit_the_receipt_is_refused_although_no_report_arrives(
    make: Any, way: str, difference: str
) -> None:
    site = make(metadata={"album": "summer"})
    site.upload(lost=True)
    site.clock.advance({"time": 300 + UPLOAD_SECONDS + 15 * 60 + 1}.get(difference, 0))
    site.client.local_oss.fail_next("callback_refused")
    site.overwrite(**({} if difference == "metadata" else {"x-oss-meta-album": "summer"}))
    site.look(way)
    # Without a difference it is the gap that SECURITY.md names: all that the receipt can know fits.
    assert len(site.of_eric(COPY)) == (difference == "none")
