import base64
import hashlib
from dataclasses import replace
from urllib.parse import quote

import pytest

from local_oss.environ import Address
from local_oss.errors import OSSError
from local_oss.signatures.account import Account
from local_oss.signatures.signed_request import SignedRequest
from local_oss.signatures.v4 import Credential, canonical_request, check_header_v4, check_query_v4, signed_at

from ..form_client import NOW, utc
from ..inspector.test_exchange_page_mistakes import v4_signature
from ..sdk_signer import ACCOUNT, ADDRESS, REGION, STYLES, sign
from ..stored import put

PUBLISHED = {
    "REQUEST_METHOD": "PUT",
    "QUERY_STRING": "param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2=&%7Cparam2=&param2=",
    "HTTP_X_OSS_HEAD1": "value",
    "HTTP_ABC": "value",
    "HTTP_ZABC": "value",
    "HTTP_XYZ": "value",
    "CONTENT_TYPE": "text/plain",
    "HTTP_X_OSS_CONTENT_SHA256": "UNSIGNED-PAYLOAD",
}


def canonical(environ, address, additional=""):
    return canonical_request(SignedRequest.read(environ, address), additional)


def test_the_canonical_request_is_the_documented_one():
    environ = {
        **PUBLISHED,
        "HTTP_X_OSS_DATE": "20231216T162057Z",
        "HTTP_X_OSS_META_NAME": " 中 ".encode().decode("latin-1"),
    }
    assert canonical(environ, Address("bucket", "1234+-/中.txt"), "ZAbc; abc;abc") == (
        "PUT\n"
        "/bucket/1234%2B-/%E4%B8%AD.txt\n"
        "%2Bparam1=value3&%2Bparam2&%7Cparam1=value4&%7Cparam2&param1=value1&param2\n"
        "abc:value\n"
        "content-type:text/plain\n"
        "x-oss-content-sha256:UNSIGNED-PAYLOAD\n"
        "x-oss-date:20231216T162057Z\n"
        "x-oss-head1:value\n"
        "x-oss-meta-name:中\n"
        "zabc:value\n"
        "\n"
        "abc;zabc\n"
        "UNSIGNED-PAYLOAD"
    )


def test_a_query_is_sorted_without_its_signature():
    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": "a-b=1&x-oss-signature=0&a=2"}
    assert canonical(environ, Address(None, "")).split("\n")[1:3] == ["/", "a=2&a-b=1"]


def test_bytes_that_are_not_utf8_are_signed_unchanged():
    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": "a=%ff+%C3%A4"}
    assert canonical(environ, Address("b", "")).split("\n")[1:3] == ["/b/", "a=%FF%20%C3%A4"]


def test_a_credential_has_five_parts():
    text = "ak/20241203/cn-hangzhou/oss/aliyun_v4_request"
    credential = Credential.parse(text, name="Credential")
    assert (credential.access_key_id, credential.scope) == ("ak", "20241203/cn-hangzhou/oss/aliyun_v4_request")
    assert str(credential) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ak/20241203/cn-hangzhou/oss",
        "/20241203/cn-hangzhou/oss/aliyun_v4_request",
        "a/k/20241203/cn-hangzhou/oss/aliyun_v4_request",
        "ak/20241203/cn-hangzhou/oss-cloudbox/aliyun_v4_request",
        "ak/20241203/cn-hangzhou/oss/aws4_request",
    ],
)
def test_an_invalid_credential_is_named(text):
    with pytest.raises(OSSError) as raised:
        Credential.parse(text, name="x-oss-credential")
    assert (raised.value.status, raised.value.code) == (400, "InvalidArgument")
    assert raised.value.members == {"ArgumentName": "x-oss-credential", "ArgumentValue": text}


def test_the_date_is_parsed():
    assert signed_at("20241203T121212Z", Credential("ak", "20241203", "r")) == 1733227932


@pytest.mark.parametrize("date", ["", "20241204T000000Z", "20241303T121212Z", "20241203T121212", "2024-12-03T12:12Z"])
def test_an_invalid_date_is_refused(date):
    with pytest.raises(OSSError, match="AccessDenied"):
        signed_at(date, Credential("ak", date[:8].replace("20241204", "20241203"), "r"))


