"""Whole uploads without a socket: signature, local OSS, signed callback and application, also under a mount."""

from __future__ import annotations

from typing import Any

import pytest
import webtest

from local_oss.storage.storage import Incoming
from oss_wsgi import Grant, Upload

from ..local_oss.callbacks.test_image_info import png
from ..recovery.site import legacy
from ..support.callbacks import without_signed_id
from ..support.linted_client import LintedClient


@pytest.mark.parametrize(
    ("version", "mount", "exact"),
    [("v1", "", True), ("v1", "/a b/中", False), ("v4", "/site", True), ("v4", "", False)],
)
def test_the_application_gets_each_upload(version: str, mount: str, exact: bool) -> None:
    uploads: list[Upload] = []

    def on_upload(upload: Upload) -> dict[str, Any]:
        uploads.append(upload)
        return {"object": upload.object}

    data = png(7, 5)
    with LintedClient(legacy, {"signature_version": version}, mount=mount, on_upload=on_upload) as client:
        answer = client.upload("图 片.png", data, content_type="image/png", exact=exact)
        (upload,) = uploads
        assert answer.status_int == 200
        assert without_signed_id(answer.json) == {"Status": "Ok", "object": upload.object}
        assert (upload.size, upload.mime_type) == (len(data), "image/png")
        assert (upload.image_width, upload.image_height) == (7, 5)
        assert upload.bucket == "examplebucket"
        assert upload.operation == "PostObject"
        stored = webtest.TestApp(client.local_oss).get(client.local_oss.signed_url(upload.object or ""))
        assert stored.body == data
        assert stored.headers["ETag"] == f'"{upload.etag}"'
        assert stored.headers["x-oss-hash-crc64ecma"] == str(upload.crc64)


def test_fields_of_a_grant_are_pinned_stored_and_reported() -> None:
    uploads: list[Upload] = []
    grant = Grant(
        user="eric",
        dir="users/eric",
        content_types=["text/plain"],
        acl="private",
        content_disposition='attachment; filename="a.txt"',
        metadata={"owner": "eric"},
        custom={"order_id": "A$1"},
    )
    with LintedClient(legacy, authorize=lambda request: grant, on_upload=uploads.append) as client:
        assert client.upload("a.txt", b"hello", content_type="text/plain").status_int == 200
        assert uploads[0].custom == {"order_id": "A$1"}
        stored = webtest.TestApp(client.local_oss).get(client.local_oss.signed_url(str(uploads[0].object)))
        assert stored.headers["x-oss-meta-owner"] == "eric"
        assert stored.headers["Content-Disposition"] == 'attachment; filename="a.txt"'
        assert client.upload("a.html", b"<p>", content_type="text/html").status_int == 403
        assert client.upload("a.txt", b"hello", content_type="text/plain", exact=False).status_int == 400


def test_a_replaced_object_is_reported_as_it_was_uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads: list[Upload] = []
    with LintedClient(legacy, on_upload=uploads.append) as client:
        commit = Incoming.commit

        def commit_and_be_replaced(*described: Any, **options: Any) -> Any:
            monkeypatch.setattr(Incoming, "commit", commit)
            stored = commit(*described, **options)
            assert client.upload("same.png", png(3, 2), exact=False).status_int == 200
            return stored

        monkeypatch.setattr(Incoming, "commit", commit_and_be_replaced)
        assert client.upload("same.png", png(7, 5), exact=False).status_int == 200
        assert [(upload.image_width, upload.image_height) for upload in uploads] == [(3, 2), (7, 5)]
