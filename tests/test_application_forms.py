"""DirectUpload(forms=): a form whose files went straight to OSS, from the signature to the application's view."""

from __future__ import annotations

import io
import wsgiref.util
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
import webob.exc

from oss_wsgi import DirectUpload, Grant, Metrics, Settings
from oss_wsgi.asgi import DirectUpload as ASGIDirectUpload
from oss_wsgi.exceptions import SettingsError
from oss_wsgi.testing import UploadClient

from .support.browser_form import CONTENT_TYPE, File, browser_form
from .support.closing import closing_fixture
from .support.example_settings import EXAMPLE

PHOTO = File('猫".png', "image/png", b"\x89PNG\r\n" * 1000)


class Legacy:
    """An application that reads a form and knows nothing of OSS."""

    def __init__(self) -> None:
        self.forms: list[bytes] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.forms.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"saved"]


class Site:
    def __init__(self, settings: dict[str, Any] | None = None, **options: Any) -> None:
        self.legacy = Legacy()
        self.asked: list[webob.Request] = []
        self.user: str | None = "eric"
        options = {"authorize": self.authorize, "forms": True, **options}
        self.client = UploadClient(self.legacy, settings, **options)

    def close(self) -> None:
        self.client.close()

    def authorize(self, request: webob.Request) -> Grant | None:
        self.asked.append(request)
        assert "csrf" not in request.params
        return Grant(user=self.user, dir="users/eric/") if self.user else None

    def post(self, **more: Any) -> tuple[str, str]:
        """Upload a file and post the form with it; return the status and the response."""
        answer = self.client.upload(PHOTO.name, PHOTO.data, content_type=PHOTO.type)
        return self.post_form(answer.json["signed_id"], **more)

    def post_form(self, signed_id: str, **more: Any) -> tuple[str, str]:
        self.asked.clear()
        body = browser_form([("oss_wsgi.files", "photo"), ("csrf", "x"), ("photo", signed_id)])
        environ = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/save",
            "QUERY_STRING": "a=b",
            "CONTENT_TYPE": CONTENT_TYPE,
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": "a",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            **more,
        }
        started: list[str] = []
        response = self.client.application(environ, lambda status, headers, exc_info=None: started.append(status))  # type: ignore[arg-type, return-value]
        try:
            return started[0], b"".join(response).decode()
        finally:
            getattr(response, "close", lambda: None)()


Make = Callable[..., Site]
make: Any = closing_fixture(Site)


def test_the_view_reads_the_form_as_the_browser_would_have_posted_it(make: Make) -> None:
    site = make()
    assert site.post() == ("200 OK", "saved")
    assert site.legacy.forms == [browser_form([("csrf", "x"), ("photo", PHOTO)])]


def test_authorize_is_asked_as_for_a_signature(make: Make) -> None:
    site = make(prefix="/up")
    more = {"HTTP_COOKIE": "session=1", "REMOTE_USER": "eric", "HTTP_X_OTHER": "x", "REQUEST_URI": "/app/save?a=b"}
    assert site.post(SCRIPT_NAME="/app", **more)[0] == "200 OK"
    (request,) = site.asked
    assert (request.method, request.script_name, request.path_info) == ("GET", "/app/up/signature", "")
    expected = {"filename": [PHOTO.name], "size": [str(len(PHOTO.data))], "content_type": [PHOTO.type]}
    assert parse_qs(request.query_string) == expected
    assert request.environ["REQUEST_URI"] == f"/app/up/signature?{request.query_string}"
    assert (request.cookies["session"], request.remote_user, request.headers["X-Other"]) == ("1", "eric", "x")
    assert (request.body, request.content_type, request.content_length) == (b"", "", None)


@pytest.mark.parametrize("user", [None, "mallory"])
def test_another_user_or_nobody_is_403(make: Make, user: str | None, caplog: pytest.LogCaptureFixture) -> None:
    site = make()
    signed_id = site.client.upload(PHOTO.name, PHOTO.data, content_type=PHOTO.type).json["signed_id"]
    site.user = user
    status, page = site.post_form(signed_id)
    assert (status, site.legacy.forms) == ("403 Forbidden", [])
    assert "status=403 reason=signed_id_other_user" in caplog.text
    assert "Log in" in page
    assert signed_id not in page + caplog.text
    site.user = "eric"
    assert site.post_form(signed_id)[0] == "200 OK", "the form may be sent again after a new login"


