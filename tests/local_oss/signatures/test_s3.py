"""Requests that a client of S3 signs, with the examples that AWS published for its signature V4.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html and sigv4-query-string-auth.html
"""

import calendar
from dataclasses import replace

import pytest
from webtest import TestApp

from local_oss import LocalOSS
from local_oss.environ import Address, BucketResolver
from local_oss.errors import OSSError
from local_oss.signatures.account import Account
from local_oss.signatures.request_check import check_request_signature
from local_oss.signatures.s3 import as_oss, as_s3, is_s3

NOW = calendar.timegm((2013, 5, 24, 0, 0, 0))
ACCOUNT = Account("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
SCOPE = "20130524/us-east-1/s3/aws4_request"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ADDRESS = Address("examplebucket", "test.txt")


def signed(signature, *names, method="GET", path="/test.txt", query="", payload=EMPTY, **headers):
    """Return the environ of one of the examples."""
    signed_headers = ";".join(sorted((*names, "host", "x-amz-content-sha256", "x-amz-date")))
    credential = f"{ACCOUNT.access_key_id}/{SCOPE}"
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "HTTP_HOST": "examplebucket.s3.amazonaws.com",
        "HTTP_X_AMZ_DATE": "20130524T000000Z",
        "HTTP_X_AMZ_CONTENT_SHA256": payload,
        "HTTP_AUTHORIZATION": (
            f"AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={signed_headers},Signature={signature}"
        ),
        **headers,
    }


GET = signed("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", "range", HTTP_RANGE="bytes=0-9")
PUT = signed(
    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    "date",
    "x-amz-storage-class",
    method="PUT",
    path="/test$file.text",
    payload="44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
    HTTP_DATE="Fri, 24 May 2013 00:00:00 GMT",
    HTTP_X_AMZ_STORAGE_CLASS="REDUCED_REDUNDANCY",
)
LIFECYCLE = signed("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", path="/", query="lifecycle")
LIST = signed("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", path="/", query="max-keys=2&prefix=J")
URL = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/test.txt",
    "HTTP_HOST": "examplebucket.s3.amazonaws.com",
    "QUERY_STRING": (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    ),
}
EXAMPLES = {"get": GET, "put": PUT, "lifecycle": LIFECYCLE, "list": LIST, "url": URL}


def check(environ, account=ACCOUNT, now=NOW):
    return check_request_signature(environ, ADDRESS, account, "cn-hangzhou", now)


def refusal(environ, account=ACCOUNT, now=NOW):
    with pytest.raises(OSSError) as raised:
        check(environ, account, now)
    return raised.value


def url(old, new):
    assert old in URL["QUERY_STRING"]
    return {**URL, "QUERY_STRING": URL["QUERY_STRING"].replace(old, new)}


def header(old, new):
    assert old in GET["HTTP_AUTHORIZATION"]
    return {**GET, "HTTP_AUTHORIZATION": GET["HTTP_AUTHORIZATION"].replace(old, new)}


@pytest.mark.parametrize("environ", EXAMPLES.values(), ids=EXAMPLES)
def test_the_examples_of_aws_are_accepted_in_any_region(environ):
    assert is_s3(environ)
    assert check(environ) is ACCOUNT