SCOPE = "20241203/cn-hangzhou/oss/aliyun_v4_request"

# The requests of the SDK's own tests (protocol.md 6.1): its signature is published for three moments of one request.
MOMENTS = [
    (1702743657, "", None, "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"),
    (1702784856, "", "token", "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea"),
    (1702747512, "abc;zabc", None, "4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f"),
]


@pytest.mark.parametrize(("moment", "additional", "token", "signature"), MOMENTS)
@pytest.mark.parametrize("separator", [",", ", "])
def test_the_published_headers_are_accepted(moment, additional, token, signature, separator):
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


def check_header(environ, *, account=ACCOUNT, region=REGION, now=NOW):
    check_header_v4(SignedRequest.read(environ, ADDRESS), account, region, now)


def header_refusal(environ, **options):
    with pytest.raises(OSSError) as raised:
        check_header(environ, **options)
    return raised.value


@pytest.mark.parametrize("style", STYLES)
def test_a_header_of_the_sdk_is_accepted_in_every_style(style):
    check_header(sign("v4", "PUT", style=style, query="x=%2F&acl", additional=["host"]))


def test_another_product_in_a_header_is_refused_as_by_oss():
    """As the Java SDK's ErrorTest shows; the element is that of another region."""
    header = f"OSS4-HMAC-SHA256 Credential=ak/{SCOPE.replace('/oss/', '/oss-cloudbox/')},Signature=0"
    error = header_refusal({**sign("v4"), "HTTP_AUTHORIZATION": header})
    assert (error.message, error.members) == (
        "Invalid signing product in Authorization header.",
        {"Authorization": header},
    )


def test_a_wrong_header_is_refused_even_for_reading(app, oss):
    put(oss.storage.bucket("examplebucket"), "a")
    app.get("/examplebucket/a", status=200)
    wrong = {"Authorization": "OSS4-HMAC-SHA256"}
    assert app.get("/examplebucket/a", headers=wrong, status=400).xml.findtext("Code") == "InvalidArgument"
    response = app.head("/examplebucket/a", headers=wrong, status=400)
    assert response.body == b""
    assert b"<Code>InvalidArgument</Code>" in base64.b64decode(response.headers["x-oss-err"])


def test_a_refused_header_shows_the_canonical_request():
    error = header_refusal(sign("v4", account=replace(ACCOUNT, access_key_secret="another")))
    assert error.ec == "0002-00000201"
    assert error.members["StringToSign"].startswith(f"OSS4-HMAC-SHA256\n20241203T121212Z\n{SCOPE}\n")
    assert error.members["OSSAccessKeyId"] == "ak"
    canonical = "GET\n/bucket/a/%E4%B8%AD%20%2B~%27.bin\n\nx-oss-content-sha256:UNSIGNED-PAYLOAD\n"
    assert error.members["CanonicalRequest"].startswith(canonical)


def test_clocks_may_differ_by_15_minutes():
    for date in (NOW - 900, NOW + 900):
        check_header(sign("v4", now=date))
    for date in (NOW + 901, NOW - 901):
        error = header_refusal(sign("v4", now=date))
        assert error.code == "RequestTimeTooSkewed"
    assert error.members == {
        "MaxAllowedSkewMilliseconds": "900000",
        "RequestTime": "2024-12-03T11:57:11.000Z",
        "ServerTime": "2024-12-03T12:12:12.000Z",
    }


