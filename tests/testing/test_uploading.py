"""One call uploads through any application, bare or finished, and tells what it heard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oss_wsgi import DirectUpload, Grant, Settings, Upload
from oss_wsgi.testing import FinishedRoad, oss_upload
from oss_wsgi.testing.local_oss import InProcessOSS, environ_for


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b'{"status": "fine"}']


@pytest.fixture
def oss(tmp_path: Path) -> InProcessOSS:
    return InProcessOSS(directory=tmp_path / "oss", key_bits=1024)


@pytest.fixture
def finish(oss: InProcessOSS, tmp_path: Path) -> Any:
    def finish(prefix: str = "/oss", **options: Any) -> DirectUpload:
        settings = Settings.from_environ(environ_for(oss, tmp_path, prefix=prefix))
        return DirectUpload(legacy, settings, prefix=prefix, **options)

    return finish


def test_a_bare_application_is_wrapped_and_granted_what_is_asked() -> None:
    grant = {"user": "eric", "dir": "users/eric", "data": {"order": 7}}
    result = oss_upload(legacy, "cat.png", b"meow", content_type="image/png", **grant)
    assert result.answer.json == {"Status": "Ok"}
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
def test_the_type_of_the_file_is_the_one_that_its_name_says_unless_it_is_given(
    filename: str, content_type: str | None, sent: str
) -> None:
    upload, _ = oss_upload(legacy, filename, b"meow", content_type=content_type, user="eric")
    assert upload is not None
    assert upload.mime_type == sent


def test_a_grant_for_a_type_is_kept_by_a_file_that_is_named_so() -> None:
    assert oss_upload(legacy, "cat.png", b"meow", content_types=["image/png"]).answer.json == {"Status": "Ok"}
    upload, answer = oss_upload(legacy, "cat.txt", b"meow", content_types=["image/png"])
    assert (upload, answer.status_int) == (None, 403)


def test_the_event_is_the_one_that_the_handler_heard() -> None:
    heard: list[Upload] = []
    upload, answer = oss_upload(legacy, "a.txt", b"x", on_upload=lambda u: heard.append(u) or {"n": 1}, user="eric")
    assert [upload] == heard
    assert answer.json == {"Status": "Ok", "n": 1}


def test_its_own_view_may_answer() -> None:
    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["oss_wsgi.upload"].user.encode() if "oss_wsgi.upload" in environ else b""
        body = b'{"user": "%s"}' % body
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    assert oss_upload(view, "a.txt", b"x", forward_callback=True, user="eric").answer.json == {"user": "eric"}


def test_what_the_grant_forbids_is_refused_and_nothing_is_heard() -> None:
    upload, answer = oss_upload(legacy, "a.txt", b"xx", max_size=1)
    assert (upload, answer.status_int) == (None, 403)


def test_a_handler_that_fails_has_accepted_nothing() -> None:
    def fail(upload: Upload) -> None:
        raise RuntimeError

    upload, answer = oss_upload(legacy, "a.txt", b"x", on_upload=fail)
    assert (upload, answer.status_int) == (None, 203)


def test_an_application_that_expects_no_other_path_is_bare() -> None:
    def only_root(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise KeyError(environ["PATH_INFO"])

    assert oss_upload(only_root, "a.txt", b"x").answer.status_int == 200


@pytest.mark.parametrize("prefix", ["/oss", "/a b/上传"])
def test_a_finished_application_goes_as_it_is(oss: InProcessOSS, finish: Any, prefix: str) -> None:
    heard: list[Upload] = []

    def authorize(request: Any) -> Grant | None:
        return Grant(user=request.remote_user, data={"a": 1}) if request.remote_user else None

    application = finish(prefix, authorize=authorize, on_upload=heard.append)
    arguments = {"oss": oss, "prefix": prefix}
    upload, answer = oss_upload(application, "a.txt", b"x", environ={"REMOTE_USER": "eric"}, **arguments)
    assert answer.json == {"Status": "Ok"}
    assert [upload] == heard
    assert heard[0].user == "eric"
    assert oss_upload(application, "a.txt", b"x", **arguments).answer.status_int == 403
    assert len(heard) == 1


def test_a_finished_application_is_one_behind_middleware_too(oss: InProcessOSS, finish: Any) -> None:
    inner = finish()
    with pytest.raises(TypeError, match="DirectUpload in it already"):
        oss_upload(lambda environ, start_response: inner(environ, start_response), "a.txt", b"x", oss=oss, user="eric")


@pytest.mark.parametrize("options", [{"user": "eric"}, {"on_upload": print}, {"forward_callback": True}])
def test_what_a_finished_application_decides_itself_is_refused(
    oss: InProcessOSS, finish: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(TypeError, match="leave grant and handler"):
        oss_upload(finish(), "a.txt", b"x", oss=oss, **options)


def test_a_finished_application_needs_its_oss(finish: Any) -> None:
    with pytest.raises(TypeError, match="give the oss"):
        oss_upload(finish(), "a.txt", b"x")


def test_an_application_that_does_not_believe_this_oss_accepts_nothing(oss: InProcessOSS, tmp_path: Path) -> None:
    variables = environ_for(oss, tmp_path)
    del variables["OSS_TRUSTED_KEYS"]
    application = DirectUpload(legacy, Settings.from_environ({**variables, "OSS_ALLOW_ANONYMOUS": "on"}))
    upload, answer = oss_upload(application, "a.txt", b"x", oss=oss)
    assert (upload, answer.status_int) == (None, 203)


def test_an_oss_without_an_application_reports_the_callback_as_failed(oss: InProcessOSS, finish: Any) -> None:
    road = FinishedRoad(finish(authorize=lambda _: Grant()), oss)
    oss.application = None
    assert road.upload("a.txt", b"x").status_int == 203