@pytest.mark.parametrize("environ", EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize(
    "change", [{"REQUEST_METHOD": "POST"}, {"PATH_INFO": "/other"}, {"HTTP_HOST": "other.s3.amazonaws.com"}]
)
def test_what_was_signed_may_not_change(environ, change):
    error = refusal({**environ, **change})
    assert (error.status, error.code, error.ec) == (403, "SignatureDoesNotMatch", "0002-00000429")
    assert error.members["AWSAccessKeyId"] == ACCOUNT.access_key_id
    assert error.members["StringToSign"].startswith(f"AWS4-HMAC-SHA256\n20130524T000000Z\n{SCOPE}\n")


def test_another_secret_does_not_match():
    for environ in EXAMPLES.values():
        assert refusal(environ, replace(ACCOUNT, access_key_secret="other")).code == "SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("environ", "code", "ec"),
    [
        (header("/20130524/", "/"), "InvalidArgument", "0002-00000404"),
        (header("/s3/", "/oss/"), "InvalidArgument", "0002-00000404"),
        (header("/20130524/", "/20130525/"), "AccessDenied", "0002-00000409"),
        (header(",Signature=", ",Other="), "InvalidArgument", "0002-00000406"),
        ({**GET, "HTTP_X_AMZ_DATE": "2013-05-24"}, "AccessDenied", ""),
        ({**GET, "HTTP_X_AMZ_DATE": "20139924T000000Z"}, "AccessDenied", ""),
        (header("AKIAIOSFODNN7EXAMPLE", "other"), "InvalidAccessKeyId", "0002-00000902"),
        (url("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "InvalidArgument", "0002-00000411"),
        (url("%2Fs3%2F", "%2F"), "InvalidArgument", "0002-00000425"),
        (url("20130524T000000Z", "2013-05-24"), "InvalidArgument", "0002-00000415"),
        (url("20130524T", "20130525T"), "AccessDenied", ""),
        (url("=86400", "=0"), "InvalidArgument", ""),
        (url("=86400", "=604801"), "InvalidArgument", ""),
        (url("=86400", "=-1"), "InvalidArgument", ""),
        (url("X-Amz-Expires=86400&", ""), "InvalidArgument", ""),
        (url("X-Amz-SignedHeaders=host", "X-Amz-SignedHeaders="), "InvalidArgument", ""),
    ],
)
def test_what_is_wrong_is_named(environ, code, ec):
    error = refusal(environ)
    assert (error.code, error.ec) == (code, ec)


@pytest.mark.parametrize("environ", EXAMPLES.values(), ids=EXAMPLES)
@pytest.mark.parametrize("name", ["HTTP_X_AMZ_ACL", "HTTP_X_AMZ_META_COLOR", "HTTP_X_OSS_OBJECT_ACL"])
def test_nobody_may_add_a_header_that_is_not_signed(environ, name):
    error = refusal({**environ, name: "public-read"})
    assert (error.status, error.code) == (403, "AccessDenied")
    assert error.message.endswith(f" were not signed: {name[5:].lower().replace('_', '-')}.")
    assert check({**environ, "HTTP_X_OSS_LOCAL_FAULT": "slow_down"}) is ACCOUNT


def test_a_long_list_of_signed_headers_is_refused_before_it_is_written_anywhere():
    names = ";".join(["host", *["x-a"] * 4000])
    error = refusal({**url("SignedHeaders=host", f"SignedHeaders={names}"), "HTTP_X_A": "a" * 20_000})
    assert error.ec == "0002-00000428"
    assert "CanonicalRequest" not in error.members


def test_the_order_of_the_members_is_free():
    scheme, *members = GET["HTTP_AUTHORIZATION"].replace(",", " ").split()
    assert check({**GET, "HTTP_AUTHORIZATION": f"{scheme} {', '.join(reversed(members))}"}) is ACCOUNT


@pytest.mark.parametrize(
    "environ",
    [
        {**GET, "QUERY_STRING": URL["QUERY_STRING"]},
        {**GET, "QUERY_STRING": "OSSAccessKeyId=ak&Signature=s&Expires=1"},
        {**GET, "QUERY_STRING": "x-oss-signature-version=OSS4-HMAC-SHA256"},
        {**URL, "HTTP_AUTHORIZATION": "OSS ak:s"},
        {**URL, "QUERY_STRING": f"{URL['QUERY_STRING']}&OSSAccessKeyId=ak"},
    ],
)
def test_one_signature_is_enough(environ):
    assert refusal(environ).message == "The request carries more than one signature."


@pytest.mark.parametrize("digest", ["", "garbage", EMPTY[1:]])
def test_a_header_needs_the_digest_of_its_body(digest):
    error = refusal({**GET, "HTTP_X_AMZ_CONTENT_SHA256": digest})
    assert (error.status, error.members["ArgumentName"]) == (400, "x-amz-content-sha256")


@pytest.mark.parametrize("seconds", [-901, 901])
def test_a_header_is_valid_for_fifteen_minutes(seconds):
    assert refusal(GET, now=NOW + seconds).code == "RequestTimeTooSkewed"


def test_a_url_is_valid_until_it_expires():
    assert check(URL, now=NOW + 86400) is ACCOUNT
    assert refusal(URL, now=NOW + 86401).ec == "0002-00000069"
    assert refusal(URL, now=NOW - 901).message == "Request is not valid yet."


@pytest.mark.parametrize("payload", ["STREAMING-UNSIGNED-PAYLOAD-TRAILER", "UNSIGNED-PAYLOAD", EMPTY])
def test_chunks_get_the_error_of_oss(payload):
    error = refusal({**PUT, "HTTP_CONTENT_ENCODING": "aws-chunked", "HTTP_X_AMZ_CONTENT_SHA256": payload})
    assert (error.status, error.code, error.ec) == (400, "InvalidArgument", "0017-00000804")
    assert error.message == "aws-chunked encoding is not supported with the specified x-amz-content-sha256 value."
    assert error.members == {"ArgumentName": "Content-Encoding", "ArgumentValue": "aws-chunked"}


def test_chunks_that_oss_reads_are_refused_by_name():
    payload = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    error = refusal({**PUT, "HTTP_CONTENT_ENCODING": "aws-chunked", "HTTP_X_AMZ_CONTENT_SHA256": payload})
    assert (error.status, error.code) == (501, "NotImplemented")
    assert payload in error.message


@pytest.mark.parametrize(
    "signature", [{"HTTP_AUTHORIZATION": "AWS ak:s"}, {"QUERY_STRING": "AWSAccessKeyId=ak&Signature=s&Expires=1"}]
)
def test_signature_v2_is_refused_by_name(signature):
    error = refusal({"REQUEST_METHOD": "GET", **signature})
    assert (error.status, error.code) == (501, "NotImplemented")
    assert "sign with V4" in error.message


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HTTP_AUTHORIZATION": "OSS4-HMAC-SHA256 Credential=AWS4-HMAC-SHA256"},
        {"QUERY_STRING": "prefix=X-Amz-Algorithm&OSSAccessKeyId=AWSAccessKeyId"},
    ],
)
def test_other_requests_are_not_of_s3(environ):
    assert not is_s3(environ)


