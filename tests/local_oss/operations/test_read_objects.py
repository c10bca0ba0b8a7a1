import gzip

import pytest
from webob import Request
from webtest import TestApp
from webtest.lint import middleware as lint

from local_oss.environ import Address

from ..form_client import NOW, form, policy, post, sign_v1
from ..sdk_signer import signed_headers
from ..signed_client import SignedClient
from ..signed_client import code_and_ec as code

CONTENT = bytes(range(100))


@pytest.fixture
def stored(app, oss):
    fields = {
        "key": "a/中.bin",
        "Cache-Control": "no-cache",
        "x-oss-meta-name": "中",
        **sign_v1(oss, policy()),
    }
    post(app, form(fields, CONTENT, content_type="image/png"), status=204)
    return "/examplebucket/a/%E4%B8%AD.bin"


def test_an_object_is_returned_with_its_stored_headers(app, stored):
    response = app.get(stored)
    assert (response.status_int, response.body) == (200, CONTENT)
    headers = {name.lower(): value for name, value in response.headers.items()}
    for name in ("x-oss-request-id", "x-oss-server-time"):
        headers.pop(name)
    assert headers == {
        "server": "AliyunOSS",
        "date": "Tue, 03 Dec 2024 12:12:12 GMT",
        "last-modified": "Tue, 03 Dec 2024 12:12:12 GMT",
        "accept-ranges": "bytes",
        "content-type": "image/png",
        "content-length": "100",
        "etag": '"7ACEDD1A84A4CFCB6E7A16003242945E"',
        "content-md5": response.headers["Content-MD5"],
        "x-oss-hash-crc64ecma": response.headers["x-oss-hash-crc64ecma"],
        "x-oss-object-type": "Normal",
        "x-oss-storage-class": "Standard",
        "cache-control": "no-cache",
        "x-oss-meta-name": "中".encode().decode("latin-1"),
    }


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-100", 0, 100),
        ("bytes=99-99", 99, 100),
        ("bytes=0-", 0, 100),
    ],
)
def test_a_range_is_returned(app, stored, header, start, stop):
    response = app.get(stored, headers={"Range": header})
    assert (response.status_int, response.body) == (206, CONTENT[start:stop])
    assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/100"
    assert response.content_length == stop - start


@pytest.mark.parametrize("header", ["bytes=", "bytes=-", "bytes=9-1", "bytes=0-1,3-4", "lines=1-2", "bytes=a-b"])
def test_a_header_that_is_no_single_range_is_ignored(app, stored, header):
    response = app.get(stored, headers={"Range": header})
    assert (response.status_int, response.body) == (200, CONTENT)


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=-101", "bytes=99-100"])
def test_a_range_not_inside_the_object_returns_the_whole(app, stored, header):
    response = app.get(stored, headers={"Range": header})
    assert (response.status_int, response.body) == (200, CONTENT)
    assert "Content-Range" not in response.headers


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_standard_range_after_the_object_is_rejected(app, stored, header):
    response = app.get(stored, headers={"Range": header, "x-oss-range-behavior": "standard"}, status=416)
    assert code(response)[1] == "InvalidRange"
    assert response.headers["Content-Range"] == "bytes */100"


@pytest.mark.parametrize(("header", "start"), [("bytes=-1000", 0), ("bytes=99-1000", 99)])
def test_a_standard_range_ends_with_the_object(app, stored, header, start):
    response = app.get(stored, headers={"Range": header, "x-oss-range-behavior": "standard"})
    assert (response.status_int, response.body) == (206, CONTENT[start:])


def test_an_empty_object_has_no_ranges(app, oss):
    post(app, form({"key": "empty", **sign_v1(oss, policy())}, b""), status=204)
    assert app.get("/examplebucket/empty", headers={"Range": "bytes=0-"}).body == b""
    app.get("/examplebucket/empty", headers={"Range": "bytes=0-", "x-oss-range-behavior": "standard"}, status=416)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("If-Match", '"x"', 412),
        ("If-Match", '"7ACEDD1A84A4CFCB6E7A16003242945E"', 200),
        ("If-Match", "*", 200),
        ("If-Unmodified-Since", "Tue, 03 Dec 2024 12:12:11 GMT", 412),
        ("If-Unmodified-Since", "Tue, 03 Dec 2024 12:12:12 GMT", 200),
        ("If-Unmodified-Since", "yesterday", 200),
    ],
)
def test_if_match_and_if_unmodified_since_are_preconditions(app, stored, name, value, status):
    response = app.get(stored, headers={name: value}, status=status)
    if status == 412:
        assert code(response)[:2] == (412, "PreconditionFailed")
        assert response.xml.findtext("Condition") == name


def test_only_a_signed_request_overrides_response_headers(app, client, stored):
    query = "response-content-type=text%2Fhtml&response-cache-control=no-store"
    key = "a/中.bin"
    response = client("GET", "examplebucket", query, key=key)
    assert (response.headers["Content-Type"], response.headers["Cache-Control"]) == ("text/html", "no-store")
    assert response.headers["x-oss-meta-name"] == "中".encode().decode("latin-1")
    assert code(app.get(f"{stored}?{query}", status=403))[1] == "AccessDenied"
    response = client("GET", "examplebucket", "response-expires=a%0Ab", key=key, status=400)
    assert code(response)[1] == "InvalidArgument"


