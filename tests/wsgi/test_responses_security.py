"""Every response of ours, refusals included, forbids browsers to guess its type and to frame, cache or embed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import webob.exc
import webtest

from oss_wsgi import DirectUpload, Grant, Settings, StaticSite, Upload
from oss_wsgi.site import UploadPage
from oss_wsgi.testing import CallbackSigner

from ..endpoints.test_signature import RootClient
from ..support.example_settings import EXAMPLE

SETTINGS = Settings(
    **EXAMPLE,
    ticket_secret="0123456789abcdef0123456789abcdef",
    allowed_origins=("https://pages.example.com",),
)
DATA = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}
PAGE = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
}


def application(**options: Any) -> webtest.TestApp:
    def ours(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    return webtest.TestApp(DirectUpload(ours, SETTINGS, **options))


def has_headers(response: Any, expected: dict[str, str]) -> bool:
    return all(response.headers.getall(name) == [value] for name, value in expected.items())


def allow(request: Any) -> Grant | None:
    return Grant(user=request.remote_user) if request.remote_user else None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/oss/signature?filename=a.png", 200),
        ("HEAD", "/oss/signature?filename=a.png", 200),
        ("GET", "/oss/signature?size=x", 400),
        ("OPTIONS", "/oss/signature", 204),
        ("POST", "/oss/signature", 405),
        ("GET", "/oss/health", 200),
        ("HEAD", "/oss/health", 200),
        ("PUT", "/oss/health", 405),
        ("GET", "/oss/callback", 405),
        ("POST", "/oss/callback", 411),
        ("GET", "/oss/nothing", 404),
        ("GET", "/oss", 404),
    ],
)
def test_data_has_the_security_headers(method: str, path: str, status: int) -> None:
    app = application(authorize=allow)
    app.extra_environ["REMOTE_USER"] = "eric"
    response = app.request(path, method=method, expect_errors=True)
    assert response.status_int == status
    assert has_headers(response, DATA)


def test_refusals_have_the_security_headers() -> None:
    app = application(authorize=allow)
    endpoint = RootClient(rate_limit=lambda who: 5)
    assert has_headers(endpoint.get(), DATA)
    assert has_headers(app.get("/oss/signature", status=403), DATA)
    assert has_headers(app.get("/oss/signature", status=403, headers={"Sec-Fetch-Site": "cross-site"}), DATA)


def test_a_preflight_has_cors_and_security_headers() -> None:
    response = application(authorize=allow).options("/oss/signature", headers={"Origin": "https://pages.example.com"})
    assert response.headers["Access-Control-Allow-Origin"] == "https://pages.example.com"
    assert "Content-Type" not in response.headers
    assert has_headers(response, DATA)


def test_the_response_to_a_callback_has_the_security_headers() -> None:
    uploads: list[Upload] = []
    signer = CallbackSigner()
    body = b"bucket=examplebucket&object=a.txt&size=1"
    app = application(authorize=allow, public_keys=signer.public_keys, on_upload=uploads.append)
    response = app.post("/oss/callback", body, headers=signer.headers("/oss/callback", body), expect_errors=True)
    assert has_headers(response, DATA)


def test_the_wrapped_applications_response_is_unchanged() -> None:
    response = application(authorize=allow).get("/anything")
    assert set(response.headers) == {"Content-Type", "Content-Length"}


@pytest.mark.parametrize("path", ["/", "/index.html", "/upload.js", "/style.css", "/favicon.svg"])
def test_the_page_and_its_parts_have_their_security_headers(path: str) -> None:
    app = webtest.TestApp(UploadPage(SETTINGS))
    response = app.get(path)
    policy = {"Content-Security-Policy": response.headers["Content-Security-Policy"]}
    assert "frame-ancestors 'none'" in policy["Content-Security-Policy"]
    assert has_headers(response, PAGE)
    unchanged = app.get(path, headers={"If-None-Match": response.headers["ETag"]}, status=304)
    assert has_headers(unchanged, {**PAGE, **policy})
    assert has_headers(app.post(path, status=405), DATA)
    assert has_headers(app.get(f"{path}/nothing", status=404), DATA)


def test_a_static_site_may_only_be_framed_by_itself(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("x")
    site = StaticSite(tmp_path)
    assert "frame-ancestors 'self'" in webtest.TestApp(site).get("/").headers["Content-Security-Policy"]
    moved = webtest.TestApp(lambda environ, start: site({**environ, "SCRIPT_NAME": "/a", "PATH_INFO": ""}, start))
    assert has_headers(moved.get("/", status=301), PAGE)


def test_a_raised_webob_exc_keeps_its_own_headers() -> None:
    def away(request: Any) -> Grant | None:
        raise webob.exc.HTTPFound(location="https://login.example.com/", headers={"Cache-Control": "private"})

    legacy: Any = lambda environ, start_response: []  # noqa: E731
    answer = webtest.TestApp(DirectUpload(legacy, SETTINGS, authorize=away)).get("/oss/signature")
    assert answer.status_int == 302
    assert {name: answer.headers[name] for name in DATA} == {**DATA, "Cache-Control": "private"}
