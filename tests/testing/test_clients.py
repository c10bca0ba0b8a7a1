"""Uploads in one call, through an application with or without DirectUpload, and what both sides receive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import webob

from oss_wsgi import DirectUpload, Grant, Settings, Upload
from oss_wsgi.testing import ExistingAppClient, FrozenClock, UploadClient, multipart, oss_upload
from oss_wsgi.testing.local_oss import InProcessBucket, InProcessOSS, environ_for

from ..support.callbacks import without_signed_id


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"status": "fine"}']


@pytest.fixture
def oss(tmp_path: Path) -> InProcessOSS:
    return InProcessOSS(directory=tmp_path / "oss", key_bits=1024)


@pytest.fixture
def make_application(oss: InProcessOSS, tmp_path: Path) -> Any:
    def make(prefix: str = "/oss", **options: Any) -> DirectUpload:
        settings = Settings.from_environ(environ_for(oss, tmp_path, prefix=prefix))
        return DirectUpload(legacy, settings, prefix=prefix, **options)

    return make


def test_an_application_without_direct_upload_is_wrapped() -> None:
    grant = {"user": "eric", "dir": "users/eric", "data": {"order": 7}}
    result = oss_upload(legacy, "cat.png", b"meow", content_type="image/png", **grant)
    assert without_signed_id(result.answer.json) == {"Status": "Ok"}
    assert result.upload is not None
    assert (result.upload.user, result.upload.data) == ("eric", {"order": 7})
    assert (result.upload.object or "").startswith("users/eric/")
    assert (result.upload.size, result.upload.mime_type) == (4, "image/png")


@pytest.mark.parametrize(
    ("filename", "content_type", "sent"),
    [
        ("cat.png", None, "image/png"),
        ("CAT.PNG", None, "image/png"),
        ("cat.png", "image/webp", "image/webp"),
        ("cat", None, "application/octet-stream"),
        ("cat.nobody-knows", None, "application/octet-stream"),
    ],
)
def test_the_type_follows_from_the_name_unless_it_is_given(filename: str, content_type: str | None, sent: str) -> None:
    upload, _ = oss_upload(legacy, filename, b"meow", content_type=content_type, user="eric")
    assert upload is not None
    assert upload.mime_type == sent


def test_a_client_reads_tickets_with_the_secret_and_the_clock_of_its_application() -> None:
    settings = {
        "ticket_secret": ("a secret of the application, long enough",),
        "session_token": "of-sts",
    }
    options: dict[str, Any] = {"authorize": lambda _: Grant("eric"), "clock": FrozenClock(), "prefix": "/上传"}
    with UploadClient(legacy, settings, mount="/站", **options) as client:
        assert without_signed_id(client.upload("a.txt", b"x").json) == {"Status": "Ok"}
    assert [upload.user for upload in client.uploads] == ["eric"]


def test_a_client_uses_the_settings_of_its_oss(tmp_path: Path) -> None:
    oss = InProcessOSS("other-bucket", "cn-beijing", directory=tmp_path / "oss", key_bits=1024)
    with UploadClient(legacy, oss=oss, authorize=lambda _: Grant("eric")) as client:
        client.upload("a.txt", b"x")
        assert client.bucket.head(client.uploads[0].object or "") is not None
    assert (client.uploads[0].bucket, client.settings.region) == ("other-bucket", "cn-beijing")


def test_a_grant_for_one_type_refuses_others() -> None:
    answer = oss_upload(legacy, "cat.png", b"meow", content_types=["image/png"]).answer
    assert without_signed_id(answer.json) == {"Status": "Ok"}
    upload, answer = oss_upload(legacy, "cat.txt", b"meow", content_types=["image/png"])
    assert (upload, answer.status_int) == (None, 403)


def test_the_result_is_what_the_handler_received() -> None:
    received: list[Upload] = []
    upload, answer = oss_upload(legacy, "a.txt", b"x", on_upload=lambda u: received.append(u) or {"n": 1}, user="eric")
    assert [upload] == received
    assert without_signed_id(answer.json) == {"Status": "Ok", "n": 1}


def test_the_view_may_answer_the_callback() -> None:
    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["oss_wsgi.upload"].user.encode() if "oss_wsgi.upload" in environ else b""
        body = b'{"user": "%s"}' % body
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    assert oss_upload(view, "a.txt", b"x", forward_callback=True, user="eric").answer.json == {"user": "eric"}


def test_what_the_grant_forbids_is_refused() -> None:
    upload, answer = oss_upload(legacy, "a.txt", b"xx", max_size=1)
    assert (upload, answer.status_int) == (None, 403)


def test_a_handler_that_fails_accepts_nothing() -> None:
    def fail(upload: Upload) -> None:
        raise RuntimeError

    upload, answer = oss_upload(legacy, "a.txt", b"x", on_upload=fail)
    assert (upload, answer.status_int) == (None, 203)


def test_an_application_that_raises_on_other_paths_is_wrapped() -> None:
    def only_root(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise KeyError(environ["PATH_INFO"])

    assert oss_upload(only_root, "a.txt", b"x").answer.status_int == 200


@pytest.mark.parametrize("prefix", ["/oss", "/a b/上传"])
def test_an_application_with_direct_upload_is_used_as_it_is(
    oss: InProcessOSS, make_application: Any, prefix: str
) -> None:
    received: list[Upload] = []

    def authorize(request: Any) -> Grant | None:
        return Grant(user=request.remote_user, data={"a": 1}) if request.remote_user else None

    application = make_application(prefix, authorize=authorize, on_upload=received.append)
    arguments = {"oss": oss, "prefix": prefix}
    upload, answer = oss_upload(application, "a.txt", b"x", environ={"REMOTE_USER": "eric"}, **arguments)
    assert without_signed_id(answer.json) == {"Status": "Ok"}
    assert [upload] == received
    assert received[0].user == "eric"
    assert oss_upload(application, "a.txt", b"x", **arguments).answer.status_int == 403
    assert len(received) == 1


def test_direct_upload_is_found_behind_middleware(oss: InProcessOSS, make_application: Any) -> None:
    inner = make_application()
    with pytest.raises(TypeError, match="contains DirectUpload already"):
        oss_upload(lambda environ, start_response: inner(environ, start_response), "a.txt", b"x", oss=oss, user="eric")


@pytest.mark.parametrize("options", [{"user": "eric"}, {"on_upload": print}, {"forward_callback": True}])
def test_options_that_direct_upload_decides_itself_are_refused(
    oss: InProcessOSS, make_application: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="leave the grant and the handler"):
        oss_upload(make_application(), "a.txt", b"x", oss=oss, **options)


def test_an_application_with_direct_upload_needs_its_oss(make_application: Any) -> None:
    with pytest.raises(TypeError, match="pass the oss"):
        oss_upload(make_application(), "a.txt", b"x")


def test_an_application_that_does_not_trust_the_oss_accepts_nothing(oss: InProcessOSS, tmp_path: Path) -> None:
    variables = environ_for(oss, tmp_path)
    del variables["OSS_TRUSTED_KEYS"]
    application = DirectUpload(legacy, Settings.from_environ({**variables, "OSS_ALLOW_ANONYMOUS": "on"}))
    upload, answer = oss_upload(application, "a.txt", b"x", oss=oss)
    assert (upload, answer.status_int) == (None, 203)


def test_without_an_application_the_callback_fails(oss: InProcessOSS, make_application: Any) -> None:
    client = ExistingAppClient(make_application(authorize=lambda _: Grant()), oss)
    oss.application = None
    assert client.upload("a.txt", b"x").status_int == 203


def test_a_form_reaches_a_server_as_a_browser_sends_it() -> None:
    content_type, body = multipart({"key": "中", 'a"b': "v"}, 'x".png', b"data")
    post = webob.Request.blank("/", method="POST", body=body, content_type=content_type).POST
    assert list(post) == ["key", "a%22b", "file"]
    assert post["key"] == "中"
    assert (post["file"].filename, post["file"].type, post["file"].file.read()) == ("x%22.png", "image/png", b"data")


def test_where_pages_report_an_upload_is_reported_and_recorded_alike() -> None:
    uploads: list[Upload] = []
    with UploadClient(legacy, {"report_by": "page"}, on_upload=uploads.append, clock=FrozenClock()) as client:
        assert client.settings.callback_url is None
        assert without_signed_id(client.upload("a.png", b"x").json) == {"Status": "Ok"}
        assert without_signed_id(client.put("b.png", b"y", content_type="image/png").json) == {"Status": "Ok"}
        assert client.uploads == uploads
        assert [client.direct_upload.find_upload(upload.signed_id, user=None).etag for upload in client.uploads] == [
            upload.etag for upload in uploads
        ]
        assert client.upload("c.png", b"z", report=False).body == b""
        assert client.put("c.png", b"z", content_type="image/png", report=False).status_int == 200
        assert len(uploads) == 2


def test_a_report_that_the_application_refuses_is_not_recorded() -> None:
    def fail(upload: Upload) -> None:
        raise RuntimeError

    with UploadClient(legacy, {"report_by": "page"}, on_upload=fail) as client:
        assert client.upload("a.png", b"x").status_int == 500
        assert client.uploads == []


def test_an_existing_application_may_let_pages_report(oss: InProcessOSS, tmp_path: Path) -> None:
    environ = environ_for(oss, tmp_path) | {"OSS_REPORT_BY": "page", "OSS_ALLOW_ANONYMOUS": "on"}
    application = DirectUpload(legacy, Settings.from_environ(environ), bucket_client=InProcessBucket(oss))
    result = oss_upload(application, "cat.png", b"meow", oss=oss)
    assert result.upload is not None
    assert (result.upload.size, result.upload.recovered, result.answer.json["Status"]) == (4, False, "Ok")
