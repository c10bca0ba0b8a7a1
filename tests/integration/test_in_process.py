"""Whole uploads without a socket: signature, local OSS, signed callback and application, also under a mount."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
import webtest

from oss_wsgi import Grant, Upload
from oss_wsgi.local.storage.storage import Incoming
from oss_wsgi.testing import FrozenClock, multipart

from ..support.linted_client import LintedClient

MOUNTS = ["", "/site", "/a b/中"]


def png(width: int, height: int) -> bytes:
    """Return a real picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + b"\x7f" * width for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"legacy"]


@pytest.fixture(params=["v1", "v4"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("mount", MOUNTS)
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "prefix"])
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
        assert answer.json == {"Status": "Ok", "object": upload.object}
        assert (upload.size, upload.mime_type) == (len(data), "image/png")
        assert (upload.image_width, upload.image_height) == (7, 5)
        assert upload.bucket == "examplebucket"
        assert upload.operation == "PostObject"
        stored = webtest.TestApp(client.local_oss).get(client.local_oss.signed_url(upload.object or ""))
        assert stored.body == data
        assert stored.headers["ETag"] == f'"{upload.etag}"'
        assert stored.headers["x-oss-hash-crc64ecma"] == str(upload.crc64)


def test_object_names_are_unique_or_the_files_own(version: str) -> None:
    for names, expected in (("unique", 32 + len("user-dir-prefix/20241203/.png")), ("original", None)):
        uploads: list[Upload] = []
        values = {"signature_version": version, "upload_names": names}
        with LintedClient(legacy, values, on_upload=uploads.append, clock=FrozenClock()) as client:
            assert client.upload("C:\\dir\\图:片?.PNG", b"x").status_int == 200
        name = uploads[0].object or ""
        if expected is None:
            assert name == "user-dir-prefix/图_片_.PNG"
        else:
            assert len(name) == expected
            assert name.startswith("user-dir-prefix/20241203/")


def test_an_existing_name_is_not_overwritten(version: str) -> None:
    with LintedClient(legacy, {"signature_version": version, "upload_names": "original"}) as client:
        assert client.upload("a.txt", b"first").status_int == 200
        again = client.upload("a.txt", b"second")
        assert again.status_int == 409
        assert b"FileAlreadyExists" in again.body


def test_fields_of_a_grant_are_pinned_stored_and_reported(version: str) -> None:
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
    values = {"signature_version": version}
    with LintedClient(legacy, values, authorize=lambda request: grant, on_upload=uploads.append) as client:
        assert client.upload("a.txt", b"hello", content_type="text/plain").status_int == 200
        assert uploads[0].custom == {"order_id": "A$1"}
        stored = webtest.TestApp(client.local_oss).get(client.local_oss.signed_url(str(uploads[0].object)))
        assert stored.headers["x-oss-meta-owner"] == "eric"
        assert stored.headers["Content-Disposition"] == 'attachment; filename="a.txt"'
        assert client.upload("a.html", b"<p>", content_type="text/html").status_int == 403
        assert client.upload("a.txt", b"hello", content_type="text/plain", exact=False).status_int == 400


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "prefix"])
def test_no_issued_field_can_be_dropped_or_changed(version: str, exact: bool) -> None:
    grant = Grant(metadata={"owner": "eric"}, custom={"order": "1"}, acl="private") if exact else Grant()
    with LintedClient(legacy, {"signature_version": version}, authorize=lambda request: grant) as client:
        fields = client.sign("a.txt" if exact else None, content_type="text/plain" if exact else None).json["fields"]
        for name in fields:
            if name == "success_action_status":
                continue
            for value in (None, f"{fields[name]}x" if name != "key" else "elsewhere/a.txt"):

                def change(form: dict[str, str], name: str = name, value: str | None = value) -> None:
                    form.pop(name)
                    if value is not None:
                        form[name] = value

                type_sent = "text/plain" if exact else None
                answer = client.upload("a.txt", b"hello", content_type=type_sent, exact=exact, change=change)
                if (name, value) == ("Content-Type", None):
                    # The type of the file's part replaces it, and OSS stores x-oss-content-type in any case.
                    assert answer.status_int == 200
                else:
                    assert answer.status_int in (400, 403), (name, value)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"callback": ""}, id="an empty callback"),
        pytest.param({"x-oss-content-type": "text/html"}, id="another type"),
        pytest.param({"Content-Type": "text/html"}, id="another type in the plain field"),
        pytest.param({"x-oss-forbid-overwrite": "false"}, id="overwriting"),
    ],
)
def test_oss_refuses_changed_fields(change: dict[str, str]) -> None:
    with LintedClient(legacy) as client:
        answer = client.upload("a.txt", b"hello", content_type="text/plain", change=lambda form: form.update(change))
        assert answer.status_int == 403
        assert b"<Code>AccessDenied</Code>" in answer.body