def test_a_get_of_object_meta_has_no_body(oss, app, stored):
    typeless = TestApp(oss, lint=False)  # lint wants a type for any length
    head, get = typeless.head(f"{stored}?objectMeta"), typeless.get(f"{stored}?objectMeta")
    assert (head.content_length, get.content_length, get.body) == (100, 0, b"")
    assert {**get.headers, "Content-Length": "100", "x-oss-request-id": ""} == {**head.headers, "x-oss-request-id": ""}
    assert code(app.get("/examplebucket/none?objectMeta", status=404))[1] == "NoSuchKey"


def test_an_object_with_a_known_etag_is_not_sent_again(app, stored):
    etag = app.head(stored).headers["ETag"]
    for tags in (etag, f'"x", W/{etag}', "*"):
        response = app.get(stored, headers={"If-None-Match": tags}, status=304)
        assert (response.body, response.headers["ETag"]) == (b"", etag)
    app.get(stored, headers={"If-None-Match": '"x"'}, status=200)


@pytest.mark.parametrize(
    ("since", "status"),
    [
        ("Tue, 03 Dec 2024 12:12:12 GMT", 304),
        ("Tue, 03 Dec 2024 12:12:11 GMT", 200),
        ("yesterday", 200),
        ("Tue, 99 Dec 2024 12:12:12 GMT", 200),
    ],
)
def test_an_object_is_sent_again_only_when_it_is_newer(app, stored, since, status):
    app.get(stored, headers={"If-Modified-Since": since}, status=status)


@pytest.mark.parametrize("method", ["get", "head"])
def test_a_missing_key_is_not_found(app, method):
    response = getattr(app, method)("/examplebucket/none", status=404)
    assert response.headers["x-oss-ec"] == "0026-00000001"
    if method == "get":
        assert code(response) == (404, "NoSuchKey", "0026-00000001")
        assert response.xml.findtext("Key") == "none"
    else:
        assert response.body == b""


def get(oss, headers, method="GET"):
    """Return the status, the headers and the body as they are: WebTest decompresses what it gets."""
    request = Request.blank("/examplebucket/a", method=method, headers=headers)
    status, sent, pieces = request.call_application(lint(oss))
    body = b"".join(pieces)
    pieces.close()
    return int(status[:3]), sent, body


@pytest.mark.parametrize(
    ("size", "kind", "accepted", "is_compressed"),
    [
        (1024, "text/plain; charset=utf-8", "gzip, deflate", True),
        (300_000, "application/json", "br;q=1.0, gzip;q=0.5", True),
        (1023, "text/plain", "gzip", False),
        (1024, "text/plain", "br, gzip; q=0", False),
        (1024, "text/plain", "gzip;q=0.000", False),
        (1024, "text/plain", "gzip;q=0.001", True),
        (1024, "image/png", "gzip", False),
        (1024, "text/plain", "identity", False),
        (1024, "text/plain", "", False),
    ],
)
def test_texts_are_compressed_where_a_client_accepts_it(oss, bucket, size, kind, accepted, is_compressed):
    """GetObject's page, "Accept-Encoding": texts of 1 KB and more; such an answer has no ETag."""
    with bucket.incoming() as incoming:
        incoming.write(b"x" * size)
        incoming.commit("a", kind, {}, now=NOW)
    _, headers, body = get(oss, {"Accept-Encoding": accepted})
    assert (gzip.decompress(body) if is_compressed else body) == b"x" * size
    assert (("Content-Encoding", "gzip") in headers) == (("Vary", "Accept-Encoding") in headers) == is_compressed
    assert ("ETag" in dict(headers)) == ("Content-Length" in dict(headers)) == (not is_compressed)
    status, _, part = get(oss, {"Accept-Encoding": accepted, "Range": "bytes=0-9"})
    assert (status, part) == (206, b"x" * 10)
    assert dict(get(oss, {"Accept-Encoding": accepted}, method="HEAD")[1])["Content-Length"] == str(size)


def test_what_is_stored_compressed_is_not_compressed_again(oss, bucket):
    content = gzip.compress(bytes(range(256)) * 40)
    with bucket.incoming() as incoming:
        incoming.write(content)
        incoming.commit("a", "text/plain", {"Content-Encoding": "gzip"}, now=NOW)
    assert get(oss, {"Accept-Encoding": "gzip"})[2] == content


