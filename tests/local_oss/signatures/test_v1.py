from dataclasses import replace
from email.utils import formatdate

import pytest
from alibabacloud_oss_v2.signer import SignerV1

from local_oss.environ import Address
from local_oss.errors import OSSError
from local_oss.signatures import v1
from local_oss.signatures.signed_request import SignedRequest
from local_oss.signatures.v1 import SUB_RESOURCES, check_header_v1, check_query_v1, string_to_sign

from ..form_client import NOW
from ..sdk_signer import ACCOUNT, ADDRESS, STYLES, sign

DATE = "Wed, 28 Dec 2022 10:27:41 GMT"
ALICE = {
    "HTTP_CONTENT_MD5": "eB5eJF1ptWaXm4bijSPyxw==",
    "CONTENT_TYPE": "text/html",
    "HTTP_X_OSS_META_AUTHOR": "alice",
    "HTTP_X_OSS_META_MAGIC": "abracadabra",
    "HTTP_X_OSS_DATE": DATE,
}
LINES = f"eB5eJF1ptWaXm4bijSPyxw==\ntext/html\n{DATE}\nx-oss-date:{DATE}\nx-oss-meta-author:alice\n"
LINES += "x-oss-meta-magic:abracadabra\n"


@pytest.mark.parametrize(
    ("method", "key", "query", "headers", "text", "signature"),
    [
        ("PUT", "nelson", "", ALICE, f"PUT\n{LINES}/examplebucket/nelson", "kSHKmLxlyEAKtZPkJhG9bZb5k7M="),
        ("PUT", "nelson", "acl", ALICE, f"PUT\n{LINES}/examplebucket/nelson?acl", "/afkugFbmWDQ967j1vr6zygBLQk="),
        (
            "GET",
            "",
            "resourceGroup&non-resousce=null",
            {"HTTP_X_OSS_DATE": DATE},
            f"GET\n\n\n{DATE}\nx-oss-date:{DATE}\n/examplebucket/?resourceGroup",
            "vkQmfuUDyi1uDi3bKt67oemssIs=",
        ),
        (
            "GET",
            "",
            "resourceGroup&acl",
            {"HTTP_X_OSS_DATE": DATE},
            f"GET\n\n\n{DATE}\nx-oss-date:{DATE}\n/examplebucket/?acl&resourceGroup",
            "x3E5TgOvl/i7PN618s5mEvpJDYk=",
        ),
    ],
)
def test_the_published_signatures_are_computed(method, key, query, headers, text, signature):
    environ = {"REQUEST_METHOD": method, "QUERY_STRING": query, **headers}
    request = SignedRequest.read(environ, Address("examplebucket", key))
    assert string_to_sign(request, DATE) == text
    assert v1.sign("sk", text) == signature


def test_only_sub_resources_are_signed_and_decoded():
    query = "response-content-type=a%2Fb%20c&x=1&uploadId=%E4%B8%AD&cors="
    request = SignedRequest.read({"REQUEST_METHOD": "GET", "QUERY_STRING": query}, Address("b", "k"))
    assert string_to_sign(request, "1") == "GET\n\n\n1\n/b/k?cors&response-content-type=a/b c&uploadId=中"


def test_the_service_is_signed_as_a_slash():
    request = SignedRequest.read({"REQUEST_METHOD": "GET", "QUERY_STRING": "prefix=a"}, Address(None, ""))
    assert string_to_sign(request, "") == "GET\n\n\n\n/"


@pytest.mark.sdks
def test_all_sub_resources_of_the_sdks_are_known():
    import oss2

    assert {*oss2.Auth._subresource_key_set, *SignerV1._subresource_key_set} - SUB_RESOURCES == set()
    assert not [name for name in SUB_RESOURCES if name.endswith("-") or not name]


HEADERS = {"content-type": "text/plain; charset=utf-8", "content-md5": "eB5eJF1ptWaXm4bijSPyxw==", "x-oss-meta-a": "中"}