@pytest.mark.parametrize(
    ("date", "ec"),
    [
        ("Tue, 03 Dec 2024 12:12:12 GMT", None),
        ("20241203T121212Z", "0002-00000502"),
        ("Tue, 03 Dec 2024 12:12:12 +0800", "0002-00000502"),
        ("", "0002-00000503"),
    ],
)
def test_a_date_in_the_header_is_enough(date, ec):
    """The help pages of EC 0002-00000502 and 0002-00000503: one of `Date` and `x-oss-date` is needed."""
    canonical = "GET\n/bucket/a\n\nx-oss-content-sha256:UNSIGNED-PAYLOAD\n\n\nUNSIGNED-PAYLOAD"
    text = f"OSS4-HMAC-SHA256\n20241203T121212Z\n{SCOPE}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = v4_signature("sk", text).hexdigest()
    environ = {
        "REQUEST_METHOD": "GET",
        "HTTP_DATE": date,
        "HTTP_X_OSS_CONTENT_SHA256": "UNSIGNED-PAYLOAD",
        "HTTP_AUTHORIZATION": f"OSS4-HMAC-SHA256 Credential=ak/{SCOPE},Signature={signature}",
    }
    request = SignedRequest.read(environ, Address("bucket", "a"))
    if ec is None:
        check_header_v4(request, ACCOUNT, REGION, NOW)
    else:
        with pytest.raises(OSSError) as raised:
            check_header_v4(request, ACCOUNT, REGION, NOW)
        assert (raised.value.status, raised.value.ec) == (403, ec)


def test_a_wrong_region_is_named_where_the_signature_stands():
    """The two messages are those that oss2's live tests expect."""
    environ = sign("v4", region="cn-shanghai")
    error = header_refusal(environ)
    assert (error.message, error.ec) == ("Invalid signing region in Authorization header.", "0002-00000226")
    assert error.members == {"Authorization": environ["HTTP_AUTHORIZATION"]}
    error = query_refusal(sign("v4", expires=60, region="cn-shanghai"))
    assert (error.message, error.ec) == ("The signing region in credential is invalid.", "0002-00000226")
    assert error.members["ArgumentName"] == "x-oss-credential"


def check_query(environ, *, address=ADDRESS, account=ACCOUNT, region=REGION, now=NOW):
    check_query_v4(SignedRequest.read(environ, address), account, region, now)


def query_refusal(environ, **options):
    with pytest.raises(OSSError) as raised:
        check_query(environ, **options)
    return raised.value


# The SDK's own tests publish these.
@pytest.mark.parametrize(
    ("moment", "additional", "token", "signature"),
    [
        (1702781677, "", None, "a39966c61718be0d5b14e668088b3fa07601033f6518ac7b523100014269c0fe"),
        (1702785388, "", "token", "3817ac9d206cd6dfc90f1c09c00be45005602e55898f26f5ddb06d7892e1f8b5"),
        (1702783809, "abc;zabc", None, "6bd984bfe531afb6db1f7550983a741b103a8c58e5e14f83ea474c2322dfa2b7"),
    ],
    ids=["lasting key", "token", "additional headers"],
)
def test_the_published_urls_are_accepted(moment, additional, token, signature):
    parameters = {
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
        "x-oss-date": utc(moment, "%Y%m%dT%H%M%SZ"),
        "x-oss-expires": "599",
        "x-oss-credential": f"ak/{utc(moment, '%Y%m%d')}/cn-hangzhou/oss/aliyun_v4_request",
        **({"x-oss-additional-headers": additional} if additional else {}),
        **({"x-oss-security-token": token} if token else {}),
        "x-oss-signature": signature,
    }
    environ = {**PUBLISHED, "CONTENT_TYPE": "application/octet-stream"}
    del environ["HTTP_X_OSS_CONTENT_SHA256"]
    environ["QUERY_STRING"] += "".join(f"&{name}={quote(value, safe='')}" for name, value in parameters.items())
    check_query(
        environ,
        address=Address("bucket", "1234+-/123/1.txt"),
        account=replace(ACCOUNT, security_token=token),
        now=moment + 599,
    )


@pytest.mark.parametrize("style", STYLES)
def test_a_url_of_the_sdk_is_accepted_in_every_style(style):
    check_query(sign("v4", "PUT", style=style, query="x=%2F&acl", expires=60, additional=["host"]))


def test_a_url_expires():
    environ = sign("v4", expires=60)
    check_query(environ, now=NOW + 60)
    error = query_refusal(environ, now=NOW + 61)
    assert (error.status, error.code, error.ec) == (403, "AccessDenied", "0002-00000069")
    assert error.members["Expires"] == "2024-12-03T12:13:12.000Z"