def test_headers_get_the_names_of_oss():
    environ = {
        "HTTP_X_AMZ_META_COLOR": "red",
        "HTTP_X_AMZ_ACL": "private",
        "HTTP_X_AMZ_STORAGE_CLASS": "STANDARD_IA",
        "HTTP_X_AMZ_COPY_SOURCE": "bucket/key",
        "HTTP_X_AMZ_CHECKSUM_CRC32": "AAAAAA==",
        "HTTP_X_AMZ_SDK_CHECKSUM_ALGORITHM": "CRC32",
        "HTTP_RANGE": "bytes=0-9",
    }
    shared = {
        "HTTP_X_OSS_META_COLOR": "red",
        "HTTP_X_OSS_STORAGE_CLASS": "IA",
        "HTTP_X_OSS_COPY_SOURCE": "bucket/key",
        "HTTP_RANGE": "bytes=0-9",
    }
    assert as_oss(environ, ADDRESS) == {**shared, "HTTP_X_OSS_OBJECT_ACL": "private"}
    assert as_oss(environ, Address("examplebucket", "")) == {**shared, "HTTP_X_OSS_ACL": "private"}


def test_a_header_by_both_names_is_refused():
    environ = {"HTTP_X_OSS_OBJECT_ACL": "public-read", "HTTP_X_AMZ_ACL": "private"}
    for names in (environ, reversed(environ)):
        with pytest.raises(OSSError) as raised:
            as_oss({name: environ[name] for name in names}, ADDRESS)
        assert raised.value.code == "InvalidArgument"


def test_what_an_object_keeps_gets_the_names_of_s3():
    kept = [("x-oss-meta-color", "red"), ("x-oss-storage-class", "IA"), ("x-oss-server-side-encryption", "AES256")]
    other = [("ETag", '"A"'), ("x-oss-request-id", "A"), ("x-oss-storage-class-other", "A")]
    assert as_s3([*kept, *other]) == [*((name.replace("oss", "amz"), value) for name, value in kept), *other]


@pytest.mark.parametrize(
    ("host", "path", "bucket", "key"),
    [
        ("examplebucket.s3.oss-cn-hangzhou.aliyuncs.com", "/a", "examplebucket", "a"),
        ("missing.s3.oss-cn-hangzhou.aliyuncs.com", "/examplebucket/a", "missing", "examplebucket/a"),
        ("s3.oss-cn-hangzhou.aliyuncs.com", "/missing", "missing", ""),
        ("s3.oss-cn-hangzhou.aliyuncs.com", "/", None, ""),
        ("127.0.0.1", "/missing/a+b", "missing", "a+b"),
        ("127.0.0.1", "//a", "", "a"),
    ],
)
def test_a_client_of_s3_names_its_bucket(host, path, bucket, key):
    environ = {"REQUEST_METHOD": "PUT", "HTTP_HOST": host, "PATH_INFO": path, "REQUEST_URI": path}
    resolver = BucketResolver(environ, "examplebucket", ["examplebucket"], "127.0.0.1", {}, is_s3=True)
    assert resolver.candidates == [Address(bucket, key)]
    assert resolver.in_each_bucket() == []


def test_a_request_in_chunks_stores_nothing(tmp_path):
    with LocalOSS(directory=tmp_path, key_bits=512, clock=lambda: NOW) as oss:
        app = TestApp(oss)
        headers = {
            "Authorization": PUT["HTTP_AUTHORIZATION"],
            "Content-Encoding": "aws-chunked",
            "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        }
        error = app.put("/examplebucket/a", b"1\r\na\r\n0\r\n\r\n", headers, status=400)
        assert error.xml.findtext("EC") == "0017-00000804"
        assert not oss.storage.bucket(oss.bucket).page()[0]
