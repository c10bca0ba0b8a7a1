"""The upload page, and the application that a WSGI server loads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import webtest

from oss_wsgi import DirectUpload, Dispatcher, Settings, UploadPage
from oss_wsgi.endpoints.static import shipped_folder
from oss_wsgi.site import COLORS, application_for, site

from .test_application import VALUES, legacy


def test_the_pages_policy_allows_only_its_own_host() -> None:
    page = webtest.TestApp(UploadPage(Settings(**VALUES)))
    response = page.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "connect-src 'self' https://examplebucket.oss-cn-hangzhou.aliyuncs.com;" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert 'data-server-url="oss/signature"' in response.text
    assert page.get("/upload.js").content_type == "text/javascript"
    local = UploadPage(Settings(**VALUES, host="http://127.0.0.1:8081/examplebucket"))
    assert (
        "connect-src 'self' http://127.0.0.1:8081;"
        in webtest.TestApp(local).get("/").headers["Content-Security-Policy"]
    )


@pytest.mark.parametrize(("recover", "url"), [(False, ""), (True, "oss/recover")])
def test_the_page_asks_for_lost_reports_only_where_the_server_answers(recover: bool, url: str) -> None:
    page = webtest.TestApp(UploadPage(Settings(**VALUES, recover=recover)))
    assert f'data-recover-url="{url}"' in page.get("/").text


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
    assert "Set OSS_BUCKET" in caplog.text


def test_the_page_is_public_and_redirects_to_the_endpoints_above_its_mount() -> None:
    settings = Settings(**VALUES)
    mounts = {"/files": UploadPage(settings)}
    app = webtest.TestApp(DirectUpload(Dispatcher(legacy, mounts), settings))
    assert app.get("/files", status=301).location.endswith("/files/")
    assert 'data-server-url="oss/signature"' in app.get("/files/").text
    redirect = app.get("/files/oss/signature?filename=a%20b.png", status=307)
    assert redirect.headers["Location"] == "../../oss/signature?filename=a%20b.png"
    assert redirect.follow().json["method"] == "POST"
    assert app.get("/files/page.js").content_type == "text/javascript"


def test_below_a_longer_mount_the_page_says_where_the_endpoints_are() -> None:
    page = UploadPage(Settings(**VALUES), "/up", mount="/admin/files")
    assert 'data-server-url="../../up/signature"' in webtest.TestApp(page).get("/").text


def test_a_direct_upload_right_around_the_page_takes_its_paths_below_a_mount() -> None:
    settings = Settings(**VALUES)
    app = webtest.TestApp(Dispatcher(legacy, {"/files": DirectUpload(UploadPage(settings), settings)}))
    assert app.get("/files/oss/signature?filename=a").json["method"] == "POST"


@pytest.mark.parametrize("arguments", [{"prefix": "oss"}, {"prefix": "/oss/"}, {"mount": "files"}])
def test_a_prefix_or_mount_without_its_slash_is_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="A prefix must be like '/uploads'"):
        UploadPage(Settings(**VALUES), **arguments)


def test_the_page_takes_title_texts_and_language() -> None:
    texts = {"lead": "For <members>.", "de": {"lead": "Für Mitglieder."}}
    page = webtest.TestApp(UploadPage(Settings(**VALUES), title='Our "files"', texts=texts, language="de"))
    root = page.get("/").text
    assert "<title>Our &quot;files&quot;</title>" in root
    assert 'data-text="title">Our &quot;files&quot;</h1>' in root
    assert 'data-text="lead">For &lt;members&gt;.</p>' in root
    assert 'data-language="de"' in root
    assert "&quot;Für Mitglieder.&quot;" in root


def test_the_page_takes_colors_for_light_and_dark() -> None:
    page = webtest.TestApp(UploadPage(Settings(**VALUES), colors={"accent": ("#0a7", "#5fc"), "good": "green"}))
    light, dark = page.get("/theme.css").text.splitlines()
    assert light == ":root { --accent: #0a7; --good: green; }"
    assert dark == "@media (prefers-color-scheme: dark) { :root { --accent: #5fc; --good: green; } }"


def test_the_page_shows_a_logo(tmp_path: Path) -> None:
    logo = tmp_path / "Our logo.SVG"
    logo.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    page = webtest.TestApp(UploadPage(Settings(**VALUES), logo=logo))
    assert '<img class="logo" src="logo.svg" alt="">' in page.get("/").text
    assert page.get("/logo.svg").content_type == "image/svg+xml"
    assert page.get("/logo.svg").text.startswith("<svg")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": {"ledd": "x"}}, "The page has no text 'ledd'"),
        ({"texts": {"xx": {"lead": "x"}}}, "The page has no language 'xx', only ar, de, en"),
        ({"texts": {"de": {"ledd": "x"}}}, "The page has no text 'ledd'"),
        ({"language": "tlh"}, "The page has no language 'tlh'"),
        ({"colors": {"acent": "#fff"}}, "The page has no color 'acent', only ground"),
        ({"colors": {"accent": "red; } body { display: none"}}, "is not a CSS color"),
        ({"logo": "logo.exe"}, r"must be one of \.svg"),
    ],
)
def test_what_the_page_does_not_know_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UploadPage(Settings(**VALUES), **options)


def test_the_colors_are_those_of_the_style_sheet() -> None:
    style = (shipped_folder() / "style.css").read_text()
    declared = re.findall(r"^  --([\w-]+): #", style.partition("}")[0], re.MULTILINE)
    assert sorted(declared) == sorted(COLORS)


@pytest.mark.parametrize(
    ("path", "address", "location"),
    [
        ("/link/a/%E5%9B%BE%20%2B.png", "127.0.0.1", "https://signed.example/a/%E5%9B%BE%20%2B.png"),
        ("/link/a", "::1", "https://signed.example/a"),
        ("/link/a", "192.0.2.1", None),
        ("/link/a", "", None),
        ("/link/", "127.0.0.1", None),
    ],
)
def test_links_lead_this_machine_alone_to_signed_urls(path: str, address: str, location: str | None) -> None:
    page = UploadPage(Settings(**VALUES), links=lambda key: f"https://signed.example/{quote(key)}")
    app = webtest.TestApp(page, extra_environ={"REMOTE_ADDR": address})
    response = app.get(path, status=303 if location else 404)
    assert response.headers.get("Location") == location
    assert response.headers.getall("Cache-Control") == ["no-store"]
    app.post(path, status=404)
    assert 'data-link-url="link"' in app.get("/").text
    assert "data-link-url" not in webtest.TestApp(UploadPage(Settings(**VALUES))).get("/").text
