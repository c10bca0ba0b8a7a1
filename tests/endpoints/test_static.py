"""StaticSite: requests are look-ups among the files read, so nothing outside can match."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import webtest

from oss_wsgi import StaticSite
from oss_wsgi.endpoints.static import StaticFile

from ..support.absent import linux_only


@pytest.fixture
def site(tmp_path: Path) -> webtest.TestApp:
    root = tmp_path / "public"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<p>home")
    (root / "noindex.html").write_text("<p>no folder")
    (root / "upload.js").write_text("export {}")
    (root / "文件.txt").write_text("中")
    (root / "sub" / "index.html").write_text("<p>sub")
    (root / ".secret").write_text("hidden")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("hidden")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "index.html").write_text("outside")
    (root / "link.html").symlink_to(tmp_path / "secret" / "index.html")
    return webtest.TestApp(StaticSite(root, content_security_policy="default-src 'none'"))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "<p>home"),
        ("/index.html", "<p>home"),
        ("/upload.js", "export {}"),
        ("/sub/", "<p>sub"),
        ("/%E6%96%87%E4%BB%B6.txt", "中"),
    ],
)
def test_files_are_served_as_they_are_with_security_headers_and_asked_for_again(
    site: webtest.TestApp, path: str, text: str
) -> None:
    response = site.get(path)
    assert response.text == text
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'"
    assert response.headers["Cache-Control"] == "no-cache"


@linux_only("file names that are not UTF-8")
def test_a_file_whose_name_is_not_utf_8_is_served(tmp_path: Path) -> None:
    (tmp_path / "\udcff.txt").write_text("no UTF-8")
    assert webtest.TestApp(StaticSite(tmp_path)).get("/%FF.txt").text == "no UTF-8"


def test_a_files_type_follows_from_its_name_on_every_machine(tmp_path: Path) -> None:
    types = {
        **{suffix: f"text/{suffix}; charset=utf-8" for suffix in ("css", "html")},
        **dict.fromkeys(("js", "JS"), "text/javascript; charset=utf-8"),
        **dict.fromkeys(("txt", "ts"), "text/plain; charset=utf-8"),
        **{suffix: f"image/{suffix}" for suffix in ("jpeg", "png", "webp")},
        "jpg": "image/jpeg",
        "svg": "image/svg+xml",
        "ico": "image/x-icon",
        "json": "application/json",
        "woff2": "font/woff2",
        "pdf": "application/pdf",
        "unknown": "application/octet-stream",
    }
    app = webtest.TestApp(StaticSite(tmp_path, overrides={f"/a.{suffix}": b"" for suffix in types}))
    assert {suffix: app.get(f"/a.{suffix}").headers["Content-Type"] for suffix in types} == types


@pytest.mark.parametrize(
    "path",
    [
        "/../secret/",
        "/%2e%2e/secret/",
        "/..%2fsecret/",
        "/..%2fsecret/index.html",
        "//secret/",
        "/.secret",
        "/.git/config",
        "/link.html",
        "/nope.txt",
        "/no",
        "/sub",
        "/sub/../index.html",
        "/index.html/",
        "/%00",
    ],
)
def test_everything_else_is_404_without_a_path(site: webtest.TestApp, path: str, tmp_path: Path) -> None:
    response = site.get(path, expect_errors=True)
    assert response.status_int == 404
    assert str(tmp_path) not in response.text
    assert "outside" not in response.text


def test_an_unchanged_file_is_304(site: webtest.TestApp) -> None:
    etag = site.get("/").headers["ETag"]
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = site.get("/", headers={"If-None-Match": condition})
        assert response.status_int == 304
        assert response.body == b""
        assert response.headers["ETag"] == etag
        assert not {"Content-Type", "Content-Length"} & set(response.headers)
    assert site.get("/", headers={"If-None-Match": '"other"'}).status_int == 200


def test_head_and_other_methods(site: webtest.TestApp) -> None:
    head = site.head("/upload.js")
    assert head.body == b""
    assert head.headers["Content-Length"] == "9"
    response = site.post("/", expect_errors=True)
    assert response.status_int == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_what_a_middleware_adds_to_the_headers_is_in_its_own_response_only() -> None:
    counts: list[int] = []

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        counts.append(len(headers))
        headers.append(("X-Own", "1"))

    file = StaticFile("a.js", b"x")
    for _ in range(2):
        file({"REQUEST_METHOD": "GET"}, start)
    assert counts[0] == counts[1]


def test_a_mount_without_its_slash_is_redirected(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("x")
    site = StaticSite(tmp_path)

    def get(script_name: str, path_info: str) -> webtest.TestResponse:
        names = {"SCRIPT_NAME": script_name, "PATH_INFO": path_info}
        return webtest.TestApp(lambda environ, start: site({**environ, **names}, start)).get("/")

    moved = get("/a b", "")
    assert (moved.status_int, moved.headers["Location"], moved.headers["Content-Length"]) == (301, "/a%20b/", "0")
    assert get("", "").text == get("/a b", "/").text == "x"


def test_a_file_alone_is_at_its_own_path_only() -> None:
    file = StaticFile("a.js", b"x")
    assert webtest.TestApp(file).get("/x", expect_errors=True).status_int == 404
    response = webtest.TestApp(lambda environ, start: file({**environ, "PATH_INFO": ""}, start)).get("/")
    assert response.text == "x"
    assert "Vary" not in response.headers, "no page of another origin may load it"
    assert response.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_a_file_may_be_overridden_and_a_file_as_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("x")
    app = webtest.TestApp(StaticSite(tmp_path, overrides={"/index.html": b"<p>other"}))
    assert app.get("/").text == "<p>other"
    with pytest.raises(NotADirectoryError):
        StaticSite(tmp_path / "index.html")
