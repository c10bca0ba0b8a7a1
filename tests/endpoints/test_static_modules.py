"""`{prefix}/upload.js`: the page's module for any page, with what it imports."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
import webtest

from oss_wsgi import DirectUpload, Settings
from oss_wsgi.endpoints.static import StaticFile, modules_of, shipped_folder

from ..support.example_settings import EXAMPLE

ORIGIN = "https://page.example.com"


def client(prefix: str = "/oss", **values: Any) -> webtest.TestApp:
    app = DirectUpload(lambda environ, start_response: [], Settings(**EXAMPLE, **values), prefix=prefix)
    return webtest.TestApp(app)


@pytest.mark.parametrize("prefix", ["/oss", "/my/uploads"])
def test_the_module_and_its_imports_are_javascript(prefix: str) -> None:
    app = client(prefix)
    unread, read = {"upload.js"}, set()
    while unread:
        name = unread.pop()
        read.add(name)
        response = app.get(f"{prefix}/{name}")
        assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert int(response.headers["Content-Length"]) == len(response.body)
        imported = re.findall(r'(?:^import .*from |import\()"\./([^"]+)"', response.text, re.MULTILINE)
        unread |= set(imported) - read
    assert read == {"upload.js", "recovery.js", "parts.js", "input.js", "words.js", "forms.js"}
    assert app.get(f"{prefix}/languages/de.js").content_type == "text/javascript"


def test_the_module_is_small_and_waits_for_no_other() -> None:
    def compressed(*names: str) -> int:
        return sum(len(gzip.compress((shipped_folder() / name).read_bytes(), 9)) for name in names)

    assert compressed("upload.js") <= 9 * 1024
    assert compressed("upload.js", "recovery.js", "parts.js") <= 15 * 1024
    assert "import " not in (shipped_folder() / "upload.js").read_text(encoding="utf-8").replace("import(", "")


def test_the_module_asks_for_signatures_beside_itself() -> None:
    text = client().get("/oss/upload.js").text
    assert 'const SERVER_URL = new URL("signature", import.meta.url).href;' in text
    assert 'oss/signature";' not in text


@pytest.mark.parametrize(("prefix", "mount"), [("/oss", ".."), ("/my/uploads", "../.."), ("", "..")])
def test_what_takes_over_forms_knows_where_the_application_is(prefix: str, mount: str) -> None:
    assert f'const MOUNT = "{mount}";' in client(prefix).get(f"{prefix}/forms.js").text


def test_caches_keep_it_and_ask_again_by_its_etag() -> None:
    app = client()
    first = app.get("/oss/upload.js")
    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert app.get("/oss/upload.js", headers={"If-None-Match": first.headers["ETag"]}, status=304)
    assert app.get("/oss/upload.js/x", status=404)
    assert app.get("/oss/page.js", status=404)


@pytest.mark.parametrize(("allowed", "header"), [(ORIGIN, ORIGIN), ("*", "*"), ("https://other.example.com", None)])
def test_listed_origins_may_load_it(allowed: str, header: str | None) -> None:
    app = client(allowed_origins=(allowed,))
    plain = app.get("/oss/upload.js")
    assert (plain.headers.get("Vary") == "Origin") == (allowed != "*"), "a cache may have it for another page"
    for more in ({}, {"If-None-Match": plain.headers["ETag"]}):
        response = app.get("/oss/upload.js", headers={"Origin": ORIGIN, **more})
        assert response.headers.get("Access-Control-Allow-Origin") == header
        assert (response.headers.get("Vary") == "Origin") == (allowed != "*")


def test_an_origin_is_listed_in_any_case() -> None:
    app = webtest.TestApp(StaticFile("upload.js", b"1", allowed_origins=[ORIGIN.upper()]))
    assert app.get("", headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] == ORIGIN


def test_it_needs_no_login_and_never_waits() -> None:
    app = DirectUpload(lambda environ, start_response: [], Settings(**EXAMPLE), authorize=lambda request: None)
    assert webtest.TestApp(app).get("/oss/upload.js")
    assert app.is_nonblocking("GET", "/oss/upload.js", {})


def test_imports_are_followed_in_each_way_of_writing(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import x from \'./b.js\';\nexport * from "./c.js"; await import("./d.js");')
    (tmp_path / "b.js").write_text('import "./a.js"; import(`./tongues/${name}.js`);')
    (tmp_path / "tongues").mkdir()
    for name in ("c", "d", "unused", "tongues/e", "tongues/f"):
        (tmp_path / f"{name}.js").write_text('import "./a.js";')
    assert set(modules_of(tmp_path, "a.js")) == {*(f"{name}.js" for name in "abcd"), "tongues/e.js", "tongues/f.js"}


def test_the_shipped_module_imports_nothing_that_is_missing() -> None:
    assert set(modules_of(shipped_folder(), "page.js")) >= {"page.js", "upload.js", "words.js", "input.js"}