def test_authorize_may_answer_by_itself_or_fail(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    site = make()
    signed_id = site.client.upload(PHOTO.name, PHOTO.data, content_type=PHOTO.type).json["signed_id"]
    for error, status in ((webob.exc.HTTPUnauthorized(), "401"), (KeyError("a bug"), "500")):

        def authorize(request: Any, error: Exception = error) -> Grant:
            raise error

        other = make(authorize=authorize)
        assert other.post_form(signed_id)[0].startswith(status)
        assert other.legacy.forms == []
    assert "KeyError: 'a bug'" in caplog.text


def test_form_user_says_who_sends_the_form_by_its_own_request(make: Make) -> None:
    seen: list[Any] = []

    def form_user(request: webob.Request) -> str | None:
        form = (dict(request.POST), request.body, request.content_type)
        seen.append((request.method, request.path, form, request.cookies.get("session")))
        return request.cookies.get("session")

    site = make(form_user=form_user)
    assert site.post(HTTP_COOKIE="session=eric")[0] == "200 OK"
    assert site.post()[0] == "403 Forbidden"
    nothing = ({}, b"", "")
    assert seen == [("POST", "/save", nothing, "eric"), ("POST", "/save", nothing, None)]
    assert site.asked == [], "authorize is not asked"


def test_what_form_user_raises_or_returns_is_500(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    for form_user in (lambda request: 7, lambda request: {}["x"]):
        assert make(form_user=form_user).post()[0] == "500 Internal Server Error"
        assert "reason=form_user_failed" in caplog.text
        caplog.clear()


def test_uploads_that_are_open_to_everybody_are_so_in_forms(make: Make) -> None:
    site = make({"allow_anonymous": True}, authorize=None)
    assert site.post()[0] == "200 OK"


def test_a_form_does_not_count_for_the_rate_limit(make: Make) -> None:
    counted: list[str] = []
    site = make(rate_limit=counted.append)
    assert site.post()[0] == "200 OK"
    assert counted == ["user:eric"], "the signature alone"


def test_without_forms_a_form_reaches_the_application_as_it_was_posted(make: Make) -> None:
    site = make(forms=False)
    assert site.post()[0] == "200 OK"
    assert b"oss_wsgi.files" in site.legacy.forms[0]


def test_refused_forms_are_counted_and_told_with_their_reason(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, int, dict[str, Any]]] = []
    metrics = Metrics()
    site = make(metrics=metrics, on_refused=lambda *refusal: told.append(refusal))
    signed_id = site.client.upload(PHOTO.name, PHOTO.data, content_type=PHOTO.type).json["signed_id"]
    assert site.post_form(signed_id)[0] == "200 OK"
    assert site.post_form(f"{signed_id[:-8]}AAAAAAAA")[0] == "400 Bad Request"
    site.user = "mallory"
    assert site.post_form(signed_id)[0] == "403 Forbidden"
    assert [(reason, status, facts["path"], facts.get("user")) for reason, status, facts in told] == [
        ("signed_id_altered", 400, "/save", None),
        ("signed_id_other_user", 403, "/save", "mallory"),
    ]
    lines = [line for line in metrics.text()[1].decode().splitlines() if line.startswith("oss_wsgi_forms_total")]
    assert lines == [
        f'oss_wsgi_forms_total{{outcome="{outcome}"}} 1.0'
        for outcome in ("accepted", "signed_id_altered", "signed_id_other_user")
    ]
    assert signed_id[:-8] not in f"{told}{caplog.text}"


def test_a_server_that_counts_later_counts_forms_too(make: Make) -> None:
    site, metrics = make(), Metrics()
    site.client.application.count_in(metrics)
    assert site.post()[0] == "200 OK"
    assert 'oss_wsgi_forms_total{outcome="accepted"} 1.0' in metrics.text()[1].decode()


@pytest.mark.parametrize(
    ("forms", "settings", "is_told"),
    [
        (True, {}, True),
        ("inject", {}, True),
        (False, {}, False),
        (True, {"callback_url": None}, False),  # without a callback there is no signed ID
    ],
)
def test_a_page_is_told_whether_a_form_may_bring_signed_ids(
    forms: Any, settings: dict[str, Any], is_told: bool
) -> None:
    values = Settings(**{**EXAMPLE, "allow_anonymous": True, **settings})
    application = DirectUpload(Legacy(), values, forms=forms, bucket_client=NO_BUCKET)
    assert webob.Request.blank("/oss/limits").send(application).json["forms"] is is_told


# The line of upload.js.

PAGE = b"<!doctype html><title>old</title>"
NO_BUCKET: Any = object()
POLICY = "default-src 'none'"


def old(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    headers = [("Content-Security-Policy", POLICY), ("Content-Length", str(len(PAGE)))]
    start_response("200 OK", [("Content-Type", environ["QUERY_STRING"] or "text/html"), *headers])
    return [PAGE]


def injected(path: str, values: dict[str, Any] | None = None, **options: Any) -> tuple[str, str]:
    """Return a page behind ``forms="inject"``, and its policy."""
    settings = Settings(**{**EXAMPLE, **(values or {})})
    application = DirectUpload(old, settings, **{"forms": "inject", "bucket_client": NO_BUCKET, **options})
    environ: dict[str, Any] = {}
    wsgiref.util.setup_testing_defaults(environ)
    environ["SCRIPT_NAME"], _, rest = path.rpartition("|")
    environ["PATH_INFO"], _, environ["QUERY_STRING"] = rest.partition("?")
    response = webob.Request(environ).send(application)
    return response.text, response.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "prefix", "src"),
    [
        ("/", "/oss", "/oss/upload.js"),
        ("/shop|/edit", "/oss", "/shop/oss/upload.js"),
        ("/a b|/", "/上 传/oss", "/a%20b/%E4%B8%8A%20%E4%BC%A0/oss/upload.js"),
    ],
)
def test_inject_adds_the_line_with_the_modules_address_to_each_page(path: str, prefix: str, src: str) -> None:
    page, _ = injected(path, prefix=prefix)
    assert page == f'{PAGE.decode()}<script type="module" src="{src}" data-forms></script>'