def check_header(environ, *, address=ADDRESS, account=ACCOUNT, now=NOW):
    check_header_v1(SignedRequest.read(environ, address), account, now)


def header_refusal(environ, **options):
    with pytest.raises(OSSError) as raised:
        check_header(environ, **options)
    return raised.value


@pytest.mark.parametrize("style", STYLES)
def test_a_header_of_the_sdk_is_accepted_in_every_style(style):
    check_header(sign("v1", "PUT", style=style, query="x=1&uploadId=%2F&partNumber=1", headers=HEADERS))


def test_x_oss_date_replaces_date():
    environ = sign("v1", headers={"x-oss-date": formatdate(NOW, usegmt=True)})
    check_header({**environ, "HTTP_DATE": "nothing that counts"})
    environ = sign("v1", headers={"x-oss-date": formatdate(NOW - 901, usegmt=True)})
    assert header_refusal(environ).code == "RequestTimeTooSkewed"


@pytest.mark.parametrize(
    "changes",
    [
        {"QUERY_STRING": "acl"},
        {"HTTP_CONTENT_MD5": ""},
        {"HTTP_X_OSS_META_A": "b"},
        {"HTTP_X_OSS_META_ADDED": "later"},
        {"HTTP_DATE": formatdate(NOW + 1, usegmt=True)},
        {"HTTP_AUTHORIZATION": "OSS ak:AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    ],
    ids=str,
)
def test_an_altered_request_shows_the_string_to_sign(changes):
    environ = sign("v1", query="uploads", headers=HEADERS)
    check_header(environ)
    error = header_refusal({**environ, **changes})
    assert (error.status, error.code, error.ec) == (403, "SignatureDoesNotMatch", "0002-00000040")
    assert error.members["StringToSign"].endswith(f"\n/bucket/{ADDRESS.key}?{changes.get('QUERY_STRING', 'uploads')}")
    assert bytes.fromhex(error.members["StringToSignBytes"]).decode() == error.members["StringToSign"]
    assert error.members["OSSAccessKeyId"] == "ak"
    assert environ["HTTP_AUTHORIZATION"].endswith(error.members["SignatureProvided"]) or "HTTP_AUTHORIZATION" in changes


@pytest.mark.parametrize("authorization", ["OSS", "OSS ak", "OSS ak:", "OSS :signature", "OSS a k:s", "OSS ak:s s"])
def test_a_malformed_header_is_refused(authorization):
    error = header_refusal({**sign("v1"), "HTTP_AUTHORIZATION": authorization})
    assert (error.status, error.code, error.members["ArgumentName"]) == (400, "InvalidArgument", "Authorization")


@pytest.mark.parametrize("date", ["", "today", "20241203T121212Z", "Tue, 03 Dec 99999 12:12:12 GMT"])
def test_a_header_needs_a_valid_date(date):
    error = header_refusal({**sign("v1"), "HTTP_DATE": date})
    assert (error.status, error.code) == (403, "AccessDenied")
    assert error.message == "OSS authentication requires a valid Date."


def test_clocks_may_differ_by_15_minutes():
    for date in (NOW - 900, NOW + 900):
        check_header(sign("v1", now=date))
    for date in (NOW - 901, NOW + 901):
        error = header_refusal(sign("v1", now=date))
        assert (error.status, error.code, error.ec) == (403, "RequestTimeTooSkewed", "0002-00000504")
    assert error.members == {
        "MaxAllowedSkewMilliseconds": "900000",
        "RequestTime": "2024-12-03T12:27:13.000Z",
        "ServerTime": "2024-12-03T12:12:12.000Z",
    }


def test_the_token_may_stand_in_either_header():
    account = replace(ACCOUNT, security_token="token")
    for signed in (sign("v1", account=account), sign("v1", headers={"x-oss-security-token": "token"})):
        check_header(signed, account=account)


ODD = "param1=value1&%2Bparam1=value3&%7Cparam1=value4&%2Bparam2=&%7Cparam2=&param2="


def check_query(environ, *, address=ADDRESS, account=ACCOUNT, now=NOW):
    check_query_v1(SignedRequest.read(environ, address), account, now)


def query_refusal(environ, **options):
    with pytest.raises(OSSError) as raised:
        check_query(environ, **options)
    return raised.value


# The SDK's own tests publish these (protocol.md 6.4).
@pytest.mark.parametrize(
    ("key", "query", "headers", "token", "expires", "signature"),
    [
        ("key", "versionId=versionId", {}, None, 1699807420, "dcLTea%2BYh9ApirQ8o8dOPqtvJXQ%3D"),
        ("key+123", "versionId=versionId", {}, "token", 1699808204, "jzKYRrM5y6Br0dRFPaTGOsbrDhY%3D"),
        (
            "key",
            # The test adds a second question mark, which becomes part of the version's id.
            f"versionId=versionId?{ODD}&response-content-disposition=attachment%3B%20filename%3Dexample.txt",
            {"HTTP_X_OSS_HEAD1": "value", "HTTP_ABC": "value", "CONTENT_TYPE": "application/octet-stream"},
            "token",
            1699808204,
            "3GJoEOv5LX2ASp0HJk%2FhAk%2BqLJc%3D",
        ),
    ],
    ids=["lasting key", "token", "headers and parameters"],
)
def test_the_published_urls_are_accepted(key, query, headers, token, expires, signature):
    text = f"{query}&OSSAccessKeyId=ak&Expires={expires}&Signature={signature}"
    environ = {"REQUEST_METHOD": "GET", "QUERY_STRING": f"{text}&security-token={token}" if token else text, **headers}
    account = replace(ACCOUNT, security_token=token)
    check_query(environ, address=Address("bucket", key), account=account, now=expires)
    assert query_refusal(environ, address=Address("bucket", "k"), account=account, now=expires).ec == "0002-00000040"


@pytest.mark.parametrize("style", STYLES)
def test_a_url_of_the_sdk_is_accepted_in_every_style(style):
    check_query(sign("v1", "PUT", style=style, expires=60))


def test_a_url_expires():
    environ = sign("v1", expires=60)
    check_query(environ, now=NOW + 60)
    error = query_refusal(environ, now=NOW + 61)
    assert (error.status, error.code, error.ec) == (403, "AccessDenied", "0002-00000069")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("response-content-type=a", "response-content-type=b"),
        ("response-content-type=a&", ""),
        ("Expires=173322", "Expires=273322"),
        ("Signature=", "Signature=A"),
        ("OSSAccessKeyId", "acl&OSSAccessKeyId"),
    ],
)
def test_an_altered_url_is_refused(old, new):
    environ = sign("v1", query="response-content-type=a&x=1", expires=60)
    check_query(environ)
    assert old in environ["QUERY_STRING"]
    changed = {**environ, "QUERY_STRING": environ["QUERY_STRING"].replace(old, new)}
    error = query_refusal(changed)
    assert (error.status, error.code, error.ec) == (403, "SignatureDoesNotMatch", "0002-00000040")
    assert error.members["StringToSign"].startswith("GET\n\n\n")


@pytest.mark.parametrize("name", ["OSSAccessKeyId", "Expires", "Signature"])
def test_a_url_needs_each_parameter(name):
    environ = sign("v1", expires=60)
    for new in (f"{name}=&", ""):
        pairs = [pair for pair in environ["QUERY_STRING"].split("&") if not pair.startswith(f"{name}=")]
        error = query_refusal({**environ, "QUERY_STRING": new + "&".join(pairs)})
        assert (error.status, error.code, error.members["ArgumentName"]) == (400, "InvalidArgument", name)


@pytest.mark.parametrize("expires", ["abc", "-1", "1e9", "1733227932.5", "9" * 13, "%D9%A1"])
def test_an_invalid_expiry_is_refused(expires):
    error = query_refusal({"REQUEST_METHOD": "GET", "QUERY_STRING": f"OSSAccessKeyId=ak&Signature=s&Expires={expires}"})
    assert (error.status, error.code, error.ec) == (403, "AccessDenied", "0002-00000070")