@pytest.mark.parametrize(
    ("bucket_acl", "object_acl", "is_readable"),
    [
        ("private", None, False),
        ("private", "default", False),
        ("private", "private", False),
        ("private", "public-read", True),
        ("private", "public-read-write", True),
        ("public-read", None, True),
        ("public-read", "default", True),
        ("public-read", "private", False),
        ("public-read-write", None, True),
    ],
)
def test_an_acl_says_who_may_read_without_a_signature(make_oss, bucket_acl, object_acl, is_readable):
    """The page on ACLs: an object's own ACL wins over the bucket's, `default` means the bucket's."""
    oss = make_oss(acl="private", allow_public=True)
    app, client, name = TestApp(oss, lint=False), SignedClient(oss), oss.bucket  # whose GetObjectMeta has no type
    headers = {"x-oss-object-acl": object_acl} if object_acl else {}
    client("PUT", name, body=b"hi oss", key="a", headers=headers)
    client("PUT", name, "acl", headers={"x-oss-acl": bucket_acl})
    for query in ("", "?objectMeta"):
        for method in ("GET", "HEAD"):
            response = app.request(f"/{name}/a{query}", method=method, status="*")
            assert response.status_int == (200 if is_readable else 403)
            assert b"hi oss" not in response.body or is_readable
    signed = client("GET", name, key="a")
    assert (signed.status_int, signed.body) == (200, b"hi oss")


def test_nobody_learns_what_a_private_bucket_lacks(make_oss):
    oss = make_oss(acl="private")
    response = TestApp(oss).get("/examplebucket/none", status=403)
    assert (response.xml.findtext("Code"), response.headers["x-oss-ec"]) == ("AccessDenied", "0003-00000001")
    assert SignedClient(oss)("GET", "examplebucket", key="none", status=404)
    TestApp(oss).get("/none", headers={"Host": "examplebucket.localhost"}, status=403)
    TestApp(oss).get("/another-bucket", status=404)


def test_an_acl_changes_at_once(make_oss):
    oss = make_oss(acl="private", allow_public=True)
    app, client = TestApp(oss), SignedClient(oss)
    client("PUT", "examplebucket", body=b"hi oss", key="a")
    app.get("/examplebucket/a", status=403)
    client("PUT", "examplebucket", "acl", key="a", headers={"x-oss-object-acl": "public-read"})
    assert app.get("/examplebucket/a").body == b"hi oss"
    client("PUT", "examplebucket", "acl", key="a", headers={"x-oss-object-acl": "default"})
    app.get("/examplebucket/a", status=403)


DOMAIN = "examplebucket.oss-cn-hangzhou.aliyuncs.com"
APK = "application/vnd.android.package-archive"


@pytest.mark.parametrize(
    ("key", "media_type", "host", "ec"),
    [
        ("a.apk", "application/octet-stream", DOMAIN, "0048-00000200"),
        ("a.IPA", "application/octet-stream", DOMAIN, "0048-00000200"),
        ("a", APK, DOMAIN, "0048-00000200"),
        ("a", "application/iphone", DOMAIN, "0048-00000200"),
        ("a.apk", APK, "examplebucket.oss-accelerate.aliyuncs.com", "0048-00000203"),
        ("a.apk", APK, "examplebucket.oss-cn-hangzhou-internal.aliyuncs.com", None),
        ("a.apk", APK, "img.example.com", None),
        ("a.apk", APK, "127.0.0.1:8081", None),
        ("apk", "application/octet-stream", DOMAIN, None),
    ],
)
def test_a_program_of_a_phone_is_not_browsed_at_a_default_domain(make_oss, key, media_type, host, ec):
    """EC page 0048-00000203; a signature in the header still gets the file, as published code found."""
    oss = make_oss(cnames={"img.example.com": "examplebucket"})
    app, client = TestApp(oss), SignedClient(oss)
    client("PUT", "examplebucket", body=b"hi oss", key=key, headers={"content-type": media_type})
    path = f"/examplebucket/{key}" if host.startswith("127") else f"/{key}"
    query = oss.signed_url(key).partition("?")[2]
    for url in (path, f"{path}?{query}"):
        response = app.get(url, headers={"Host": host}, status="*")
        if ec is None:
            assert response.body == b"hi oss"
        else:
            assert code(response) == (400, "ApkDownloadForbidden", ec)
    header = signed_headers("v4", address=Address("examplebucket", key), account=oss.account)
    assert app.get(path, headers={**header, "Host": host}).body == b"hi oss"


@pytest.mark.parametrize(
    ("media_type", "host", "is_forced"),
    [
        ("text/html", DOMAIN, True),
        ("Text/HTML; charset=utf-8", DOMAIN, True),
        ("text/plain", DOMAIN, False),
        ("text/html", "img.example.com", False),
        ("text/html", "localhost", False),
    ],
)
def test_browsers_download_web_pages_of_a_default_domain(make_oss, media_type, host, is_forced):
    """Recorded in July 2026."""
    oss = make_oss(cnames={"img.example.com": "examplebucket"})
    headers = {"content-type": media_type, "Content-Disposition": "inline"}
    SignedClient(oss)("PUT", "examplebucket", body=b"hi oss", key="a", headers=headers)
    response = TestApp(oss).get("/a", headers={"Host": host})
    names = "Content-Disposition", "x-oss-force-download", "x-oss-ec"
    expected = ["attachment", "true", "0048-00000001"] if is_forced else ["inline", None, None]
    assert [response.headers.get(name) for name in names] == expected
