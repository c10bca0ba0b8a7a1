"""Header signatures: the published vectors, a signer written by hand, and the official SDK's own."""

import base64
import hashlib
import hmac
import time
import xml.etree.ElementTree as ElementTree
from urllib.parse import quote

import pytest
from webtest import TestApp

from oss_wsgi.local.environ import Address
from oss_wsgi.local.signatures.form_check import Account
from oss_wsgi.local.signatures.signed_request import SignedRequest
from oss_wsgi.local.signatures.v4 import check_header_v4

from ..form_client import NOW, form, policy, post, sign_v1, utc
from .test_v4 import PUBLISHED

KEY = "a/中 +~'.bin"
PATH = "/examplebucket/a/%E4%B8%AD%20%2B~%27.bin"

# The requests of the SDK's own tests (P§6.1): its signature is published for three moments of one request.
MOMENTS = [
    (1702743657, "", None, "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"),
    (1702784856, "", "token", "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea"),
    (1702747512, "abc;zabc", None, "4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f"),
]


@pytest.mark.parametrize("separator", [",", ", "])
@pytest.mark.parametrize(("moment", "additional", "token", "signature"), MOMENTS)
def test_the_published_signatures_are_good(moment, additional, token, signature, separator):
    members = [f"Credential=ak/{utc(moment, '%Y%m%d')}/cn-hangzhou/oss/aliyun_v4_request"]
    members += [f"AdditionalHeaders={additional}"] if additional else []
    members += [f"Signature={signature}"]
    environ = {
        **PUBLISHED,
        "HTTP_X_OSS_DATE": utc(moment, "%Y%m%dT%H%M%SZ"),
        "HTTP_AUTHORIZATION": f"OSS4-HMAC-SHA256 {separator.join(members)}",
        **({"HTTP_X_OSS_SECURITY_TOKEN": token} if token else {}),
    }
    account = Account("ak", "sk", token)
    request = SignedRequest.read(environ, Address("bucket", "1234+-/123/1.txt"))
    check_header_v4(request, account, "cn-hangzhou", moment)


