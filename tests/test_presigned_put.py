"""A signed PUT all the way: signature, local OSS, callback, handler; and the result of each change."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import webob

from oss_wsgi import Grant, Upload
from oss_wsgi.callback.ticket import RECEIPT_FIELD
from oss_wsgi.testing import FrozenClock, UploadClient

from .recovery.site import NOW, legacy
from .support.callbacks import without_signed_id
from .support.closing import closing_fixture

HELLO_ETAG = "5D41402ABC4B2A76B9719D911017C592"


class Site:
    """An application, its handler's calls, and PUT requests to the local OSS."""

    def __init__(self, settings: dict[str, Any] | None = None, **options: Any) -> None:
        self.clock = FrozenClock(NOW)
        self.uploads: list[Upload] = []
        options = {"on_upload": self.save, "authorize": lambda request: Grant(user="eric", dir="u/"), **options}
        self.client = UploadClient(legacy, {"recover": True, **(settings or {})}, clock=self.clock, **options)
        self.oss = self.client.local_oss

    def save(self, upload: Upload) -> dict[str, Any]:
        self.uploads.append(upload)
        return {"saved": upload.object}

    def sign(self, filename: str = "猫.png", content_type: str = "image/png", size: int = 5) -> dict[str, Any]:
        response = self.client.sign(filename, content_type=content_type, size=size, method="put")
        assert response.status_int == 200, response.text
        signed: dict[str, Any] = response.json
        return signed

    def put(
        self, signed: dict[str, Any], body: bytes = b"hello", *, url: str | None = None, **changed: str | None
    ) -> webob.Response:
        """Send the PUT; a keyword such as ``content_type`` replaces one of its headers, None leaves it out."""
        changes = {name.replace("_", "-").lower(): value for name, value in changed.items()}
        headers = {name.lower(): value for name, value in signed["headers"].items()} | changes
        request = webob.Request.blank(url or signed["url"], method="PUT", body=body)
        request.headers.update({name: value for name, value in headers.items() if value is not None})
        return request.get_response(self.oss)

    def stored(self, key: str) -> Any:
        return self.oss.storage.bucket("examplebucket").get(key)

    def close(self) -> None:
        self.client.close()


make = closing_fixture(Site)


@pytest.fixture(params=["v1", "v4"])
def site(request: pytest.FixtureRequest, make: Callable[..., Site]) -> Site:
    return make({"signature_version": request.param})


def code(response: webob.Response) -> tuple[int, str]:
    status, text = response.status_int, response.text
    return status, text.partition("<Code>")[2].partition("</Code>")[0]


def query(signed: dict[str, Any]) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(signed["url"]).query).items()}


# The way there.


def test_the_file_is_stored_reported_and_handled_once(site: Site) -> None:
    signed = site.sign()
    answer = site.put(signed)
    assert (answer.status_int, without_signed_id(answer.json)) == (200, {"Status": "Ok", "saved": signed["key"]})
    (upload,) = site.uploads
    assert (upload.operation, upload.object, upload.user, upload.size) == ("PutObject", signed["key"], "eric", 5)
    assert (upload.bucket, upload.mime_type, upload.etag) == ("examplebucket", "image/png", HELLO_ETAG)
    assert (upload.confirmed, upload.recovered, upload.forbid_overwrite) == (None, False, True)


def test_with_overwriting_allowed_the_same_file_is_answered_again(make: Callable[..., Site]) -> None:
    site = make(authorize=lambda request: Grant(user="eric", dir="u/", forbid_overwrite=False))
    signed = site.sign()
    assert "x-oss-forbid-overwrite" not in signed["headers"]
    assert [site.put(signed).json["saved"] for _ in range(2)] == [signed["key"]] * 2
    assert len(site.uploads) == 1
    assert site.put(signed, b"HELLO").status_int == 200, "as with a form that may overwrite"
    assert len(site.uploads) == 2


def test_the_grants_fields_are_headers_and_its_variables_reach_the_handler(make: Callable[..., Site]) -> None:
    grant = Grant(
        user="eric", dir="u/", acl="private", storage_class="IA", metadata={"album": "7", "empty": ""},
        custom={"mood": "a b&c 中", "no": "1"}, data={"album": 7}, content_disposition='inline; filename="a.html"',
    )  # fmt: skip
    site = make(authorize=lambda request: grant)
    signed = site.sign("a.html", "text/html; charset=utf-8")
    assert {name: value for name, value in signed["headers"].items() if name != RECEIPT_FIELD} == {
        "Content-Type": "text/html; charset=utf-8",
        "x-oss-forbid-overwrite": "true",
        "x-oss-object-acl": "private",
        "x-oss-storage-class": "IA",
        "Content-Disposition": 'inline; filename="a.html"',
        "x-oss-meta-album": "7",
    }
    assert site.put(signed).status_int == 200
    (upload,) = site.uploads
    assert (upload.custom, upload.data) == ({"mood": "a b&c 中", "no": "1"}, {"album": 7})
    stored = site.stored(signed["key"])
    assert stored.headers["x-oss-meta-album"] == "7"
    assert stored.headers["Content-Disposition"] == 'inline; filename="a.html"'
    assert (stored.content_type, stored.headers["x-oss-object-acl"]) == ("text/html; charset=utf-8", "private")


# What the signature holds.


def test_under_v4_oss_refuses_another_size(make: Callable[..., Site]) -> None:
    site = make()
    signed = site.sign()
    assert code(site.put(signed, b"hello!"))[0] in (400, 403)
    assert site.stored(signed["key"]) is None


def test_under_v1_oss_stores_another_size_and_its_report_is_refused(
    make: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    site = make({"signature_version": "v1"})
    signed = site.sign()
    assert code(site.put(signed, b"hello!")) == (203, "CallbackFailed")
    assert site.stored(signed["key"]) is not None, "this is what V1 does not hold"
    assert site.uploads == []
    assert "reason=ticket_mismatch" in caplog.text


# Lost reports.


def test_a_failed_callback_is_203_and_the_page_recovers_the_upload_once(site: Site) -> None:
    signed = site.sign()
    site.oss.fail_next("callback_refused")
    assert code(site.put(signed)) == (203, "CallbackFailed")
    assert site.uploads == []
    for _ in range(2):
        answer = site.client.recover(query(signed)["callback"], signed["key"])
        assert (answer.status_int, without_signed_id(answer.json)) == (200, {"Status": "Ok", "saved": signed["key"]})
    (upload,) = site.uploads
    assert (upload.operation, upload.recovered, upload.confirmed, upload.user) == ("PutObject", True, True, "eric")


# Secrets.


def test_nothing_that_is_logged_has_a_signature_or_a_ticket(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    signed = site.sign()
    site.put(signed)
    site.put(signed, content_type="text/html")
    values = query(signed)
    body = json.loads(base64.b64decode(values["callback"]))["callbackBody"]
    secrets = [values.get("Signature") or values["x-oss-signature"], body.rpartition("ticket=")[2]]
    assert all(len(secret) > 20 and secret not in caplog.text for secret in secrets)
