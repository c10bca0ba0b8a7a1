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


def test_a_browser_sees_buckets_and_objects_with_links_that_work(app, upload):
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


def test_what_a_stranger_named_or_declared_is_text(app, upload):
    upload('<script>alert(1)</script>"onmouseover="x', **{"x-oss-content-type": "text/<b>"})
    text = page(app).text
    assert "&lt;script&gt;" in text
    assert "text/&lt;b&gt;" in text
    assert "<script" not in text
    assert "<b>" not in text
    assert '"onmouseover' not in text


def test_its_policy_allows_its_own_style_and_nothing_else(app):
    response = page(app)
    (style,) = re.findall("<style>(.*?)</style>", response.text, re.DOTALL)
    digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}';")
    assert "unsafe" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"


def test_sizes_are_told_as_people_say_them(app, upload):
    upload("a", b"")
    upload("b", b"x" * 1536)
    assert re.findall('<td class="size">(.*?)<', page(app).text) == ["1.5 KiB", "0 B"]


def test_of_many_the_newest_are_shown_and_all_counted(app, upload, monkeypatch):
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
def test_programs_get_no_page(app, headers):
    assert app.get("/", headers=headers, status=403).content_type == "application/xml"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Accept": "*/*"}, id="curl"),
        pytest.param({}, id="nothing said"),
        pytest.param({"Host": "oss.local:8081"}, id="another name of this machine"),
    ],
)
def test_whoever_opens_the_root_gets_it(app, headers):
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


def test_it_stands_under_a_mount_too(oss, upload):
    upload("a.txt")

    def mounted(environ, start_response):
        return oss({**environ, "SCRIPT_NAME": "/mount"}, start_response)

    assert 'href="examplebucket/a.txt"' in page(TestApp(mounted)).text
