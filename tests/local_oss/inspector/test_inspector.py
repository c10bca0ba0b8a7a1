import base64
import gc
import io
import re
import subprocess
import sys
import time
import weakref
from html import unescape
from urllib.parse import quote

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from webtest import TestApp

from local_oss import CORSRule
from local_oss.inspector import inspector

from ..form_client import BOUNDARY, callback_field, form, policy, post, sign_v1, sign_v4
from ..signed_client import SignedClient
from ..stored import put
from .conftest import Browser

ORIGIN = {"Origin": "http://page.example"}


def test_the_root_is_the_activity(app, upload):
    assert "Waiting for the first request" in app.get("/").text
    upload()
    assert "dir/a.txt" in app.get("/").text


def test_the_activity_says_what_is_not_installed(app, monkeypatch):
    words = "Pillow is not in this program"
    monkeypatch.setattr(inspector, "find_spec", lambda name: name)
    assert words not in app.get("/").text
    monkeypatch.setattr(inspector, "find_spec", {}.get)
    page = app.get("/")
    assert words in page.text
    assert "<code>pip install 'oss-wsgi[local]'</code>" in unescape(page.text)


def test_the_pages_list_what_is_stored_where(make_oss, tmp_path):
    oss = make_oss(directory=tmp_path / "two")
    oss.create_bucket("second-one")
    app = TestApp(oss)
    for path in ("/", "/_inspect/objects"):
        assert "examplebucket" in app.get(path).text
        assert "second-one" in app.get(path).text


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Host": "rebound.example:8081"}, id="a foreign Host"),
        pytest.param({"Host": 'localhost"<script>'}, id="no host"),
        pytest.param(ORIGIN, id="the script of another page"),
        pytest.param({"Authorization": "OSS4-HMAC-SHA256 x"}, id="an SDK"),
    ],
)
def test_the_root_is_osss_own_answer_to_all_others(app, headers):
    response = app.get("/", headers=headers, status="*")
    assert response.content_type == "application/xml"
    assert response.status_int in (400, 403)


HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.mark.parametrize("path", ["/examplebucket", "/examplebucket/"])
def test_a_person_who_opens_a_bucket_is_led_to_its_objects(app, upload, path):
    upload("cat.txt")
    page = app.get(path, headers=HTML, status=303).follow()
    assert "cat.txt" in page.text
    assert page.content_type == "text/html"


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/examplebucket", {"Accept": "*/*"}),
        ("/examplebucket", {}),
        ("/examplebucket", {**HTML, "Authorization": "OSS4-HMAC-SHA256 x"}),
        ("/examplebucket?Signature=x&OSSAccessKeyId=y&Expires=9", HTML),
        ("/examplebucket?prefix=a", HTML),
        ("/examplebucket", {**HTML, **ORIGIN}),
        ("/examplebucket", {**HTML, "Host": "rebound.example:8081"}),
        ("/examplebucket/cat.txt", HTML),
        ("/no-such-bucket", HTML),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_bucket_is_osss_own_answer_to_all_others(app, path, headers):
    assert app.get(path, headers=headers, status="*").content_type == "application/xml"


def test_a_page_that_asks_learns_of_each_exchange(browser, upload):
    counts = [int(browser.page("/news").text)]
    for key in ("a", "b"):
        upload(key)
        counts.append(int(browser.page("/news").text))
    assert counts[0] == 0
    assert counts == sorted(set(counts))


@pytest.mark.parametrize("path", ["", "/content?bucket=examplebucket&key=a", "/inspector.js"])
def test_a_foreign_host_is_misdirected(browser, upload, path):
    upload("a")
    response = browser.page(path, headers={"Host": "rebound.example"}, status="*")
    assert response.status_int == 421
    assert "hi oss" not in response.text
    form = {"bucket": "examplebucket", "key": "a"}
    assert browser.act("/delete", form, headers={"Host": "rebound.example"}, status="*").status_int == 421


@pytest.mark.parametrize(
    "headers",
    [
        ORIGIN,
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
)
def test_a_page_of_another_origin_can_neither_read_nor_act(browser, oss, upload, headers):
    upload("a")
    assert browser.page("", headers=headers, status="*").status_int == 403
    response = browser.act("/delete", {"bucket": "examplebucket", "key": "a"}, headers=headers, status="*")
    assert response.status_int == 403
    assert not any(name.lower().startswith("access-control") for name in response.headers)
    assert oss.storage.bucket("examplebucket").get("a")


def test_its_own_page_may_ask_and_act_whatever_the_case_of_the_host(browser, oss, upload):
    upload("a")
    for host, origin in (("localhost:80", "http://LOCALHOST:80"), ("LOCALHOST:80", "http://localhost:80")):
        assert browser.page("", headers={"Host": host, "Origin": origin}).status_int == 200


def test_a_token_in_a_query_is_hidden_whatever_the_case_of_its_name(app, browser):
    for name in ("Security-Token", "X-OSS-Security-Token", "security%2Dtoken"):
        for token in ("q7w+7q7", "a-token+of-sts"):  # also one so short that it could be part of a word
            app.get(f"/examplebucket/a?{name}={token}", status="*")
            shown = browser.exchange().text
            assert not [part for part in token.split("+") if part in shown], (name, token)


def test_a_link_on_another_page_opens_it(browser):
    navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert browser.page("", headers=navigation).status_int == 200


def test_preflights_for_it_are_refused_whatever_the_rules(make_oss):
    oss = make_oss(cors_rules=[CORSRule(["*"])])
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    response = TestApp(oss).options("/_inspect/delete", headers=headers, status="*")
    assert response.status_int == 403
    assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_form_without_the_token_does_nothing(browser, oss, upload, token):
    upload("a")
    response = browser.act("/delete", {"bucket": "examplebucket", "key": "a"}, token=token, status="*")
    assert response.status_int == 403
    assert oss.storage.bucket("examplebucket").get("a")


def test_other_machines_get_it_only_when_asked(make_oss, tmp_path):
    far = {"extra_environ": {"REMOTE_ADDR": "192.0.2.7"}, "status": "*"}
    assert TestApp(make_oss()).get("/_inspect", **far).status_int == 403
    assert TestApp(make_oss()).get("/", **far).content_type == "application/xml"
    asked = TestApp(make_oss(directory=tmp_path / "asked", inspector="everywhere", url="http://oss.example:8081"))
    for host in ("192.0.2.1:8081", "oss.example:8081"):
        assert asked.get("/_inspect", headers={"Host": host}, **far).status_int == 200
    assert asked.get("/_inspect", headers={"Host": "rebound.example"}, **far).status_int == 421


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_gets_it(app, address):
    assert app.get("/_inspect", extra_environ={"REMOTE_ADDR": address}).status_int == 200


@pytest.mark.parametrize("host", ["localhost:8081", "127.0.0.1:8081", "[::1]:8081", "my-bucket.localhost"])
def test_loopback_hosts_get_it(app, host):
    assert "Activity" in app.get("/_inspect", headers={"Host": host}).text


def test_where_a_bucket_has_the_root_it_is_below_inspect(app):
    host = {"Host": "examplebucket.localhost"}
    assert app.get("/_inspect", headers=host).content_type == "text/html"


def test_without_the_inspector_all_is_osss_own(make_oss):
    app = TestApp(make_oss(inspector=False))
    for path in ("/", "/_inspect", "/_inspect/objects"):
        assert app.get(path, status="*").content_type == "application/xml"


@pytest.mark.slow
def test_only_its_pages_need_jinja():
    code = """if True:
        import sys
        sys.modules["jinja2"] = None
        from webtest import TestApp
        from local_oss import LocalOSS
        with LocalOSS(acl="public-read", key_bits=512) as oss:
            print(TestApp(oss).get("/examplebucket/a", status=404).status_int, end=" ")
            print(TestApp(oss).get("/_inspect", status="*").text)
    """
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "404 jinja2 is not installed: pip install 'oss-wsgi[local]'\n\n"


def test_its_own_requests_are_no_exchanges(browser, upload):
    upload()
    browser.page("/objects")
    assert len(browser.newest()) == 1


def test_its_csp_allows_no_inline_code_and_nothing_of_objects(browser):
    response = browser.page()
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'nonce-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert "<style" not in response.text
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"


def test_links_work_below_a_mount(oss, upload):
    upload()

    def mounted(environ, start_response):
        return oss({**environ, "SCRIPT_NAME": "/mount"}, start_response)

    page = TestApp(mounted).get("/_inspect").text
    assert 'href="/mount/_inspect/requests/' in page
    assert 'href="/_inspect' not in page


def test_what_strangers_chose_is_escaped(browser, upload):
    upload('<script>alert(1)</script>"onmouseover="x', **{"x-oss-content-type": "text/<b>"})
    for text in (browser.page().text, browser.exchange().text, browser.page("/objects").text):
        assert "<script>alert" not in text
        assert '"onmouseover' not in text
        assert "text/<b>" not in text


def test_what_an_application_and_a_client_send_in_headers_is_escaped(browser, upload, recorder):
    recorder.body = b'{"a": "<img src=x>"}'
    recorder.headers = [("Content-Type", "application/json"), ("Content-Length", "20"), ("X-Own", "<img src=y>")]
    value = callback_field(callbackBody="<img src=z>${object}")
    upload("<img src=u>", callback=value, conditions=[{"callback": value}], headers={"X-Mine": "<img src=w>"})
    text = browser.exchange().text
    assert text.count("&lt;img src=") >= 5
    assert "<img" not in text


@pytest.mark.parametrize(
    ("content_type", "headers"),
    [
        ("text/html", True),
        ("image/svg+xml", True),
        ("image/png", False),
        ("text/plain", False),
        ("Text/Plain; charset=utf-8", False),
        ("image/png,text/html", True),
        ('image/png;x="a,text/html"', True),
        ("image/pngx", True),
        (" image/png", True),
    ],
)
def test_objects_that_a_browser_could_run_are_sandboxed(app, upload, content_type, headers):
    upload("a", **{"x-oss-content-type": content_type})
    response = app.get("/examplebucket/a")
    assert response.body == b"hi oss"
    expected = ("sandbox", "nosniff") if headers else (None, None)
    names = ("Content-Security-Policy", "X-Content-Type-Options")
    assert tuple(response.headers.get(name) for name in names) == expected


def test_an_upload_is_one_exchange_with_what_was_stored_and_called(browser, oss, upload, recorder):
    value = callback_field()
    upload("图.png", callback=value, conditions=[{"callback": value}], **{"x-oss-content-type": "image/png"})
    assert len(browser.newest()) == 1
    text = browser.exchange().text
    for part in (
        "Stored, application told",
        "3 conditions hold",
        "/examplebucket/%E5%9B%BE.png",
        "image/png",
        "6 B",
        oss.storage.bucket("examplebucket").get("图.png").etag,
        str(oss.storage.bucket("examplebucket").get("图.png").crc64),
        "POST /oss/callback HTTP/1.1",
        "x-oss-pub-key-url: ",
        "object=%E5%9B%BE.png",
        "Came back after",
        "&#34;Status&#34;: &#34;Ok&#34;",
    ):
        assert part in text, part


@pytest.mark.parametrize("path", ["/requests/{exchange}", "/object?bucket=examplebucket&key=dir%2F%E5%9B%BE+.png"])
def test_links_to_objects_of_a_private_bucket_are_signed(make_oss, path):
    oss = make_oss(acl="private")
    app = TestApp(oss)
    browser = Browser(app)
    post(app, form({"key": "dir/图 .png", **sign_v1(oss, policy())}, b"hi oss"))
    text = browser.page(path.format(exchange=browser.newest()[0])).text
    link = unescape(re.search(r'href="(/examplebucket/[^"]*x-oss-signature=[^"]*)"', text)[1])
    assert app.get(link).body == b"hi oss"
    app.get(link.partition("?")[0], status=403)
    assert browser.page("/content?bucket=examplebucket&key=dir%2F%E5%9B%BE+.png").body == b"hi oss"


def test_links_with_a_temporary_key_show_no_token(make_oss):
    oss = make_oss(acl="private", security_token="a-token-of-sts")
    put(oss.storage.bucket("examplebucket"), "a")
    text = Browser(TestApp(oss)).page("/object?bucket=examplebucket&key=a").text
    assert "a-token-of-sts" not in text
    assert 'href="/_inspect/content?bucket=examplebucket&amp;key=a"' in text


def test_an_upload_whose_callback_has_no_answer_yet_is_listed(browser, upload, recorder):
    seen = {}

    def look():
        seen["list"], seen["exchange"] = browser.page().text, browser.exchange().text
        seen["busy"] = browser.newest(status="busy")
        seen["ended"] = browser.newest(status="ok") + browser.newest(status="failed")
        browser.act("/clear")
        seen["after clearing"] = browser.newest()

    recorder.on_request = look
    value = callback_field()
    upload("cat.txt", callback=value, conditions=[{"callback": value}])
    assert "Waiting for the callback’s answer, " in seen["list"]
    assert "cat.txt" in seen["list"]
    for part in ("Waiting for the callback’s answer, ", "no answer yet", "POST /oss/callback HTTP/1.1"):
        assert part in seen["exchange"]
    assert "<h2>Answer</h2>" not in seen["exchange"]
    assert seen["busy"] == seen["after clearing"] == browser.newest()
    assert seen["ended"] == []
    assert browser.newest(status="busy") == []
    assert "Stored, application told" in browser.page().text
    assert "no answer yet" not in browser.exchange().text


def test_a_callback_that_is_sent_again_is_listed_while_it_waits(browser, upload, recorder):
    value = callback_field()
    upload(callback=value, conditions=[{"callback": value}])
    seen = []
    recorder.on_request = lambda: seen.append(browser.page().text)
    browser.act(f"/requests/{browser.newest()[0]}/again", {"change": "body"})
    assert "Altered body" in seen[0]
    assert "Waiting for the callback’s answer" in seen[0]
    assert "Waiting for the callback’s answer" not in browser.page().text


def lose_a_report(oss, upload):
    oss.fail_next("callback_status")
    value = callback_field()
    upload("cat.txt", callback=value, conditions=[{"callback": value}])


def test_an_upload_says_that_the_application_asked_for_it_after_its_report_was_lost(oss, browser, upload):
    lose_a_report(oss, upload)
    assert browser.newest(status="failed") == browser.newest()
    SignedClient(oss)("HEAD", "examplebucket", key="cat.txt", status=200)
    assert "Stored, lost report recovered" in browser.page().text
    assert browser.newest(status="failed") == []
    head = browser.newest(kind="read")[0]
    upload_page = browser.page(f"/requests/{browser.newest(kind='upload')[0]}").text
    assert f'href="/_inspect/requests/{head}">How the application asked for it' in upload_page


def test_an_upload_says_no_such_thing_where_somebody_else_asked_or_the_report_had_arrived(oss, app, browser, upload):
    client = SignedClient(oss)
    upload("dog.txt")
    lose_a_report(oss, upload)
    app.head("/examplebucket/cat.txt")
    client("HEAD", "examplebucket", key="dog.txt", status=200)
    client("DELETE", "examplebucket", key="cat.txt", status=204)
    client("HEAD", "examplebucket", key="cat.txt", status=404)
    assert "Stored, application not told" in browser.page().text
    value = callback_field()
    upload("cat.txt", callback=value, conditions=[{"callback": value}])
    client("HEAD", "examplebucket", key="cat.txt", status=200)
    assert "recovered" not in browser.page().text


def test_the_list_has_the_name_of_the_users_file_beside_the_objects(browser, upload):
    upload("photos/5f3a.txt")
    upload("photos/a.txt")
    assert re.findall(r'class="file"><bdi>(.*?)<', browser.page().text) == ["a.txt"]
    assert "<bdi>a.txt</bdi> · PostObject" in browser.exchange(1).text


def test_a_preflight_is_folded_into_its_upload(app, browser, upload):
    app.options("/examplebucket", headers={"Origin": "http://page.example", "Access-Control-Request-Method": "POST"})
    upload("cat.txt", headers={"Origin": "http://page.example"})
    text = browser.page().text
    assert "<summary>1 preflight</summary>" in text
    assert text.count("<li ") == 2
    preflight = browser.newest()[1]
    assert '<details class="folded">' in browser.exchange().text
    assert '<details class="folded" open>' in browser.page(f"/requests/{preflight}").text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("object=${object}&x=a%20b&empty=", "application/x-www-form-urlencoded"),
        ('{"object":${object},"x":"a b","empty":""}', "application/json"),
    ],
)
def test_the_body_of_a_callback_is_a_table_above_its_text(browser, upload, recorder, body, kind):
    value = callback_field(callbackBody=body, callbackBodyType=kind)
    upload("图.txt", callback=value, conditions=[{"callback": value}])
    table, text = browser.exchange().text.partition("The body as it was sent")[::2]
    for row in (
        "object<td><code>图.txt</code>",
        "x<td><code>a b</code>",
        'empty<td><span class="quiet">(empty)</span>',
    ):
        assert f"<th scope=row>{row}" in table
    assert recorder.body_received.decode() in unescape(text)


def test_a_callback_that_failed_has_the_reason_and_the_cure_of_explain(browser, upload, recorder):
    recorder.status = "403 Forbidden"
    value = callback_field()
    upload(callback=value, conditions=[{"callback": value}])
    text = browser.exchange().text
    assert "Stored, application not told" in text
    assert "Error status : 403." in text
    assert "read the reason and the fix in the application&#39;s log" in text


def test_each_condition_says_what_it_was_compared_with(browser, upload):
    upload("b.txt", conditions=[["starts-with", "$key", "dir/"], ["content-length-range", 1, 10]], status=403)
    text = browser.exchange().text
    assert "1 of 4 conditions does not hold" in text
    assert 'aria-label="does not hold">✗</span><code>[&#34;starts-with&#34;, &#34;$key&#34;, &#34;dir/&#34;]' in text
    assert '<span class="compared">b.txt</span>' in text
    assert '<span class="compared">the file was not read</span>' in text


def test_an_expired_policy_is_marked(app, browser, oss):
    post(app, form({"key": "a", **sign_v1(oss, policy(expiration=1733227932.0 - 60))}), status=403)
    assert 'does not hold">✗</span><code>expiration 2024-12-03T12:11:12Z' in browser.exchange().text


def test_a_wrong_signature_shows_where_it_differs_and_the_mistake(app, browser, oss):
    fields = {"key": "a", **sign_v1(oss, policy())}
    wrong = fields["Signature"][:5] + ("A" if fields["Signature"][5] != "A" else "B") + fields["Signature"][6:]
    post(app, form({**fields, "Signature": wrong}), status=403)
    text = browser.exchange().text
    assert fields["policy"] in text, "the string to sign"
    assert f"<code>{wrong[:5]}<mark>{wrong[5:]}</mark></code>" in text
    assert "from character 6" in text
    assert "No known mistake" in text


def test_preflights_and_hidden_answers_are_in_the_list(app, browser):
    headers = {"Origin": "http://other.example", "Access-Control-Request-Method": "POST"}
    app.options("/examplebucket", headers=headers, status=403)
    app.get("/examplebucket/none", headers={"Origin": "http://other.example"}, status=404)
    assert len(browser.newest(kind="cors")) == 2
    assert "--cors http://other.example" in browser.exchange(1).text


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"kind": "upload"}, ["b/2.txt", "a/1.txt"]),
        ({"kind": "read"}, ["a/1.txt"]),
        ({"object": "b/"}, ["b/2.txt"]),
        ({"status": "failed"}, ["b/2.txt"]),
        ({"status": "ok"}, ["a/1.txt", "a/1.txt"]),
        ({"status": "4"}, ["b/2.txt"]),
        ({"q": "getobject"}, ["a/1.txt"]),
        ({"q": "NoSuchThing"}, []),
    ],
)
def test_the_list_is_filtered(app, browser, upload, filters, names):
    upload("a/1.txt")
    upload("b/2.txt", conditions=[["eq", "$key", "other"]])
    app.get("/examplebucket/a/1.txt")
    text = browser.page("", params=filters).text
    assert re.findall(r'class="name"><bdi>(.*?)<', text) == names


def test_a_permanent_link_that_is_gone_says_so(browser):
    assert "no longer keeps it" in browser.page("/requests/0123", status=404).text


def test_a_token_is_hidden_in_fields_headers_queries_policies_and_strings_to_sign(make_oss):
    token = "CAIS-the/secret+token=="
    oss = make_oss(security_token=token)
    app = TestApp(oss)
    fields = {"key": "a", "x-oss-security-token": token}
    document = policy({"x-oss-security-token": token})
    post(app, form({**fields, **sign_v1(oss, document)}), status=204)
    post(app, form({**fields, **sign_v1(oss, document), "Signature": "eA=="}), status=403)
    app.get(f"/examplebucket/a?security-token={quote(token)}&OSSAccessKeyId=x&Expires=9&Signature=x", status=403)
    headers = {"Authorization": f"OSS {oss.access_key_id}:eA==", "x-oss-security-token": token, "Date": "now"}
    app.get("/examplebucket/a", headers=headers, status=403)
    browser = Browser(app)
    for exchange in browser.newest():
        for path in (f"/requests/{exchange}", f"/requests/{exchange}/curl"):
            text = browser.page(path).text
            assert token not in text and quote(token) not in text and "•••" in text, path


@pytest.mark.parametrize(
    ("change", "believed"), [("", True), ("twice", True), ("body", False), ("key", False), ("path", False)]
)
def test_a_callback_is_sent_again(browser, oss, upload, recorder, change, believed):
    value = callback_field()
    upload("a1", callback=value, conditions=[{"callback": value}])
    sent = recorder.requests[-1]
    response = browser.act(f"/requests/{browser.newest()[0]}/again", {"change": change, "url": ""}).follow()
    again = recorder.requests[1:]
    assert len(again) == (2 if change == "twice" else 1)
    key = serialization.load_pem_public_key(oss.public_key_pem.encode())
    for environ, body in again:
        assert (body == sent[1]) == (change != "body")
        text = b"/oss/callback\n" + body
        try:
            key.verify(base64.b64decode(environ["HTTP_AUTHORIZATION"]), text, padding.PKCS1v15(), hashes.MD5())
        except InvalidSignature:
            assert not believed
        else:
            assert believed
    assert "Sent again" in browser.exchange(1).text
    assert "The upload whose callback this is" in response.text


def test_late_waits_until_oss_has_given_up(browser, oss, upload, recorder, monkeypatch):
    waited = []
    value = callback_field()
    upload(callback=value, conditions=[{"callback": value}])
    monkeypatch.setattr(time, "sleep", waited.append)
    browser.act(f"/requests/{browser.newest()[0]}/again", {"change": "late"})
    assert waited == [6.0]
    assert len(recorder.requests) == 2


def test_a_callback_goes_to_another_url_signed_for_it(browser, upload, recorder):
    value = callback_field()
    upload(callback=value, conditions=[{"callback": value}])
    url = "http://other.example/elsewhere?x=1"
    browser.act(f"/requests/{browser.newest()[0]}/again", {"change": "", "url": url})
    assert recorder.environ["PATH_INFO"] == "/elsewhere"
    assert recorder.environ["HTTP_HOST"] == "other.example"
    assert recorder.environ["HTTP_AUTHORIZATION"] != recorder.requests[0][0]["HTTP_AUTHORIZATION"]


def test_a_wrong_url_is_refused(browser, upload, recorder):
    value = callback_field()
    upload(callback=value, conditions=[{"callback": value}])
    exchange = browser.newest()[0]
    response = browser.act(f"/requests/{exchange}/again", {"change": "", "url": "ftp://x y"}, status=400)
    assert "callback url configuration is invalid" in response.text
    assert len(recorder.requests) == 1


def test_faults_are_buttons(browser, upload, recorder):
    assert '<input type="checkbox" name="delivered" value="true">' in browser.page("/faults").text
    browser.act("/faults", {"name": "callback_status", "status": "404", "times": "1", "delivered": "true"})
    assert "status 404, delivered True" in browser.page("/faults").text
    value = callback_field()
    assert upload(callback=value, conditions=[{"callback": value}]).status_int == 203
    assert "None is waiting" in browser.page("/faults").text
    browser.act("/faults", {"name": "slow_down"})
    browser.act("/faults", {"name": ""})
    assert upload().status_int == 204


def test_a_wrong_fault_is_refused(browser):
    assert "no fault" in browser.act("/faults", {"name": "none"}, status=400).text


def test_clearing_forgets_the_exchanges_and_keeps_the_objects(browser, oss, upload):
    upload()
    browser.act("/clear")
    assert browser.newest() == []
    assert oss.storage.bucket("examplebucket").get("dir/a.txt")


def test_a_dropped_connection_is_an_exchange(app, browser, oss, upload):
    oss.fail_next("dropped_connection", stored=True)
    with pytest.raises(ConnectionResetError):
        upload()
    assert "Connection dropped" in browser.page().text


def test_a_v4_form_names_its_scheme(app, browser, oss):
    post(app, form({"key": "a", **sign_v4(oss)}), status=204)
    assert "V4, right" in browser.exchange().text


class Body(io.BytesIO):
    """The body of a request; a test can see whether something still refers to it."""


@pytest.mark.parametrize("what", ["refused", "no form", "not called", "stored"])
def test_a_kept_request_holds_nothing_of_its_body(oss, upload, recorder, what):
    recorder.status = "500 Internal Server Error" if what == "not called" else "200 OK"
    callback = callback_field()
    document = policy({"bucket": "other"} if what == "refused" else {"bucket": "examplebucket"}, {"callback": callback})
    content = form({"key": "a", "callback": callback, **sign_v1(oss, document)})
    body = Body(b"no form" if what == "no form" else content)
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/examplebucket",
        "CONTENT_TYPE": f"multipart/form-data; boundary={BOUNDARY}",
        "CONTENT_LENGTH": str(len(body.getvalue())),
        "wsgi.input": body,
    }
    held, statuses = weakref.ref(body), []
    gc.disable()
    try:
        list(oss(environ, lambda status, headers: statuses.append(status[:3])))
        del environ, body
        assert held() is None
    finally:
        gc.enable()
    assert statuses == [{"refused": "403", "no form": "400", "not called": "203", "stored": "200"}[what]]
