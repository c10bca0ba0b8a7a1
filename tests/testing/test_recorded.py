"""Recorded callbacks: real captures replay with one call, and so does what CallbackRecorder writes."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
import webtest
from webtest.lint import middleware as lint

from oss_wsgi import CallbackGuard, CallbackVerifier, DirectUpload, Settings
from oss_wsgi.testing import CallbackRecorder, CallbackSigner, FrozenClock, RecordedCallback, UploadClient

from ..support.callbacks import post_callback, without_signed_id

CAPTURES = json.loads((Path(__file__).parent.parent / "vectors" / "callbacks.json").read_text(encoding="utf-8"))[
    "captures"
]
KEY_URL = base64.b64encode(b"http://gosspublic.alicdn.com/callback_pub_key_v1.pem").decode()


def receive(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = json.dumps({"target": environ["oss_wsgi.upload"].target}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"legacy"]


@pytest.mark.parametrize("capture", CAPTURES, ids=[capture["name"] for capture in CAPTURES])
def test_a_real_capture_replays_with_one_call(capture: dict[str, str], tmp_path: Path) -> None:
    headers = {"Authorization": capture["authorization"], "x-oss-pub-key-url": KEY_URL}
    members = {"target": capture["target"], "headers": headers, "body": capture["body"]}
    (tmp_path / "callback.json").write_text(json.dumps(members), encoding="utf-8")
    guarded = lint(CallbackGuard(receive, CallbackVerifier()))
    response = RecordedCallback.load(tmp_path / "callback.json").replay(guarded)
    assert (response.status_int, response.json) == (200, {"target": capture["target"]})
    changed = RecordedCallback.from_json(json.dumps({**members, "body": capture["body"] + " "}))
    assert changed.replay(guarded).status_int == 403


def test_below_a_mount_the_signature_still_fits() -> None:
    signer = CallbackSigner()
    target = "/a%20b/%E4%B8%AD/oss/callback?x=%2F"
    recorded = RecordedCallback(target, signer.headers(target, b"object=a"), b"object=a")
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        return receive(environ, start_response)

    guarded = lint(CallbackGuard(app, CallbackVerifier(signer.public_keys)))
    assert recorded.replay(guarded, mount="/a b/中").status_int == 200
    assert seen[0]["PATH_INFO"] == "/oss/callback"
    assert seen[0]["SCRIPT_NAME"].encode("latin-1").decode() == "/a b/中"
    assert seen[0]["QUERY_STRING"] == "x=%2F"


def test_a_handler_can_be_called_with_the_upload() -> None:
    headers = {"content-type": "application/json; charset=utf-8"}
    upload = RecordedCallback("/done", headers, b' {"object": "a.txt", "size": 3}').upload
    assert (upload.object, upload.size, upload.target) == ("a.txt", 3, "/done")


def test_the_clock_stands_at_the_moment_of_the_callback(tmp_path: Path) -> None:
    recorded = RecordedCallback("/oss/callback?a=b", {"Authorization": "x"}, b"object=a", 12.5)
    assert recorded.clock() == 12.5
    (tmp_path / "callback.json").write_text(recorded.to_json(), encoding="utf-8")
    assert RecordedCallback.load(tmp_path / "callback.json") == recorded


@pytest.mark.parametrize("text", ["[]", "{}", '{"target": "/", "body": ""}', '{"target": "/", "headers": {}}', "null"])
def test_other_json_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="JSON object of target, headers and body"):
        RecordedCallback.from_json(text)


def test_a_recorded_callback_replays_with_its_clock(tmp_path: Path) -> None:
    clock = FrozenClock()
    secret = "a secret of the application, long enough"

    def recording(app: Any) -> Any:
        return lint(CallbackRecorder(app, tmp_path / "recorded", clock=clock))

    with UploadClient(legacy, {"ticket_secret": (secret,)}, wrap=recording, clock=clock) as client:
        assert without_signed_id(client.upload("图.txt", b"hello").json) == {"Status": "Ok"}
        (path,) = (tmp_path / "recorded").iterdir()
        recorded = RecordedCallback.load(path)
        key = (tmp_path / "key.pem").write_text(client.local_oss.public_key_pem) and tmp_path / "key.pem"
        trusted = ((client.local_oss.public_key_url, str(key)),)
        settings = Settings(**{**UploadClient.DEFAULTS, "ticket_secret": (secret,), "trusted_keys": trusted})
    uploads: list[Any] = []
    application = lint(DirectUpload(legacy, settings, on_upload=uploads.append, clock=recorded.clock))
    clock.advance(10**9)
    assert without_signed_id(recorded.replay(application).json) == {"Status": "Ok"}
    assert uploads[0].size == 5
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert recorded.upload.object == uploads[0].object
    assert recorded.replay(lint(DirectUpload(legacy, settings))).status_int == 403, "by today's clock it has expired"


def callbacks(folder: Path, app: Any = legacy, **options: Any) -> webtest.TestApp:
    return webtest.TestApp(CallbackRecorder(app, folder, **options))


def test_only_callbacks_and_their_headers_are_recorded(tmp_path: Path) -> None:
    client = callbacks(tmp_path)
    client.get("/")
    client.post("/login", {"password": "swordfish"})
    client.get("/", headers=CallbackSigner().headers("/", b""))
    assert list(tmp_path.iterdir()) == []
    cookie: dict[str, str | None] = {"Cookie": "session=swordfish"}
    assert post_callback(client, b"a=b", CallbackSigner(), target="/cb", headers=cookie).text == "legacy"
    (path,) = tmp_path.iterdir()
    assert "swordfish" not in path.read_text()
    names = {name.lower() for name in RecordedCallback.load(path).headers}
    assert names >= {"authorization", "content-type", "content-md5", "x-oss-pub-key-url", "x-oss-request-id"}


def test_a_renamed_authorization_is_recorded(tmp_path: Path) -> None:
    headers = CallbackSigner().headers("/cb", b"a=b")
    hidden = {"REDIRECT_HTTP_AUTHORIZATION": headers.pop("Authorization")}
    callbacks(tmp_path).post("/cb", b"a=b", headers=headers, extra_environ=hidden)
    (path,) = tmp_path.iterdir()
    assert RecordedCallback.load(path).headers["Authorization"] == hidden["REDIRECT_HTTP_AUTHORIZATION"]


def test_the_recorder_stops_at_its_limit(tmp_path: Path) -> None:
    clock = FrozenClock()
    client = callbacks(tmp_path, limit=2, clock=clock)
    for _ in range(4):
        clock.advance(1)
        assert post_callback(client, b"a=b", CallbackSigner(), target="/cb").text == "legacy"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("size", [64 * 1024 + 1, 10**6])
def test_a_body_that_is_too_large_is_passed_on_unread(tmp_path: Path, size: int) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        read = len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(read).encode()]

    headers = {"x-oss-pub-key-url": "x"}
    assert callbacks(tmp_path, app).post("/cb", b"x" * size, headers=headers).text == str(size)
    assert list(tmp_path.iterdir()) == []


def test_a_body_without_a_length_is_passed_on_unread(tmp_path: Path) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read()]

    chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "HTTP_X_OSS_PUB_KEY_URL": "x", "wsgi.input_terminated": True}
    environ = {**webtest.TestRequest.blank("/cb", method="POST", body=b"a=b").environ, **chunked}
    del environ["CONTENT_LENGTH"]
    assert list(CallbackRecorder(app, tmp_path)(environ, lambda *_: None)) == [b"a=b"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_stops_no_callback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    client = callbacks(tmp_path / "file" / "folder")
    assert post_callback(client, b"a=b", CallbackSigner(), target="/cb").text == "legacy"
    assert "was not recorded" in caplog.text
