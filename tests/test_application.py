"""DirectUpload: the middleware and the endpoints, joined over an application."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import webtest

from local_oss import LocalOSS
from oss_wsgi import (
    AccessLog,
    AuthorizationPassthrough,
    Credentials,
    DirectUpload,
    Dispatcher,
    Grant,
    RateLimit,
    Settings,
    StaticCredentialsProvider,
    Upload,
)
from oss_wsgi.application import public_key_store
from oss_wsgi.callback.public_keys import OSS_PUBLIC_KEY_URLS
from oss_wsgi.exceptions import SettingsError
from oss_wsgi.testing import CallbackSigner, FrozenClock, callback_body
from oss_wsgi.testing.local_oss import InProcessBucket

from .support.callbacks import new_report, post_callback, without_signed_id
from .support.example_settings import EXAMPLE

SIGNER = CallbackSigner()
VALUES = {**EXAMPLE, "allow_anonymous": True, "ticket_secret": ("t" * 32,)}


BODY = new_report(*VALUES["ticket_secret"])


def legacy(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    upload = environ.get("oss_wsgi.upload")
    text = f"{environ.get('SCRIPT_NAME', '')!r} {environ['PATH_INFO']!r} {upload.object if upload else None}"
    start_response("200 OK", [("Content-Type", "text/plain; charset=latin-1")])
    return [text.encode("latin-1")]


def client(values: dict[str, Any] | None = None, **options: Any) -> webtest.TestApp:
    settings = Settings(**{**VALUES, **(values or {})})
    return webtest.TestApp(DirectUpload(legacy, settings, **{"public_keys": SIGNER.public_keys, **options}))


def test_one_client_asks_the_bucket_with_the_same_credentials_and_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def bucket(settings: Settings, **options: Any) -> Any:
        made.append(options)
        return SimpleNamespace(**dict.fromkeys(("begin", "list_parts", "complete", "abort"), print))

    monkeypatch.setattr("oss_wsgi.sdk.bucket.SDKBucket", bucket)
    options = {"credentials": StaticCredentialsProvider(Credentials("id", "secret")), "clock": FrozenClock()}
    client({"recover": True, "multipart": True}, **options)
    assert made == [options]


@pytest.mark.parametrize("path", ["/", "/ossified", "/x/oss/signature", "/oss.html"])
def test_other_paths_go_to_the_application(path: str) -> None:
    assert client().get(path).text == f"'' '{path}' None"


def test_the_application_gets_its_environ_with_find_upload_and_nothing_else() -> None:
    seen = []
    app = DirectUpload(lambda environ, start: seen.append(environ) or [], Settings(**VALUES))
    environ = {"PATH_INFO": "/legacy", "REDIRECT_HTTP_AUTHORIZATION": "Basic x"}
    app(environ, lambda *args: None)
    assert seen[0] is environ
    assert environ.pop("oss_wsgi.find_upload") == app.find_upload
    assert environ == {"PATH_INFO": "/legacy", "REDIRECT_HTTP_AUTHORIZATION": "Basic x"}


@pytest.mark.parametrize("path", ["/oss", "/oss/", "/oss/nothing", "/oss/signature/", "/oss//signature"])
def test_an_unknown_path_below_the_prefix_is_404_json(path: str) -> None:
    for method in ("GET", "POST"):
        response = client().request(path, method=method, expect_errors=True)
        assert response.status_int == 404
        assert response.json["error"]["code"] == "not_found"


def test_the_endpoints_are_mounted() -> None:
    assert client().get("/oss/health").json == {"status": "ok"}
    assert client().get("/oss/signature?filename=a.png").json["dir"] == "user-dir-prefix/"
    assert without_signed_id(post_callback(client(), BODY, SIGNER).json) == {"Status": "Ok"}


def test_another_prefix_moves_all_endpoints() -> None:
    app = client(prefix="/a/上传")
    assert app.get("/a/%E4%B8%8A%E4%BC%A0/health").json == {"status": "ok"}
    target = "/a/%E4%B8%8A%E4%BC%A0/callback"
    assert without_signed_id(post_callback(app, BODY, SIGNER, target=target).json) == {"Status": "Ok"}
    assert app.get("/oss/health").text.startswith("''")


@pytest.mark.parametrize(
    ("prefix", "url", "completed"),
    [
        ("/oss", "http://127.0.0.1:8080", "http://127.0.0.1:8080/oss/callback"),
        ("/my 上", "https://a.example", "https://a.example/my%20%E4%B8%8A/callback"),
        ("", "https://a.example", "https://a.example/oss/callback"),
        ("/up", "https://a.example; https://b.example/x", "https://a.example/up/callback;https://b.example/x"),
        ("/up", "https://a.example?tenant=1", "https://a.example?tenant=1"),
    ],
)
def test_a_callback_url_without_a_path_gets_the_own_one(prefix: str, url: str, completed: str) -> None:
    app = client({"callback_url": url}, prefix=prefix)
    assert app.app.settings.callback_url == completed
    fields = app.get(f"{quote(prefix)}/signature?filename=a.png").json["fields"]
    assert json.loads(base64.b64decode(fields["callback"]))["callbackUrl"] == completed


def mounted(**options: Any) -> webtest.TestApp:
    """Return a client of an application that mounts a whole DirectUpload, without a prefix of its own."""
    upload = DirectUpload(legacy, Settings(**VALUES), prefix="", public_keys=SIGNER.public_keys, **options)
    return webtest.TestApp(Dispatcher(legacy, {"/a/oss": upload}))


def test_without_a_prefix_the_endpoints_are_below_the_mount() -> None:
    app = mounted()
    assert app.get("/a/oss/signature?filename=a.png").json["method"] == "POST"
    assert app.get("/a/oss/health").json == {"status": "ok"}
    assert app.get("/a/oss/upload.js").content_type == "text/javascript"
    answer = post_callback(app, BODY, SIGNER, target="/a/oss/callback")
    assert without_signed_id(answer.json) == {"Status": "Ok"}
    for path in ("/a/oss", "/a/oss/", "/a/oss/elsewhere", "/a/oss/oss/signature"):
        assert app.get(path, status=404).json["error"]["code"] == "not_found"
    assert app.get("/elsewhere").text == "'' '/elsewhere' None"


def test_without_a_prefix_the_view_gets_the_callback_as_it_came() -> None:
    answer = post_callback(mounted(forward_callback=True), BODY, SIGNER, target="/a/oss/callback")
    assert answer.text == "'/a/oss' '/callback' user/eric/a.txt"


def test_without_a_prefix_no_request_changes_the_environ_of_the_server() -> None:
    environ = webtest.TestRequest.blank("/health").environ
    before = dict(environ)
    DirectUpload(legacy, Settings(**VALUES), prefix="")(environ, lambda *args: None)
    assert environ["PATH_INFO"] == before["PATH_INFO"] == "/health"
    assert environ["SCRIPT_NAME"] == before["SCRIPT_NAME"]


@pytest.mark.parametrize("name", ["authorize", "may_complete", "on_upload"])
def test_an_async_function_is_refused_and_its_place_named(name: str) -> None:
    async def function(argument: object) -> None:
        raise AssertionError

    with pytest.raises(TypeError, match=f"{name} is an async function: .* mount oss_wsgi.asgi.DirectUpload"):
        client(**{name: function})


@pytest.mark.parametrize("prefix", ["/", "oss", "/oss/"])
def test_a_prefix_of_another_form_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        client(prefix=prefix)


def test_a_forwarded_callback_reaches_the_view_at_its_path() -> None:
    app = client(forward_callback=True)
    response = post_callback(app, BODY, SIGNER)
    assert response.text == "'' '/oss/callback' user/eric/a.txt"
    body = new_report(*VALUES["ticket_secret"])
    mounted = post_callback(
        app, body, SIGNER, signed_target="/site/oss/callback", extra_environ={"SCRIPT_NAME": "/site"}
    )
    assert mounted.text == "'/site' '/oss/callback' user/eric/a.txt"
    assert app.post("/oss/callback", BODY, expect_errors=True).status_int == 403


def test_the_view_sees_an_authorization_that_the_server_hid() -> None:
    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["HTTP_AUTHORIZATION"].encode()]

    headers = SIGNER.headers("/oss/callback", BODY)
    hidden = {"REDIRECT_HTTP_AUTHORIZATION": headers.pop("Authorization")}
    settings = Settings(**VALUES)
    app = webtest.TestApp(DirectUpload(view, settings, forward_callback=True, public_keys=SIGNER.public_keys))
    answer = app.post("/oss/callback", BODY, headers=headers, extra_environ=hidden)
    assert answer.text == hidden["REDIRECT_HTTP_AUTHORIZATION"]


@pytest.mark.parametrize(("is_confirmed", "status"), [(True, 200), (False, 403)])
def test_a_forwarded_callback_is_confirmed_first(is_confirmed: bool, status: int) -> None:
    app = client(forward_callback=True, confirm=lambda upload: is_confirmed)
    assert post_callback(app, BODY, SIGNER, expect_errors=True).status_int == status


def test_forwarding_and_a_handler_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="forward_callback"):
        client(forward_callback=True, on_upload=lambda upload: None)


def test_the_handler_gets_only_uploads_to_our_bucket() -> None:
    uploads: list[Upload] = []
    app = client(on_upload=uploads.append)
    post_callback(app, BODY, SIGNER)
    foreign = new_report(*VALUES["ticket_secret"], bucket="evilbucket")
    assert post_callback(app, foreign, SIGNER, expect_errors=True).status_int == 403
    assert [upload.bucket for upload in uploads] == ["examplebucket"]


def test_a_signature_for_a_prefix_is_good_for_as_many_objects_as_the_grant_says() -> None:
    uploads: list[Upload] = []
    grant = Grant(user="eric", dir="users/eric", data={"album": 7}, max_objects=2)
    app = client(authorize=lambda request: grant, on_upload=uploads.append)
    signed = app.get("/oss/signature").json
    for name, status in (("a.txt", 200), ("b.txt", 200), ("c.txt", 409), ("a.txt", 200)):
        body = callback_body(signed, size=6, filename=name)
        assert post_callback(app, body, SIGNER, expect_errors=True).status_int == status
    assert [(upload.object, upload.user, upload.data) for upload in uploads] == [
        ("users/eric/a.txt", "eric", {"album": 7}),
        ("users/eric/b.txt", "eric", {"album": 7}),
    ]


@pytest.mark.parametrize("forward", [False, True])
def test_a_handler_that_fails_is_called_again(forward: bool) -> None:
    calls: list[str] = []

    def view(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        calls.append(environ["oss_wsgi.upload"].object)
        status = "500 Oops" if len(calls) == 1 else "200 OK"
        start_response(status, [("Content-Type", "application/json")])
        return [b"{}"]

    def save(upload: Upload) -> None:
        calls.append(str(upload.object))
        if len(calls) == 1:
            raise OSError("the database is away")

    settings = Settings(**VALUES)
    app = webtest.TestApp(
        DirectUpload(view, settings, forward_callback=True, public_keys=SIGNER.public_keys)
        if forward
        else DirectUpload(legacy, settings, on_upload=save, public_keys=SIGNER.public_keys)
    )
    statuses = [post_callback(app, BODY, SIGNER, expect_errors=True).status_int for _ in range(3)]
    assert statuses == [500, 200, 200]
    assert len(calls) == 2


def test_the_settings_file_is_the_ledger_and_outlives_the_application(tmp_path: Path) -> None:
    uploads: list[Upload] = []
    for _ in range(2):
        app = client({"ledger": str(tmp_path / "handled.sqlite3")}, on_upload=uploads.append)
        assert post_callback(app, BODY, SIGNER).status_int == 200
    assert len(uploads) == 1


def test_a_missing_key_is_told_before_the_ledger_makes_its_file(tmp_path: Path) -> None:
    path = tmp_path / "handled.sqlite3"
    with pytest.raises(SettingsError, match="OSS_ACCESS_KEY_ID"):
        client({"access_key_id": None, "access_key_secret": None, "ledger": str(path)})
    with pytest.raises(SettingsError, match="OSS_BUCKET"):
        client({"bucket": None, "ledger": str(path)})
    assert not path.exists()


def test_missing_settings_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    client({"ticket_secret": ()})
    assert "OSS_TICKET_SECRET is not set" in caplog.text
    assert "OSS_LEDGER is not set" in caplog.text


def test_a_misrouted_callback_is_logged_with_the_fix(caplog: pytest.LogCaptureFixture) -> None:
    """Behind such gateways flup has the whole path in SCRIPT_NAME, so the callback goes to the application."""
    misrouted = {"SCRIPT_NAME": "/oss/callback", "PATH_INFO": "", "REQUEST_URI": "/oss/callback"}
    misrouted["SERVER_SOFTWARE"] = "nginx/1.26"
    headers = SIGNER.headers("/oss/callback", BODY)
    sent = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}
    app = DirectUpload(legacy, Settings(**VALUES), public_keys=SIGNER.public_keys)
    caplog.clear()
    app({**sent, **misrouted, "REQUEST_METHOD": "POST"}, lambda status, headers, exc_info=None: lambda data: None)
    assert "fastcgi_param PATH_INFO" in caplog.text
    caplog.clear()
    sent["REQUEST_METHOD"] = misrouted["REQUEST_METHOD"] = "POST"
    app(dict(misrouted), lambda status, headers, exc_info=None: lambda data: None)
    assert caplog.text == "", "it is no callback"
    for path in (f"/{'x' * 4096}/oss/callback", "/oss/callback/of/another"):
        app({**sent, **misrouted, "REQUEST_URI": path}, lambda status, headers, exc_info=None: lambda data: None)
    assert caplog.text == "", "nobody fills the log with a path of his own"
    assert client().post("/oss/callback", BODY, headers=headers).status_int == 200
    assert "does not reach" not in caplog.text


def nonblocking(values: dict[str, Any] | None = None, **options: Any) -> set[str]:
    settings = Settings(**{**VALUES, **(values or {})})
    app = DirectUpload(legacy, settings, **{"public_keys": SIGNER.public_keys, **options})
    pinned, unknown = (base64.b64encode(url.encode()).decode() for url in (SIGNER.url, SIGNER.url + "x"))
    requests: dict[str, tuple[str, str, dict[str, str]]] = {
        "signature": ("GET", "/oss/signature", {}),
        "health": ("GET", "/oss/health", {}),
        "callback": ("POST", "/oss/callback", {"X_OSS_PUB_KEY_URL": pinned}),
        "unknown key": ("POST", "/oss/callback", {"X_OSS_PUB_KEY_URL": unknown}),
        "malformed key": ("POST", "/oss/callback", {"X_OSS_PUB_KEY_URL": "?"}),
        "no key": ("POST", "/oss/callback", {}),
        "legacy": ("GET", "/", {}),
        "readiness": ("GET", "/oss/health/ready", {}),
        "nothing there": ("GET", "/oss/nothing", {}),
        "the mount itself": ("GET", "/oss", {}),
        "below an endpoint": ("GET", "/oss/signature/x", {}),
        "another method": ("POST", "/oss/signature", {}),
        "another method of the callback": ("GET", "/oss/callback", {"X_OSS_PUB_KEY_URL": pinned}),
        "another method of health": ("POST", "/oss/health", {}),
    }
    return {name for name, request in requests.items() if app.is_nonblocking(*request)}


def test_only_what_calls_nothing_that_may_wait_is_nonblocking(tmp_path: Path) -> None:
    assert nonblocking() == {"signature", "callback", "health"}
    assert nonblocking(rate_limit=RateLimit(1, 1, clock=time.time)) == {"signature", "callback", "health"}
    assert nonblocking(authorize=lambda request: None) == {"callback", "health"}
    assert nonblocking(rate_limit=lambda who: None) == {"callback", "health"}
    static = StaticCredentialsProvider(Settings(**VALUES).credentials())
    assert nonblocking(credentials=static) == {"callback", "health"}
    for observers in ({"on_issued": print}, {"on_refused": print}):
        assert nonblocking(**observers) == {"health"}
    for handling in ({"on_upload": print}, {"confirm": lambda upload: True}, {"forward_callback": True}):
        assert nonblocking(**handling) == {"signature", "health"}
    assert nonblocking({"ledger": str(tmp_path / "ledger.sqlite3")}) == {"signature", "callback", "health"}


def test_nonblocking_paths_move_with_the_prefix() -> None:
    app = DirectUpload(legacy, Settings(**VALUES), prefix="/a/上传")
    assert app.is_nonblocking("GET", "/a/上传/signature".encode().decode("latin-1"), {})
    assert not app.is_nonblocking("GET", "/oss/signature", {})


def test_the_application_says_how_long_bodies_may_be() -> None:
    class Wrapped:
        def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
            return legacy(environ, start_response)

        def body_limit(self, method: str, path: str) -> int | None:
            return {"/short": 9}.get(path)

    bucket = InProcessBucket(LocalOSS(bucket="examplebucket"))
    app = DirectUpload(Wrapped(), Settings(**VALUES, multipart=True), bucket_client=bucket)
    complete = "/oss/s3/multipart/x/complete"
    assert app.body_limit("POST", complete) == 1024 * 1024
    for method, path in (("POST", "/oss/callback"), ("PUT", complete), ("POST", "/oss/s3/multipart"), ("GET", "/oss")):
        assert app.body_limit(method, path) == 64 * 1024, path
    assert app.body_limit("POST", "/short") == 9
    assert app.body_limit("POST", "/x/s3/multipart/x/complete") is None
    assert DirectUpload(legacy, Settings(**VALUES)).body_limit("POST", complete) == 64 * 1024
    assert AuthorizationPassthrough(app).body_limit("POST", "/short") == 9


def test_the_application_says_which_requests_are_callbacks() -> None:
    class Wrapped:
        def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
            return legacy(environ, start_response)

        def is_callback(self, method: str, path: str, headers: Any) -> bool:
            return path == "/own/callback"

    def encoded(url: str) -> dict[str, str]:
        return {"X_OSS_PUB_KEY_URL": base64.b64encode(url.encode()).decode()}

    known = encoded("https://gosspublic.alicdn.com/callback_pub_key_v1.pem")
    app = DirectUpload(Wrapped(), Settings(**VALUES))
    logged: Any = AccessLog(app, clock=time.monotonic)
    assert logged.body_limit("POST", "/oss/callback") == 64 * 1024
    assert logged.is_nonblocking("GET", "/oss/signature", {})
    assert not hasattr(AccessLog(legacy, clock=time.monotonic), "is_callback")
    observed = DirectUpload(legacy, Settings(**VALUES), on_refused=print)
    callback: Any
    for callback in (app, AuthorizationPassthrough(app), logged, observed):
        assert callback.is_callback("POST", "/oss/callback", known)
        assert not callback.is_callback("GET", "/oss/callback", known)
        assert not callback.is_callback("POST", "/oss/callback", {}), "it is refused at once"
        assert not callback.is_callback("POST", "/oss/callback", encoded(OSS_PUBLIC_KEY_URLS[0].replace("v1", "v2")))
        assert callback.is_callback("POST", "/oss/callback", encoded("https://example.com/")), "it is refused at once"
        for path in ("/oss/signature", "/oss/recover", "/oss/s3/params", "/oss/callback/x", "/callback", "/", "/oss"):
            assert not callback.is_callback("POST", path, known), path
    assert app.is_callback("POST", "/own/callback", {})
    assert DirectUpload(app, Settings(**VALUES), prefix="/more").is_callback("POST", "/oss/callback", known)


def test_a_proxy_that_strips_a_prefix_is_covered_by_the_callback_url() -> None:
    app = client({"callback_url": "https://app.example.com/public/oss/callback"})
    assert post_callback(app, BODY, SIGNER, signed_target="/public/oss/callback").status_int == 200


def test_trusted_keys_are_read_from_their_files(tmp_path: Path) -> None:
    (tmp_path / "key=1.pem").write_text(SIGNER.pem)
    settings = Settings(**VALUES, trusted_keys=f"{SIGNER.url}={tmp_path}/key.pem")
    with pytest.raises(SettingsError, match="cannot be read"):
        public_key_store(settings)
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(SettingsError, match="not a public key"):
        public_key_store(settings)
    (tmp_path / "key.pem").write_text(SIGNER.pem)
    app = webtest.TestApp(DirectUpload(legacy, settings))
    assert post_callback(app, BODY, SIGNER).status_int == 200


def test_a_newer_key_of_oss_is_fetched_over_https(monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[str] = []

    class Fetcher:
        def __call__(self, url: str) -> bytes:
            urls.append(url)
            return SIGNER.pem.encode()

    monkeypatch.setattr("oss_wsgi.callback.key_fetcher.HTTPSFetcher", Fetcher)
    newer = "http://gosspublic.alicdn.com/callback_pub_key_v2.pem"
    headers: dict[str, str | None] = {"x-oss-pub-key-url": base64.b64encode(newer.encode()).decode()}
    app = webtest.TestApp(DirectUpload(legacy, Settings(**VALUES)))
    assert post_callback(app, BODY, SIGNER, headers=headers).status_int == 200
    assert urls == [newer.replace("http:", "https:")]


def test_the_key_of_oss_is_known_without_a_fetch(caplog: pytest.LogCaptureFixture) -> None:
    body = b"bucket=yonghu-test"
    signature = "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA=="
    url = base64.b64encode(b"https://gosspublic.alicdn.com/callback_pub_key_v1.pem").decode()
    public = "https://app.example.com/index.php?id=1&index=2"
    settings = Settings(**{**VALUES, "bucket": "yonghu-test", "callback_url": public})
    app = webtest.TestApp(DirectUpload(legacy, settings))
    headers = {"Authorization": signature, "x-oss-pub-key-url": url}
    caplog.clear()
    assert app.post("/oss/callback", body, headers=headers, expect_errors=True).status_int == 403
    assert "reason=ticket_missing" in caplog.text, "the signature is valid, but not enough"
