"""The upload page, and the application that a WSGI server loads."""

from __future__ import annotations

import pytest
import webtest

from oss_wsgi import Settings
from oss_wsgi.site import UploadPage, application_for, site

from .test_application import VALUES


def test_the_pages_policy_allows_only_its_own_host() -> None:
    page = webtest.TestApp(UploadPage(Settings(**VALUES)))
    response = page.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "connect-src 'self' https://examplebucket.oss-cn-hangzhou.aliyuncs.com;" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert 'data-server-url="oss/signature"' in response.text
    assert page.get("/upload.js").content_type == "text/javascript"


def test_the_page_finds_the_signature_under_another_prefix() -> None:
    page = webtest.TestApp(UploadPage(Settings(**VALUES), prefix='/up"load'))
    assert page.get("/").text.count('data-server-url="up%22load/signature"') == 1


def test_the_page_and_the_endpoints_stand_under_the_same_prefix() -> None:
    app = webtest.TestApp(site(Settings(**VALUES), prefix="/up"))
    assert 'data-server-url="up/signature"' in app.get("/").text
    assert app.get("/up/signature?filename=a.png").json["method"] == "POST"


def test_without_a_bucket_every_request_is_503(caplog: pytest.LogCaptureFixture) -> None:
    app = webtest.TestApp(application_for({}))
    for path in ("/", "/oss/signature"):
        assert app.get(path, status=503).json["error"]["message"] == "Not configured."
    assert "reason=not_configured" in caplog.text
    assert "set OSS_BUCKET" in caplog.text
