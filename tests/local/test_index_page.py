import hashlib
import re
from base64 import b64encode

import pytest
from webtest import TestApp

from oss_wsgi.local import index_page

from .form_client import form, policy, post, sign_v1

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def upload(app, oss):
    def upload(key, content=b"hi oss", **fields):
        post(app, form({"key": key, **fields, **sign_v1(oss, policy())}, content), status=204)

    return upload


def page(app, **headers):
    return app.get("/", headers={**BROWSER, **headers})


def test_the_page_links_to_all_objects(app, upload):
    for key in ("a.txt", "dir/图 片?#%41.png", "2024:12/a&b.txt"):
        upload(key)
    response = page(app)
    assert response.content_type == "text/html"
    assert "<h2>examplebucket</h2>" in response.text
    assert "3 objects" in response.text
    links = re.findall('href="([^"]*)"', response.text)
    assert len(links) == 3
    for link in links:
        assert app.get(f"/{link}").body == b"hi oss"


def test_an_empty_bucket_says_so(app):
    assert "No objects yet" in page(app).text


def test_keys_and_types_are_escaped(app, upload):
    upload('<script>alert(1)</script>"onmouseover="x', **{"x-oss-content-type": "text/<b>"})
    text = page(app).text
    assert "&lt;script&gt;" in text
    assert "text/&lt;b&gt;" in text
    assert "<script" not in text
    assert "<b>" not in text
    assert '"onmouseover' not in text


def test_its_csp_allows_only_its_own_style(app):
    response = page(app)
    (style,) = re.findall("<style>(.*?)</style>", response.text, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"


def test_sizes_have_readable_units(app, upload):
    upload("a", b"")
    upload("b", b"x" * 1536)
    assert re.findall('<td class="size">(.*?)<', page(app).text) == ["1.5 KiB", "0 B"]


def test_only_the_newest_objects_are_listed_but_all_counted(app, upload, monkeypatch):
    monkeypatch.setattr(index_page, "MAX_OBJECTS", 2)
    for key in ("first", "second", "third"):
        upload(key)
    text = page(app).text
    assert "3 objects, the 2 newest shown" in text
    assert re.findall("<bdi>(.*?)</bdi>", text) == ["third", "second"]


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({**BROWSER, "Origin": "http://page.example"}, id="the script of a page"),
        pytest.param({**BROWSER, "Host": "examplebucket.localhost"}, id="the root of a bucket"),
    ],
)
def test_scripts_and_bucket_hosts_get_no_page(app, headers):
    assert app.get("/", headers=headers, status=403).content_type == "application/xml"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Accept": "*/*"}, id="curl"),
        pytest.param({}, id="no Accept header"),
        pytest.param({"Host": "oss.local:8081"}, id="another name of this machine"),
    ],
)
def test_any_unsigned_request_for_the_root_gets_the_page(app, headers):
    assert app.get("/", headers=headers).content_type == "text/html"
    assert app.head("/", headers=headers).content_type == "text/html"


def test_a_signed_request_gets_no_page(app):
    response = app.get("/", headers={**BROWSER, "Authorization": "OSS4-HMAC-SHA256 x"}, status="*")
    assert response.content_type == "application/xml"
    assert app.get("/?max-keys=1", headers=BROWSER, status="*").content_type == "application/xml"


def test_head_has_the_same_headers_and_no_body(app):
    response = app.head("/", headers=BROWSER)
    assert response.body == b""
    assert response.content_length == len(page(app).body)


def test_links_work_below_a_mount(oss, upload):
    upload("a.txt")

    def mounted(environ, start_response):
        return oss({**environ, "SCRIPT_NAME": "/mount"}, start_response)

    assert 'href="examplebucket/a.txt"' in page(TestApp(mounted)).text