def signed(oss, method="HEAD", key=KEY, *, query="", date=NOW, secret=None, **changes):
    """Headers of a request signed by hand; `changes` replace parts of the credential, or headers after the signing."""
    stamp = utc(date, "%Y%m%dT%H%M%SZ")
    day = changes.pop("day", stamp[:8])
    region = changes.pop("region", oss.region)
    access_key_id = changes.pop("access_key_id", oss.access_key_id)
    headers = {"x-oss-content-sha256": "UNSIGNED-PAYLOAD", "x-oss-date": stamp}
    if token := changes.pop("token", None):
        headers["x-oss-security-token"] = token
    resource = quote(f"/{oss.bucket}/{key}", safe="/")
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    canonical = f"{method}\n{resource}\n{query}\n{lines}\n\nUNSIGNED-PAYLOAD"
    scope = f"{day}/{region}/oss/aliyun_v4_request"
    text = f"OSS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signing_key = b"aliyun_v4" + (secret or oss.access_key_secret).encode()
    for part in scope.split("/"):
        signing_key = hmac.new(signing_key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(signing_key, text.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = f"OSS4-HMAC-SHA256 Credential={access_key_id}/{scope},Signature={signature}"
    return {**headers, **{name.replace("_", "-"): value for name, value in changes.items()}}


@pytest.fixture
def stored(app, oss):
    post(app, form({"key": KEY, **sign_v1(oss, policy())}, b"hello", content_type="image/png"), status=204)


@pytest.mark.parametrize(
    ("path", "host"),
    [
        (PATH, "127.0.0.1:8081"),
        (PATH.replace("/a/", "/a%2F"), "127.0.0.1:8081"),
        (PATH.removeprefix("/examplebucket"), "examplebucket.oss-cn-hangzhou.aliyuncs.com"),
    ],
    ids=["path style", "a slash as %2F", "the bucket's host"],
)
def test_a_signed_head_tells_all_about_the_object_and_has_no_body(app, oss, stored, path, host):
    response = app.head(path, headers={"Host": host, **signed(oss)})
    assert (response.status_int, response.body, response.content_length) == (200, b"", 5)
    assert response.content_type == "image/png"
    assert response.headers["ETag"] == '"5D41402ABC4B2A76B9719D911017C592"'
    assert response.headers["x-oss-hash-crc64ecma"] == "11177612005948864433"
    assert response.headers["x-oss-object-type"] == "Normal"
    assert response.headers["x-oss-storage-class"] == "Standard"
    assert response.headers["Last-Modified"] == "Tue, 03 Dec 2024 12:12:12 GMT"
    assert response.headers["x-oss-request-id"]


def test_a_signed_get_brings_the_object_and_the_query_is_signed(app, oss, stored):
    assert app.get(PATH, headers=signed(oss, "GET")).body == b"hello"
    assert app.get(f"{PATH}?x=1&acl", headers=signed(oss, "GET", query="acl&x=1")).xml.findtext(".//Grant") == "default"
    app.get(f"{PATH}?x=2&acl", headers=signed(oss, "GET", query="acl&x=1"), status=403)


def code(response):
    if response.request.method == "HEAD":
        assert response.body == b""
        root = ElementTree.fromstring(base64.b64decode(response.headers["x-oss-err"]))
    else:
        root = response.xml
    return response.status_int, root.findtext("Code"), root


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("changes", "status", "expected"),
    [
        ({"secret": "another"}, 403, "SignatureDoesNotMatch"),
        ({"x_oss_meta_added": "later"}, 403, "SignatureDoesNotMatch"),
        ({"key": "another"}, 403, "SignatureDoesNotMatch"),
        ({"query": "acl"}, 403, "SignatureDoesNotMatch"),
        ({"access_key_id": "LTAIunknown"}, 403, "InvalidAccessKeyId"),
        ({"token": "a token that a lasting key does not have"}, 403, "AccessKeyIdAndSecurityTokenNotMatch"),
        ({"date": NOW - 901}, 403, "RequestTimeTooSkewed"),
        ({"date": NOW + 901}, 403, "RequestTimeTooSkewed"),
        ({"day": "20241202"}, 403, "AccessDenied"),
        ({"x_oss_date": ""}, 403, "AccessDenied"),
        ({"x_oss_date": "20241303T121212Z"}, 403, "AccessDenied"),
        ({"region": "cn-shanghai"}, 400, "InvalidArgument"),
        ({"x_oss_content_sha256": ""}, 400, "InvalidArgument"),
        ({"x_oss_content_sha256": "0" * 64}, 400, "InvalidArgument"),
        ({"Authorization": "OSS4-HMAC-SHA512 Signature=0"}, 400, "InvalidArgument"),
        ({"Authorization": "OSS4-HMAC-SHA256"}, 400, "InvalidArgument"),
        ({"Authorization": "OSS4-HMAC-SHA256 Signature=0"}, 400, "InvalidArgument"),
        (
            {"Authorization": "OSS4-HMAC-SHA256 Credential=a/20241203/cn-hangzhou/oss/aliyun_v4_request"},
            400,
            "InvalidArgument",
        ),
        ({"Authorization": "OSS4-HMAC-SHA256 Credential=a/b,Signature=0"}, 400, "InvalidArgument"),
        ({"Authorization": "OSS4-HMAC-SHA256 Credential=a,Credential=b,Signature=0"}, 400, "InvalidArgument"),
    ],
)
def test_a_wrong_signature_is_refused_though_a_stranger_may_read(app, oss, stored, method, changes, status, expected):
    app.request(PATH, method=method, status=200)
    response = app.request(PATH, method=method, headers=signed(oss, method, **changes), status="*")
    assert code(response)[:2] == (status, expected)


def test_a_refused_signature_comes_with_what_should_have_been_signed(app, oss, stored):
    root = code(app.get(PATH, headers=signed(oss, "GET", secret="another"), status=403))[2]
    assert root.findtext("StringToSign").split("\n")[:3] == [
        "OSS4-HMAC-SHA256", "20241203T121212Z", "20241203/cn-hangzhou/oss/aliyun_v4_request"
    ]  # fmt: skip
    assert root.findtext("OSSAccessKeyId") == oss.access_key_id
    assert root.findtext("EC") == "0002-00000201"
    assert root.findtext("CanonicalRequest").startswith(f"GET\n{PATH}\n\nx-oss-content-sha256:UNSIGNED-PAYLOAD\n")
    skewed = code(app.get(PATH, headers=signed(oss, "GET", date=NOW - 3600), status=403))[2]
    assert skewed.findtext("MaxAllowedSkewMilliseconds") == "900000"
    assert (skewed.findtext("RequestTime"), skewed.findtext("ServerTime")) == ("20241203T111212Z", "20241203T121212Z")


def test_clocks_may_differ_by_a_quarter_of_an_hour(app, oss, stored):
    for date in (NOW - 900, NOW + 900):
        app.head(PATH, headers=signed(oss, date=date))


def test_a_temporary_key_needs_its_token(make_oss):
    oss = make_oss(security_token="the-token")
    app = TestApp(oss)
    fields = {
        "key": KEY,
        "x-oss-security-token": "the-token",
        **sign_v1(oss, policy({"x-oss-security-token": "the-token"})),
    }
    post(app, form(fields), status=204)
    app.head(PATH, headers=signed(oss, token="the-token"))
    assert code(app.head(PATH, headers=signed(oss), status=403))[1] == "InvalidAccessKeyId"
    assert code(app.head(PATH, headers=signed(oss, token="another"), status=403))[1] == "InvalidSecurityToken"


def test_a_missing_object_is_told_to_who_signed_and_to_who_did_not(app, oss):
    for headers in ({}, signed(oss, key="none")):
        assert code(app.head("/examplebucket/none", headers=headers, status=404))[:2] == (404, "NoSuchKey")


def test_the_official_sdk_reads_what_was_stored_by_its_own_signature(make_oss):
    sdk = pytest.importorskip("alibabacloud_oss_v2")
    from oss_wsgi.local.serving.server import LocalOSSServer

    oss = make_oss(clock=time.time)
    post(TestApp(oss), form({"key": KEY, **sign_v1(oss, policy(expiration=time.time() + 60))}, b"hello"), status=204)
    server = LocalOSSServer(oss)
    server.start()

    transport = sdk.transport.RequestsHttpClient()

    def client(secret):
        provider = sdk.credentials.StaticCredentialsProvider(oss.access_key_id, secret)
        return sdk.Client(
            sdk.Config(region=oss.region, endpoint=server.url, credentials_provider=provider, http_client=transport)
        )

    try:
        right, wrong = client(oss.access_key_secret), client("another")
        head = right.head_object(sdk.HeadObjectRequest(oss.bucket, KEY))
        assert (head.content_length, head.etag) == (5, '"5D41402ABC4B2A76B9719D911017C592"')
        assert (head.object_type, head.storage_class) == ("Normal", "Standard")
        got = right.get_object(sdk.GetObjectRequest(oss.bucket, KEY))
        assert got.body.read() == b"hello"
        got.body.close()
        with pytest.raises(sdk.exceptions.OperationError) as raised:
            wrong.head_object(sdk.HeadObjectRequest(oss.bucket, KEY))
        error = raised.value.unwrap()
        assert (error.status_code, error.code) == (403, "SignatureDoesNotMatch")
    finally:
        transport.close()
        server.stop()