@pytest.mark.parametrize(
    ("values", "origin"),
    [
        ({}, "https://examplebucket.oss-cn-hangzhou.aliyuncs.com"),
        ({"host": "https://files.example.com"}, "https://files.example.com"),
        (
            {"host": "https://examplebucket.oss-accelerate.aliyuncs.com"},
            "https://examplebucket.oss-accelerate.aliyuncs.com",
        ),
        ({"host": "http://127.0.0.1:8081/examplebucket"}, "http://127.0.0.1:8081"),
        (
            {
                "endpoint": "https://oss-cn-hangzhou-internal.aliyuncs.com",
                "host": "https://examplebucket.oss-cn-hangzhou.aliyuncs.com",
            },
            "https://examplebucket.oss-cn-hangzhou.aliyuncs.com",
        ),
    ],
)
def test_inject_allows_the_page_to_upload_where_forms_are_signed_for(values: dict[str, Any], origin: str) -> None:
    assert injected("/", values)[1] == f"{POLICY}; script-src 'self'; connect-src 'self' {origin}"
    signed = DirectUpload(old, Settings(**{**EXAMPLE, **values, "allow_anonymous": True}))
    assert webob.Request.blank("/oss/signature").send(signed).json["host"].startswith(origin)


@pytest.mark.parametrize(("path", "forms"), [("/?application/json", "inject"), ("/", True), ("/", False)])
def test_what_is_no_page_and_pages_without_inject_stay_as_they_are(path: str, forms: Any) -> None:
    assert injected(path, forms=forms) == (PAGE.decode(), POLICY)


def test_inject_puts_files_into_forms_too(make: Make) -> None:
    site = make(forms="inject")
    assert site.post() == ("200 OK", "saved")
    assert site.legacy.forms == [browser_form([("csrf", "x"), ("photo", PHOTO)])]


# What cannot work.


def test_forms_that_cannot_work_are_refused() -> None:
    def make(settings: dict[str, Any] | None = None, **options: Any) -> DirectUpload:
        return DirectUpload(Legacy(), Settings(**{**EXAMPLE, **(settings or {})}), **options)

    for wrong in ("on", "", "Inject", 1, None):
        with pytest.raises(TypeError, match='forms must be True or False, or "inject"'):
            make(forms=wrong)
    with pytest.raises(ValueError, match="never asked without forms=True"):
        make(form_user=lambda request: None)
    with pytest.raises(ValueError, match="prefix=''"):
        make(forms="inject", prefix="")
    with pytest.raises(SettingsError, match="OSS_SIGNED_IDS=on"):
        make({"signed_ids": False}, forms=True)
    for forms in (True, "inject"):
        with pytest.raises(TypeError, match="use find_upload in place of forms"):
            ASGIDirectUpload(Settings(**EXAMPLE), forms=forms)

    async def form_user(request: Any) -> str | None:
        return None

    with pytest.raises(TypeError, match="form_user is an async function"):
        make(forms=True, form_user=form_user)