def test_a_url_is_not_valid_before_its_date():
    environ = sign("v4", now=NOW + 900, expires=60)
    check_query(environ)
    error = query_refusal(environ, now=NOW - 1)
    assert (error.status, error.code, error.message) == (403, "AccessDenied", "Request is not valid yet.")


@pytest.mark.parametrize("expires", [1, 604800])
def test_a_url_lasts_1_second_to_7_days(expires):
    check_query(sign("v4", expires=expires), now=NOW + expires)


@pytest.mark.parametrize("expires", ["0", "-1", "604801", "1.5", "abc", "9" * 10])
def test_an_invalid_expiry_is_refused(expires):
    environ = sign("v4", expires=60)
    environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("x-oss-expires=60", f"x-oss-expires={expires}")
    error = query_refusal(environ)
    assert (error.status, error.code) == (400, "InvalidArgument")
    assert error.members == {"ArgumentName": "x-oss-expires", "ArgumentValue": expires}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x=1", "x=2"),
        ("x-oss-expires=60", "x-oss-expires=61"),
        ("T121212Z", "T121213Z"),
        ("x-oss-signature=", "x-oss-signature=0"),
        ("headers=host", "headers=host%3Bhost"),
    ],
)
def test_an_altered_url_shows_the_canonical_request(old, new):
    environ = sign("v4", query="x=1", expires=60, additional=["host"])
    check_query(environ)
    assert old in environ["QUERY_STRING"]
    error = query_refusal({**environ, "QUERY_STRING": environ["QUERY_STRING"].replace(old, new)})
    assert (error.status, error.code, error.ec) == (403, "SignatureDoesNotMatch", "0002-00000201")
    assert error.members["StringToSign"].startswith("OSS4-HMAC-SHA256\n20241203T12121")
    canonical = error.members["CanonicalRequest"]
    assert canonical.startswith("GET\n/bucket/a/%E4%B8%AD%20%2B~%27.bin\n")
    assert bytes.fromhex(error.members["CanonicalRequestBytes"]).decode() == canonical


@pytest.mark.parametrize("expires", [None, 60])
@pytest.mark.parametrize("name", ["range", "content-length"])
def test_a_request_needs_each_header_that_it_signs_in_addition(name, expires):
    environ = sign("v4", expires=expires, additional=["host", name], headers={name: "1"})

    def check(environ):
        function = check_query_v4 if expires else check_header_v4
        function(SignedRequest.read(environ, ADDRESS), ACCOUNT, REGION, NOW)

    check(environ)
    del environ[f"HTTP_{name.upper().replace('-', '_')}"]
    with pytest.raises(OSSError) as raised:
        check(environ)
    error = raised.value
    assert (error.status, error.code, error.ec) == (400, "InvalidArgument", "0002-00000077" if expires else "")
    assert name in error.message


def test_another_day_is_refused():
    environ = sign("v4", expires=60)
    environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("%2F20241203%2F", "%2F20241202%2F")
    assert query_refusal(environ).code == "AccessDenied"


@pytest.mark.parametrize(
    "name", ["x-oss-signature-version", "x-oss-signature", "x-oss-credential", "x-oss-date", "x-oss-expires"]
)
def test_a_url_needs_each_parameter(name):
    environ = sign("v4", expires=60)
    pairs = [pair for pair in environ["QUERY_STRING"].split("&") if not pair.startswith(f"{name}=")]
    error = query_refusal({**environ, "QUERY_STRING": "&".join(pairs)})
    assert (error.status, error.code, error.members["ArgumentName"]) == (400, "InvalidArgument", name)


@pytest.mark.parametrize("version", ["OSS2", "OSS4-HMAC-SHA512", "oss4-hmac-sha256"])
def test_a_url_with_another_algorithm_is_refused(version):
    environ = sign("v4", expires=60)
    environ["QUERY_STRING"] = environ["QUERY_STRING"].replace("OSS4-HMAC-SHA256", version)
    error = query_refusal(environ)
    assert (error.code, error.members["ArgumentValue"]) == ("InvalidArgument", version)