def test_the_pinned_type_overrides_the_parts_type() -> None:
    uploads: list[Upload] = []
    with LintedClient(legacy, on_upload=uploads.append) as client:
        fields = client.sign("a.txt", content_type="text/plain").json["fields"]
        content_type, body = multipart(fields, "a.html", b"<script>", "text/html")
        oss = webtest.TestApp(client.local_oss)
        assert oss.post("/examplebucket", body, headers={"Content-Type": content_type}).status_int == 200
        assert oss.get(client.local_oss.signed_url(str(uploads[0].object))).content_type == "text/plain"
        assert uploads[0].mime_type == "text/plain"


def test_a_file_of_another_size_is_refused(version: str) -> None:
    with LintedClient(legacy, {"signature_version": version}) as client:
        fields = client.sign("a.txt", size=5).json["fields"]
        oss = webtest.TestApp(client.local_oss)
        for data, code in ((b"hello!", "EntityTooLarge"), (b"hell", "EntityTooSmall")):
            content_type, body = multipart(fields, "a.txt", data)
            answer = oss.post("/examplebucket", body, headers={"Content-Type": content_type}, expect_errors=True)
            assert answer.status_int == 400
            assert f"<Code>{code}</Code>" in answer.text


def test_a_signature_is_valid_until_it_expires(version: str) -> None:
    clock = FrozenClock()
    with LintedClient(legacy, {"signature_version": version}, clock=clock) as client:
        fields = client.sign("a.txt").json["fields"]
        content_type, body = multipart(fields, "a.txt", b"hello")
        oss = webtest.TestApp(client.local_oss)
        clock.advance(301)
        late = oss.post("/examplebucket", body, headers={"Content-Type": content_type}, expect_errors=True)
        assert "Policy expired" in late.text
        clock.advance(-2)
        assert oss.post("/examplebucket", body, headers={"Content-Type": content_type}).status_int == 200


def test_temporary_credentials_need_their_token_in_the_form(version: str) -> None:
    values = {"signature_version": version, "session_token": "CAISexample+Token/With=Padding=="}
    with LintedClient(legacy, values) as client:
        assert client.upload("a.txt", b"hello").status_int == 200
        dropped = client.upload("a.txt", b"hello", change=lambda form: form.pop("x-oss-security-token") and None)
        assert dropped.status_int == 403


def test_a_failing_handler_returns_203_and_keeps_the_object(version: str) -> None:
    def on_upload(upload: Upload) -> None:
        raise RuntimeError("disk full")

    values = {"signature_version": version, "upload_names": "original"}
    with LintedClient(legacy, values, on_upload=on_upload) as client:
        answer = client.upload("a.txt", b"hello")
        assert answer.status_int == 203
        assert b"CallbackFailed" in answer.body
        stored = client.local_oss.signed_url("user-dir-prefix/a.txt")
        assert webtest.TestApp(client.local_oss).get(stored).body == b"hello"


def test_the_applications_own_view_can_answer_the_callback(version: str) -> None:
    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        upload = environ["oss_wsgi.upload"]
        body = b'{"saved": "%s"}' % (upload.object or "").encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    values = {"signature_version": version, "upload_names": "original"}
    with LintedClient(view, values, forward_callback=True) as client:
        assert client.upload("a.txt", b"hello").json == {"saved": "user-dir-prefix/a.txt"}


def test_without_a_callback_url_uploads_are_not_reported(version: str) -> None:
    uploads: list[Upload] = []
    with LintedClient(legacy, {"signature_version": version, "callback_url": None}, on_upload=uploads.append) as client:
        assert client.sign("a.txt").json["callback"] == ""
        answer = client.upload("a.txt", b"hello")
        assert (answer.status_int, answer.body, uploads) == (200, b"", [])


def test_a_callback_that_is_not_required_can_be_dropped(version: str) -> None:
    uploads: list[Upload] = []
    values = {"signature_version": version, "callback_required": False}
    with LintedClient(legacy, values, on_upload=uploads.append) as client:
        assert client.upload("a.txt", b"hello", change=lambda form: form.pop("callback") and None).status_int == 200
        assert uploads == []
        assert client.upload("a.txt", b"hello").json == {"Status": "Ok"}


def test_every_request_follows_pep_3333(version: str) -> None:
    with LintedClient(legacy, {"signature_version": version}) as client:
        app, oss = webtest.TestApp(client.application), webtest.TestApp(client.local_oss)
        assert app.get("/").text == "legacy"
        fields = app.get("/oss/signature?filename=a.txt").json["fields"]
        content_type, body = multipart(fields, "a.txt", b"hello")
        assert oss.post("/examplebucket", body, headers={"Content-Type": content_type}).json == {"Status": "Ok"}


def test_a_replaced_object_is_reported_as_it_was_uploaded(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads: list[Upload] = []
    with LintedClient(legacy, {"signature_version": version}, on_upload=uploads.append) as client:
        commit = Incoming.commit

        def commit_and_be_replaced(*described: Any, **options: Any) -> Any:
            monkeypatch.setattr(Incoming, "commit", commit)
            stored = commit(*described, **options)
            assert client.upload("same.png", png(3, 2), exact=False).status_int == 200
            return stored

        monkeypatch.setattr(Incoming, "commit", commit_and_be_replaced)
        assert client.upload("same.png", png(7, 5), exact=False).status_int == 200
        assert [(upload.image_width, upload.image_height) for upload in uploads] == [(3, 2), (7, 5)]
